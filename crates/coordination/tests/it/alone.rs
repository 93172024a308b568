//! Backends of one master.

use crate::contract;
use coordination::{Backend, join};
use testkit::cluster::temporary_directory;

#[tokio::test]
async fn in_memory_keeps_the_contract() {
    contract::keeps_what_is_written(&Backend::InMemory).await;
}

#[tokio::test]
async fn embedded_keeps_the_contract_and_its_content() {
    let directory = temporary_directory();
    let backend = Backend::Embedded(directory.clone());
    contract::keeps_what_is_written(&backend).await;
    contract::keeps_it_for_the_next_one(&backend).await;
    std::fs::remove_dir_all(directory).expect("removed");
}

#[tokio::test]
async fn an_embedded_registry_has_one_master_at_a_time() {
    let directory = temporary_directory();
    let backend = Backend::Embedded(directory.clone());
    let mut member = join(&backend, contract::master(1)).expect("joined");
    let registry = contract::leads(&mut member).await;
    let error = join(&backend, contract::master(2)).expect_err("in use").to_string();
    assert!(error.contains("is another master running on the same --work_dir?"), "{error}");
    drop(registry);
    member.leave().await;
    std::fs::remove_dir_all(directory).expect("removed");
}
