//! What the main process may do: limits, user, capabilities, filters of system calls. Set last before it is executed.

use crate::container::Privileges;
use crate::spec::User;
use std::io;

/// What capset(2) takes, version 3.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;
const CAP_SETPCAP: u64 = 1 << 8;
const CAP_SYS_ADMIN: u64 = 1 << 21;

fn checked(result: libc::c_int, what: &str) -> Result<(), String> {
    if result == 0 { Ok(()) } else { Err(format!("cannot {what}: {}", io::Error::last_os_error())) }
}

fn prctl(option: libc::c_int, a: libc::c_ulong, b: libc::c_ulong) -> libc::c_int {
    let none: libc::c_ulong = 0;
    // SAFETY: options used here take plain numbers.
    unsafe { libc::prctl(option, a, b, none, none) }
}

fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> libc::c_int {
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: both structures live through the call and are of the size of this version.
    unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) as libc::c_int }
}

/// Capabilities that this process may have.
fn permitted() -> Result<u64, String> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: both structures live through the call and are of the size of this version.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) };
    checked(result as libc::c_int, "read capabilities")?;
    Ok(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32)
}

/// Limits of resources; raising one needs the agent's user.
pub(crate) fn limit(privileges: &Privileges) -> Result<(), String> {
    for (resource, soft, hard) in &privileges.limits {
        let limit = libc::rlimit { rlim_cur: *soft, rlim_max: *hard };
        // SAFETY: the structure lives through the call.
        let result = unsafe { libc::setrlimit(*resource as _, &raw const limit) };
        checked(result, &format!("set the limit of resource {resource} to {soft} and {hard}"))?;
    }
    Ok(())
}

/// Takes on the user and gives up what is not for the process.
pub(crate) fn take_on(privileges: &Privileges, user: Option<&User>) -> Result<(), String> {
    let capabilities = privileges.bounding.is_some() || privileges.effective.is_some();
    if capabilities || !privileges.filters.is_empty() {
        checked(prctl(libc::PR_SET_KEEPCAPS, 1, 0), "keep capabilities")?;
    }
    if let Some(user) = user {
        // SAFETY: the list lives through the call, and its length is given.
        unsafe {
            checked(libc::setgroups(user.groups.len(), user.groups.as_ptr()), "set groups")?;
            checked(libc::setgid(user.gid), "set the group")?;
            checked(libc::setuid(user.uid), "set the user")?;
        }
    }
    let root = user.is_none_or(|user| user.uid == 0);
    if let Some(bounding) = privileges.bounding {
        let held = permitted()?;
        checked(set_capabilities(held, held, 0), "take up capabilities")?;
        let mut number = 0;
        // The kernel knows fewer than there are bits, and says so.
        while number < 64 && prctl(libc::PR_CAPBSET_READ, number, 0) >= 0 {
            if bounding & 1 << number == 0 {
                checked(prctl(libc::PR_CAPBSET_DROP, number, 0), "drop a capability")?;
            }
            number += 1;
        }
    }
    if !privileges.filters.is_empty() {
        // Without the promise below, filters need this capability; another user has lost it at the change.
        let held = permitted()?;
        if !privileges.no_new {
            let raised = if root { held } else { held & (CAP_SYS_ADMIN | CAP_SETPCAP) };
            checked(set_capabilities(raised, held, 0), "take up capabilities")?;
        }
    }
    if privileges.no_new {
        checked(prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0), "give up new privileges")?;
        give_up(privileges, root)?;
        filter(privileges)
    } else {
        filter(privileges)?;
        give_up(privileges, root)
    }
}

/// Leaves the process the capabilities that it shall have. What can be inherited is what can be had at all, so that
/// capabilities of files give no more than that.
fn give_up(privileges: &Privileges, root: bool) -> Result<(), String> {
    let inheritable = match (privileges.bounding, privileges.effective) {
        (None, None) if root || privileges.filters.is_empty() => return Ok(()),
        (bounding, effective) => bounding.or(effective).unwrap_or(0),
    };
    let held = permitted()?;
    let kept = match privileges.effective {
        Some(effective) => effective & held,
        None if root => held,
        None => 0,
    };
    checked(set_capabilities(kept, kept, inheritable & held), "set capabilities")?;
    let passed_on = if privileges.effective.is_some() { kept } else { 0 };
    for number in (0..64).filter(|number| passed_on & 1 << number != 0) {
        let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
        checked(prctl(libc::PR_CAP_AMBIENT, raise, number), "pass on a capability")?;
    }
    Ok(())
}

fn filter(privileges: &Privileges) -> Result<(), String> {
    for program in &privileges.filters {
        let length = u16::try_from(program.len() / 8).map_err(|e| e.to_string())?;
        // The kernel reads instructions of eight bytes at any address.
        let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
        // SAFETY: the program and what it points to live through the call, and its length is given.
        let result = unsafe {
            let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, 0, 0)
        };
        checked(result, "load the filter of system calls")?;
    }
    Ok(())
}
