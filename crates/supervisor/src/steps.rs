//! Mounts and files of a container, made by its first process before anything of the container runs.
//!
//! What comes from the host is copied while the process still is in the host's mount namespace; the copies are attached
//! nowhere. Then it enters the namespaces, and attaches them there. So nothing is ever mounted on the host, and nothing
//! is left to be taken away when the container ends, however it ends.

use crate::container::{Container, Root, Source, Step, Target};
use crate::rooted::{self, Made, Within};
use crate::{mount, overlay};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

/// Copies of what is mounted in the container.
#[derive(Debug)]
pub(crate) struct Copies {
    root: Option<OwnedFd>,
    /// One for each step; none where it has no source outside.
    sources: Vec<Option<OwnedFd>>,
}

/// A path as it is shown to people.
pub(crate) fn shown(path: &CStr) -> std::borrow::Cow<'_, str> {
    path.to_string_lossy()
}

/// A handle (O_PATH) of what is at a path.
pub(crate) fn open(path: &CStr) -> io::Result<OwnedFd> {
    let path = Path::new(std::ffi::OsStr::new(path.to_str().map_err(io::Error::other)?));
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_PATH);
    Ok(options.read(true).open(path)?.into())
}

impl Copies {
    /// Copies what is on the host.
    pub(crate) fn of_host(container: &Container) -> Result<Self, String> {
        let root = match &container.root {
            None => None,
            Some(root) => Some(of_root(root).map_err(|e| {
                format!("cannot use the root file system {}: {e}", shown(root.path()))
            })?),
        };
        let mut copies = Self { root, sources: Vec::with_capacity(container.steps.len()) };
        for step in &container.steps {
            let source = match step {
                Step::Bind { source: Source::Root(root), attributes, .. } => {
                    let fault = |e| format!("cannot use the image at {}: {e}", shown(root.path()));
                    let made = of_root(root).map_err(fault)?;
                    if *attributes != 0 {
                        mount::set(made.as_fd(), *attributes, 0, false).map_err(fault)?;
                    }
                    Some(made)
                }
                Step::Bind { source, recursive, attributes, shared, optional, .. } => {
                    match open_source(source).map_err(|e| missing(source, &e)) {
                        Ok(None) => None,
                        Ok(Some(fd)) => Some(
                            copy(fd.as_fd(), *recursive, *attributes, *shared)
                                .map_err(|e| missing(source, &e))?,
                        ),
                        Err(_) if *optional => None,
                        Err(text) => return Err(text),
                    }
                }
                _ => None,
            };
            copies.sources.push(source);
        }
        Ok(copies)
    }

    /// Copies what is in the container around this one, in whose mount namespace this process is.
    pub(crate) fn add_parent(&mut self, container: &Container) -> Result<(), String> {
        for (step, copied) in container.steps.iter().zip(&mut self.sources) {
            if let Step::Bind { source, recursive, attributes, .. } = step
                && let Source::Parent(path) = source
            {
                let found = rooted::open(
                    open(c"/").map_err(|e| missing(source, &e))?.as_fd(),
                    path,
                    Within::Root,
                    libc::O_PATH,
                );
                let made = found.and_then(|fd| copy(fd.as_fd(), *recursive, *attributes, false));
                *copied = Some(made.map_err(|e| missing(source, &e))?);
            }
        }
        Ok(())
    }

    /// Attaches everything, in the container's namespaces, and enters its root.
    pub(crate) fn attach(self, container: &Container) -> Result<(), String> {
        let root = match self.root {
            None => open(c"/").map_err(|e| format!("cannot open the root: {e}"))?,
            Some(root) => {
                let here = open(c"/").map_err(|e| format!("cannot open the root: {e}"))?;
                mount::attach(root.as_fd(), here.as_fd())
                    .map_err(|e| format!("cannot mount the root file system: {e}"))?;
                root
            }
        };
        let mut place =
            Place { root, sandbox: None, path: &container.sandbox, vault: None, memory: None };
        for (step, copy) in container.steps.iter().zip(self.sources) {
            place.carry_out(step, copy)?;
        }
        if let Some(vault) = place.vault.take() {
            vault.close().map_err(|e| format!("cannot put the secrets away: {e}"))?;
        }
        if container.root.is_some() {
            mount::pivot(place.root.as_fd())
                .map_err(|e| format!("cannot change to the root file system: {e}"))?;
        }
        Ok(())
    }
}

