//! Root file systems and volumes of layers, which each container mounts for itself.

use super::*;
use std::os::unix::fs::FileTypeExt as _;

/// Layers above a root file system, each with a file of its own, and the directories that overlayfs writes to.
fn layers(host: &Host, name: &str, count: usize) -> Root {
    let base = host.directory.join(name);
    let own = |number: usize| base.join(number.to_string());
    for number in 0..count {
        std::fs::create_dir_all(own(number).join("layers")).expect("a directory");
        std::fs::write(own(number).join("layers").join(number.to_string()), "").expect("a file");
    }
    let disk = own(0).join("disk");
    let made = Command::new("mknod").arg(&disk).args(["b", "7", "0"]).status();
    assert!(made.is_ok_and(|status| status.success()), "a device");
    assert!(std::fs::metadata(&disk).expect("it").file_type().is_block_device());
    let [upper, work] = ["upper", "work"].map(|name| base.join(name));
    for directory in [&upper, &work] {
        std::fs::create_dir_all(directory).expect("a directory");
    }
    let lower = (0..count).map(own).chain([host.rootfs()]).collect();
    Root::Layers { lower, upper, work }
}

/// Few layers fit the newer call of the kernel, many do not.
#[tokio::test]
async fn layers_are_mounted_in_the_container_alone() {
    let Some(mut host) = host(LINUX) else { return };
    for count in [1, 7, 120] {
        let name = format!("c{count}");
        let script = "set -- $(ls /layers); echo $#; cat /disk 2>&1 | grep -c denied; \
                      touch /written && ls /written; test ! -e /vol/written && echo clean; \
                      touch /vol/x 2>/dev/null || echo read-only";
        let mut spec = host.spec_in_rootfs(&name, script);
        spec.rootfs = Some(layers(&host, &name, count));
        let volume = host.directory.join(format!("volume-{count}"));
        std::fs::create_dir(&volume).expect("a directory");
        let volume = volume.to_str().expect("text").to_owned();
        spec.container = container(v1::ContainerInfo {
            volumes: vec![v1::Volume {
                mode: v1::volume::Mode::Ro as i32,
                container_path: "/vol".to_owned(),
                host_path: Some(volume.clone()),
                ..Default::default()
            }],
            ..Default::default()
        });
        spec.image_volumes.insert(volume, layers(&host, &format!("{name}-volume"), count));
        assert_eq!(host.output(spec).await, format!("{count}\n1\n/written\nclean\nread-only\n"));
        assert!(host.directory.join(&name).join("upper/written").exists());
        host.assert_no_mounts();
    }
}
