//! Root file systems.

use super::*;

#[tokio::test]
async fn a_container_sees_its_root_and_its_sandbox_and_nothing_of_the_host() {
    let Some(mut host) = host(LINUX) else { return };
    let spec = host.spec_in_rootfs(
        "a",
        "pwd; echo $MESOS_SANDBOX; echo kept > file; ls /; ls -d /root /home /usr/share; exit 0",
    );
    let seen = host.output(spec).await;
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..2], ["/mnt/mesos/sandbox", "/mnt/mesos/sandbox"]);
    for name in ["bin", "dev", "etc", "mnt", "proc", "sys", "tmp"] {
        assert!(lines.contains(&name), "{name} is missing: {seen}");
    }
    assert!(!seen.contains("/home") && !seen.contains("/usr/share"), "{seen}");
    assert_eq!(std::fs::read_to_string(host.sandbox("a").join("file")).expect("a file"), "kept\n");
}

#[tokio::test]
async fn proc_sys_and_dev_are_there_and_show_the_container_only() {
    let Some(mut host) = host(LINUX) else { return };
    let script = "
        ls /proc | grep -c '^[0-9]'
        echo x > /proc/sys/kernel/hostname || echo read-only proc/sys
        mkdir /sys/fs/cgroup/x && echo private cgroup directory
        touch /sys/x || echo read-only sys
        ls /dev /dev/pts
        echo lost > /dev/null; head -c 3 /dev/zero | wc -c; stat -c '%t %T %a' /dev/urandom
        stat -f -c %T /dev/shm; readlink /dev/ptmx
        cat /proc/kcore /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l; ls /proc/scsi
        echo hello >> /dev/stdout";
    let spec = host.spec_in_rootfs("a", script);
    let seen = host.output(spec).await;
    let (first, rest) = seen.split_once('\n').expect("lines");
    // The init, the shell, and the two of the line itself.
    assert_eq!(first, "4", "{seen}");
    let expected = "read-only proc/sys\nprivate cgroup directory\nread-only sys\n/dev:\nfd\nfull\nnull\nptmx\npts\n\
        random\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\n/dev/pts:\nptmx\n3\n1 9 666\ntmpfs\npts/ptmx\n0\n0\nhello\n";
    assert_eq!(rest, expected);
}