/// A copy of a tree of mounts. What the host mounts later appears in it; the other way round only if it is shared.
pub(crate) fn copy(
    of: BorrowedFd<'_>,
    recursive: bool,
    attributes: u64,
    shared: bool,
) -> io::Result<OwnedFd> {
    let made = mount::clone(of, recursive)?;
    let propagation = if shared { 0 } else { libc::MS_SLAVE };
    if attributes != 0 || propagation != 0 {
        mount::set(made.as_fd(), attributes, propagation, recursive)?;
    }
    Ok(made)
}

/// A tree that is mounted for this container alone.
fn of_root(root: &Root) -> io::Result<OwnedFd> {
    match root {
        Root::Directory { path, attributes } => {
            open(path).and_then(|fd| copy(fd.as_fd(), true, *attributes, false))
        }
        Root::Layers(layers) => overlay::make(layers),
    }
}

/// Opens a source on the host; None if it is elsewhere.
fn open_source(source: &Source) -> io::Result<Option<OwnedFd>> {
    Ok(match source {
        Source::Host(path) => Some(open(path)?),
        Source::Within { base, path } => Some(make_owned(&open(base)?, path)?),
        Source::Container(_) | Source::Parent(_) | Source::Root(_) => None,
    })
}

/// Opens what is in a directory or makes a directory there, which belongs to the owner of the other.
fn make_owned(base: &OwnedFd, path: &CStr) -> io::Result<OwnedFd> {
    match rooted::open(base.as_fd(), path, Within::Bounds, libc::O_PATH) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let made = rooted::make(base.as_fd(), path, Within::Bounds, Made::Directory)?;
    let owner = rooted::status(base.as_fd())?;
    // SAFETY: the descriptor is open, and the path is terminated.
    let status = unsafe {
        let (fd, flags) = (made.as_raw_fd(), libc::AT_EMPTY_PATH);
        libc::fchownat(fd, c"".as_ptr(), owner.st_uid, owner.st_gid, flags)
    };
    if status == 0 { Ok(made) } else { Err(io::Error::last_os_error()) }
}

fn missing(source: &Source, error: &io::Error) -> String {
    match source {
        Source::Host(path) => format!("cannot use {} of the host: {error}", shown(path)),
        Source::Within { base, path } => {
            format!("cannot use '{}' inside {}: {error}", shown(path), shown(base))
        }
        Source::Container(path) => format!("cannot use {}: {error}", shown(path)),
        Source::Parent(path) => {
            format!("cannot use {} of the container around this one: {error}", shown(path))
        }
        Source::Root(root) => format!("cannot use the image at {}: {error}", shown(root.path())),
    }
}

/// The container's file system while it is made.
struct Place<'a> {
    root: OwnedFd,
    sandbox: Option<OwnedFd>,
    path: &'a CStr,
    vault: Option<Vault>,
    memory: Option<Memory>,
}

