//! Builds the supervisor, whose bytes are embedded (docs/decisions/001-embedded-supervisor.md).

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let supervisor = here.join("../supervisor");
    println!("cargo:rerun-if-changed={}", supervisor.join("src").display());
    println!("cargo:rerun-if-changed={}", supervisor.join("Cargo.toml").display());
    let target = out.join("supervisor");
    let mut command = Command::new(std::env::var_os("CARGO").expect("cargo sets it"));
    command
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(supervisor.join("Cargo.toml"));
    command.arg("--target-dir").arg(&target);
    // Settings of the outer build, of clippy or of a coverage run are not for this one.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let foreign = text.starts_with("CARGO_PROFILE")
            || text.starts_with("CARGO_CFG")
            || text.starts_with("CARGO_FEATURE");
        if foreign
            || [
                "RUSTC_WRAPPER",
                "RUSTC_WORKSPACE_WRAPPER",
                "RUSTFLAGS",
                "CARGO_ENCODED_RUSTFLAGS",
                "CARGO_BUILD_TARGET",
                "CLIPPY_ARGS",
            ]
            .contains(&text.as_ref())
        {
            command.env_remove(&name);
        }
    }
    // Without a dynamic linker it starts in half the time. It looks nothing up that would need one.
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    for (name, value) in [
        ("OPT_LEVEL", "s"),
        ("LTO", "true"),
        ("PANIC", "abort"),
        ("STRIP", "true"),
        ("DEBUG", "0"),
        ("CODEGEN_UNITS", "1"),
    ] {
        command.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    let status = command.status().expect("cargo starts");
    assert!(status.success(), "the supervisor does not build: {status}");
    println!(
        "cargo:rustc-env=PROFFER_SUPERVISOR={}",
        target.join("release/proffer-supervisor").display()
    );
}
