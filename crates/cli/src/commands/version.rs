//! `proffer version`: which program this is.

use super::{pretty, wants_json};
use clap::{ArgMatches, Command};
use serde_json::json;

pub(crate) fn command() -> Command {
    Command::new("version")
        .about("The version of this program; `proffer status` tells the master's")
}

pub(crate) fn run(matches: &ArgMatches) -> String {
    let (mesos, proffer) = (http_api::version::VERSION, env!("CARGO_PKG_VERSION"));
    if wants_json(matches) {
        return pretty(&json!({"mesos": mesos, "proffer": proffer}));
    }
    format!("mesos {mesos} (proffer {proffer})\n")
}