/// The kernel looks at each mounted file system whenever a cgroup goes.
#[tokio::test]
async fn what_is_in_memory_is_one_file_system() {
    let Some(mut host) = host(LINUX) else { return };
    let script = "set -- $(stat -c %d /dev /dev/shm /sys/fs/cgroup); test $1 = $2 && test $2 = $3 && echo one; \
                  stat -c %a /dev /dev/shm /sys/fs/cgroup; ls /dev/shm /sys/fs/cgroup; \
                  touch /dev/shm/x && ls /dev/shm; ls /dev | grep -c x; mknod /dev/shm/null c 1 3; \
                  echo > /dev/shm/null 2>/dev/null || echo no device";
    let seen = host.output(host.spec_in_rootfs("a", script)).await;
    let expected = "one\n755\n1777\n755\n/dev/shm:\n\n/sys/fs/cgroup:\nx\n1\nno device\n";
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn volumes_appear_in_the_root_and_in_the_sandbox() {
    let Some(mut host) = host(LINUX) else { return };
    let data = host.directory.join("data");
    std::fs::create_dir(&data).expect("a directory");
    std::fs::write(data.join("file"), "of the host\n").expect("a file");
    let script = "cat /deep/in/the/root/file here/file volume/kept; touch here/x || echo read-only; \
                  echo new > volume/new; touch read/x || echo read-only";
    let mut spec = host.spec_in_rootfs("a", script);
    let volume = |path: &str, mode: v1::volume::Mode| v1::Volume {
        mode: mode as i32,
        container_path: path.to_owned(),
        host_path: Some(data.display().to_string()),
        ..Default::default()
    };
    spec.container = container(v1::ContainerInfo {
        volumes: vec![
            volume("/deep/in/the/root", v1::volume::Mode::Rw),
            volume("here", v1::volume::Mode::Ro),
        ],
        ..Default::default()
    });
    let kept = host.directory.join("volumes/kept");
    std::fs::create_dir_all(&kept).expect("a directory");
    std::fs::write(kept.join("kept"), "persistent\n").expect("a file");
    let persistent = |path: &str, read_only| containerizer::MountedVolume {
        path: kept.display().to_string(),
        container_path: path.to_owned(),
        exclusive: true,
        read_only,
    };
    spec.volumes = vec![persistent("volume", false), persistent("read", true)];
    let seen = host.output(spec).await;
    assert_eq!(seen, "of the host\nof the host\npersistent\nread-only\nread-only\n");
    assert_eq!(std::fs::read_to_string(kept.join("new")).expect("written"), "new\n");
    assert!(host.sandbox("a").join("volume").read_dir().expect("a mount point").next().is_none());
}

#[tokio::test]
async fn users_are_those_of_the_host_and_else_of_the_image() {
    let Some(mut host) = host(LINUX) else { return };
    let script = "id -u; id -g; id -G; echo x > mine && stat -c %u mine";
    let mut spec = host.spec_in_rootfs("a", script);
    spec.user = Some("imaged".to_owned());
    assert_eq!(host.output(spec).await, "4321\n4322\n4322 4400\n4321\n");
    let mut spec = host.spec_in_rootfs("b", script);
    spec.user = Some("nobody".to_owned());
    assert_eq!(host.output(spec).await.lines().next(), Some("65534"));
    for (user, text) in [
        ("fakeroot", "the user 'fakeroot' of the image is root, under another name"),
        ("nowhere", "there is no user 'nowhere' on this host, nor in the image"),
    ] {
        let mut spec = host.spec_in_rootfs("c", script);
        spec.user = Some(user.to_owned());
        let refused = host.mesos.start(spec).await.expect_err("refused");
        assert_eq!(refused, StartError::Sandbox(text.to_owned()));
    }
}

#[tokio::test]
async fn allowed_devices_are_there() {
    let device = v1::Device { path: Some("/dev/kmsg".to_owned()), number: None };
    let access = v1::device_access::Access { read: Some(true), write: None, mknod: None };
    let allowed_devices = vec![v1::DeviceAccess { device, access }];
    let cgroups = cgroups::Options { allowed_devices, ..Default::default() };
    let isolation = "filesystem/linux,linux/devices";
    let Some(host) = host(isolation) else { return };
    let isolation = Selection::new(isolation, Some(Launcher::Posix), cgroups).expect("known");
    let mut host = Host::with(host.directory.clone(), isolation);
    let spec = host.spec_in_rootfs("a", "stat -c '%t %T %a' /dev/kmsg");
    assert_eq!(host.output(spec).await, "1 b 644\n");
}

#[tokio::test]
async fn a_container_sees_its_own_cgroups_and_can_not_raise_its_limits() {
    let root = format!("proffer-test-{}-rootfs", std::process::id());
    let options = cgroups::Options { root: root.clone(), ..Default::default() };
    let isolation = "filesystem/linux,cgroups/mem,cgroups/cpu";
    let Some(host) = host(isolation) else { return };
    if !has_a_root_to_leave() {
        return;
    }
    let selection = Selection::new(isolation, Some(Launcher::Linux), options);
    let selection = match selection.and_then(|s| s.check_cgroups().map(|()| s)) {
        Ok(selection) => selection,
        Err(reason) => {
            eprintln!("skipped: no cgroups for tests: {reason}");
            return;
        }
    };
    let mut host = Host::with(host.directory.clone(), selection);
    let script = "
        cd /sys/fs/cgroup
        for file in memory/memory.limit_in_bytes memory.max; do
            if [ -e $file ]; then cat $file; (echo 100000000 > $file) 2>/dev/null || echo kept; fi
        done
        grep -c . memory/cgroup.procs cgroup.procs 2>/dev/null | grep -v :0 | head -n 1 | wc -l
        if [ -e memory/tasks ]; then mkdir memory/own 2>/dev/null && echo made; fi
        exit 0";
    let memory = v1::Resource {
        name: "mem".to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value: 64.0 }),
        ..Default::default()
    };
    for (id, user, made) in [("root", None, ""), ("user", Some("nobody"), "made\n")] {
        let mut spec = host.spec_in_rootfs(id, script);
        spec.resources = vec![memory.clone()];
        spec.user = user.map(str::to_owned);
        let is_v1 = Path::new("/sys/fs/cgroup/memory/tasks").exists();
        let made = if is_v1 { made } else { "" };
        assert_eq!(host.output(spec).await, format!("67108864\nkept\n1\n{made}"), "{id}");
    }
    let left: Vec<PathBuf> = testkit::cgroups::roots(&root)
        .iter()
        .flat_map(|root| std::fs::read_dir(root).expect("a cgroup").flatten())
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    testkit::cgroups::remove(&root);
}

/// Nobody leaves the root that the kernel started with.
fn has_a_root_to_leave() -> bool {
    let table = std::fs::read_to_string("/proc/self/mounts").expect("a table of mounts");
    let is_first = table
        .lines()
        .any(|line| line.starts_with("rootfs / ") || line.starts_with("none / rootfs"));
    if is_first {
        eprintln!("skipped: the root of this host is the one that the kernel started with");
    }
    !is_first
}

#[tokio::test]
async fn where_there_is_only_version_2_its_tree_begins_with_the_container() {
    let tree = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    let tree = tree.into_iter().find(|tree| tree.join("cgroup.controllers").exists());
    let (Some(hierarchy), Some(host)) = (tree, host("filesystem/linux")) else {
        eprintln!("skipped: there are no cgroups of version 2, or this is not root");
        return;
    };
    if !has_a_root_to_leave() {
        return;
    }
    let root = format!("proffer-test-{}-v2", std::process::id());
    let options = cgroups::Options { root: root.clone(), hierarchy, ..Default::default() };
    let selection = Selection::new("filesystem/linux", Some(Launcher::Linux), options);
    let mut host = Host::with(host.directory.clone(), selection.expect("isolators"));
    let script = "cd /sys/fs/cgroup; grep -c . cgroup.procs | grep -v 0 | wc -l; \
                  mkdir own 2>/dev/null || echo kept; (echo 1 > cgroup.freeze) 2>/dev/null || echo kept";
    let spec = host.spec_in_rootfs("a", script);
    assert_eq!(host.output(spec).await, "1\nkept\nkept\n");
    testkit::cgroups::remove(&root);
}

#[tokio::test]
async fn a_root_that_can_not_be_used_is_a_failed_launch() {
    let Some(host) = host(LINUX) else { return };
    let mut spec = host.spec("a", "true");
    spec.rootfs = Some(Root::directory("/no/such/root"));
    let text = host.refusal(spec).await;
    assert_eq!(
        text,
        "cannot use the root file system /no/such/root: No such file or directory (os error 2)"
    );
}
