//! Names below a directory.

use super::*;

#[test]
fn arbitrary_names_are_plain_or_refused() {
    let time = std::time::Duration::from_secs(2);
    bolero::check!(name = "names").with_test_time(time).for_each(|bytes: &[u8]| {
        if let Ok(name) = Relative::parse(bytes) {
            let plain = |c| matches!(c, std::path::Component::Normal(_));
            assert!(name.path().components().all(plain));
            assert!(!bytes.contains(&0) && !bytes.starts_with(b"/"));
        }
    });
}

#[test]
fn files_are_made_with_their_parents_and_links_are_not_read() {
    let host = Host::new();
    let parse = |text: &str| Relative::parse(text.as_bytes()).expect("a name");
    let directory = host.directory();
    let mut file = directory.create(&parse("a/./b//c"), 0o640).expect("a file");
    file.write_all(b"x").expect("written");
    assert_eq!((host.text("a/b/c"), host.mode("a/b/c")), ("x".to_owned(), 0o640));
    directory.symlink(&parse("l"), "a/b/c".as_ref()).expect("a link");
    directory.read(&parse("l")).expect_err("it is a link");
    directory.read(&parse("a/b/c")).expect("it is a file");
    directory.make_directory(&parse(".")).expect("it is there");
    directory.create(&parse("."), 0o600).expect_err("it has no name");
    directory.rename(&"l".into(), &parse("x/y")).expect("renamed");
    assert!(names_are(&host.sandbox().join("x"), &["y"]));
}
