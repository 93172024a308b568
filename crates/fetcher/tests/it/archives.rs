//! What is unpacked, by name and content.

use super::*;
use base64::Engine as _;

fn sample() -> Vec<u8> {
    tar_of(&[
        directory("./"),
        directory("d/"),
        Item(tar::EntryType::Regular, b"d/program", b"", 0o6777, b"#!/bin/sh"),
        file("a/b/c", "deep"),
        symlink("link", "d/program"),
        hard_link("hard", "a/b/c"),
    ])
}

#[track_caller]
fn holds_sample(name: &str, bytes: &[u8]) {
    let host = Host::new();
    assert_eq!(host.extract(name, bytes), Ok(()), "{name}");
    assert_eq!(host.text("a/b/c"), "deep");
    assert_eq!(host.text("link"), "#!/bin/sh");
    assert_eq!(host.text("hard"), "deep");
    assert_eq!(host.mode("d/program"), 0o755, "no set-user-id, nothing writable for others");
    let modified = host.sandbox().join("a/b/c").metadata().expect("a file").modified();
    let modified = modified.expect("a time").duration_since(std::time::UNIX_EPOCH);
    assert_eq!(modified.expect("after 1970").as_secs(), 1_000_000_000);
    assert!(names_are(&host.sandbox(), &["a", "d", "hard", "link"]));
}

#[test]
fn every_compression_is_known_by_its_content() {
    let plain = sample();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).expect("memory");
    let bzip2 = bzip2.finish().expect("memory");
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1))
        .expect("an encoder");
    xz.write_all(&plain).expect("memory");
    let xz = xz.finish().expect("memory");
    let zstd = zstd::encode_all(&plain[..], 1).expect("memory");
    holds_sample("x.tar", &plain);
    holds_sample("x.tgz", &gzip(&plain));
    holds_sample("x.tar.gz", &gzip(&plain));
    holds_sample("x.tbz2", &bzip2);
    holds_sample("x.tar.bz2", &bzip2);
    holds_sample("x.txz", &xz);
    holds_sample("x.tar.xz", &xz);
    holds_sample("x.tar.zst", &zstd);
    holds_sample("x.tzst", &zstd);
    // The ending only says that it is an archive.
    holds_sample("x.tar.gz", &plain);
    holds_sample("x.tar", &xz);
    holds_sample("x.zip", &zstd);
    // Compressed in two pieces.
    let half = plain.len() / 2;
    holds_sample("x.tgz", &[gzip(&plain[..half]), gzip(&plain[half..])].concat());
}

#[test]
fn endings_tell_an_archive() {
    for name in ["a.tar", "a.tgz", "a.tar.gz", "a.tbz2", "a.tar.bz2", "a.txz", "a.tar.xz", "a.zip"]
    {
        assert_eq!((Form::of(name), Form::is_own(name)), (Some(Form::Tree), false), "{name}");
    }
    for name in ["a.tar.zst", "a.tzst"] {
        assert_eq!((Form::of(name), Form::is_own(name)), (Some(Form::Tree), true), "{name}");
    }
    assert_eq!(Form::of("a.gz"), Some(Form::Single(".gz")));
    assert_eq!(Form::of("a.zst"), Some(Form::Single(".zst")));
    for name in ["a", "a.bz2", "a.xz", "a.jar", "tar", "a.tar.gz?x=1", ""] {
        assert_eq!(Form::of(name), None, "{name}");
    }
}

#[test]
fn a_single_compressed_file_loses_its_ending() {
    let host = Host::new();
    assert_eq!(host.extract("text.gz", &[gzip(b"one"), gzip(b"two")].concat()), Ok(()));
    assert_eq!(host.text("text"), "onetwo");
    let zstd = zstd::encode_all(&b"three"[..], 1).expect("memory");
    assert_eq!(host.extract("sub/more.zst", &zstd), Ok(()));
    assert_eq!(host.text("more"), "three", "beside, not below, as with the peer");
    let error = host.extract("plain.gz", b"not compressed").expect_err("it is not");
    assert_eq!(error, "the file is not compressed");
    assert!(host.extract(".gz", &gzip(b"x")).is_err());
    let cut = &gzip(&[b'x'; 10_000])[..20];
    host.extract("cut.gz", cut).expect_err("half of it is missing");
}

#[test]
fn what_is_there_is_replaced_except_directories() {
    let host = Host::new();
    let sandbox = host.sandbox();
    std::fs::write(sandbox.join("f"), "old").expect("a file");
    std::fs::write(host.base.join("kept"), "kept").expect("a file");
    std::os::unix::fs::symlink(host.base.join("kept"), sandbox.join("l")).expect("a link");
    std::fs::create_dir(sandbox.join("d")).expect("a directory");
    std::fs::write(sandbox.join("d/stays"), "").expect("a file");
    let archive = tar_of(&[file("f", "new"), file("l", "new"), directory("d"), file("d/x", "")]);
    assert_eq!(host.extract("x.tar", &archive), Ok(()));
    assert_eq!((host.text("f"), host.text("l")), ("new".to_owned(), "new".to_owned()));
    let kept = std::fs::read_to_string(host.base.join("kept")).expect("it is there");
    assert_eq!(kept, "kept", "the link was replaced, not what it pointed to");
    assert!(names_are(&sandbox.join("d"), &["stays", "x"]));
    let error = host.extract("x.tar", &tar_of(&[file("d", "")])).expect_err("a directory");
    assert!(error.contains("Failed to replace"), "{error}");
    let error = host.extract("x.tar", &tar_of(&[directory("f")])).expect_err("a file");
    assert!(error.contains("Failed to"), "{error}");
}

