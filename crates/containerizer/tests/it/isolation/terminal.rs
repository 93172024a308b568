//! Containers with a terminal.

use super::*;

#[tokio::test]
async fn a_terminal_has_its_size_its_owner_and_its_output_in_the_sandbox() {
    for isolation in ["posix/cpu", "filesystem/linux", LINUX] {
        let Some(mut host) = host(isolation) else { return };
        let script = "test -t 0 && test -t 1 && test -t 2 && echo a terminal; stty size; \
                      stat -c %U $(tty); echo x > /dev/tty; exit 3";
        let has_rootfs = isolation == LINUX;
        let mut spec = match has_rootfs {
            true => host.spec_in_rootfs("a", script),
            false => host.spec("a", script),
        };
        spec.user = Some("nobody".to_owned());
        let size = v1::tty_info::WindowSize { rows: 33, columns: 99 };
        spec.container = container(v1::ContainerInfo {
            tty_info: Some(v1::TtyInfo { window_size: Some(size) }),
            ..Default::default()
        });
        let (status, seen, _) = host.run(spec).await;
        // The image does not know the name.
        let owner = if has_rootfs { "UNKNOWN" } else { "nobody" };
        assert_eq!(seen, format!("a terminal\r\n33 99\r\n{owner}\r\nx\r\n"), "{isolation}");
        assert_eq!(status, Some(3 << 8));
    }
}

#[tokio::test]
async fn all_that_was_written_is_kept() {
    let Some(mut host) = host("filesystem/linux") else { return };
    let mut spec = host.spec("a", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done");
    spec.container = container(v1::ContainerInfo {
        tty_info: Some(v1::TtyInfo::default()),
        ..Default::default()
    });
    let seen = host.output(spec).await;
    assert_eq!(seen.lines().count(), 20_000);
    assert!(seen.ends_with("line 19999\r\n"));
}
