//! Images whose links lead out of them.

use super::{Node, says};
use crate::images::{Temporary, layer, needed};
use crate::tasks::nodes;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use testkit::registry::{Registry, sha256};

/// A layer of these files alone, without the directories that they are in.
fn files(directory: &Path, names: &[&str]) -> (Vec<u8>, String) {
    for name in names {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, "stolen").expect("a file");
    }
    let made = Command::new("tar").arg("-C").arg(directory).args(["-cf", "-"]).args(names).output();
    let bytes = made.expect("tar runs").stdout;
    let digest = sha256(&bytes);
    (bytes, digest)
}

#[test]
fn links_of_an_image_lead_nobody_out_of_it() {
    let Some(busybox) = needed() else { return };
    for flags in nodes().into_iter().filter(|flags| flags[0].contains("filesystem/linux")) {
        let Some(registry) = Registry::start("", &[]) else { return };
        let store = Temporary::new();
        let isolation = format!("{},docker/runtime", flags[0]);
        let more = [
            "--image_providers=docker".to_owned(),
            format!("--docker_registry=http://{}", registry.address),
            format!("--docker_store_dir={}", store.0.display()),
        ];
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let mut node = Node::start(&[&isolation, flags[1]], &more);
        let victim = node.file("victim");
        std::fs::create_dir(&victim).expect("a directory");

        let root = registry.directory.join("root");
        crate::images::furnish(&root, &busybox);
        let climb = format!("../../../../../../../../../../../..{}", victim.display());
        symlink(&victim, root.join("absolute")).expect("a link");
        symlink(climb, root.join("climbing")).expect("a link");
        let stolen = files(&registry.directory.join("files"), &["absolute/a", "climbing/b"]);
        let run = json!({"Env": ["PATH=/bin"]});
        registry.push_image("climber", "latest", &[layer(&root), stolen], &run);
        std::fs::remove_dir(root.join("work")).expect("removed");
        symlink(&victim, root.join("dev")).expect("a link");
        registry.push_image("linked", "latest", &[layer(&root)], &run);

        let source = node.file("source");
        std::fs::create_dir(&source).expect("a directory");
        let image = |name: &str, path: &str| {
            let volume = json!({"container_path": path, "mode": "RW", "host_path": source});
            let image = json!({"type": "DOCKER", "docker": {"name": name}});
            json!({"type": "MESOS", "mesos": {"image": image}, "volumes": [volume]})
        };
        let cases = [
            ("climber", "/vol"),
            ("climber", "/absolute/vol"),
            ("climber", "/climbing"),
            ("linked", "/vol"),
        ];
        for (number, (name, path)) in cases.into_iter().enumerate() {
            let set = |task: &mut Value| task["container"] = image(name, path);
            let write = "echo x > /absolute/x; echo x > /climbing/x; exit 0";
            let end = node.run(&format!("{name}{number}"), write, set);
            match end["state"].as_str() {
                Some("TASK_FINISHED") if name == "climber" => {}
                _ => says(&end, "TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", ""),
            }
            assert_eq!(
                std::fs::read_dir(&victim).expect("a directory").count(),
                0,
                "{name} {path}"
            );
            node.is_as_before();
        }
    }
}
