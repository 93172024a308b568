//! Flags of a local cluster.

use super::{Kind, Row, Table, row};

const ROWS: &[Row] = &[
    row("num_slaves", Kind::Number, Some("1"), "number of agents"),
    row("port", Kind::Number, Some("5050"), "port of the master; the agents follow"),
    row("ip", Kind::Text, Some("127.0.0.1"), "address to listen on"),
    row(
        "work_dir",
        Kind::Text,
        None,
        "directory that is kept; without it a temporary one is removed at the end",
    ),
    row("resources", Kind::Text, None, "resources of each agent"),
    row("attributes", Kind::Text, None, "attributes of each agent"),
    row("containerizers", Kind::Text, None, "as for an agent: mesos, docker or both"),
    row("docker_socket", Kind::Text, None, "as for an agent"),
    row("logging_level", Kind::Text, Some("WARNING"), "INFO, WARNING or ERROR"),
    row("quiet", Kind::Bool, Some("false"), "only errors on standard error"),
    row("help", Kind::Bool, Some("false"), "this text"),
    row("version", Kind::Bool, Some("false"), "print the version"),
];

pub(crate) static LOCAL: Table = Table {
    program: "proffer local",
    about: "Starts a master and agents in one process, for trying. Tasks die with it.",
    environment: false,
    rows: &[ROWS],
};
