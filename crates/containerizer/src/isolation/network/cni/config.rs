//! Networks that the operator has configured: files of JSON, each with one plugin or with a list of them.

use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Versions of the specification whose words are known.
const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// What plugins find in `args`, beside what the operator writes there.
pub(super) const ARGUMENTS: &str = "org.apache.mesos";

/// Mesos' plugin for port mappings, which configurations name, and the usual one that does the same.
const PORT_MAPPER: &str = "mesos-cni-port-mapper";
const PORT_MAP: &str = "portmap";

/// One network: its plugins, in the order in which they add.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    /// Its name.
    pub(super) name: String,
    /// What the file says of the version; empty if it does not.
    pub(super) version: String,
    /// Whether the operator forbids checks.
    pub(super) disable_check: bool,
    /// Configuration of each plugin, as written.
    pub(super) plugins: Vec<Map<String, Value>>,
}

impl Network {
    /// Finds a network among the files of a directory, which are read each time: they change while the agent runs.
    pub(super) fn find(directory: &Path, name: &str) -> Result<Self, String> {
        let entries = std::fs::read_dir(directory)
            .map_err(|e| format!("cannot read {}: {e}", directory.display()))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.is_file()) {
            let read = std::fs::read(path).map_err(|e| e.to_string());
            match read.and_then(|text| parse_object(&text)) {
                Ok(object) if object.get("name").and_then(Value::as_str) == Some(name) => {
                    return Self::parse(object).map_err(|e| format!("{}: {e}", path.display()));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "not a configuration of a network");
                }
            }
        }
        Err(format!("Unknown CNI network '{name}'"))
    }

    /// Reads one configuration.
    pub(super) fn parse(mut object: Map<String, Value>) -> Result<Self, String> {
        let text = |object: &Map<String, Value>, key: &str| match object.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(format!("'{key}' must be a text, not {other}")),
        };
        let name = text(&object, "name")?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(is_plain) {
            return Err(format!(
                "'name' must be of letters, digits, '_', '.' and '-', and begin with one of the first two, not '{name}'"
            ));
        }
        let version = text(&object, "cniVersion")?;
        if !version.is_empty() && !VERSIONS.contains(&version.as_str()) {
            return Err(format!("'cniVersion' {version} is not known; {}", VERSIONS.join(", ")));
        }
        let disable_check = object.get("disableCheck") == Some(&Value::Bool(true));
        let plugins: Vec<Map<String, Value>> = match object.remove("plugins") {
            None => unfolded(object)?,
            Some(Value::Array(plugins)) if !plugins.is_empty() => plugins
                .into_iter()
                .map(|plugin| match plugin {
                    Value::Object(plugin) => Ok(plugin),
                    other => Err(format!("'plugins' must hold objects, not {other}")),
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err("'plugins' must be a list of at least one plugin".to_owned()),
        };
        for plugin in &plugins {
            let program = text(plugin, "type")?;
            if program.is_empty() || program.contains('/') || program.starts_with('.') {
                return Err(format!("'type' must name a plugin, not '{program}'"));
            }
            if plugin.get("args").is_some_and(|args| args.get(ARGUMENTS).is_some()) {
                return Err(format!("'args.{ARGUMENTS}' is the agent's to set"));
            }
        }
        Ok(Self { name, version, disable_check, plugins })
    }

    /// Whether plugins can be asked if what they made is still so, and are told on removal what they made.
    pub(super) fn has_check(&self) -> bool {
        !["", "0.1.0", "0.2.0", "0.3.0", "0.3.1"].contains(&self.version.as_str())
    }

    /// As it can be parsed again.
    pub(super) fn to_json(&self) -> Value {
        let mut object = json!({
            "name": self.name,
            "disableCheck": self.disable_check,
            "plugins": self.plugins,
        });
        if !self.version.is_empty() {
            object["cniVersion"] = json!(self.version);
        }
        object
    }

    /// What a plugin reads on its standard input. `arguments` is for its `args`, `runtime` are values of capabilities, of
    /// which it gets those that it has.
    pub(super) fn input(
        &self,
        plugin: &Map<String, Value>,
        arguments: &Value,
        runtime: &Map<String, Value>,
        previous: Option<&Value>,
    ) -> Value {
        let mut input = plugin.clone();
        let capabilities = input.remove("capabilities").unwrap_or_default();
        input.insert("name".to_owned(), json!(self.name));
        if !self.version.is_empty() {
            input.insert("cniVersion".to_owned(), json!(self.version));
        }
        let args = input.entry("args").or_insert_with(|| json!({}));
        if !args.is_object() {
            *args = json!({});
        }
        args[ARGUMENTS] = arguments.clone();
        let has = |name: &str| capabilities.get(name) == Some(&Value::Bool(true));
        let runtime = runtime.iter().filter(|(name, _)| has(name));
        let runtime: Map<_, _> = runtime.map(|(name, v)| (name.clone(), v.clone())).collect();
        if !runtime.is_empty() {
            input.insert("runtimeConfig".to_owned(), Value::Object(runtime));
        }
        if let Some(previous) = previous {
            input.insert("prevResult".to_owned(), previous.clone());
        }
        Value::Object(input)
    }
}