impl Place<'_> {
    fn carry_out(&mut self, step: &Step, copied: Option<OwnedFd>) -> Result<(), String> {
        let fault = |path: &CStr, e: &io::Error| format!("cannot make {}: {e}", shown(path));
        match step {
            Step::Bind { source, target, recursive, attributes, optional, .. } => {
                let copied = match (copied, source) {
                    (Some(copied), _) => copied,
                    (None, Source::Container(path)) => {
                        match self.copy(path, *recursive, *attributes) {
                            Ok(copied) => copied,
                            Err(_) if *optional => return Ok(()),
                            Err(e) => return Err(missing(source, &e)),
                        }
                    }
                    (None, _) => return Ok(()),
                };
                let made = match rooted::is_directory(copied.as_fd()) {
                    Ok(false) => Made::File,
                    _ => Made::Directory,
                };
                let at = self.target(target, made).map_err(|e| refused(target, &e))?;
                mount::attach(copied.as_fd(), at.as_fd()).map_err(|e| refused(target, &e))
            }
            Step::Mount { kind, options, attributes, path } => {
                let made = mount::new(kind, options, *attributes);
                let made = made.map_err(|e| format!("cannot make a {}: {e}", shown(kind)))?;
                let fault = |e| format!("cannot mount on {}: {e}", shown(path));
                let root = self.root.as_fd();
                let at = rooted::make(root, path, Within::Plain, Made::Directory).map_err(fault)?;
                mount::attach(made.as_fd(), at.as_fd()).map_err(fault)
            }
            Step::Memory { mode, attributes, path } => {
                let fault = |e| format!("cannot mount on {}: {e}", shown(path));
                let root = self.root.as_fd();
                let at = rooted::make(root, path, Within::Plain, Made::Directory).map_err(fault)?;
                self.remember(*mode, *attributes, at.as_fd()).map_err(fault)
            }
            Step::Link { to, path } => {
                let (parent, name) = self.parent(path).map_err(|e| fault(path, &e))?;
                // SAFETY: both strings are terminated, and the descriptor is open.
                done(unsafe { libc::symlinkat(to.as_ptr(), parent.as_raw_fd(), name.as_ptr()) })
                    .map_err(|e| fault(path, &e))
            }
            Step::Device { path, mode, number } => {
                let (parent, name) = self.parent(path).map_err(|e| fault(path, &e))?;
                // SAFETY: the name is terminated, and the descriptor is open.
                done(unsafe { libc::mknodat(parent.as_raw_fd(), name.as_ptr(), *mode, *number) })
                    .map_err(|e| fault(path, &e))
            }
            Step::Secret { content, attributes, target } => {
                let at = self.target(target, Made::File).map_err(|e| refused(target, &e))?;
                let vault = match self.vault.take() {
                    Some(vault) => vault,
                    None => Vault::open(self.root.as_fd())
                        .map_err(|e| format!("cannot mount memory for secrets: {e}"))?,
                };
                let vault = self.vault.insert(vault);
                vault.put(content, *attributes, at.as_fd()).map_err(|e| refused(target, &e))
            }
            Step::Mask { path } => {
                self.mask(path).map_err(|e| format!("cannot hide {}: {e}", shown(path)))
            }
        }
    }

    fn copy(&self, path: &CStr, recursive: bool, attributes: u64) -> io::Result<OwnedFd> {
        let found = rooted::open(self.root.as_fd(), path, Within::Root, libc::O_PATH)?;
        copy(found.as_fd(), recursive, attributes, false)
    }

    /// The sandbox, as the container sees it by now.
    fn sandbox(&mut self) -> io::Result<BorrowedFd<'_>> {
        let sandbox = match self.sandbox.take() {
            Some(sandbox) => sandbox,
            None => rooted::open(self.root.as_fd(), self.path, Within::Root, libc::O_PATH)?,
        };
        let sandbox: &OwnedFd = self.sandbox.insert(sandbox);
        Ok(sandbox.as_fd())
    }

    fn target(&mut self, target: &Target, made: Made) -> io::Result<OwnedFd> {
        let (base, within) = match target.in_sandbox {
            true => (self.sandbox()?, Within::Bounds),
            false => (self.root.as_fd(), Within::Root),
        };
        if target.made {
            rooted::make(base, &target.path, within, made)
        } else {
            rooted::open(base, &target.path, within, libc::O_PATH)
        }
    }

    /// The directory of an absolute path, and the name in it.
    fn parent<'p>(&self, path: &'p CStr) -> io::Result<(OwnedFd, &'p CStr)> {
        let bytes = path.to_bytes_with_nul();
        let at = bytes.iter().rposition(|byte| *byte == b'/').ok_or(io::ErrorKind::InvalidInput)?;
        let parent = std::ffi::CString::new(&bytes[..at])?;
        let name = CStr::from_bytes_with_nul(&bytes[at + 1..]).map_err(io::Error::other)?;
        let made = rooted::make(self.root.as_fd(), &parent, Within::Root, Made::Directory)?;
        Ok((made, name))
    }

    /// Shows a directory in memory.
    fn remember(&mut self, mode: u32, attributes: u64, at: BorrowedFd<'_>) -> io::Result<()> {
        let memory = match self.memory.take() {
            Some(memory) => memory,
            None => Memory::open(at)?,
        };
        mount::attach(self.memory.insert(memory).directory(mode, attributes)?.as_fd(), at)
    }

    fn mask(&mut self, path: &CStr) -> io::Result<()> {
        let at = match rooted::open(self.root.as_fd(), path, Within::Root, libc::O_PATH) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if rooted::is_directory(at.as_fd())? {
            return self.remember(0, mount::READ_ONLY, at.as_fd());
        }
        mount::attach(self.copy(c"/dev/null", false, 0)?.as_fd(), at.as_fd())
    }
}

