//! Capabilities, privileges, filters and limits.

use super::*;
use v1::capability_info::Capability;
use v1::r_limit_info::{RLimit, r_limit::Type};

fn capabilities(list: &[Capability]) -> Option<v1::CapabilityInfo> {
    Some(v1::CapabilityInfo { capabilities: list.iter().map(|c| *c as i32).collect() })
}

const SETS: &str = "grep Cap /proc/self/status";

fn set(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|l| l.starts_with(name)).expect("a set of capabilities");
    u64::from_str_radix(line.split_whitespace().nth(1).expect("a number"), 16).expect("a number")
}

#[tokio::test]
async fn a_container_has_the_capabilities_that_it_asks_for() {
    let Some(mut host) = host("linux/capabilities") else { return };
    let bits = |list: &[u32]| list.iter().fold(0_u64, |all, number| all | 1 << number);
    for user in [None, Some("nobody".to_owned())] {
        let id = |name: &str| format!("{name}-{}", user.as_deref().unwrap_or("root"));
        let mut spec = host.spec(&id("a"), SETS);
        spec.user = user.clone();
        spec.container = linux(v1::LinuxInfo {
            effective_capabilities: capabilities(&[Capability::NetBindService, Capability::Chown]),
            ..Default::default()
        });
        let seen = host.output(spec).await;
        for name in ["CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh"] {
            assert_eq!(set(&seen, name), bits(&[0, 10]), "{name} of {user:?}");
        }
        let mut spec = host.spec(&id("b"), SETS);
        spec.user = user.clone();
        spec.container = linux(v1::LinuxInfo {
            bounding_capabilities: capabilities(&[Capability::Kill]),
            ..Default::default()
        });
        let seen = host.output(spec).await;
        let effective = if user.is_none() { bits(&[5]) } else { 0 };
        assert_eq!((set(&seen, "CapBnd"), set(&seen, "CapEff")), (bits(&[5]), effective));
    }
}

#[tokio::test]
async fn flags_hold_where_nothing_is_said_and_bound_what_is() {
    let settings = Settings {
        effective_capabilities: capabilities(&[Capability::Kill]),
        bounding_capabilities: capabilities(&[Capability::Kill, Capability::Chown]),
        ..Settings::default()
    };
    let Some(mut host) = host_with("linux/capabilities", settings) else { return };
    let seen = host.output(host.spec("a", SETS)).await;
    assert_eq!((set(&seen, "CapBnd"), set(&seen, "CapAmb")), (0x21, 0x20));
    let mut spec = host.spec("b", SETS);
    spec.container = linux(v1::LinuxInfo {
        effective_capabilities: capabilities(&[Capability::SysAdmin]),
        ..Default::default()
    });
    let text = host.refusal(spec).await;
    assert_eq!(
        text,
        "linux/capabilities: effective capabilities: SYS_ADMIN is not among the bounding capabilities"
    );
}

/// Has a copy of `id` that belongs to root and is run as root whoever runs it.
fn set_user_id_program(host: &Host) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = host.directory.join("id");
    std::fs::copy("/usr/bin/id", &path).expect("a copy of id");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4755)).expect("set-user-id");
    path
}

#[tokio::test]
async fn without_new_privileges_no_program_makes_anybody_root() {
    for (isolation, expected) in [("posix/cpu", "0\n"), ("linux/nnp", "65534\n")] {
        let Some(mut host) = host(isolation) else { return };
        let program = set_user_id_program(&host);
        let mut spec = host.spec("a", &format!("{} -u", program.display()));
        spec.user = Some("nobody".to_owned());
        assert_eq!(host.output(spec).await, expected, "{isolation}");
    }
}

/// Settings with a directory of profiles.
fn profiles(directory: &Path, default: Option<&str>, profiles: &[(&str, &str)]) -> Settings {
    std::fs::create_dir_all(directory).expect("a directory");
    for (name, text) in profiles {
        std::fs::write(directory.join(name), text).expect("a profile");
    }
    Settings {
        seccomp_config_dir: Some(directory.to_owned()),
        seccomp_profile_name: default.map(str::to_owned),
        ..Settings::default()
    }
}

const NO_MKDIR: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[],"syscalls":[
    {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","args":[],"includes":{},"excludes":{}},
    {"names":["chmod","fchmodat","fchmodat2"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;
const ONLY_TO_EXIT: &str = r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[
    {"names":["exit_group"],"action":"SCMP_ACT_ALLOW"}]}"#;
const WITH_CAPABILITY: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
    {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","excludes":{"caps":["CAP_CHOWN"]}}]}"#;
const BY_ARGUMENT: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
    {"name":"kill","action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":10,"valueTwo":0,"op":"SCMP_CMP_EQ"}]}]}"#;

fn profile(name: &str) -> Option<v1::ContainerInfo> {
    let seccomp = v1::SeccompInfo { profile_name: Some(name.to_owned()), unconfined: None };
    linux(v1::LinuxInfo { seccomp: Some(seccomp), ..Default::default() })
}

