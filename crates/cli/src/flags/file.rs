//! Flags from a file: `--config`, in TOML, with one key for each flag.
//!
//! A flag whose value is a list with commas may be a list here, and one whose value is JSON may be a table.

use super::parse::{find, nearest_to};
use super::{Flags, Table};
use toml::Value;

/// Variables that name the file, the later ones first.
const VARIABLES: [&str; 2] = ["PROFFER_CONFIG", "MESOS_CONFIG"];

/// The file that is named by a word, else by a variable.
pub(super) fn named(words: &[String], variables: &[(String, String)]) -> Option<String> {
    let own = words.iter().take_while(|word| *word != "--");
    let mut path = None;
    let mut is_next = false;
    for word in own {
        if std::mem::take(&mut is_next) || word.starts_with("--config=") {
            path = Some(word.strip_prefix("--config=").unwrap_or(word).to_owned());
        }
        is_next = word == "--config";
    }
    let variable = |name: &&str| variables.iter().find(|(known, _)| known == name);
    path.or_else(|| VARIABLES.iter().find_map(variable).map(|(_, value)| value.clone()))
        .filter(|path| !path.is_empty())
}

/// Sets the flags that a file has.
pub(super) fn read(table: &Table, path: &str, flags: &mut Flags) -> Result<(), String> {
    let path = path.strip_prefix("file://").unwrap_or(path);
    let text =
        std::fs::read_to_string(path).map_err(|e| format!("--config: cannot read {path}: {e}"))?;
    let all: toml::Table = text.parse().map_err(|e| format!("--config: {path} is no TOML: {e}"))?;
    for (name, value) in &all {
        if ["config", "help", "version"].contains(&name.as_str()) {
            return Err(format!("'{name}' can't be set in {path}"));
        }
        let Some(row) = find(table, name, &mut flags.warnings) else {
            let meant = nearest_to(table, name);
            let meant = meant.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default();
            return Err(format!(
                "unknown key '{name}' in {path}{meant} (`{} --help` lists all flags)",
                table.program
            ));
        };
        let place = format!("'{name}' in {path}");
        let value = plain(value).map_err(|expected| format!("{place}: {expected}"))?;
        flags.set(row, value, &place)?;
    }
    Ok(())
}

/// A value as it would be given in words.
fn plain(value: &Value) -> Result<String, String> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    };
    if let Some(text) = scalar(value) {
        return Ok(text);
    }
    if let Value::Array(items) = value
        && let Some(items) = items.iter().map(scalar).collect::<Option<Vec<_>>>()
    {
        return Ok(items.join(","));
    }
    if let Value::Datetime(_) = value {
        return Err("expected no date (times are text, such as \"10secs\")".to_owned());
    }
    serde_json::to_string(value).map_err(|e| format!("this can't be JSON: {e}"))
}

#[cfg(test)]
mod tests {
    use super::super::{AGENT, MASTER, parse};
    use super::*;

    fn file(text: &str) -> (std::path::PathBuf, String) {
        let number = std::process::id();
        let name = format!("proffer-config-{number}-{:x}.toml", text.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("written");
        (path.clone(), format!("--config={}", path.display()))
    }

    #[track_caller]
    fn check(text: &str, words: &[&str], variables: &[(&str, &str)]) -> Result<Flags, String> {
        let (path, config) = file(text);
        let words: Vec<String> =
            [config.as_str()].iter().chain(words).map(|word| (*word).to_owned()).collect();
        let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let flags = parse(&MASTER, &words, variables);
        let _ = std::fs::remove_file(path);
        flags
    }

    #[test]
    fn words_win_over_variables_over_the_file() {
        let text = "port = 1\nhostname = \"file\"\ncluster = \"file\"\nquiet = true\nzk_session_timeout = \"7secs\"\n";
        let variables =
            [("MESOS_HOSTNAME", "old"), ("PROFFER_HOSTNAME", "new"), ("MESOS_PORT", "2")];
        let flags = check(text, &["--port=3"], &variables).expect("flags");
        let of = |name: &str| flags.text(name).unwrap_or_default();
        assert_eq!((of("port"), of("hostname"), of("cluster")), ("3", "new", "file"));
        assert_eq!((of("quiet"), of("zk_session_timeout")), ("true", "7secs"));
        assert!(flags.is_given("cluster"));
    }

    #[test]
    fn lists_and_tables_need_no_quotes() {
        let text = "roles = [\"a\", \"b\"]\n[domain.fault_domain]\nregion = {name = \"r\"}\nzone = {name = \"z\"}\n";
        let flags = check(text, &[], &[]).expect("flags");
        assert_eq!(flags.text("roles"), Some("a,b"));
        let domain = "{\"fault_domain\":{\"region\":{\"name\":\"r\"},\"zone\":{\"name\":\"z\"}}}";
        assert_eq!(flags.text("domain"), Some(domain));
    }

    #[test]
    fn errors_name_the_file_and_the_key() {
        for (text, wanted) in [
            ("prot = 5050", "unknown key 'prot' in "),
            ("prot = 5050", "did you mean 'port'?"),
            ("port = \"x\"", "expected a number, got 'x'"),
            ("zk_session_timeout = 5", "expected a duration such as 10secs or 2mins, got '5'"),
            ("port = 1\nport = 2", "is no TOML"),
            ("config = \"x\"", "'config' can't be set in "),
            ("port = 1979-05-27", "expected no date"),
        ] {
            let error = check(text, &[], &[]).expect_err("refused");
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let words = ["--config".to_owned(), "/nowhere".to_owned()];
        let error = parse(&AGENT, &words, []).expect_err("refused");
        assert!(error.starts_with("--config: cannot read /nowhere"), "{error}");
        let variables = [("MESOS_CONFIG".to_owned(), "/nothing".to_owned())];
        let error = parse(&AGENT, &[], variables).expect_err("refused");
        assert!(error.contains("/nothing"), "{error}");
    }
}
