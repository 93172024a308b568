//! `cgroups/devices`: a container opens the devices that every program may need, and those of `--allowed_devices`.

use super::device_program::Program;
use super::{Access, Controller, Groups, Options, Wanted};
use std::sync::OnceLock;
use wire::v1::{self, ResourceStatistics};

/// Kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    Character,
}

/// Access to a device, or to all (None).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) make: bool,
}

/// Character devices of every container: console, tty0, tty1, pseudo-terminals, ptmx, tun, null, zero, full, tty,
/// urandom and random.
const CHARACTER: [(u32, Option<u32>); 12] = [
    (5, Some(1)),
    (4, Some(0)),
    (4, Some(1)),
    (136, None),
    (5, Some(2)),
    (10, Some(200)),
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (5, Some(0)),
    (1, Some(9)),
    (1, Some(8)),
];

impl Rule {
    /// The line that version 1 takes.
    fn line(self) -> String {
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Character => 'c',
        };
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let flag = |set, letter| if set { letter } else { "" };
        let access = [flag(self.read, "r"), flag(self.write, "w"), flag(self.make, "m")].concat();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }

    /// A character device that may be opened.
    fn opened((major, minor): (u32, u32)) -> Self {
        let (major, minor) = (Some(major), Some(minor));
        Self { kind: Kind::Character, major, minor, read: true, write: true, make: false }
    }

    /// A device of `--allowed_devices`.
    fn of(access: &v1::DeviceAccess) -> Result<Self, String> {
        use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
        let path = access.device.path.as_deref().unwrap_or_default();
        let metadata = std::fs::metadata(path)
            .map_err(|e| format!("--allowed_devices: cannot look at the device '{path}': {e}"))?;
        let kind = match metadata.file_type() {
            t if t.is_block_device() => Kind::Block,
            t if t.is_char_device() => Kind::Character,
            _ => return Err(format!("--allowed_devices: '{path}' is not a device")),
        };
        let granted = &access.access;
        Ok(Self {
            kind,
            major: Some(libc::major(metadata.rdev())),
            minor: Some(libc::minor(metadata.rdev())),
            read: granted.read(),
            write: granted.write(),
            make: granted.mknod(),
        })
    }
}

#[derive(Debug)]
pub(super) struct Devices {
    rules: Vec<Rule>,
    /// Loaded once, attached to each container (version 2).
    program: OnceLock<Result<Program, String>>,
}

impl Devices {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let make =
            |kind| Rule { kind, major: None, minor: None, read: false, write: false, make: true };
        let character = |(major, minor)| Rule {
            kind: Kind::Character,
            major: Some(major),
            minor,
            read: true,
            write: true,
            make: true,
        };
        let mut rules = vec![make(Kind::Character), make(Kind::Block)];
        rules.extend(CHARACTER.map(character));
        for access in &options.allowed_devices {
            rules.push(Rule::of(access)?);
        }
        Ok(Self { rules, program: OnceLock::new() })
    }

    /// A program for a container with devices of its own.
    fn program_of(&self, wanted: &Wanted<'_>) -> Result<Program, String> {
        let own = wanted.devices.opened.iter().map(|number| Rule::opened(*number));
        Program::load(&self.rules.iter().copied().chain(own).collect::<Vec<_>>())
    }
}

impl Controller for Devices {
    fn kernel(&self) -> &'static [&'static str] {
        &["devices"]
    }

    fn apply(&self, groups: &Groups, wanted: &Wanted<'_>, is_new: bool) -> Result<(), String> {
        let group = groups.get("devices")?;
        if !is_new {
            return Ok(());
        }
        if group.is_v2 && !wanted.devices.opened.is_empty() {
            return self.program_of(wanted)?.attach(&group.path);
        }
        if group.is_v2 {
            let program = self.program.get_or_init(|| Program::load(&self.rules)).as_ref();
            return program.map_err(String::clone)?.attach(&group.path);
        }
        group.write("devices.deny", "a")?;
        let own = wanted.devices.opened.iter().map(|number| Rule::opened(*number));
        let mut rules = self.rules.iter().copied().chain(own);
        rules.try_for_each(|rule| group.write("devices.allow", rule.line()))
    }

    fn open_devices(&self, groups: &Groups, wanted: &Wanted<'_>) -> Result<(), String> {
        let group = groups.get("devices")?;
        if group.is_v2 {
            return self.program_of(wanted)?.replace(&group.path);
        }
        let Access { opened, closed } = &wanted.devices;
        let write =
            |file: &str, number: &(u32, u32)| group.write(file, Rule::opened(*number).line());
        opened.iter().try_for_each(|number| write("devices.allow", number))?;
        closed.iter().try_for_each(|number| write("devices.deny", number))
    }

    fn usage(&self, _groups: &Groups, _out: &mut ResourceStatistics) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_version_1_wants_them() {
        let devices = Devices::new(&Options::default()).expect("the rules of everybody");
        let lines: Vec<String> = devices.rules.iter().map(|rule| rule.line()).collect();
        let want = [
            "c *:* m",
            "b *:* m",
            "c 5:1 rwm",
            "c 4:0 rwm",
            "c 4:1 rwm",
            "c 136:* rwm",
            "c 5:2 rwm",
            "c 10:200 rwm",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 5:0 rwm",
            "c 1:9 rwm",
            "c 1:8 rwm",
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn an_allowed_device_has_to_be_one() {
        let mut options = Options::default();
        let device = |path: &str| v1::DeviceAccess {
            device: v1::Device { path: Some(path.to_owned()), ..Default::default() },
            access: v1::device_access::Access { read: Some(true), ..Default::default() },
        };
        options.allowed_devices = vec![device("/dev/null")];
        let devices = Devices::new(&options).expect("a device");
        assert_eq!(devices.rules.last().map(|rule| rule.line()).as_deref(), Some("c 1:3 r"));
        options.allowed_devices = vec![device("/")];
        let error = Devices::new(&options).expect_err("a directory");
        assert_eq!(error, "--allowed_devices: '/' is not a device");
    }
}