#[test]
fn long_names_and_empty_archives() {
    let host = Host::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o600);
    builder.append_data(&mut header, &long, &b"ok"[..]).expect("memory");
    assert_eq!(host.extract("x.tar", &builder.into_inner().expect("memory")), Ok(()));
    assert_eq!(host.text(&long), "ok");
    assert_eq!(host.extract("x.tar", &tar_of(&[])), Ok(()), "nothing but its end");
    let error = host.extract("x.tar", b"this is no archive at all").expect_err("it is none");
    assert!(error.contains("Failed to read archive header"), "{error}");
    let error = host.extract("x.tar", &[b'x'; 2000]).expect_err("it is none");
    assert!(error.contains("Failed to read archive header"), "{error}");
    let whole = tar_of(&[file("f", "content")]);
    host.extract("x.tar", &whole[..515]).expect_err("half of it is missing");
}

/// Archives of the peer's own tests: one file, one with a wrong checksum, one with a name that comes twice.
const ZIPS: [&str; 3] = [
    "UEsDBAoAAAAAABBRc0gtOwivDAAAAAwAAAAFABwAaGVsbG9VVAkAAxAX7VYQF+1WdXgLAAEE6AMAAARkAAAAaGVsbG8gd29ybGQKUEsBAh4DCgAAAAAAEFFzSC07CK8MAAAADAAAAAUAGAAAAAAAAQAAAKSBAAAAAGhlbGxvVVQFAAMQF+1WdXgLAAEE6AMAAARkAAAAUEsFBgAAAAABAAEASwAAAEsAAAAAAA==",
    "UEsDBAoAAAAAABBRc0gtOwivDAAAAAwAAAAFABwAd29ybGRVVAkAAxAX7VYQF+1WdXgLAAEE6AMAAARkAAAAaGVsbG8gaGVsbG8KUEsBAh4DCgAAAAAAEFFzSC07CK8MAAAADAAAAAUAGAAAAAAAAQAAAKSBAAAAAHdvcmxkVVQFAAMQF+1WdXgLAAEE6AMAAARkAAAAUEsFBgAAAAABAAEASwAAAEsAAAAAAA==",
    "UEsDBBQAAAAAADC2cki379yDAQAAAAEAAAABAAAAQTFQSwMEFAAAAAAAMrZySA2+1RoBAAAAAQAAAAEAAABBMlBLAQIUAxQAAAAAADC2cki379yDAQAAAAEAAAABAAAAAAAAAAAAAACAAQAAAABBUEsBAhQDFAAAAAAAMrZySA2+1RoBAAAAAQAAAAEAAAAAAAAAAAAAAIABIAAAAEFQSwUGAAAAAAIAAgBeAAAAQAAAAAAA",
];

#[test]
fn zip_archives_of_the_peers_tests() {
    let decode = |text| base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    let host = Host::new();
    assert_eq!(host.extract("x.zip", &decode(ZIPS[0])), Ok(()));
    assert_eq!((host.text("hello"), host.mode("hello")), ("hello world\n".to_owned(), 0o644));
    let error = host.extract("x.zip", &decode(ZIPS[1])).expect_err("a wrong checksum");
    assert!(error.contains("world"), "{error}");
    assert_eq!(host.extract("x.zip", &decode(ZIPS[2])), Ok(()));
    assert_eq!(host.text("A"), "2", "the last one counts");
}

#[test]
fn zip_archives_have_directories_links_and_modes() {
    use zip::CompressionMethod as Method;
    use zip::write::SimpleFileOptions;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    writer.add_directory("d", options).expect("memory");
    for (name, method) in [
        ("d/a", Method::Stored),
        ("d/b", Method::Deflated),
        ("d/c", Method::Bzip2),
        ("d/d", Method::Zstd),
    ] {
        let options = options.compression_method(method).unix_permissions(0o4711);
        writer.start_file(name, options).expect("memory");
        writer.write_all(name.as_bytes()).expect("memory");
    }
    writer.add_symlink("l", "d/b", options).expect("memory");
    let bytes = writer.finish().expect("memory").into_inner();
    let host = Host::new();
    assert_eq!(host.extract("x.zip", &bytes), Ok(()));
    for name in ["d/a", "d/b", "d/c", "d/d"] {
        assert_eq!((host.text(name), host.mode(name)), (name.to_owned(), 0o711));
    }
    assert_eq!(host.text("l"), "d/b");
}
