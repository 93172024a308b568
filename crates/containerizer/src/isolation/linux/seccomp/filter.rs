//! From a profile to filters of the kernel.
//!
//! A filter knows two actions: one for the calls that it names, one for all others. So the first filter does what the
//! profile does by default, except with calls that the profile names; each other action has a filter of its own for its
//! calls. Of what the filters say, the kernel takes the strictest.

use super::profile::{Argument, Group, Profile};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;
use std::str::FromStr as _;

/// System calls by number, each with its rules; none: always.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Programs of the kernel for a container that can have these capabilities.
pub(super) fn compile(profile: &Profile, bounding: u64) -> Result<Vec<Vec<u8>>, String> {
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut named = Rules::new();
    let mut by_action: Vec<(SeccompAction, Rules)> = Vec::new();
    for group in &profile.syscalls {
        let action = action(&group.action, group.errno_ret)?;
        if action == default || !group.holds(bounding)? {
            continue;
        }
        let at = match by_action.iter().position(|(known, _)| *known == action) {
            Some(at) => at,
            None => {
                by_action.push((action.clone(), Rules::new()));
                by_action.len() - 1
            }
        };
        for name in group.names.iter().chain(&group.name) {
            let Some(number) = number(name, &action)? else { continue };
            let rules = rules(group)?;
            add(&mut named, number, &rules);
            add(&mut by_action[at].1, number, &rules);
        }
    }
    let mut programs = Vec::new();
    if default == SeccompAction::Allow {
        programs.extend(foreign_numbers());
    } else {
        programs.push(program(named, default, SeccompAction::Allow)?);
    }
    for (action, rules) in by_action {
        if action != SeccompAction::Allow && !rules.is_empty() {
            programs.push(program(rules, SeccompAction::Allow, action)?);
        }
    }
    Ok(programs.iter().map(bytes).collect())
}

fn program(
    rules: Rules,
    other: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| e.to_string())?;
    let filter = SeccompFilter::new(rules, other, matched, arch).map_err(|e| e.to_string())?;
    BpfProgram::try_from(filter).map_err(|e| e.to_string())
}

/// On x86-64 each call can be made by a second number too, which no name stands for: it would slip through a list of
/// what is forbidden.
fn foreign_numbers() -> Option<BpfProgram> {
    const X32: u32 = 0x4000_0000;
    if std::env::consts::ARCH != "x86_64" {
        return None;
    }
    let one = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    Some(vec![
        // The number is the first field of what a filter sees.
        one(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        one(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        one(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        one(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ])
}

fn bytes(program: &BpfProgram) -> Vec<u8> {
    let one = |i: &sock_filter| {
        let (code, k) = (i.code.to_ne_bytes(), i.k.to_ne_bytes());
        [code[0], code[1], i.jt, i.jf, k[0], k[1], k[2], k[3]]
    };
    program.iter().flat_map(one).collect()
}

/// One that holds always makes others needless.
fn add(to: &mut Rules, number: i64, rules: &[SeccompRule]) {
    match to.get_mut(&number) {
        Some(known) if known.is_empty() => {}
        Some(known) if rules.is_empty() => known.clear(),
        Some(known) => known.extend_from_slice(rules),
        None => drop(to.insert(number, rules.to_vec())),
    }
}

/// Conditions on different arguments must all hold; of those on the same argument one is enough.
fn rules(group: &Group) -> Result<Vec<SeccompRule>, String> {
    let args = group.args.as_deref().unwrap_or_default();
    let conditions = args.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let repeated = (1..args.len()).any(|n| args[..n].iter().any(|a| a.index == args[n].index));
    let sets: Vec<Vec<SeccompCondition>> = match conditions.is_empty() {
        true => return Ok(Vec::new()),
        false if repeated => conditions.into_iter().map(|c| vec![c]).collect(),
        false => vec![conditions],
    };
    sets.into_iter().map(|set| SeccompRule::new(set).map_err(|e| e.to_string())).collect()
}

fn condition(argument: &Argument) -> Result<SeccompCondition, String> {
    let (op, value) = match argument.op.as_str() {
        "SCMP_CMP_NE" => (SeccompCmpOp::Ne, argument.value),
        "SCMP_CMP_LT" => (SeccompCmpOp::Lt, argument.value),
        "SCMP_CMP_LE" => (SeccompCmpOp::Le, argument.value),
        "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, argument.value),
        "SCMP_CMP_GE" => (SeccompCmpOp::Ge, argument.value),
        "SCMP_CMP_GT" => (SeccompCmpOp::Gt, argument.value),
        "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
        other => return Err(format!("'op' {other} is not known")),
    };
    SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, op, value)
        .map_err(|e| e.to_string())
}

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno.unwrap_or(libc::EPERM as u32)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_TRACE" => SeccompAction::Trace(errno.unwrap_or(libc::EPERM as u32)),
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        other => return Err(format!("action {other} is not known")),
    })
}

/// The number of a system call here; None if it is one of other processors. One that nobody knows may be new, and is
/// not allowed then; that it is forbidden can't be promised.
fn number(name: &str, action: &SeccompAction) -> Result<Option<i64>, String> {
    if let Ok(known) = syscalls::Sysno::from_str(name) {
        return Ok(Some(i64::from(known.id())));
    }
    let elsewhere = syscalls::x86::Sysno::from_str(name).is_ok()
        || syscalls::x86_64::Sysno::from_str(name).is_ok()
        || syscalls::arm::Sysno::from_str(name).is_ok();
    if elsewhere || matches!(action, SeccompAction::Allow | SeccompAction::Log) {
        return Ok(None);
    }
    Err(format!("system call '{name}' is not known"))
}
