//! The near ends of a container's streams: named pipes, or a terminal. The supervisor opens the far ends by path.

use agent_core::contract::Streams;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use wire::v1::tty_info::WindowSize;

/// Streams that the container has not got yet.
pub(super) struct Prepared {
    pub(super) streams: Streams,
    /// Held until it has: pipes have a reader and a writer.
    pub(super) input: File,
    pub(super) output: File,
    pub(super) errors: Option<File>,
    directory: Option<PathBuf>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// Pipes in a new directory.
pub(super) fn pipes(directory: PathBuf) -> io::Result<Prepared> {
    std::fs::create_dir_all(&directory)?;
    let path = |name: &str| directory.join(name);
    for name in ["stdin", "stdout", "stderr"] {
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(CWD, path(name), FileType::Fifo, mode, 0)?;
    }
    let input = File::options().read(true).write(true).open(path("stdin"))?;
    let (output, errors) = (open(&path("stdout"))?, Some(open(&path("stderr"))?));
    let text = |name: &str| path(name).display().to_string();
    let streams = Streams {
        input: text("stdin"),
        output: text("stdout"),
        errors: text("stderr"),
        is_terminal: false,
    };
    Ok(Prepared { streams, input, output, errors, directory: Some(directory) })
}

/// Opens a pipe that nobody writes to yet.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
    Ok(file.into())
}

/// A new terminal.
pub(super) fn terminal(size: Option<&WindowSize>) -> io::Result<Prepared> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let near = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&near)?;
    rustix::pty::unlockpt(&near)?;
    let far = rustix::pty::ptsname(&near, Vec::new())?;
    let far = far.into_string().map_err(io::Error::other)?;
    let near = File::from(near);
    if let Some(size) = size {
        resize(&near, size)?;
    }
    let streams =
        Streams { input: far.clone(), output: far.clone(), errors: far, is_terminal: true };
    let output = near.try_clone()?;
    Ok(Prepared { streams, input: near, output, errors: None, directory: None })
}

/// Changes the size of a terminal, of which this is either end.
pub(super) fn resize(terminal: &File, size: &WindowSize) -> io::Result<()> {
    let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let size = Winsize {
        ws_row: short(size.rows),
        ws_col: short(size.columns),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}
