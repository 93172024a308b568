//! The program with which version 2 decides about devices: the kernel runs it whenever a process of the cgroup opens or
//! makes one (`BPF_PROG_TYPE_CGROUP_DEVICE`).
//!
//! It is a list of comparisons, so it is written down here instruction by instruction; no compiler and no library are
//! needed for it.

use super::devices::{Kind, Rule};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};
use std::path::Path;

/// `bpf(2)`: commands, kind of program, where it is attached, and that others may be attached as well.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
/// In place of one that is attached.
const REPLACE: u32 = 4;
/// Most programs of a cgroup that are looked at; there is one of ours.
const QUERIED: usize = 16;
/// Kinds of devices and of access, as the program sees them.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MAKE: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
/// Operations: load 32 bits, 64-bit and/shift/move with a constant, move, jump if not equal, exit.
const LOAD: u8 = 0x61;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const SET: u8 = 0xB7;
const MOVE: u8 = 0xBF;
const JUMP_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

/// An instruction, as the kernel reads it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    operation: u8,
    /// Target in the lower half, source in the upper.
    registers: u8,
    offset: i16,
    constant: i32,
}

fn instruction(operation: u8, target: u8, source: u8, offset: i16, constant: i32) -> Instruction {
    Instruction { operation, registers: target | source << 4, offset, constant }
}

/// Registers 2 to 5 hold kind, access, major and minor number; 6 is for calculation.
fn assemble(rules: &[Rule]) -> Vec<Instruction> {
    let mut out = vec![
        instruction(LOAD, 2, 1, 0, 0),
        instruction(MOVE, 3, 2, 0, 0),
        instruction(AND, 2, 0, 0, 0xFFFF),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD, 4, 1, 4, 0),
        instruction(LOAD, 5, 1, 8, 0),
    ];
    for rule in rules {
        let kind = if rule.kind == Kind::Block { BLOCK } else { CHARACTER };
        let mut tests = vec![(2, kind)];
        let bit = |set, bit| if set { 0 } else { bit };
        let forbidden = bit(rule.make, MAKE) | bit(rule.read, READ) | bit(rule.write, WRITE);
        let number = |n: u32| i32::try_from(n).unwrap_or(-1);
        tests.extend(rule.major.map(|n| (4, number(n))));
        tests.extend(rule.minor.map(|n| (5, number(n))));
        // Jumps go behind the two instructions that allow.
        let calculation = if forbidden == 0 { 0 } else { 3 };
        let length = calculation + tests.len() + 2;
        let start = out.len();
        let behind = |at: usize| i16::try_from(start + length - at - 1).unwrap_or(i16::MAX);
        if forbidden != 0 {
            out.push(instruction(MOVE, 6, 3, 0, 0));
            out.push(instruction(AND, 6, 0, 0, forbidden));
            out.push(instruction(JUMP_NOT_EQUAL, 6, 0, behind(out.len()), 0));
        }
        for (register, wanted) in tests {
            out.push(instruction(JUMP_NOT_EQUAL, register, 0, behind(out.len()), wanted));
        }
        out.extend([instruction(SET, 0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    }
    out.extend([instruction(SET, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    out
}

/// What the kernel wants to know of a program (`union bpf_attr`), as far as it is needed.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// A program that the kernel has taken.
#[derive(Debug)]
pub(super) struct Program(OwnedFd);

impl Program {
    pub(super) fn load(rules: &[Rule]) -> Result<Self, String> {
        let instructions = assemble(rules);
        let mut load = Load {
            kind: CGROUP_DEVICE_PROGRAM,
            count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
            instructions: instructions.as_ptr() as u64,
            license: c"Apache-2.0".as_ptr() as u64,
            attach: CGROUP_DEVICE,
            ..Default::default()
        };
        // SAFETY: the structure has the layout of the kernel's, its pointers are to live objects, and its size is given.
        let fd = unsafe {
            libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw mut load, std::mem::size_of::<Load>())
        };
        match i32::try_from(fd) {
            // SAFETY: the descriptor is new and nobody else's.
            Ok(fd) if fd >= 0 => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) })),
            _ => Err(format!(
                "cannot load the program that controls devices: {}",
                io::Error::last_os_error()
            )),
        }
    }

    /// Adds it to a cgroup that has none.
    pub(super) fn attach(&self, cgroup: &Path) -> Result<(), String> {
        self.put(cgroup, None)
    }

    /// Attaches it in the place of the one that is there. All that are attached have to allow something.
    pub(super) fn replace(&self, cgroup: &Path) -> Result<(), String> {
        match attached(cgroup)?.as_slice() {
            [] => self.put(cgroup, None),
            [one] => self.put(cgroup, Some(one)),
            more => {
                Err(format!("{} programs control the devices of {}", more.len(), cgroup.display()))
            }
        }
    }

    fn put(&self, cgroup: &Path, replaced: Option<&OwnedFd>) -> Result<(), String> {
        let directory = File::open(cgroup).map_err(|e| fault(cgroup, &e))?;
        let attach = Attach {
            target: number(&directory),
            program: number(&self.0),
            kind: CGROUP_DEVICE,
            flags: ALLOW_MULTI | if replaced.is_some() { REPLACE } else { 0 },
            replaced: replaced.map_or(0, number),
        };
        call(PROG_ATTACH, &attach).map(drop).map_err(|e| fault(cgroup, &e))
    }
}

