//! GPUs of containers of Docker's, out of the same books as those of others.

use super::fake::Fake;
use super::{Node, scalar};
use crate::isolation::gpu::Gpus;
use containerizer::{ContainerSpec, Containerizer as _, StartError};
use serde_json::{Value, json};

fn spec(node: &Node, id: &str, gpus: f64) -> ContainerSpec {
    let mut spec = node.spec(id, "true");
    super::docker_of(&mut spec).image = "here".to_owned();
    spec.resources.push(scalar("gpus", gpus));
    spec
}

fn requested(fake: &Fake, name: &str) -> Value {
    fake.body(name)["HostConfig"]["DeviceRequests"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_is_one_containers_whatever_runs_it() {
    let Some(mut gpus) = Gpus::new() else { return };
    let directory = testkit::cluster::temporary_directory();
    let fake = Fake::start(&directory);
    let node = Node::new(fake.socket(), &directory).await;
    let text = node.refused(spec(&node, "none", 1.0)).await;
    assert!(text.starts_with("GPUs need 'gpu/nvidia' in --isolation"), "{text}");

    let books = gpus.host.mesos.gpus();
    let mut node = Node::with_gpus(node.options.clone(), books).await;
    gpus.host.mesos.start(gpus.spec("first", 1.0, "exec sleep 1000")).await.expect("it starts");
    node.run(spec(&node, "a", 1.0)).await;
    let request = |uuids: Value| json!([{"DeviceIDs": uuids, "Capabilities": [["gpu"]]}]);
    assert_eq!(requested(&fake, "mesos-a"), request(json!(["GPU-2"])));
    node.run(spec(&node, "plain", 0.0)).await;
    assert_eq!(requested(&fake, "mesos-plain"), Value::Null);
    let text = node.refused(spec(&node, "two", 2.0)).await;
    assert_eq!(text, "it asks for 2 GPUs, and 1 are free");

    // Another agent finds them where they are.
    let options = node.options.clone();
    drop(node);
    let directory_of_host = gpus.host.directory.clone();
    gpus.host = Gpus::start(&directory_of_host, &gpus.root, &gpus.gpus).expect("as before");
    node = Node::with_gpus(options, gpus.host.mesos.gpus()).await;
    assert_eq!(node.recover().await.len(), 2);
    gpus.host.mesos.recover().await.expect("recovery");
    node.run(spec(&node, "b", 1.0)).await;
    assert_eq!(requested(&fake, "mesos-b"), request(json!(["GPU-5"])));
    let refused = gpus.host.mesos.start(gpus.spec("more", 1.0, "true")).await;
    assert!(matches!(refused, Err(StartError::Launch(text)) if text.contains("0 are free")));

    // What has ended, or was not started, has none.
    fake.exit("mesos-a", 0);
    assert_eq!(node.exit().await, ("a".to_owned(), Some(0)));
    let mut lost = spec(&node, "lost", 1.0);
    super::docker_of(&mut lost).image = "nowhere".to_owned();
    node.refused(lost).await;
    gpus.host.mesos.start(gpus.spec("next", 1.0, "true")).await.expect("it starts");
    assert_eq!(gpus.host.exit().await.0, "next");
    gpus.host.mesos.destroy("first");
    gpus.host.exit().await;
}
