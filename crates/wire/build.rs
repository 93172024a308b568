//! Compiles the .proto files without a system protoc.

use std::path::PathBuf;

const FILES: [&str; 10] = [
    "mesos/v1/mesos.proto",
    "mesos/v1/scheduler.proto",
    "mesos/v1/executor.proto",
    "mesos/v1/master.proto",
    "mesos/v1/agent.proto",
    "mesos/v1/allocator.proto",
    "mesos/v1/quota.proto",
    "mesos/v1/maintenance.proto",
    "mesos/v1/resource_provider.proto",
    "proffer/internal.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    prost_build::Config::new()
        .btree_map(["."])
        .compile_well_known_types()
        .include_file("packages.rs")
        .out_dir(&out)
        .compile_fds(files)?;
    Ok(())
}