fn fault(cgroup: &Path, error: &io::Error) -> String {
    format!("cannot control the devices of {}: {error}", cgroup.display())
}

fn number(file: &impl AsRawFd) -> u32 {
    u32::try_from(file.as_raw_fd()).unwrap_or(u32::MAX)
}

/// `bpf(2)` with a structure that has the layout of the kernel's, which only reads it.
fn call<T>(command: libc::c_int, argument: &T) -> io::Result<i32> {
    let size = std::mem::size_of::<T>();
    // SAFETY: callers give the structure of the command, whose pointers are to live objects; its size is given.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(argument), size) };
    match i32::try_from(answer) {
        Ok(answer) if answer >= 0 => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The programs of a cgroup.
fn attached(cgroup: &Path) -> Result<Vec<OwnedFd>, String> {
    let fault = |e: io::Error| fault(cgroup, &e);
    let directory = File::open(cgroup).map_err(fault)?;
    let mut ids = [0_u32; QUERIED];
    let mut query = Query {
        target: number(&directory),
        kind: CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        count: QUERIED as u32,
        ..Query::default()
    };
    // SAFETY: the structure has the layout of the kernel's, which writes to it and to the array that it names.
    let status = unsafe {
        let size = std::mem::size_of::<Query>();
        libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut query, size)
    };
    if status < 0 {
        return Err(fault(io::Error::last_os_error()));
    }
    let count = (query.count as usize).min(QUERIED);
    let open = |id: &u32| {
        // Id, the id to go on from, flags.
        let fd = call(PROG_FD_BY_ID, &[*id, 0, 0]).map_err(fault)?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    ids[..count].iter().map(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would.
    fn run(program: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> i64 {
        let mut registers = [0_i64; 11];
        let mut at = 0;
        loop {
            let Instruction { operation, registers: names, offset, constant } = program[at];
            let (target, source) = (usize::from(names & 15), usize::from(names >> 4));
            let constant = i64::from(constant);
            at += 1;
            match operation {
                LOAD => {
                    let words = [access << 16 | kind, major, minor];
                    registers[target] =
                        i64::from(words[usize::try_from(offset / 4).expect("a word")]);
                }
                AND => registers[target] &= constant,
                SHIFT_RIGHT => registers[target] >>= constant,
                SET => registers[target] = constant,
                MOVE => registers[target] = registers[source],
                JUMP_NOT_EQUAL if registers[target] != constant => {
                    at += usize::try_from(offset).expect("forward");
                }
                JUMP_NOT_EQUAL => {}
                EXIT => return registers[0],
                other => panic!("no such operation: {other}"),
            }
        }
    }

    #[test]
    fn what_a_rule_allows_is_allowed_and_nothing_else() {
        let rule =
            |kind, major, minor, read, write, make| Rule { kind, major, minor, read, write, make };
        let program = assemble(&[
            rule(Kind::Character, None, None, false, false, true),
            rule(Kind::Character, Some(136), None, true, true, true),
            rule(Kind::Block, Some(8), Some(1), true, false, false),
        ]);
        let allowed = |kind, access, major, minor| run(&program, kind, access, major, minor) == 1;
        assert!(allowed(CHARACTER, MAKE, 7, 7) && !allowed(CHARACTER, MAKE | READ, 7, 7));
        assert!(allowed(CHARACTER, READ | WRITE | MAKE, 136, 9) && !allowed(BLOCK, READ, 136, 9));
        assert!(allowed(BLOCK, READ, 8, 1) && !allowed(BLOCK, WRITE, 8, 1));
        assert!(!allowed(BLOCK, READ, 8, 2) && !allowed(BLOCK, MAKE, 8, 2));
    }
}
