//! From words, variables and a file to values.

use super::{Kind, Row, Support, Table};
use base::nearest;
use std::collections::BTreeMap;
use std::time::Duration;

/// Values of a program's flags: given, or their defaults.
#[derive(Debug, Clone)]
pub(crate) struct Flags {
    values: BTreeMap<&'static str, String>,
    /// What was given, not defaulted.
    given: Vec<&'static str>,
    /// Words that are no flags.
    pub(crate) words: Vec<String>,
    /// Things to tell the user.
    pub(crate) warnings: Vec<String>,
}

/// Beginnings of names of variables, the weaker ones first.
const PREFIXES: [&str; 2] = ["MESOS_", "PROFFER_"];

/// Parses words, variables and the file that `--config` names; words win over `PROFFER_…` variables, these over
/// `MESOS_…` ones, and these over the file.
pub(crate) fn parse(
    table: &Table,
    words: &[String],
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Flags, String> {
    let mut flags = Flags {
        values: BTreeMap::new(),
        given: Vec::new(),
        words: Vec::new(),
        warnings: Vec::new(),
    };
    for row in table.rows() {
        if let Some(default) = row.default {
            flags.values.insert(row.name, default.to_owned());
        }
    }
    if table.environment {
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        if table.rows().any(|row| row.name == "config")
            && let Some(path) = super::file::named(words, &variables)
        {
            super::file::read(table, &path, &mut flags)?;
        }
        for prefix in PREFIXES {
            for (variable, value) in &variables {
                let Some(name) = variable.strip_prefix(prefix) else { continue };
                if let Some(row) = find(table, &name.to_lowercase(), &mut flags.warnings) {
                    flags.set(row, value.clone(), variable)?;
                }
            }
        }
    }
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            flags.words.extend(words.by_ref().cloned());
            break;
        }
        let Some(text) = word.strip_prefix("--") else {
            flags.words.push(word.clone());
            continue;
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let (row, value) = match find(table, name, &mut flags.warnings) {
            Some(row) if row.kind == Kind::Bool => {
                (row, value.unwrap_or_else(|| "true".to_owned()))
            }
            Some(row) => match value.or_else(|| words.next().cloned()) {
                Some(value) => (row, value),
                None => return Err(format!("--{name} needs a value: {}", row.help)),
            },
            None => {
                let negated =
                    name.strip_prefix("no-").and_then(|n| find(table, n, &mut flags.warnings));
                match negated.filter(|r| r.kind == Kind::Bool && value.is_none()) {
                    Some(row) => (row, "false".to_owned()),
                    None => return Err(unknown(table, name)),
                }
            }
        };
        flags.set(row, value, &format!("--{}", row.name))?;
    }
    Ok(flags)
}

pub(super) fn find(table: &Table, name: &str, warnings: &mut Vec<String>) -> Option<&'static Row> {
    let row = table.rows().find(|r| r.name == name || r.alias == Some(name))?;
    if row.name != name {
        warnings.push(format!("--{name} is an older name of --{}", row.name));
    }
    Some(row)
}

/// The flag that is probably meant.
pub(super) fn nearest_to(table: &Table, name: &str) -> Option<&'static str> {
    nearest(name, table.rows().map(|row| row.name))
}

fn unknown(table: &Table, name: &str) -> String {
    match nearest_to(table, name) {
        Some(near) => format!(
            "unknown flag --{name}; did you mean --{near}? ({} --help lists all)",
            table.program
        ),
        None => format!("unknown flag --{name} ({} --help lists all)", table.program),
    }
}

impl Flags {
    pub(super) fn set(
        &mut self,
        row: &'static Row,
        mut value: String,
        shown: &str,
    ) -> Result<(), String> {
        if row.kind == Kind::Path {
            value = value.strip_prefix("file://").unwrap_or(&value).to_owned();
        } else if let Some(path) = value.strip_prefix("file://").filter(|_| row.name != "master") {
            value = std::fs::read_to_string(path)
                .map_err(|e| format!("{shown}: cannot read {path}: {e}"))?;
        }
        let fits = match row.kind {
            Kind::Text | Kind::Path => true,
            Kind::Bool => matches!(value.as_str(), "true" | "false" | "1" | "0"),
            Kind::Number => value.trim_end_matches('%').parse::<f64>().is_ok_and(|n| n >= 0.0),
            Kind::Duration => base::duration::parse(&value).is_ok(),
        };
        if !fits {
            let expected = match row.kind {
                Kind::Bool => "true or false",
                Kind::Number => "a number",
                _ => "a duration such as 10secs or 2mins",
            };
            return Err(format!("{shown}: expected {expected}, got '{value}'"));
        }
        if row.kind == Kind::Bool {
            value =
                if matches!(value.as_str(), "true" | "1") { "true" } else { "false" }.to_owned();
        }
        if let Support::Never(why) = row.support {
            return Err(format!("{shown} is not supported: {why}"));
        }
        if let Support::Only(values) = row.support
            && !values.contains(&value.as_str())
            && row.default != Some(&value)
        {
            let allowed = if values.is_empty() {
                String::new()
            } else {
                format!("; only {} can be given", values.join(", "))
            };
            return Err(format!("{shown}={value} is not supported yet{allowed}"));
        }
        self.values.insert(row.name, value);
        self.given.push(row.name);
        Ok(())
    }