/// In the place of Mesos' plugin for port mappings that which it delegates to, and one that maps ports.
fn unfolded(mut object: Map<String, Value>) -> Result<Vec<Map<String, Value>>, String> {
    if program(&object) != PORT_MAPPER {
        return Ok(vec![object]);
    }
    let Some(Value::Object(delegate)) = object.remove("delegate") else {
        return Err(format!("{PORT_MAPPER}: 'delegate' must be the configuration of a plugin"));
    };
    let mut mapper = Map::new();
    mapper.insert("type".to_owned(), json!(PORT_MAP));
    mapper.insert("capabilities".to_owned(), json!({"portMappings": true}));
    match object.get("excludeDevices").and_then(Value::as_array).map(Vec::as_slice) {
        None | Some([]) => {}
        Some([Value::String(device)]) => {
            mapper.insert("conditionsV4".to_owned(), json!(["!", "-i", device]));
        }
        Some(_) => {
            return Err(format!(
                "{PORT_MAPPER}: 'excludeDevices' can have one device only, since '{PORT_MAP}' maps the ports; use that plugin"
            ));
        }
    }
    Ok(vec![delegate, mapper])
}

/// The name of a plugin's program.
pub(super) fn program(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn parse_object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("expected a JSON object".to_owned()),
        Err(e) => Err(format!("expected a JSON object: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parse(text: &Value) -> Result<Network, String> {
        Network::parse(parse_object(text.to_string().as_bytes()).expect("an object"))
    }

    #[test]
    fn one_plugin_and_a_list_of_them() {
        let one =
            parse(&json!({"name": "a", "type": "bridge", "bridge": "b0"})).expect("a network");
        assert_eq!((one.plugins.len(), one.version.as_str(), one.has_check()), (1, "", false));
        let list = json!({"name": "a", "cniVersion": "1.0.0", "disableCheck": true, "plugins": [
            {"type": "ptp", "args": {"x": 1}},
            {"type": "portmap", "capabilities": {"portMappings": true, "mac": false}},
        ]});
        let list = parse(&list).expect("a network");
        assert!(list.has_check() && list.disable_check);
        let runtime = json!({"portMappings": [], "mac": "m", "ips": []});
        let runtime = runtime.as_object().expect("an object");
        let input = list.input(&list.plugins[0], &json!({"y": 2}), runtime, None);
        assert_eq!(
            input,
            json!({"name": "a", "cniVersion": "1.0.0", "type": "ptp",
                "args": {"x": 1, "org.apache.mesos": {"y": 2}}})
        );
        let input = list.input(&list.plugins[1], &json!({}), runtime, Some(&json!({"ips": []})));
        assert_eq!(
            input,
            json!({"name": "a", "cniVersion": "1.0.0", "type": "portmap",
                "args": {"org.apache.mesos": {}}, "runtimeConfig": {"portMappings": []},
                "prevResult": {"ips": []}})
        );
        let kept = list.to_json().as_object().cloned().expect("an object");
        assert_eq!(Network::parse(kept), Ok(list));
    }

    #[test]
    fn ports_are_mapped_by_the_usual_plugin() {
        let mapper = |more: Value| {
            let mut config = json!({"name": "a", "type": "mesos-cni-port-mapper", "chain": "MESOS",
                "delegate": {"type": "bridge", "bridge": "b0"}});
            config
                .as_object_mut()
                .expect("an object")
                .extend(more.as_object().cloned().expect("one"));
            parse(&config).map(|network| json!(network.plugins))
        };
        let delegate = json!({"type": "bridge", "bridge": "b0"});
        let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
        assert_eq!(mapper(json!({"excludeDevices": []})), Ok(json!([delegate, portmap])));
        let but_one = json!({"type": "portmap", "capabilities": {"portMappings": true},
            "conditionsV4": ["!", "-i", "b0"]});
        assert_eq!(mapper(json!({"excludeDevices": ["b0"]})), Ok(json!([delegate, but_one])));
        let error = mapper(json!({"excludeDevices": ["b0", "b1"]})).expect_err("too many");
        assert!(error.contains("can have one device only"), "{error}");
        let error = mapper(json!({"delegate": null})).expect_err("none");
        assert!(error.contains("'delegate' must be the configuration of a plugin"), "{error}");
        let error = mapper(json!({"delegate": {"type": "/x"}})).expect_err("no name");
        assert!(error.contains("'type' must name a plugin, not '/x'"), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        for (config, text) in [
            (json!({"name": "../a", "type": "x"}), "'name' must be of letters"),
            (json!({"type": "x"}), "'name' must be of letters"),
            (json!({"name": "a", "type": "../x"}), "'type' must name a plugin, not '../x'"),
            (json!({"name": "a", "type": 1}), "'type' must be a text, not 1"),
            (json!({"name": "a", "plugins": []}), "at least one plugin"),
            (json!({"name": "a", "plugins": [1]}), "'plugins' must hold objects, not 1"),
            (json!({"name": "a", "type": "x", "cniVersion": "9"}), "'cniVersion' 9 is not known"),
            (
                json!({"name": "a", "type": "x", "args": {"org.apache.mesos": 1}}),
                "'args.org.apache.mesos' is the agent's to set",
            ),
        ] {
            let error = parse(&config).expect_err("a mistake");
            assert!(error.contains(text), "{error}");
        }
    }
}
