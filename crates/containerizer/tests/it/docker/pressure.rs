//! How often containers of a real engine are short of memory.

use super::Node;
use containerizer::Containerizer as _;
use testkit::docker::DockerEngine;
use wire::v1;

/// What is written to a disk can be given back, so that memory is short but never missing.
const WRITES: &str = "echo ready; while [ ! -e $MESOS_SANDBOX/gate ]; do sleep 0.05; done; \
                      while :; do head -c 104857600 /dev/zero > /disk/file; cat /disk/file > /dev/null; done";

#[tokio::test]
async fn shortness_of_memory_is_counted() {
    let Some(engine) = DockerEngine::start() else { return };
    let disk = std::path::Path::new("/var/tmp")
        .join(testkit::cluster::temporary_directory().file_name().expect("a name"));
    std::fs::create_dir_all(&disk).expect("a directory");
    let mut node = Node::new(&engine.socket(), &engine.directory().join("agent")).await;
    let mut spec = node.spec("a", WRITES);
    spec.container.as_mut().expect("it was made with one").volumes = vec![v1::Volume {
        mode: v1::volume::Mode::Rw as i32,
        container_path: "/disk".to_owned(),
        host_path: Some(disk.display().to_string()),
        ..Default::default()
    }];
    node.run(spec).await;
    node.wait_for_line("a", "ready").await;
    let used = node.usage("a").await;
    if used.mem_low_pressure_counter.is_none() {
        eprintln!("skipped: this kernel does not tell of pressure (psi=1)");
    } else {
        // The next agent counts anew.
        node = node.restarted().await;
        node.recover().await;
        assert_eq!(node.usage("a").await.mem_low_pressure_counter, Some(0));
        std::fs::write(node.sandbox("a").join("gate"), "").expect("a file");
        let begun = std::time::Instant::now();
        loop {
            let used = node.usage("a").await;
            if used.mem_low_pressure_counter() > 0 {
                assert!(used.mem_critical_pressure_counter() <= used.mem_low_pressure_counter());
                break;
            }
            assert!(begun.elapsed().as_secs() < 60, "never came: {used:?}");
        }
    }
    node.tell(|docker| docker.destroy("a")).await;
    node.exit().await;
    let _ = std::fs::remove_dir_all(disk);
}
