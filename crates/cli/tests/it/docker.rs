//! Tasks in containers of Docker's, from `mesos-execute` to the engine.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};
use testkit::docker::{DockerEngine, IMAGE, wait_for_state};

#[test]
fn a_task_in_a_container_of_dockers_runs_and_ends_with_a_local_cluster() {
    let Some(engine) = DockerEngine::start() else { return };
    let socket = format!("--docker_socket={}", engine.socket().display());
    let mut local = super::local::Local::start(&["--containerizers=docker,mesos", &socket]);
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proffer"));
        command.arg0("mesos-execute").arg(format!("--master=127.0.0.1:{}", local.port));
        command.args(["--containerizer=docker", &format!("--docker_image={IMAGE}")]).args(words);
        command
    };
    let run = |words: &[&str]| -> Output { command(words).output().expect("it runs") };
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let good = run(&["--name=good", "--command=test $FROM_IMAGE = yes && test -d $MESOS_SANDBOX"]);
    assert!(good.status.success(), "{}", text(&good));
    let own = run(&["--name=own", "--no-shell"]);
    assert!(own.status.success(), "{}", text(&own));
    let bad = run(&["--name=bad", "--command=exit 3"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad).contains("Container exited with status 3"), "{}", text(&bad));
    let mut long = command(&["--name=long", "--command=sleep 1000"]).spawn().expect("it runs");
    let name = testkit::wait::until("a container runs", std::time::Duration::from_secs(60), || {
        let answer = engine.ask("GET", "/containers/json", &[])?;
        let (_, rest) = answer.split_once("\"Names\":[\"/")?;
        rest.split_once('"').map(|(name, _)| name.to_owned())
    });
    wait_for_state(&engine, &name, "running");
    local.interrupt();
    let _ = long.kill();
    let _ = long.wait();
    let left = engine.ask("GET", "/containers/json", &[]).expect("an answer");
    assert!(!left.contains("\"Names\""), "{left}");
}
