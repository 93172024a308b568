//! How long `stdout` and `stderr` of containers become before they are put aside (spec/agent.md 6.5).

use crate::ContainerSpec;
use std::collections::BTreeMap;

/// Shortest limit: what the supervisor copies at once.
const MAX_LEAST: u64 = 4096;
/// Options of logrotate that say what is done here anyway.
const PLAIN: [&str; 4] = ["missingok", "nocompress", "nodelaycompress", "notifempty"];

/// One file's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes; 0: as long as it likes.
    pub max: u64,
    /// Full files that are kept.
    pub keep: u32,
}

/// What the module `org_apache_mesos_LogrotateContainerLogger` is told. Containers change it by variables of their
/// environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    stdout: Rotation,
    stderr: Rotation,
    prefix: String,
}

impl Logs {
    /// From the module's parameters.
    ///
    /// # Errors
    /// Which parameter is wrong, and what was expected.
    pub fn new(parameters: &BTreeMap<String, String>) -> Result<Self, String> {
        let known = |key: &str| {
            ["max_stdout_size", "max_stderr_size", "logrotate_stdout_options"].contains(&key)
                || ["logrotate_stderr_options", "environment_variable_prefix"].contains(&key)
        };
        if let Some(other) = parameters.keys().find(|key| !known(key)) {
            return Err(format!(
                "'{other}' has no meaning here: logs are rotated without another program; leave it out"
            ));
        }
        let get = |key: &str| parameters.get(key).map(String::as_str);
        let rotation = |name: &str| {
            let (size, options) = (format!("max_{name}_size"), format!("logrotate_{name}_options"));
            let max =
                get(&size).map_or(Ok(10 << 20), limit).map_err(|e| format!("'{size}': {e}"))?;
            let keep =
                get(&options).map_or(Ok(0), kept).map_err(|e| format!("'{options}': {e}"))?;
            Ok::<_, String>(Rotation { max, keep })
        };
        let prefix = get("environment_variable_prefix").unwrap_or("CONTAINER_LOGGER_").to_owned();
        Ok(Self { stdout: rotation("stdout")?, stderr: rotation("stderr")?, prefix })
    }

    /// For `stdout` and `stderr` of a container.
    ///
    /// # Errors
    /// Which variable is wrong, and what was expected.
    pub(crate) fn of(&self, spec: &ContainerSpec) -> Result<[Rotation; 2], String> {
        let get = |name: &str, end: &str| {
            let name = format!("{}{name}{end}", self.prefix);
            spec.environment.get(&name).map(|value| (name, value.as_str()))
        };
        let rotation = |own: Rotation, name: &str| {
            let mut rotation = own;
            if let Some((variable, value)) = get("MAX_", &format!("{name}_SIZE")) {
                rotation.max = limit(value).map_err(|e| format!("variable {variable}: {e}"))?;
            }
            if let Some((variable, value)) = get("LOGROTATE_", &format!("{name}_OPTIONS")) {
                rotation.keep = kept(value).map_err(|e| format!("variable {variable}: {e}"))?;
            }
            Ok::<_, String>(rotation)
        };
        Ok([rotation(self.stdout, "STDOUT")?, rotation(self.stderr, "STDERR")?])
    }
}

fn limit(text: &str) -> Result<u64, String> {
    let size = base::bytes::parse(text)?;
    if size < MAX_LEAST { Err(format!("expected at least 4KB, got '{text}'")) } else { Ok(size) }
}

/// The number of files that options of logrotate keep.
fn kept(options: &str) -> Result<u32, String> {
    let mut keep = 0;
    for line in options.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["rotate", count] => {
                let wrong = |_| format!("expected a number of files after 'rotate', got '{count}'");
                keep = count.parse().map_err(wrong)?;
            }
            [option] if PLAIN.contains(&option) => {}
            _ => {
                return Err(format!(
                    "'{line}' is not supported: of logrotate's options there is 'rotate N', the number of full files that are kept"
                ));
            }
        }
    }
    Ok(keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn parameters_are_those_of_the_peers_module() {
        let default = Rotation { max: 10 << 20, keep: 0 };
        let logs = Logs::new(&BTreeMap::new()).expect("settings");
        assert_eq!((logs.stdout, logs.stderr), (default, default));
        let logs = Logs::new(&parameters(&[
            ("max_stdout_size", "64KB"),
            ("logrotate_stdout_options", "rotate 5\nmissingok"),
        ]));
        let logs = logs.expect("settings");
        assert_eq!((logs.stdout, logs.stderr), (Rotation { max: 65536, keep: 5 }, default));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (key, value, expected) in [
            ("max_stdout_size", "1KB", "'max_stdout_size': expected at least 4KB"),
            ("max_stderr_size", "ten", "'max_stderr_size': expected a number with a unit"),
            (
                "logrotate_stdout_options",
                "compress",
                "'logrotate_stdout_options': 'compress' is not",
            ),
            (
                "logrotate_stderr_options",
                "rotate x",
                "'logrotate_stderr_options': expected a number",
            ),
            ("logrotate_path", "/x", "'logrotate_path' has no meaning here"),
        ] {
            let error = Logs::new(&parameters(&[(key, value)])).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
