//! Real clients, unmodified.

use std::path::Path;
use std::process::Command;
use testkit::{Cluster, ClusterOptions};

#[test]
fn pymesos_drives_a_cluster_unmodified() {
    let Some(python) = std::env::var_os("PROFFER_TEST_PYTHON") else {
        eprintln!(
            "skipped: pymesos (PROFFER_TEST_PYTHON is not set; `cargo xtask test` makes the environment)"
        );
        return;
    };
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/pymesos_scheduler.py");
    let output =
        Command::new(python).arg(script).arg(cluster.master()).output().expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("all steps passed"),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
