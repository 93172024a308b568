//! Files with holes in layers.

use super::{Directory, Tar, is_root};
use containerizer::images::inside::{copy, unpack};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

/// Length of the file.
const LENGTH: u64 = 40 << 20;

/// Makes a file that is hardly anything but holes.
fn make(path: &Path) {
    let file = std::fs::File::create(path).expect("a file");
    file.set_len(LENGTH).expect("a length");
    for (offset, text) in PARTS {
        file.write_all_at(text.as_bytes(), offset).expect("written");
    }
}

const PARTS: [(u64, &str); 3] = [(0, "begin"), (20 << 20, "middle"), ((30 << 20) + 7, "end")];

#[track_caller]
fn check(path: &Path) {
    let content = std::fs::read(path).expect("a file");
    let metadata = path.metadata().expect("a file");
    assert_eq!(metadata.len(), LENGTH);
    for (offset, text) in PARTS {
        let at = usize::try_from(offset).expect("small");
        assert_eq!(&content[at..at + text.len()], text.as_bytes());
    }
    let written: usize = PARTS.iter().map(|(_, text)| text.len()).sum();
    assert_eq!(content.iter().filter(|byte| **byte != 0).count(), written);
    assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
}

#[test]
fn files_keep_their_holes() {
    if !is_root() {
        return;
    }
    let directory = Directory::new();
    let tree = directory.join("tree");
    std::fs::create_dir(&tree).expect("a directory");
    make(&tree.join("holes"));
    check(&tree.join("holes"));
    std::fs::write(tree.join("other"), "other").expect("a file");
    for (number, format) in [
        "--format=gnu",
        "--format=posix --sparse-version=0.0",
        "--format=posix --sparse-version=0.1",
        "--format=posix --sparse-version=1.0",
    ]
    .into_iter()
    .enumerate()
    {
        let packed = Command::new("tar")
            .args(["--sparse", "-C"])
            .arg(&tree)
            .args(format.split(' '))
            .args(["-cf", "-", "."])
            .output()
            .expect("tar runs");
        assert!(packed.status.success(), "{packed:?}");
        assert!(packed.stdout.len() < 1 << 20, "{format}");
        let layer = directory.join(&format!("layer{number}"));
        std::fs::create_dir(&layer).expect("a directory");
        unpack(packed.stdout.as_slice(), &layer, false).expect(format);
        let root = directory.join(&format!("root{number}"));
        std::fs::create_dir(&root).expect("a directory");
        copy(std::slice::from_ref(&layer), &root).expect("a copy");
        for place in [&layer, &root] {
            check(&place.join("holes"));
            assert_eq!(std::fs::read(place.join("other")).expect("a file"), b"other");
            assert_eq!(std::fs::read_dir(place).expect("a directory").count(), 2, "{format}");
        }
    }
}

#[test]
fn malformed_holes_are_refused() {
    if !is_root() {
        return;
    }
    let check = |records: &[(&str, &str)], content: &str, expected: &str| {
        let directory = Directory::new();
        let key = |name: &str| format!("GNU.sparse.{name}");
        let mut layer = Tar::new();
        // All in one header: of several only the last counts.
        let mut body = Vec::new();
        for (name, value) in records {
            let key = key(name);
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..).find(|n| *n == rest + n.to_string().len()).expect("one");
            body.extend(format!("{length} {key}={value}\n").bytes());
        }
        layer = layer.entry(tar::EntryType::XHeader, b"PaxHeaders", &body, |_| {});
        let layer = layer.file("x", content).bytes();
        let error = unpack(layer.as_slice(), &directory.0, false).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    };
    let version1 = |size: &'static str| [("major", "1"), ("minor", "0"), ("realsize", size)];
    let malformed = "a sparse file whose parts are malformed";
    for content in ["", "x", "1\n0\n", "1\n5\n6\n", "2\n4\n2\n3\n1\n", "99999999999999999999999\n"]
    {
        check(&version1("10"), content, malformed);
    }
    check(&version1("10"), "1048577\n", "more than 1048576 parts");
    check(&version1("10"), "1\n0\n2\n", "unexpected end of file");
    check(&version1("999999999999999"), "0\n", "it is longer than");
    check(&[("major", "2"), ("minor", "0"), ("realsize", "1")], "", "version 2.0");
    check(&[("map", "0,1")], "x", malformed);
    check(&[("size", "5"), ("map", "0,1,2")], "x", malformed);
    check(&[("size", "5"), ("map", "-1,1")], "x", malformed);
    check(&[("size", "1"), ("map", "0,1"), ("name", "../x")], "x", "leads out of the layer");
    check(&[("size", "5"), ("offset", "3")], "x", malformed);
}
