//! What to start, as it comes over standard input: fields in a fixed order, each a little-endian length and so many
//! bytes; lists begin with their count.

use std::ffi::CString;

/// Ids to take on.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) uid: libc::uid_t,
    pub(crate) gid: libc::gid_t,
    pub(crate) groups: Vec<libc::gid_t>,
}

/// The main process of a container.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Program, searched in PATH of `environment` unless it has a slash.
    pub(crate) program: CString,
    /// All arguments, the first is the program's own name.
    pub(crate) arguments: Vec<CString>,
    /// `NAME=value`, all of it.
    pub(crate) environment: Vec<CString>,
    /// Working directory; `stdout` and `stderr` are opened in it.
    pub(crate) directory: CString,
    /// User to become, if any.
    pub(crate) user: Option<User>,
    /// Soft limit on open files; 0: as it is.
    pub(crate) open_files: u64,
    /// Whether the container dies when the agent does.
    pub(crate) die_with_agent: bool,
}

impl Spec {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let program = text(&mut rest)?;
        let arguments = list(&mut rest)?;
        let environment = list(&mut rest)?;
        let directory = text(&mut rest)?;
        let user = if number(&mut rest)? == 1 { Some(user(&mut rest)?) } else { None };
        let open_files = u64::from(number(&mut rest)?) | u64::from(number(&mut rest)?) << 32;
        let die_with_agent = number(&mut rest)? == 1;
        rest.is_empty().then_some(Self {
            program,
            arguments,
            environment,
            directory,
            user,
            open_files,
            die_with_agent,
        })
    }
}

fn user(rest: &mut &[u8]) -> Option<User> {
    let (uid, gid) = (number(rest)?, number(rest)?);
    let groups = (0..number(rest)?).map(|_| number(rest)).collect::<Option<_>>()?;
    Some(User { uid, gid, groups })
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*head))
}

fn text(rest: &mut &[u8]) -> Option<CString> {
    let length = number(rest)? as usize;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    CString::new(head).ok()
}

fn list(rest: &mut &[u8]) -> Option<Vec<CString>> {
    (0..number(rest)?).map(|_| text(rest)).collect()
}
