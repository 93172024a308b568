//! Archives that try to get out, or to put into the sandbox what does not belong there.

use super::*;
use std::io::Cursor;

#[track_caller]
fn refused(items: &[Item<'_>], why: &str) {
    let host = Host::new();
    for (name, bytes) in [("x.tar", tar_of(items)), ("x.tgz", gzip(&tar_of(items)))] {
        let error = host.extract(name, &bytes).expect_err("refused");
        assert!(error.contains(why), "{error}");
        assert!(host.is_untouched());
    }
}

#[test]
fn names_that_lead_out_are_refused() {
    refused(&[file("/etc/evil", "x")], "the name '/etc/evil' is absolute");
    refused(&[file("../outside/evil", "x")], "the name '../outside/evil' has '..' in it");
    refused(&[file("a/../../outside/evil", "x")], "has '..' in it");
    refused(&[directory("..")], "has '..' in it");
    refused(&[symlink("../evil", "x")], "has '..' in it");
    refused(&[file("./", "x")], "has no name");
}

#[test]
fn nothing_goes_through_a_link_that_leads_out() {
    let host = Host::new();
    let outside = host.base.join("outside").display().to_string();
    for target in [outside.as_str(), "../outside", "d/../../outside"] {
        let through = [directory("d"), symlink("out", target), file("out/evil", "x")];
        let error = host.extract("x.tar", &tar_of(&through)).expect_err("refused");
        assert!(error.contains("leads out of"), "{error}");
        let deep = [symlink("out", target), directory("out/deep/er")];
        let error = host.extract("x.tar", &tar_of(&deep)).expect_err("refused");
        assert!(error.contains("leads out of"), "{error}");
        let chain = [symlink("b", target), symlink("a", "b"), file("a/evil", "x")];
        let error = host.extract("x.tar", &tar_of(&chain)).expect_err("refused");
        assert!(error.contains("leads out of"), "{error}");
        assert!(host.is_untouched());
    }
    // The link by itself is a name, and may mean something where the task runs.
    let link = [symlink("python3", "/usr/bin/python3")];
    assert_eq!(host.extract("x.tar", &tar_of(&link)), Ok(()));
    // A file in the place of a link replaces it.
    let file = [symlink("f", "../outside/evil"), file("f", "x")];
    assert_eq!(host.extract("x.tar", &tar_of(&file)), Ok(()));
    assert_eq!(host.text("f"), "x");
    // A link inside is as good as a directory.
    let inside = [directory("lib64"), symlink("lib", "lib64"), super::file("lib/x", "y")];
    assert_eq!(host.extract("x.tar", &tar_of(&inside)), Ok(()));
    assert_eq!(host.text("lib64/x"), "y");
    assert!(host.is_untouched());
}

#[test]
fn links_of_a_former_archive_count_as_well() {
    let host = Host::new();
    assert_eq!(host.extract("x.tar", &tar_of(&[symlink("out", "../outside")])), Ok(()));
    let error = host.extract("y.tar", &tar_of(&[file("out/evil", "x")])).expect_err("refused");
    assert!(error.contains("leads out of"), "{error}");
    let output = Relative::parse(b"out/evil").expect("a name");
    host.directory().create(&output, 0o644).expect_err("refused");
    assert!(host.is_untouched());
}

#[test]
fn hard_links_to_what_is_outside_are_refused() {
    let host = Host::new();
    let secret = host.base.join("secret");
    std::fs::write(&secret, "secret").expect("a file");
    let shown = secret.display().to_string();
    for (target, why) in [(shown.as_str(), "is absolute"), ("../secret", "has '..' in it")] {
        let error = host.extract("x.tar", &tar_of(&[hard_link("l", target)])).expect_err("refused");
        assert!(error.contains(why), "{error}");
    }
    let through = [symlink("up", ".."), hard_link("l", "up/secret")];
    let error = host.extract("x.tar", &tar_of(&through)).expect_err("refused");
    assert!(error.contains("leads out of"), "{error}");
    // Of a symbolic link, the link.
    let of_link = [symlink("s", "../secret"), hard_link("l", "s")];
    assert_eq!(host.extract("x.tar", &tar_of(&of_link)), Ok(()));
    let link = host.sandbox().join("l").symlink_metadata().expect("a link");
    assert!(link.file_type().is_symlink());
    host.extract("x.tar", &tar_of(&[hard_link("l", "missing")])).expect_err("there is none");
    let itself = [file("i", "x"), hard_link("i", "i")];
    assert_eq!(host.extract("x.tar", &tar_of(&itself)), Ok(()));
    assert_eq!(host.text("i"), "x");
}

#[test]
fn devices_and_pipes_are_refused() {
    for kind in [tar::EntryType::Char, tar::EntryType::Block, tar::EntryType::Fifo] {
        let host = Host::new();
        let archive = tar_of(&[Item(kind, b"x", b"", 0o666, b"")]);
        let error = host.extract("x.tar", &archive).expect_err("refused");
        assert!(error.contains("'x' is neither file, directory nor link"), "{error}");
        assert!(names_are(&host.sandbox(), &[]));
    }
}

/// A zip archive with a raw name and mode.
fn zip_of(name: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let placeholder = "n".repeat(name.len());
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .unix_permissions(0o644);
    writer.start_file(&placeholder, options).expect("memory");
    writer.write_all(content).expect("memory");
    let mut bytes = writer.finish().expect("memory").into_inner();
    let places: Vec<usize> = bytes
        .windows(name.len())
        .enumerate()
        .filter(|(_, window)| *window == placeholder.as_bytes())
        .map(|(at, _)| at)
        .collect();
    for at in &places {
        bytes[*at..at + name.len()].copy_from_slice(name.as_bytes());
    }
    // External attributes, eight bytes before the name in the central directory.
    let central = places[1];
    bytes[central - 8..central - 4].copy_from_slice(&(mode << 16).to_le_bytes());
    bytes
}

#[test]
fn zip_archives_get_nowhere_else_either() {
    let host = Host::new();
    for (name, why) in
        [("/evil", "is absolute"), ("../evil", "has '..' in it"), ("a/../../e", "has '..'")]
    {
        let error = host.extract("x.zip", &zip_of(name, 0o100_644, b"x")).expect_err("refused");
        assert!(error.contains(why), "{error}");
    }
    let error = host.extract("x.zip", &zip_of("dev", 0o020_644, b"x")).expect_err("refused");
    assert!(error.contains("neither file, directory nor link"), "{error}");
    assert_eq!(host.extract("x.zip", &zip_of("out", 0o120_777, b"../outside")), Ok(()));
    let error = host.extract("x.zip", &zip_of("out/evil", 0o100_644, b"x")).expect_err("refused");
    assert!(error.contains("leads out of"), "{error}");
    let long = vec![b'x'; 5000];
    let error = host.extract("x.zip", &zip_of("long", 0o120_777, &long)).expect_err("refused");
    assert!(error.contains("too long"), "{error}");
    assert_eq!(host.extract("x.zip", &zip_of("suid", 0o106_755, b"x")), Ok(()));
    assert_eq!(host.mode("suid"), 0o755);
    assert!(host.is_untouched());
}

#[test]
fn arbitrary_archives_stay_in_the_sandbox_and_never_panic() {
    let host = Host::new();
    let time = std::time::Duration::from_secs(5);
    bolero::check!(name = "archives").with_test_time(time).for_each(|bytes: &[u8]| {
        // Some begin as archives do.
        let starts: [&[u8]; 6] = [
            b"",
            b"PK\x03\x04",
            b"\xfd7zXZ\0",
            b"BZh9",
            &[0x28, 0xb5, 0x2f, 0xfd],
            &[0x1f, 0x8b, 8],
        ];
        let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
        let bytes = [starts[usize::from(*first) % starts.len()], rest].concat();
        for name in ["x.tar", "x.gz"] {
            let _ = host.extract(name, &bytes);
        }
        assert!(host.is_untouched());
    });
}

#[test]
fn arbitrary_entries_stay_in_the_sandbox() {
    use tar::EntryType as Type;
    let host = Host::new();
    let time = std::time::Duration::from_secs(5);
    let kinds =
        [Type::Regular, Type::Directory, Type::Symlink, Type::Link, Type::Char, Type::GNUSparse];
    let parts = ["a", "b", "..", ".", "", "outside", "sandbox", "\n"];
    let name = |numbers: &[u8]| {
        let parts: Vec<&str> =
            numbers.iter().map(|n| parts[usize::from(*n) % parts.len()]).collect();
        parts.join("/").into_bytes()
    };
    bolero::check!(name = "entries")
        .with_type::<Vec<(u8, Vec<u8>, Vec<u8>, u16)>>()
        .with_test_time(time)
        .for_each(|entries| {
            let _ = std::fs::remove_dir_all(host.sandbox());
            std::fs::create_dir(host.sandbox()).expect("a sandbox");
            for (kind, from, to, mode) in entries.iter().take(12) {
                let kind = kinds[usize::from(*kind) % kinds.len()];
                let (from, to) = (name(&from[..from.len().min(5)]), name(&to[..to.len().min(5)]));
                let content: &[u8] = if kind == Type::Regular { b"x" } else { b"" };
                let item = Item(kind, &from, &to, u32::from(*mode), content);
                let _ = host.extract("x.tar", &tar_of(&[item]));
            }
            assert!(host.is_untouched());
        });
}
