//! Flags: one table for each program gives parsing, `MESOS_…` variables, `/flags`, `--help` and errors that name the
//! nearest flag.

mod agent;
mod execute;
mod file;
mod local;
mod master;
mod parse;

pub(crate) use agent::AGENT;
pub(crate) use execute::{EXECUTE, RUN};
pub(crate) use local::LOCAL;
pub(crate) use master::MASTER;
pub(crate) use parse::{Flags, parse};

/// A program's flags.
#[derive(Debug)]
pub(crate) struct Table {
    /// Name for `--help`.
    pub(crate) program: &'static str,
    /// What it does, in one sentence.
    pub(crate) about: &'static str,
    /// Whether `PROFFER_<NAME>` and `MESOS_<NAME>` variables count.
    pub(crate) environment: bool,
    pub(crate) rows: &'static [&'static [Row]],
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Older name, still accepted.
    pub(crate) alias: Option<&'static str>,
    /// Value when it is not given; None: it has none.
    pub(crate) default: Option<&'static str>,
    pub(crate) kind: Kind,
    pub(crate) support: Support,
    /// What it does.
    pub(crate) help: &'static str,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// Of a file that is read later, and again: `file://` before it changes nothing.
    Path,
    Bool,
    Number,
    Duration,
}

/// Whether a flag does what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Support {
    Yes,
    /// Only these values, which change nothing; others are refused.
    Only(&'static [&'static str]),
    /// Never, for this reason; every value is refused.
    Never(&'static str),
}

const fn row(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    help: &'static str,
) -> Row {
    Row { name, alias: None, default, kind, support: Support::Yes, help }
}

const fn only(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    values: &'static [&'static str],
) -> Row {
    Row {
        name,
        alias: None,
        default,
        kind,
        support: Support::Only(values),
        help: "not supported yet beyond these values",
    }
}

const fn never(name: &'static str, why: &'static str) -> Row {
    let support = Support::Never(why);
    Row { name, alias: None, default: None, kind: Kind::Text, support, help: why }
}

const fn alias(alias: &'static str, row: Row) -> Row {
    Row { alias: Some(alias), ..row }
}

impl Table {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Row> {
        self.rows.iter().flat_map(|rows| rows.iter())
    }

    /// The text of `--help`.
    pub(crate) fn help(&self) -> String {
        let mut out = format!("{}\n\nusage: {} [flags]\n\n", self.about, self.program);
        for row in self.rows().filter(|r| matches!(r.support, Support::Yes)) {
            let value = match row.kind {
                Kind::Bool => String::new(),
                Kind::Text => "=TEXT".to_owned(),
                Kind::Path => "=PATH".to_owned(),
                Kind::Number => "=N".to_owned(),
                Kind::Duration => "=DURATION".to_owned(),
            };
            let default = row.default.map(|d| format!(" [{d}]")).unwrap_or_default();
            out.push_str(&format!("  --{}{value}\n        {}{default}\n", row.name, row.help));
        }
        if self.environment {
            out.push_str(
                "\nEach flag can also be given as a variable: PROFFER_ or MESOS_ and its name in upper case.\n",
            );
        }
        if self.rows().any(|row| row.name == "config") {
            out.push_str(
                "A file that --config names has them as keys: port = 5050. Flags win over variables, these over the file.\n",
            );
        }
        out
    }
}