#[tokio::test]
async fn forbidden_system_calls_fail_as_the_profile_says() {
    let directory = testkit::cluster::temporary_directory().join("profiles");
    let settings = profiles(
        &directory,
        Some("no-mkdir"),
        &[
            ("no-mkdir", NO_MKDIR),
            ("exit", ONLY_TO_EXIT),
            ("argument", BY_ARGUMENT),
            ("cap", WITH_CAPABILITY),
        ],
    );
    let isolation = "linux/seccomp,linux/capabilities";
    let Some(mut host) = host_with(isolation, settings) else { return };
    for user in [None, Some("nobody".to_owned())] {
        let id = format!("default-{}", user.as_deref().unwrap_or("root"));
        let mut spec = host.spec(&id, "mkdir d; chmod 700 .; touch x && echo rest");
        spec.user = user.clone();
        let (status, seen, errors) = host.run(spec).await;
        assert_eq!((status, seen.as_str()), (Some(0), "rest\n"), "{errors}");
        assert!(errors.contains("Operation not permitted"), "{errors}");
        assert!(errors.contains("Function not implemented"), "{errors}");
    }
    let mut spec = host.spec("killed", "echo never");
    spec.container = profile("exit");
    let (status, seen, _) = host.run(spec).await;
    assert_eq!((status.map(|s| s & 0x7f), seen.as_str()), (Some(31), ""), "dies of SIGSYS");
    let mut spec =
        host.spec("argument", "sleep 100 & kill -12 $! && echo sent; kill -10 $$ || echo refused");
    spec.container = profile("argument");
    assert_eq!(host.output(spec).await, "sent\nrefused\n");
    for (capability, expected) in [(Capability::Chown, "made\n"), (Capability::Kill, "refused\n")] {
        let id = format!("{capability:?}");
        let mut spec = host.spec(&id, "mkdir d && echo made || echo refused");
        spec.container = profile("cap");
        let info = spec.container.as_mut().and_then(|c| c.linux_info.as_mut()).expect("set");
        info.bounding_capabilities = capabilities(&[capability, Capability::DacOverride]);
        assert_eq!(host.output(spec).await, expected);
    }
    let mut spec = host.spec("free", "mkdir d && echo made");
    let seccomp = v1::SeccompInfo { unconfined: Some(true), profile_name: None };
    spec.container = linux(v1::LinuxInfo { seccomp: Some(seccomp), ..Default::default() });
    assert_eq!(host.output(spec).await, "made\n");
}

#[tokio::test]
async fn profiles_that_are_not_there_or_outside_or_wrong_are_refused() {
    let directory = testkit::cluster::temporary_directory().join("profiles");
    let settings = profiles(
        &directory,
        None,
        &[
            ("json", "{"),
            (
                "call",
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["nonsense"],"action":"SCMP_ACT_ERRNO"}]}"#,
            ),
        ],
    );
    std::fs::write(directory.join("../outside"), NO_MKDIR).expect("a profile");
    let Some(mut host) = host_with("linux/seccomp,linux/nnp", settings) else { return };
    for (name, text) in [
        ("missing", "No such file"),
        ("../outside", "cannot read the seccomp profile '../outside'"),
        ("json", "EOF while parsing"),
        ("call", "system call 'nonsense' is not known"),
    ] {
        let mut spec = host.spec("a", "true");
        spec.container = profile(name);
        let refused = host.refusal(spec).await;
        assert!(refused.contains(text), "{refused}");
    }
    // Without a default profile nothing is filtered.
    assert_eq!(host.output(host.spec("b", "mkdir d && echo made")).await, "made\n");
}

#[tokio::test]
async fn limits_are_those_that_were_asked_for() {
    let mut host = Host::isolated(
        testkit::cluster::temporary_directory(),
        "posix/rlimits",
        Settings::default(),
    );
    let limit = |kind: Type, soft, hard| RLimit { r#type: Some(kind as i32), soft, hard };
    let limits = |rlimits| {
        container(v1::ContainerInfo {
            rlimit_info: Some(v1::RLimitInfo { rlimits }),
            ..Default::default()
        })
    };
    let mut spec = host.spec("a", "ulimit -Sn; ulimit -Hn; ulimit -Sc");
    spec.container = limits(vec![
        limit(Type::RlmtNofile, Some(100), Some(200)),
        limit(Type::RlmtCore, Some(0), Some(0)),
    ]);
    assert_eq!(host.output(spec).await, "100\n200\n0\n");
    let mut spec = host.spec("b", "true");
    spec.container = limits(vec![limit(Type::RlmtNofile, Some(100), None)]);
    let text = host.refusal(spec).await;
    assert!(
        text.ends_with("of RLMT_NOFILE: 'soft' and 'hard' must both be set, or none"),
        "{text}"
    );
}
