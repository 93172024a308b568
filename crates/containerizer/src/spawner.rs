//! A thread that executes supervisors, with a table of open files of its own: whoever executes a program has his table
//! copied and every file of the copy closed, and an agent has several files for each of its containers.
//!
//! A number of a file means something else there: nothing that has one crosses over but through the socket, and nothing
//! is woken that is woken through one.

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError, mpsc};

/// How many times an execution is tried again while another thread's child still has the program open for writing.
const BUSY_RETRIES: u32 = 50;

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Spawner(Mutex<Requests>);

/// Files go through the socket, in the order of the requests.
#[derive(Debug)]
struct Requests {
    queue: mpsc::Sender<Request>,
    files: OwnedFd,
}

#[derive(Debug)]
struct Request {
    program: PathBuf,
    argument: PathBuf,
    answer: mpsc::SyncSender<io::Result<Child>>,
}

/// A process with its ends of the pipes.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) child: Child,
    pub(crate) stdin: PipeWriter,
    pub(crate) stdout: PipeReader,
}

impl Spawner {
    /// # Errors
    /// Without sockets or threads.
    pub(crate) fn start() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (files, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let (queue, requests) = mpsc::channel::<Request>();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            separate(theirs.as_raw_fd());
            for Request { program, argument, answer } in requests {
                let child = receive(&theirs).and_then(|pipes| execute(&program, &argument, pipes));
                let _ = answer.send(child);
            }
        })?;
        Ok(Self(Mutex::new(Requests { queue, files })))
    }

    /// Executes a program with one argument, in the root directory, without environment and standard error. Blocks until
    /// it is executed, which takes less than a millisecond.
    ///
    /// # Errors
    /// When it can't be executed.
    pub(crate) fn spawn(&self, program: &Path, argument: &Path) -> io::Result<Spawned> {
        let (their_stdin, stdin) = io::pipe()?;
        let (stdout, their_stdout) = io::pipe()?;
        let (answer, child) = mpsc::sync_channel(1);
        let request =
            Request { program: program.to_owned(), argument: argument.to_owned(), answer };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).send(
            request,
            &their_stdin,
            &their_stdout,
        )?;
        drop((their_stdin, their_stdout));
        let ended = || io::Error::other("the thread that executes supervisors has ended");
        let child = child.recv().map_err(|_| ended())??;
        Ok(Spawned { child, stdin, stdout })
    }
}

impl Requests {
    fn send(&self, request: Request, stdin: &PipeReader, stdout: &PipeWriter) -> io::Result<()> {
        let pipes = [stdin.as_fd(), stdout.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&pipes));
        sendmsg(&self.files, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
        self.queue.send(request).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Gives this thread a table of its own, with nothing in it but the standard files and one. Where that is forbidden, as
/// in some containers, it works with the table of all, only slower.
#[expect(unsafe_code, reason = "unshare and close, of which no library has a safe form")]
fn separate(kept: RawFd) {
    // SAFETY: a plain system call, about this thread alone.
    if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
        return;
    }
    let entries = std::fs::read_dir("/proc/thread-self/fd").into_iter().flatten().flatten();
    let open = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    for file in open.filter(|file| *file > 2 && *file != kept).collect::<Vec<_>>() {
        // SAFETY: copies in the table of this thread, in which nothing else owns a file.
        unsafe { libc::close(file) };
    }
}

/// The ends of the pipes of one process.
fn receive(files: &OwnedFd) -> io::Result<[OwnedFd; 2]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    recvmsg(files, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let received = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => files.collect(),
        _ => Vec::new(),
    });
    let missing = |_| io::Error::other("there is no room for the files of a supervisor");
    received.collect::<Vec<_>>().try_into().map_err(missing)
}

fn execute(program: &Path, argument: &Path, [stdin, stdout]: [OwnedFd; 2]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg(argument).current_dir("/").env_clear();
    command.stdin(stdin).stdout(stdout).stderr(std::process::Stdio::null());
    let mut tries = 0;
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_RETRIES =>
            {
                tries += 1;
            }
            other => return other,
        }
    }
}
