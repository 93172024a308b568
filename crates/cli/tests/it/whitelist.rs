//! `--whitelist` (spec/master.md 4.4).

use crate::commands::done;
use testkit::cluster::temporary_directory;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

#[test]
fn agents_are_offered_once_their_host_is_on_the_whitelist() {
    let directory = temporary_directory();
    let path = directory.join("whitelist");
    std::fs::write(&path, "elsewhere\n").expect("written");
    let flags = vec![format!("--whitelist=file://{}", path.display())];
    let options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    let cluster = Cluster::start(ClusterOptions { master_flags: flags, ..options });
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let why = done(&cluster.master(), &["why"]);
    assert!(why.contains("NOT_LISTED") && why.contains("--whitelist"), "{why}");
    std::fs::write(&path, "elsewhere\nlocalhost\n").expect("written");
    assert_eq!(framework.offers().len(), 1);
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn a_whitelist_that_cannot_be_read_is_refused() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_proffer"))
        .args(["master", "--ip=127.0.0.1", "--port=0", "--registry=in_memory"])
        .arg("--whitelist=/nowhere/hosts")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("cannot read the whitelist /nowhere/hosts: "), "{text}");
}
