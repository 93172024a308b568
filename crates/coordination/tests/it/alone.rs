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

/// What stands in the file after a crash, a full disk or a bad sector.
#[tokio::test]
async fn a_damaged_file_is_refused_with_advice_and_left_as_it_is() {
    let directory = temporary_directory();
    let backend = Backend::Embedded(directory.clone());
    contract::keeps_what_is_written(&backend).await;
    let path = directory.join("registry.redb");
    let good = std::fs::read(&path).expect("a file");
    let scrambled = |from: usize, step: usize| {
        let mut bytes = good.clone();
        bytes.iter_mut().skip(from).step_by(step).for_each(|byte| *byte ^= 0x55);
        bytes
    };
    let damaged = [
        Vec::new(),
        b"hello".to_vec(),
        good[..1000].to_vec(),
        good[..good.len() / 2].to_vec(),
        scrambled(0, 97),
        scrambled(4096, 7),
        scrambled(8192, 1),
    ];
    for bytes in damaged {
        std::fs::write(&path, &bytes).expect("written");
        let error = join(&backend, contract::master(1)).await.expect_err("damaged").to_string();
        assert!(error.contains("restore a copy of it, or move it away"), "{error}");
        assert_eq!(std::fs::read(&path).expect("a file"), bytes);
    }
    std::fs::write(&path, &good).expect("written");
    contract::keeps_it_for_the_next_one(&backend).await;
    std::fs::remove_dir_all(directory).expect("removed");
}

#[tokio::test]
async fn an_embedded_registry_has_one_master_at_a_time() {
    let directory = temporary_directory();
    let backend = Backend::Embedded(directory.clone());
    let mut member = join(&backend, contract::master(1)).await.expect("joined");
    let registry = contract::leads(&mut member).await;
    let error = join(&backend, contract::master(2)).await.expect_err("in use").to_string();
    assert!(error.contains("is another master running on the same --work_dir?"), "{error}");
    drop(registry);
    member.leave().await;
    std::fs::remove_dir_all(directory).expect("removed");
}

#[tokio::test]
async fn damage_after_a_crash_is_not_taken_for_a_write_that_was_cut_off() {
    const PAGE: usize = 4096;
    let directory = temporary_directory();
    let running = Backend::Embedded(directory.join("running"));
    let mut member = join(&running, contract::master(1)).await.expect("joined");
    let mut registry = contract::leads(&mut member).await;
    for key in ["a", "b", "c"] {
        let written;
        (registry, written) =
            contract::write(registry, vec![contract::change(key, Some("1"))]).await;
        written.expect("written");
    }
    // As a process that is killed leaves it.
    let crashed = std::fs::read(directory.join("running/registry.redb")).expect("a file");
    drop(registry);
    member.leave().await;
    let damaged = directory.join("damaged");
    std::fs::create_dir(&damaged).expect("a directory");
    let mut refused = 0;
    for page in (0..crashed.len()).step_by(PAGE) {
        let mut bytes = crashed.clone();
        let end = bytes.len().min(page + PAGE);
        bytes[page..end].fill(0);
        std::fs::write(damaged.join("registry.redb"), bytes).expect("written");
        let Ok(mut member) = join(&Backend::Embedded(damaged.clone()), contract::master(1)).await
        else {
            refused += 1;
            continue;
        };
        let (registry, all) = contract::content(contract::leads(&mut member).await).await;
        assert_eq!(all.len(), 3, "without the page at {page}: {all:?}");
        drop(registry);
        member.leave().await;
    }
    assert!(refused > 0, "no page matters");
    std::fs::remove_dir_all(directory).expect("removed");
}
