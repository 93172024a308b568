//! Asking a master, for the commands of operators.

use client::{ClientError, Events, Operator};
use detector::{Detector, MasterName, SESSION_TIMEOUT};
use http::Method;
use serde_json::Value;
use std::path::{Path, PathBuf};
use wire::v1::master::call::Subscribe;

/// Where the master is when nobody says it.
const DEFAULT: &str = "127.0.0.1:5050";

/// Why a command ends without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The words make no sense: exit status 2.
    Usage(String),
    /// It could not be done: exit status 1.
    Failed(String),
}

impl Failure {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// The same with the flag of commands that the master's field `force` is.
    pub(crate) fn naming_force(self) -> Self {
        let named = |text: String| {
            let text = text.replace("(use 'force' flag to", "(use --force to");
            text.replace("(use 'force' to", "(use --force to")
        };
        match self {
            Self::Failed(text) => Self::Failed(named(text)),
            usage @ Self::Usage(_) => usage,
        }
    }
}

/// The master that is meant: that of `--master`, else of `PROFFER_MASTER`, `MESOS_MASTER` or the configuration file,
/// else the one on this host.
///
/// # Errors
/// When what is given is no name of a master; the text says where it was given.
pub(crate) fn master_name(flag: Option<&str>) -> Result<MasterName, String> {
    let parse = |place: &str, text: &str| {
        MasterName::parse(text).map_err(|e| {
            format!(
                "{place}: {e}; expected host:port, zk://host:port/path or etcd://host:port/path"
            )
        })
    };
    if let Some(text) = flag {
        return parse("--master", text);
    }
    for name in ["PROFFER_MASTER", "MESOS_MASTER"] {
        if let Ok(text) = std::env::var(name) {
            return parse(name, &text);
        }
    }
    if let Some(path) = config_path()
        && let Ok(text) = std::fs::read_to_string(&path)
    {
        let place = path.display();
        if let Some(name) = configured(&text).map_err(|e| format!("{place}: {e}"))? {
            return parse(&format!("'master' in {place}"), name);
        }
    }
    parse("the default", DEFAULT)
}

fn config_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let directory = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(directory.join(Path::new("proffer/config.toml")))
}

/// The master in a configuration file: lines `name = "value"`, of which only `master` is known.
fn configured(text: &str) -> Result<Option<&str>, String> {
    let mut master = None;
    for (number, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = || format!("line {number}: expected master = \"host:port\", got '{line}'");
        let (name, value) = line.split_once('=').ok_or_else(fault)?;
        let value = value.trim().strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        if name.trim() != "master" {
            return Err(fault());
        }
        master = Some(value.ok_or_else(fault)?);
    }
    Ok(master)
}

/// Asks the leading master.
#[derive(Debug, Clone)]
pub(crate) struct OperatorClient {
    operator: Operator,
}

impl OperatorClient {
    pub(crate) fn new(master: MasterName) -> Self {
        Self { operator: Operator::new(Detector::new(master, SESSION_TIMEOUT)) }
    }

    /// Subscribes to those events that are wanted.
    ///
    /// # Errors
    /// When no master answers, or it refuses.
    pub(crate) async fn subscribe(&self, wanted: &Subscribe) -> Result<Events, ClientError> {
        self.operator.subscribe(wanted).await
    }

    /// The JSON of an endpoint that reads.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(Method::GET, path, None).await
    }

    /// A call of the v1 operator API; null when it is answered without a body.
    pub(crate) async fn call(&self, call: &Value) -> Result<Value, Failure> {
        self.json(Method::POST, "/api/v1", Some(call)).await
    }

    /// Any request; null when it is answered without a body.
    ///
    /// # Errors
    /// When no master answers, and when it refuses: with what it says.
    pub(crate) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let body = body.map(|b| b.to_string().into_bytes());
        let answer = self.operator.request(method, path, body).await;
        let answer = answer.map_err(|e| Failure::failed(e.to_string()))?;
        let text = answer.text();
        match answer.status {
            200..300 if answer.body.is_empty() => Ok(Value::Null),
            200..300 => serde_json::from_slice(&answer.body).map_err(|e| {
                Failure::failed(format!("the answer of {path} is not JSON ({e}); is it a master?"))
            }),
            404 if text.trim().is_empty() || text == "Not found" => Err(Failure::failed(format!(
                "the master has no {path}: it is not Proffer, or an older one"
            ))),
            302 | 307 => Err(Failure::failed(
                "masters redirect to each other: none of them leads now; try again in a moment",
            )),
            401 | 403 => Err(Failure::failed(format!("not allowed: {}", text.trim()))),
            status if text.trim().is_empty() => {
                Err(Failure::failed(format!("the master refused with status {status}")))
            }
            _ => Err(Failure::failed(text.trim())),
        }
    }
}

/// A value of a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_file_names_the_master_and_nothing_else() {
        assert_eq!(configured("# mine\n\nmaster = \"h:5050\"\n"), Ok(Some("h:5050")));
        assert_eq!(configured(""), Ok(None));
        let error = configured("master = \"h:1\"\nport = 3").expect_err("an unknown name");
        assert_eq!(error, "line 2: expected master = \"host:port\", got 'port = 3'");
        assert!(configured("master = h").is_err());
        assert!(configured("master").is_err());
    }

    #[test]
    fn a_query_carries_any_text() {
        assert_eq!(escaped("a/b c&d=ü"), "a%2Fb%20c%26d%3D%C3%BC");
    }
}
