//! Flags of `run` and `mesos-execute`.

use super::{Kind, Row, Table, only, row};

const ROWS: &[Row] = &[
    row("master", Kind::Text, None, "where the master is: host:port"),
    row("name", Kind::Text, None, "name and id of the task"),
    row("command", Kind::Text, None, "command to run"),
    row(
        "shell",
        Kind::Bool,
        Some("true"),
        "run it in a shell; else it is a program with its arguments",
    ),
    row(
        "docker_image",
        Kind::Text,
        None,
        "image to run in, such as busybox:latest; without a command, what the image says is run",
    ),
    row(
        "containerizer",
        Kind::Text,
        Some("mesos"),
        "who starts the container: mesos, or docker for a Docker Engine",
    ),
    row("networks", Kind::Text, None, "networks to join, with commas between them"),
    row("volumes", Kind::Text, None, "volumes, as a JSON array of Volume"),
    row("env", Kind::Text, None, "variables, as a JSON object"),
    row("resources", Kind::Text, Some("cpus:1;mem:128"), "resources of the task"),
    row("role", Kind::Text, Some("*"), "role to run in"),
    row("task", Kind::Text, None, "a TaskInfo as JSON"),
    row("task_group", Kind::Text, None, "a TaskGroupInfo as JSON"),
    row("instances", Kind::Number, Some("1"), "number of tasks to run"),
    row("kill_after", Kind::Duration, None, "kill the task so long after it runs"),
    row("checkpoint", Kind::Bool, Some("false"), "let the task survive its agent"),
    row(
        "partition_aware",
        Kind::Bool,
        Some("true"),
        "learn of unreachable agents instead of lost tasks",
    ),
    row("principal", Kind::Text, None, "principal of the framework"),
    only("content_type", Kind::Text, Some("protobuf"), &["protobuf"]),
    row("help", Kind::Bool, Some("false"), "this text"),
    row("version", Kind::Bool, Some("false"), "print the version"),
    only("appc_image", Kind::Text, None, &[]),
    only("bounding_capabilities", Kind::Text, None, &[]),
    only("effective_capabilities", Kind::Text, None, &[]),
    only("framework_capabilities", Kind::Text, None, &[]),
    only("hadoop", Kind::Text, None, &[]),
    only("hdfs", Kind::Text, None, &[]),
    only("overwrite", Kind::Bool, Some("false"), &[]),
    only("package", Kind::Text, None, &[]),
    only("rlimits", Kind::Text, None, &[]),
    only("secret", Kind::Text, None, &[]),
    only("tty", Kind::Bool, Some("false"), &[]),
];

/// What `mesos-execute` does not have.
const RUN_ROWS: &[Row] = &[row(
    "detach",
    Kind::Bool,
    Some("false"),
    "end when the tasks run, and leave them running: prints their ids",
)];

pub(crate) static EXECUTE: Table = Table {
    program: "mesos-execute",
    about: "Runs a task and follows it. Ends with 0 when it finished, 1 when it did not, 2 for bad flags.",
    environment: false,
    rows: &[ROWS],
};

pub(crate) static RUN: Table = Table {
    program: "proffer run",
    about: "Runs a command (or tasks) and shows what it says. Ends with 0 when all finished, 1 when one did not, 2 for bad flags.",
    environment: false,
    rows: &[ROWS, RUN_ROWS],
};
