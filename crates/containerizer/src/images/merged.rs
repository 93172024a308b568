//! Files of layers as overlayfs would show them, without a mount.

use super::layer::open_below;
use super::whiteout::{Form, OPAQUE_ATTRIBUTE};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// Most symbolic links on one path, as of the kernel.
const LINKS_MAX: usize = 40;

/// What is under a name.
enum Found {
    /// A directory: those that are one, the topmost first.
    Directory(Vec<OwnedFd>),
    Link(OsString),
    File(OwnedFd),
}

/// Reads a file of layers, the topmost first, which must be in the form of overlayfs. Links are resolved inside them.
pub(crate) fn read(layers: &[PathBuf], path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |layer: &PathBuf| Ok(rustix::fs::open(layer, flags, Mode::empty())?);
    // The directories on the way from the root.
    let mut way: Vec<Vec<OwnedFd>> =
        vec![layers.iter().map(open).collect::<io::Result<Vec<OwnedFd>>>()?];
    let mut rest = components(path);
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        match find(way.last().map_or(&[][..], |all| all), &name)? {
            Found::Directory(all) => way.push(all),
            Found::Link(target) => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                let target = Path::new(&target);
                if target.is_absolute() {
                    way.truncate(1);
                }
                let mut all = components(target);
                all.append(&mut rest);
                rest = all;
            }
            Found::File(file) if rest.is_empty() => return io::read_to_string(File::from(file)),
            Found::File(_) => return Err(Errno::NOTDIR.into()),
        }
    }
    Err(Errno::ISDIR.into())
}

fn components(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

/// Looks for a name in directories that are one.
fn find(directories: &[OwnedFd], name: &OsStr) -> io::Result<Found> {
    let mut found = Vec::new();
    for directory in directories {
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let below = open_below(directory.as_fd(), name)?;
            let mut value = [0];
            let opaque = rustix::fs::fgetxattr(&below, OPAQUE_ATTRIBUTE, &mut value);
            found.push(below);
            if opaque.is_ok() {
                break;
            }
            continue;
        }
        // What is below a directory and is none is hidden by it.
        if !found.is_empty() || Form::Overlay.is_hidden(directory.as_fd(), name)? {
            break;
        }
        return match kind {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
                Ok(Found::Link(OsString::from_vec(target.into_bytes())))
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Ok(Found::File(rustix::fs::openat(directory, name, flags, Mode::empty())?))
            }
            _ => Err(io::Error::other("it is not a file")),
        };
    }
    match found.is_empty() {
        true => Err(Errno::NOENT.into()),
        false => Ok(Found::Directory(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_are_found_as_overlayfs_would_show_them() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make whiteouts");
            return;
        }
        let base = testkit::cluster::temporary_directory();
        let [top, middle, bottom] = ["top", "middle", "bottom"].map(|name| base.join(name));
        for (layer, files) in [
            (&bottom, &["etc/passwd", "etc/gone", "usr/lib/deep", "opaque/old", "kind/x"][..]),
            (&middle, &["etc/group", "usr/lib/passwd"][..]),
            (&top, &["opaque/new"][..]),
        ] {
            for file in files {
                let path = layer.join(file);
                std::fs::create_dir_all(path.parent().expect("a directory")).expect("it");
                let name = layer.file_name().expect("a name").to_string_lossy().into_owned();
                std::fs::write(path, format!("{name} {file}")).expect("written");
            }
        }
        let open = |path: &Path| OwnedFd::from(File::open(path).expect("a directory"));
        Form::Overlay.make_opaque(open(&top.join("opaque")).as_fd()).expect("opaque");
        std::fs::create_dir(top.join("etc")).expect("a directory");
        Form::Overlay.hide(open(&top.join("etc")).as_fd(), OsStr::new("gone")).expect("hidden");
        std::fs::remove_dir_all(bottom.join("kind")).expect("removed");
        std::fs::write(bottom.join("kind"), "a file").expect("written");
        std::fs::create_dir(middle.join("kind")).expect("a directory");
        symlink("../../../../../usr/lib/passwd", top.join("etc/shadow")).expect("a link");
        symlink("/usr/lib", middle.join("lib")).expect("a link");
        symlink("loop", top.join("loop")).expect("a link");
        let layers = [top, middle, bottom];
        let found = |path: &str| read(&layers, Path::new(path)).map_err(|e| e.to_string());
        let missing = || Err("No such file or directory (os error 2)".to_owned());
        assert_eq!(found("/etc/passwd"), Ok("bottom etc/passwd".to_owned()));
        assert_eq!(found("/etc/group"), Ok("middle etc/group".to_owned()));
        assert_eq!(found("/etc/gone"), missing());
        assert_eq!(found("/etc/shadow"), Ok("middle usr/lib/passwd".to_owned()));
        assert_eq!(found("/lib/deep"), Ok("bottom usr/lib/deep".to_owned()));
        assert_eq!(found("/opaque/new"), Ok("top opaque/new".to_owned()));
        assert_eq!(found("/opaque/old"), missing());
        assert_eq!(found("/kind"), Err("Is a directory (os error 21)".to_owned()));
        assert_eq!(found("/etc/passwd/x"), Err("Not a directory (os error 20)".to_owned()));
        assert!(found("/loop").is_err_and(|e| e.contains("os error 40")));
        std::fs::remove_dir_all(base).expect("removed");
    }
}
