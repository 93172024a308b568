//! Layers: what is kept of them, and what hostile ones can't do.

use super::{Tar, gzipped, is_root};
use containerizer::images::inside::{copy, unpack};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tar::EntryType::{Block, Char, Fifo, Link, Symlink};

/// A directory with a layer in it, beside one that must stay as it is.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let place = Self(testkit::cluster::temporary_directory());
        std::fs::create_dir(place.layer()).expect("a directory");
        std::fs::create_dir(place.0.join("outside")).expect("a directory");
        std::fs::write(place.0.join("outside/secret"), "untouched").expect("a file");
        place
    }

    fn layer(&self) -> PathBuf {
        self.0.join("layer")
    }

    fn unpack(&self, layer: &[u8]) -> Result<(), String> {
        let unpacked = unpack(layer, &self.layer(), true);
        let mut outside: Vec<_> =
            std::fs::read_dir(self.0.join("outside")).expect("it is there").flatten().collect();
        assert_eq!(outside.len(), 1);
        let secret = outside.pop().expect("a file").path();
        assert_eq!(std::fs::read_to_string(secret).expect("a file"), "untouched");
        assert_eq!(std::fs::read_dir(&self.0).expect("it is there").count(), 2);
        unpacked
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.layer().join(name)).expect(name)
    }

    fn stat(&self, name: &str) -> std::fs::Metadata {
        self.layer().join(name).symlink_metadata().expect(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1024];
    let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn everything_that_a_file_has_is_kept() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = Tar::new()
        .entry(tar::EntryType::Directory, b"./dir/", b"", |h| {
            h.set_mode(0o1750);
            h.set_uid(7);
            h.set_gid(8);
        })
        .record("SCHILY.xattr.security.capability", &capability)
        .entry(tar::EntryType::Regular, b"dir/program", b"x", |h| {
            h.set_mode(0o4711);
            h.set_uid(9);
            h.set_gid(10);
        })
        .record("mtime", b"12.5")
        .file("/absolute", "inside")
        .link(Link, "dir/hard", "dir/program")
        .link(Symlink, "link", "/etc/passwd")
        .entry(Fifo, b"pipe", b"", |_| {})
        .device("null", Char, 1, 3)
        .device("disk", Block, 8, 0)
        .file("made/on/the/way", "x");
    place.unpack(&gzipped(layer.bytes()).0).expect("a layer");
    let all = |name: &str| {
        let stat = place.stat(name);
        (stat.permissions().mode() & 0o7777, stat.uid(), stat.gid(), stat.mtime())
    };
    assert_eq!(all("dir"), (0o1750, 7, 8, 1_000_000));
    assert_eq!(all("dir/program"), (0o4711, 9, 10, 1_000_000));
    assert_eq!(place.stat("dir/hard").ino(), place.stat("dir/program").ino());
    assert_eq!(
        attribute(&place.layer().join("dir/program"), "security.capability").as_deref(),
        Some(&capability[..])
    );
    assert_eq!(
        (place.stat("absolute").mtime(), place.stat("absolute").mtime_nsec()),
        (12, 500_000_000)
    );
    assert_eq!(place.read("absolute"), "inside");
    assert_eq!(
        std::fs::read_link(place.layer().join("link")).expect("a link"),
        Path::new("/etc/passwd")
    );
    assert!(place.stat("pipe").file_type().is_fifo());
    assert_eq!(place.stat("null").rdev(), rustix::fs::makedev(1, 3));
    assert!(place.stat("disk").file_type().is_block_device());
    assert_eq!(place.read("made/on/the/way"), "x");
}

#[test]
fn nothing_leads_out_of_a_layer() {
    if !is_root() {
        return;
    }
    let check = |layer: Tar, expected: &str| {
        let place = Place::new();
        let error = place.unpack(&layer.bytes()).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    };
    check(Tar::new().file("../outside/x", "x"), "leads out of the layer");
    check(Tar::new().file("a/../../outside/x", "x"), "leads out of the layer");
    check(Tar::new().link(Link, "x", "../outside/secret"), "leads out of the layer");
    check(Tar::new().link(Link, "x", "/etc/passwd"), "which is not in the layer");
    check(
        Tar::new().link(Symlink, "s", "../outside").link(Link, "x", "s/secret"),
        "which is not in the layer",
    );
    check(
        Tar::new().link(Symlink, "s", "../outside").file("s/secret", "x"),
        "has the entry 's/secret'",
    );
    check(
        Tar::new().link(Symlink, "s", "/proc/self/root/etc").file("s/passwd", "x"),
        "has the entry 's/passwd'",
    );
    check(Tar::new().directory("d").link(Link, "x", "d"), "a directory");
    check(Tar::new().device("x", Char, 0, 0), "the device 0:0");
    check(Tar::new().file(".wh..", "x"), "a whiteout of nothing");
    check(Tar::new().file(".wh...", "x"), "a whiteout of nothing");
    check(Tar::new().file(".wh.a/b", "x"), "below a whiteout");
    check(Tar::new().entry(tar::EntryType::new(b'V'), b"x", b"", |_| {}), "its kind 'V'");
    check(Tar::new().record("GNU.sparse.major", b"1").file("x", ""), "sparse");
    check(Tar::new().record("path", b"a\0b").file("x", ""), "zero byte");
}