    /// The value of a flag, if it has one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// A whole number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, String> {
        let text = self.text(name).unwrap_or_default();
        text.parse()
            .map_err(|_| format!("--{name}: expected a whole number that fits, got '{text}'"))
    }

    pub(crate) fn duration(&self, name: &str) -> Result<Duration, String> {
        base::duration::parse(self.text(name).unwrap_or_default())
            .map_err(|e| format!("--{name}: {e}"))
    }

    /// A size such as `2GB`.
    pub(crate) fn bytes(&self, name: &str) -> Result<u64, String> {
        base::bytes::parse(self.text(name).unwrap_or_default())
            .map_err(|e| format!("--{name}: {e}"))
    }

    pub(crate) fn optional_duration(&self, name: &str) -> Result<Option<Duration>, String> {
        self.text(name).map(|_| self.duration(name)).transpose()
    }

    /// JSON of a message.
    pub(crate) fn message<M: wire::Message>(&self, name: &str) -> Result<Option<M>, String> {
        let parse = |text: &str| {
            wire::json::from_slice(text.as_bytes()).map_err(|e| format!("--{name}: {e}"))
        };
        self.text(name).map(parse).transpose()
    }

    /// All values, as `/flags` shows them.
    pub(crate) fn map(&self) -> BTreeMap<String, String> {
        self.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AGENT, EXECUTE, LOCAL, MASTER, RUN};
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn master(text: &str) -> Result<Flags, String> {
        parse(&MASTER, &words(text), [])
    }

    #[test]
    fn values_come_in_every_form() {
        let flags = master(
            "--port=1 --ip 127.0.0.1 --no-root_submissions --quiet --agent_ping_timeout=2mins",
        )
        .expect("flags");
        assert_eq!((flags.text("port"), flags.text("ip")), (Some("1"), Some("127.0.0.1")));
        assert!(!flags.is_set("root_submissions") && flags.is_set("quiet"));
        assert_eq!(flags.duration("agent_ping_timeout"), Ok(Duration::from_secs(120)));
        assert_eq!(flags.text("max_completed_frameworks"), Some("50"));
    }

    #[test]
    fn words_win_over_variables_and_unknown_variables_are_ignored() {
        let variables = [
            ("MESOS_PORT", "1"),
            ("MESOS_HOSTNAME", "h"),
            ("MESOS_NATIVE_LIBRARY", "x"),
            ("PATH", "y"),
        ];
        let variables = variables.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let flags = parse(&MASTER, &words("--port=2"), variables).expect("flags");
        assert_eq!((flags.text("port"), flags.text("hostname")), (Some("2"), Some("h")));
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let error = master(text).expect_err("refused");
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn errors_name_the_flag_and_say_what_to_do() {
        refused("--prot=1", "unknown flag --prot; did you mean --port?");
        refused("--xyzzyxyzzyxyzzy=1", "--help lists all");
        refused("--port", "--port needs a value");
        refused("--port=x", "--port: expected a number, got 'x'");
        refused("--quiet=maybe", "--quiet: expected true or false");
        refused("--offer_timeout=5", "--offer_timeout: expected a duration");
        let error = parse(&AGENT, &words("--docker_mesos_image=mesos"), []).expect_err("refused");
        let why = "--docker_mesos_image is not supported: tasks in containers of Docker's have no executor";
        assert!(error.starts_with(why), "{error}");
        refused("--authenticate_agents", "--authenticate_agents=true is not supported yet");
    }

    #[test]
    fn older_names_are_accepted_with_a_warning() {
        let flags = master("--slave_ping_timeout=3secs").expect("flags");
        assert_eq!(flags.text("agent_ping_timeout"), Some("3secs"));
        assert_eq!(
            flags.warnings,
            ["--slave_ping_timeout is an older name of --agent_ping_timeout"]
        );
    }

    #[test]
    fn tables_are_sound() {
        for table in [&MASTER, &AGENT, &LOCAL, &EXECUTE, &RUN] {
            let mut names: Vec<&str> =
                table.rows().flat_map(|r| std::iter::once(r.name).chain(r.alias)).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}: a name twice", table.program);
            parse(table, &[], []).expect("defaults are valid");
            for row in table.rows().filter(|r| r.kind == Kind::Duration) {
                assert!(
                    row.default.is_none_or(|d| base::duration::parse(d).is_ok()),
                    "{}",
                    row.name
                );
            }
        }
    }

    #[test]
    fn arbitrary_words_never_panic() {
        let time = std::time::Duration::from_secs(2);
        bolero::check!(name = "flags").with_test_time(time).for_each(|bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let _ = parse(&AGENT, &words(&text), []);
            let _ = parse(&MASTER, &[format!("--{text}")], []);
        });
    }
}
