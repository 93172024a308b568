//! `--modules`: parameters of the peer's modules that are built in here. Libraries are not loaded.

use crate::flags::Flags;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Lends a fixed amount (`--resource_estimator`).
pub(crate) const ESTIMATOR: &str = "org_apache_mesos_FixedResourceEstimator";
/// Takes back what was lent when the node is busy (`--qos_controller`).
pub(crate) const CONTROLLER: &str = "org_apache_mesos_LoadQoSController";
/// Cuts logs into files of a limited length (`--container_logger`).
pub(crate) const LOGGER: &str = "org_apache_mesos_LogrotateContainerLogger";

/// What `--modules` holds.
#[derive(Debug, Default, Deserialize)]
struct Modules {
    #[serde(default)]
    libraries: Vec<Library>,
}

#[derive(Debug, Deserialize)]
struct Library {
    #[serde(default)]
    modules: Vec<Module>,
}

#[derive(Debug, Deserialize)]
struct Module {
    name: String,
    #[serde(default)]
    parameters: Vec<Parameter>,
}

#[derive(Debug, Deserialize)]
struct Parameter {
    key: String,
    value: String,
}

/// Parameters by module and key.
pub(crate) type Parameters = BTreeMap<String, BTreeMap<String, String>>;

pub(crate) fn read(flags: &Flags) -> Result<Parameters, String> {
    let Some(text) = flags.text("modules") else { return Ok(Parameters::new()) };
    let content = if text.trim_start().starts_with('{') {
        text.to_owned()
    } else {
        let path = text.strip_prefix("file://").unwrap_or(text);
        std::fs::read_to_string(path).map_err(|e| format!("--modules: cannot read {path}: {e}"))?
    };
    let read: Modules = serde_json::from_str(&content)
        .map_err(|e| format!("--modules: expected {{\"libraries\":[{{\"modules\":[…]}}]}}: {e}"))?;
    let mut parameters = Parameters::new();
    for module in read.libraries.into_iter().flat_map(|l| l.modules) {
        if ![ESTIMATOR, CONTROLLER, LOGGER].contains(&module.name.as_str()) {
            return Err(format!(
                "--modules: module '{}' is not built in; {ESTIMATOR}, {CONTROLLER} and {LOGGER} are, and no library can be loaded",
                module.name
            ));
        }
        let pairs = module.parameters.into_iter().map(|p| (p.key, p.value));
        parameters.entry(module.name).or_default().extend(pairs);
    }
    Ok(parameters)
}