#[test]
fn links_within_a_layer_are_followed_as_if_it_were_the_root() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let layer = Tar::new()
        .directory("usr/lib")
        .link(Symlink, "lib", "usr/lib")
        .link(Symlink, "etc", "/config")
        .link(Symlink, "up", "../../usr")
        .directory("config")
        .file("lib/a", "a")
        .file("etc/b", "b")
        .file("up/c", "c");
    place.unpack(&layer.bytes()).expect("a layer");
    assert_eq!(
        (place.read("usr/lib/a"), place.read("config/b"), place.read("usr/c")),
        ("a".into(), "b".into(), "c".into())
    );
}

#[test]
fn a_later_entry_replaces_an_earlier_one_and_never_what_that_pointed_to() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let layer = Tar::new()
        .file("target", "kept")
        .link(Symlink, "a", "target")
        .file("a", "new")
        .directory("d")
        .file("d/x", "x")
        .link(Symlink, "d", "/nowhere")
        .link(Symlink, "e", "target")
        .directory("e")
        .file("e/y", "y")
        .link(Link, "target", "target")
        .directory("stays")
        .file("stays/z", "z")
        .directory("stays");
    place.unpack(&layer.bytes()).expect("a layer");
    assert_eq!(
        (place.read("target"), place.read("a"), place.read("e/y")),
        ("kept".into(), "new".into(), "y".into())
    );
    assert!(place.stat("d").is_symlink());
    assert_eq!(place.read("stays/z"), "z");
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let layer = Tar::new()
        .file(".wh.gone", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "")
        .directory("replaced")
        .file(".wh.replaced", "")
        .file(".wh.again", "")
        .directory("again")
        .file(".wh.file", "")
        .file("file", "new")
        .file(".wh..wh.aufs", "")
        .file(".wh..wh.plnk/12.34", "")
        .record("SCHILY.xattr.trusted.overlay.redirect", b"/etc")
        .directory("redirected");
    place.unpack(&layer.bytes()).expect("a layer");
    let hidden = place.stat("gone");
    assert!(hidden.file_type().is_char_device() && hidden.rdev() == 0);
    let opaque =
        |name: &str| attribute(&place.layer().join(name), "trusted.overlay.opaque").is_some();
    assert!(opaque("opaque") && opaque("replaced") && opaque("again"));
    assert_eq!(place.read("file"), "new");
    assert_eq!(attribute(&place.layer().join("redirected"), "trusted.overlay.redirect"), None);
    let mut names: Vec<_> =
        std::fs::read_dir(place.layer()).expect("it").flatten().map(|e| e.file_name()).collect();
    names.sort();
    assert_eq!(names, ["again", "file", "gone", "opaque", "redirected", "replaced"]);
}

#[test]
fn bombs_and_torn_archives_are_refused() {
    if !is_root() {
        return;
    }
    let check = |layer: &[u8], expected: &str| {
        let place = Place::new();
        let error = place.unpack(layer).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    };
    let long = "x".repeat(8 << 20);
    check(
        &gzipped(Tar::new().record("comment", long.as_bytes()).file("x", "").bytes()).0,
        "too long",
    );
    let layer = Tar::new().file("a", &"x".repeat(2000)).bytes();
    check(&layer[..1000], "");
    check(&gzipped(layer).0[..30], "");
    check(b"BZh91AY", "bzip2");
    check(b"\xfd7zXZ\0\0", "xz");
    let deep = "d/".repeat(49);
    let mut layer = Tar::new().directory(&deep);
    for level in 0..8 {
        let way = format!("l{level}");
        let below = if level == 0 {
            "d/".repeat(49)
        } else {
            format!("l{}/{}", level - 1, "d/".repeat(40))
        };
        layer = layer.link(Symlink, &way, &below).directory(&format!("{way}/{}", "d/".repeat(40)));
    }
    check(&layer.file("l7/x", "x").bytes(), "too deep");
}

#[test]
fn zstd_layers_and_plain_ones_are_read() {
    if !is_root() {
        return;
    }
    let layer = Tar::new().file("a", "a").bytes();
    let zstd = zstd::encode_all(layer.as_slice(), 1).expect("it compresses");
    let two = [gzipped(layer[..512].to_vec()).0, gzipped(layer[512..].to_vec()).0].concat();
    for bytes in [layer, zstd, two] {
        let place = Place::new();
        place.unpack(&bytes).expect("a layer");
        assert_eq!(place.read("a"), "a");
    }
}

