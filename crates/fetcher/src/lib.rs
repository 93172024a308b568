//! The program that fetches a container's URIs (spec/agent.md 5): started by the agent for each container that has some,
//! under the name `mesos-fetcher`, it becomes the container's user and brings everything into the sandbox.
//!
//! It reads a `FetchRequest` from its standard input (four bytes of length, little-endian, then the message), and says
//! what it does on standard error, which is the sandbox's. For URIs that may be cached it talks with the agent, who
//! keeps the books of the cache, in lines: its own on standard output, the agent's on standard input.
//!
//! ```text
//! ask <item>            may this be had from the cache?
//!   get <file>            it is there
//!   measure               it is not: how large is it?
//!   direct <why>          no: fetch it into the sandbox
//! size <item> <bytes>   so large
//!   put <file>            download it there
//!   direct <why>          there is no place for it
//! unknown <item>        nobody can tell how large it is; it is fetched into the sandbox
//! kept <item>           it is in the cache now
//! placed <item>         the cached file is not needed any more
//! ```
//!
//! When its standard input ends, the agent is gone or does not want it any more: it kills its process group, and with
//! it a Hadoop client that may run.
#![forbid(unsafe_code)]

pub mod archive;
pub mod beneath;
mod dialogue;
mod download;
mod fetch;
mod ftp;
pub mod guard;
mod hadoop;
mod http;
mod log;
mod places;
mod rights;
mod watchdog;

use dialogue::Dialogue;
use places::Places;
use std::process::ExitCode;

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let (request, dialogue) = match Dialogue::open() {
        Ok(opened) => opened,
        Err(text) => {
            eprintln!("mesos-fetcher is started by the agent: {text}");
            return ExitCode::FAILURE;
        }
    };
    let fetched = Places::open(&request).and_then(|places| {
        rights::take(&request)?;
        fetch::all(&request, &places, &dialogue.listen())
    });
    match fetched {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            log::error(&text);
            ExitCode::FAILURE
        }
    }
}