fn refused(target: &Target, error: &io::Error) -> String {
    let place = if target.in_sandbox { " in the sandbox" } else { "" };
    format!("cannot mount on {}{place}: {error}", shown(&target.path))
}

fn done(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Memory of a container, of which directories are shown in several places.
struct Memory {
    /// It stays where the first of them is, below that.
    memory: OwnedFd,
    directories: u32,
}

impl Memory {
    fn open(at: BorrowedFd<'_>) -> io::Result<Self> {
        let memory = mount::new(c"tmpfs", c"mode=755", mount::NO_SUID)?;
        mount::attach(memory.as_fd(), at)?;
        Ok(Self { memory, directories: 0 })
    }

    /// A new directory as a mount that is attached nowhere.
    fn directory(&mut self, mode: u32, attributes: u64) -> io::Result<OwnedFd> {
        let name = std::ffi::CString::new(self.directories.to_string())?;
        self.directories += 1;
        // SAFETY: the name is terminated, and the descriptor is open.
        done(unsafe { libc::mkdirat(self.memory.as_raw_fd(), name.as_ptr(), mode) })?;
        let made = rooted::open(self.memory.as_fd(), &name, Within::Bounds, libc::O_PATH)?;
        copy(made.as_fd(), false, attributes, false)
    }
}

/// Memory that holds secrets and is never swapped out. While it is filled it lies on the root, where nobody looks.
struct Vault {
    memory: OwnedFd,
    files: u32,
}

impl Vault {
    fn open(root: BorrowedFd<'_>) -> io::Result<Self> {
        let memory = mount::new(c"ramfs", c"mode=0755", mount::NO_SUID)?;
        mount::attach(memory.as_fd(), root)?;
        Ok(Self { memory, files: 0 })
    }

    fn put(&mut self, content: &[u8], attributes: u64, at: BorrowedFd<'_>) -> io::Result<()> {
        let name = std::ffi::CString::new(self.files.to_string())?;
        self.files += 1;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let file = rooted::open(self.memory.as_fd(), &name, Within::Bounds, flags)?;
        File::from(file).write_all(content)?;
        let file = rooted::open(self.memory.as_fd(), &name, Within::Bounds, libc::O_PATH)?;
        mount::attach(copy(file.as_fd(), false, attributes, false)?.as_fd(), at)
    }

    /// Takes the memory from the root; its files stay where they are mounted.
    fn close(self) -> io::Result<()> {
        // SAFETY: the descriptor is open, and the paths are terminated.
        unsafe {
            done(libc::fchdir(self.memory.as_raw_fd()))?;
            done(libc::umount2(c".".as_ptr(), libc::MNT_DETACH))?;
            done(libc::chdir(c"/".as_ptr()))
        }
    }
}