#[test]
fn copied_layers_look_like_stacked_ones() {
    if !is_root() {
        return;
    }
    let directory = testkit::cluster::temporary_directory();
    let lower = Tar::new()
        .directory("etc")
        .file("etc/a", "lower")
        .file("etc/b", "lower")
        .directory("opaque")
        .file("opaque/old", "lower")
        .directory("tree")
        .file("tree/x", "lower")
        .link(Symlink, "way", "/etc")
        .file("first", "shared")
        .link(Link, "second", "first");
    let upper = Tar::new()
        .file("etc/.wh.a", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "upper")
        .file(".wh.tree", "")
        .directory("way")
        .file("way/a", "upper")
        .device("null", Char, 1, 3);
    let mut layers = Vec::new();
    for (name, layer) in [("lower", lower), ("upper", upper)] {
        let path = directory.join(name);
        std::fs::create_dir(&path).expect("a directory");
        unpack(layer.bytes().as_slice(), &path, false).expect("a layer");
        layers.push(path);
    }
    let root = directory.join("root");
    std::fs::create_dir(&root).expect("a directory");
    copy(&layers, &root).expect("a copy");
    let mut found = BTreeMap::new();
    look(&root, &root, &mut found);
    let expected = [
        ("etc/b", "lower"),
        ("first", "shared"),
        ("null", "?"),
        ("opaque/new", "upper"),
        ("second", "shared"),
        ("way/a", "upper"),
    ];
    let expected = expected.map(|(name, content)| (name.to_owned(), content.to_owned()));
    assert_eq!(found, BTreeMap::from(expected));
    let inode = |name: &str| std::fs::metadata(root.join(name)).expect(name).ino();
    assert_eq!(inode("first"), inode("second"));
    std::fs::remove_dir_all(directory).expect("removed");
}

fn look(root: &Path, directory: &Path, out: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            look(root, &entry.path(), out);
        } else {
            let content = if kind.is_file() {
                std::fs::read_to_string(entry.path()).expect("text")
            } else {
                "?".to_owned()
            };
            let name = entry.path().strip_prefix(root).expect("below").display().to_string();
            out.insert(name, content);
        }
    }
}

/// Entries of archives that are as hostile as chance makes them: few names, so that they meet.
fn entries() -> impl Strategy<Value = Vec<(u8, String, String)>> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just(".."),
        Just("."),
        Just(""),
        Just(".wh.a"),
        Just(".wh..wh..opq"),
        Just("s")
    ];
    let name = prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"));
    let target = prop_oneof![
        name.clone(),
        Just("../outside".to_owned()),
        Just("/outside".to_owned()),
        Just("/".to_owned()),
        Just("../../../../../../etc".to_owned()),
        Just("/proc/self/cwd".to_owned()),
    ];
    let kind = prop_oneof![
        Just(b'0'),
        Just(b'0'),
        Just(b'1'),
        Just(b'2'),
        Just(b'2'),
        Just(b'5'),
        Just(b'3'),
        Just(b'6'),
        any::<u8>()
    ];
    prop::collection::vec((kind, name, target), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever a layer says, what is beside it stays as it is: `Place::unpack` looks.
    #[test]
    fn no_layer_touches_anything_else(entries in entries(), overlay: bool) {
        if is_root() {
            let place = Place::new();
            for (kind, name, target) in &entries {
                let layer = Tar::new().link(tar::EntryType::new(*kind), name, target);
                let _ = unpack(layer.bytes().as_slice(), &place.layer(), overlay);
            }
            let mut layer = Tar::new();
            for (kind, name, target) in &entries {
                layer = layer.link(tar::EntryType::new(*kind), name, target);
            }
            let _ = place.unpack(&layer.bytes());
        }
    }

    #[test]
    fn any_bytes_are_no_layer_or_one(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if is_root() {
            let place = Place::new();
            let _ = place.unpack(&bytes);
        }
    }

    #[test]
    fn any_text_is_a_reference_or_refused(text in "[a-z0-9.:/@_-]{0,60}", noise in ".{0,40}") {
        use containerizer::images::Reference;
        for text in [text, noise] {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(reference.to_string(), text.as_str());
                prop_assert!(!reference.repository.split('/').any(|part| part.is_empty() || part == ".."));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_manifest_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = containerizer::images::Manifest::parse(&bytes);
        let _ = containerizer::images::ImageConfig::parse(&bytes);
        let _ = containerizer::images::Credentials::parse(&bytes);
    }
}
