//! `DockerInfo.parameters`: options of the command `docker run`, by name, as fields of the engine's API.

mod values;

use serde_json::{Map, Value, json};
pub(super) use values::bind_port;
use wire::v1;

/// How the text of an option becomes a value.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    /// `true`, `false`, or nothing for `true`.
    Flag,
    Number,
    /// A number of bytes with or without a unit.
    Bytes,
    /// Nanoseconds, from a text such as `1m30s`.
    Duration,
    /// One more of a list.
    Item,
    /// One more `name=value` of an object.
    Pair,
    /// One more of a list, which several functions of [`values`] make.
    Made(fn(&str) -> Result<Value, String>),
}

/// Option, form, field. What is not here and not in [`apply_special`] or [`refusal`] is not known.
const OPTIONS: &[(&str, Form, &str)] = &[
    ("add-host", Form::Item, "HostConfig/ExtraHosts"),
    ("annotation", Form::Pair, "HostConfig/Annotations"),
    ("blkio-weight", Form::Number, "HostConfig/BlkioWeight"),
    ("blkio-weight-device", Form::Made(values::weight), "HostConfig/BlkioWeightDevice"),
    ("cap-add", Form::Item, "HostConfig/CapAdd"),
    ("cap-drop", Form::Item, "HostConfig/CapDrop"),
    ("cgroup-parent", Form::Text, "HostConfig/CgroupParent"),
    ("cgroupns", Form::Text, "HostConfig/CgroupnsMode"),
    ("cpu-period", Form::Number, "HostConfig/CpuPeriod"),
    ("cpu-quota", Form::Number, "HostConfig/CpuQuota"),
    ("cpu-rt-period", Form::Number, "HostConfig/CpuRealtimePeriod"),
    ("cpu-rt-runtime", Form::Number, "HostConfig/CpuRealtimeRuntime"),
    ("cpu-shares", Form::Number, "HostConfig/CpuShares"),
    ("cpuset-cpus", Form::Text, "HostConfig/CpusetCpus"),
    ("cpuset-mems", Form::Text, "HostConfig/CpusetMems"),
    ("device", Form::Made(values::device), "HostConfig/Devices"),
    ("device-cgroup-rule", Form::Item, "HostConfig/DeviceCgroupRules"),
    ("device-read-bps", Form::Made(values::rate), "HostConfig/BlkioDeviceReadBps"),
    ("device-read-iops", Form::Made(values::operations), "HostConfig/BlkioDeviceReadIOps"),
    ("device-write-bps", Form::Made(values::rate), "HostConfig/BlkioDeviceWriteBps"),
    ("device-write-iops", Form::Made(values::operations), "HostConfig/BlkioDeviceWriteIOps"),
    ("dns", Form::Item, "HostConfig/Dns"),
    ("dns-opt", Form::Item, "HostConfig/DnsOptions"),
    ("dns-option", Form::Item, "HostConfig/DnsOptions"),
    ("dns-search", Form::Item, "HostConfig/DnsSearch"),
    ("domainname", Form::Text, "Domainname"),
    ("gpus", Form::Made(values::gpus), "HostConfig/DeviceRequests"),
    ("group-add", Form::Item, "HostConfig/GroupAdd"),
    ("health-interval", Form::Duration, "Healthcheck/Interval"),
    ("health-retries", Form::Number, "Healthcheck/Retries"),
    ("health-start-period", Form::Duration, "Healthcheck/StartPeriod"),
    ("health-timeout", Form::Duration, "Healthcheck/Timeout"),
    ("hostname", Form::Text, "Hostname"),
    ("init", Form::Flag, "HostConfig/Init"),
    ("ipc", Form::Text, "HostConfig/IpcMode"),
    ("isolation", Form::Text, "HostConfig/Isolation"),
    ("kernel-memory", Form::Bytes, "HostConfig/KernelMemory"),
    ("label", Form::Pair, "Labels"),
    ("link", Form::Item, "HostConfig/Links"),
    ("log-driver", Form::Text, "HostConfig/LogConfig/Type"),
    ("log-opt", Form::Pair, "HostConfig/LogConfig/Config"),
    ("mac-address", Form::Text, "MacAddress"),
    ("memory", Form::Bytes, "HostConfig/Memory"),
    ("memory-reservation", Form::Bytes, "HostConfig/MemoryReservation"),
    ("memory-swap", Form::Bytes, "HostConfig/MemorySwap"),
    ("memory-swappiness", Form::Number, "HostConfig/MemorySwappiness"),
    ("mount", Form::Made(values::mount), "HostConfig/Mounts"),
    ("oom-kill-disable", Form::Flag, "HostConfig/OomKillDisable"),
    ("oom-score-adj", Form::Number, "HostConfig/OomScoreAdj"),
    ("pid", Form::Text, "HostConfig/PidMode"),
    ("pids-limit", Form::Number, "HostConfig/PidsLimit"),
    ("privileged", Form::Flag, "HostConfig/Privileged"),
    ("publish-all", Form::Flag, "HostConfig/PublishAllPorts"),
    ("read-only", Form::Flag, "HostConfig/ReadonlyRootfs"),
    ("runtime", Form::Text, "HostConfig/Runtime"),
    ("security-opt", Form::Made(values::security), "HostConfig/SecurityOpt"),
    ("shm-size", Form::Bytes, "HostConfig/ShmSize"),
    ("stop-signal", Form::Text, "StopSignal"),
    ("stop-timeout", Form::Number, "StopTimeout"),
    ("storage-opt", Form::Pair, "HostConfig/StorageOpt"),
    ("sysctl", Form::Pair, "HostConfig/Sysctls"),
    ("tty", Form::Flag, "Tty"),
    ("ulimit", Form::Made(values::ulimit), "HostConfig/Ulimits"),
    ("user", Form::Text, "User"),
    ("userns", Form::Text, "HostConfig/UsernsMode"),
    ("uts", Form::Text, "HostConfig/UTSMode"),
    ("volume-driver", Form::Text, "HostConfig/VolumeDriver"),
    ("volumes-from", Form::Item, "HostConfig/VolumesFrom"),
    ("workdir", Form::Text, "WorkingDir"),
];

/// Options that are neither a field of their own nor refused.
const SPECIAL: &[&str] = &[
    "cpus",
    "entrypoint",
    "env",
    "expose",
    "health-cmd",
    "interactive",
    "ip",
    "ip6",
    "net",
    "net-alias",
    "network",
    "network-alias",
    "no-healthcheck",
    "platform",
    "publish",
    "restart",
    "rm",
    "tmpfs",
    "volume",
];

/// What parameters say that is not part of the engine's description of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// `--platform`.
    pub(super) platform: Option<String>,
    /// `--rm`: the container is removed as soon as it has ended.
    pub(super) remove: bool,
}

/// Puts parameters into the description of a container, over what is there.
///
/// # Errors
/// Names the parameter.
pub(super) fn apply(
    body: &mut Map<String, Value>,
    parameters: &[v1::Parameter],
) -> Result<Beside, String> {
    let mut beside = Beside::default();
    let mut network = None;
    for v1::Parameter { key, value } in parameters {
        let fault = |text: String| format!("docker parameter '{key}': {text}");
        if let Some(text) = refusal(key) {
            return Err(fault(text.to_owned()));
        }
        if key == "net" || key == "network" {
            if network.replace(value).is_some() {
                return Err(fault("a container has one network".to_owned()));
            }
            place(body, "HostConfig/NetworkMode", json!(value));
        } else if let Some((_, form, field)) = OPTIONS.iter().find(|(name, ..)| name == key) {
            put(body, *form, field, value).map_err(fault)?;
        } else if SPECIAL.contains(&key.as_str()) {
            apply_special(body, &mut beside, key, value).map_err(fault)?;
        } else {
            return Err(unknown(key));
        }
    }
    Ok(beside)
}

fn unknown(key: &str) -> String {
    let known = OPTIONS.iter().map(|(name, ..)| *name).chain(SPECIAL.iter().copied());
    let near = base::nearest(key, known);
    let near = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
    format!("docker parameter '{key}' is not an option of 'docker run' that is supported{near}")
}

/// Why an option of `docker run` can't be had.
fn refusal(key: &str) -> Option<&'static str> {
    Some(match key {
        "name" => "the container's name is its task's, by which it is found again",
        "cidfile" | "env-file" | "label-file" => {
            "it names a file of the command 'docker', which does not run here"
        }
        "attach" | "detach" | "detach-keys" | "sig-proxy" | "quiet" => {
            "it is about the terminal of the command 'docker', which does not run here"
        }
        "disable-content-trust" => "signatures of images are not checked here",
        "link-local-ip" => "link-local addresses of containers are not supported",
        "pull" => "use 'force_pull_image'",
        _ => return None,
    })
}

fn put(body: &mut Map<String, Value>, form: Form, field: &str, text: &str) -> Result<(), String> {
    let value = match form {
        Form::Text => json!(text),
        Form::Flag => json!(values::flag(text)?),
        Form::Number => json!(values::number(text)?),
        Form::Bytes => json!(values::bytes(text)?),
        Form::Duration => json!(values::duration(text)?),
        Form::Item => return push(body, field, json!(text)),
        Form::Made(make) => return push(body, field, make(text)?),
        Form::Pair => {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            if name.is_empty() {
                return Err(format!("expected name=value, got '{text}'"));
            }
            object(body, field).insert(name.to_owned(), json!(value));
            return Ok(());
        }
    };
    place(body, field, value);
    Ok(())
}

fn apply_special(
    body: &mut Map<String, Value>,
    beside: &mut Beside,
    key: &str,
    text: &str,
) -> Result<(), String> {
    match key {
        "cpus" => place(body, "HostConfig/NanoCpus", json!(values::cpus(text)?)),
        "entrypoint" => place(body, "Entrypoint", json!([text])),
        "env" => {
            let (name, _) =
                text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                    format!(
                        "expected NAME=value, got '{text}': there is no environment to take it from"
                    )
                })?;
            set_variable(body, name, text);
        }
        "expose" => {
            object(body, "ExposedPorts").insert(values::port(text)?, json!({}));
        }
        "health-cmd" => place(body, "Healthcheck/Test", json!(["CMD-SHELL", text])),
        "no-healthcheck" if values::flag(text)? => {
            place(body, "Healthcheck/Test", json!(["NONE"]));
        }
        // Standard input is closed, which is what it is for the command without a terminal.
        "interactive" | "no-healthcheck" => {
            values::flag(text)?;
        }
        "ip" => endpoint(body, "IPAMConfig/IPv4Address", text),
        "ip6" => endpoint(body, "IPAMConfig/IPv6Address", text),
        "net-alias" | "network-alias" => push(body, "NetworkAliases", json!(text))?,
        "platform" => beside.platform = Some(text.to_owned()),
        "publish" => values::publish(body, text)?,
        "restart" if text == "no" => {}
        "restart" => {
            return Err("whether a task runs again is its framework's decision".to_owned());
        }
        "rm" => beside.remove = values::flag(text)?,
        "tmpfs" => {
            let (path, options) = text.split_once(':').unwrap_or((text, ""));
            object(body, "HostConfig/Tmpfs").insert(path.to_owned(), json!(options));
        }
        "volume" => {
            if text.contains(':') {
                push(body, "HostConfig/Binds", json!(text))?;
            } else {
                object(body, "Volumes").insert(text.to_owned(), json!({}));
            }
        }
        _ => return Err("it is not supported".to_owned()),
    }
    Ok(())
}

/// Replaces a variable of `Env`, or adds it.
pub(super) fn set_variable(body: &mut Map<String, Value>, name: &str, assignment: &str) {
    let list = body.entry("Env").or_insert_with(|| json!([]));
    let Value::Array(list) = list else { return };
    let is_same = |v: &Value| {
        v.as_str().and_then(|v| v.split_once('=')).is_some_and(|(known, _)| known == name)
    };
    list.retain(|v| !is_same(v));
    list.push(json!(assignment));
}

/// A setting of the one network; its name is put around it at the end.
fn endpoint(body: &mut Map<String, Value>, field: &str, text: &str) {
    place(body, &format!("NetworkEndpoint/{field}"), json!(text));
}

/// Moves what is said of the network to where the engine looks for it.
pub(super) fn settle_network(body: &mut Map<String, Value>) {
    let endpoint = body.remove("NetworkEndpoint");
    let aliases = body.remove("NetworkAliases");
    if endpoint.is_none() && aliases.is_none() {
        return;
    }
    let network = body.get("HostConfig").and_then(|h| h["NetworkMode"].as_str());
    let network = network.unwrap_or("default").to_owned();
    let mut endpoint = endpoint.unwrap_or_else(|| json!({}));
    if let (Some(aliases), Value::Object(endpoint)) = (aliases, &mut endpoint) {
        endpoint.insert("Aliases".to_owned(), aliases);
    }
    object(body, "NetworkingConfig/EndpointsConfig").insert(network, endpoint);
}

/// The object at a path, made if needed.
pub(super) fn object<'a>(
    body: &'a mut Map<String, Value>,
    path: &str,
) -> &'a mut Map<String, Value> {
    path.split('/').fold(body, |map, name| {
        let inner = map.entry(name).or_insert_with(|| json!({}));
        if !inner.is_object() {
            *inner = json!({});
        }
        inner.as_object_mut().expect("it was just made one")
    })
}

/// Sets a field.
pub(super) fn place(body: &mut Map<String, Value>, path: &str, value: Value) {
    let (around, name) = path.rsplit_once('/').unwrap_or(("", path));
    let map = if around.is_empty() { body } else { object(body, around) };
    map.insert(name.to_owned(), value);
}

/// Adds to a list.
pub(super) fn push(body: &mut Map<String, Value>, path: &str, value: Value) -> Result<(), String> {
    let (around, name) = path.rsplit_once('/').unwrap_or(("", path));
    let map = if around.is_empty() { body } else { object(body, around) };
    match map.entry(name).or_insert_with(|| json!([])) {
        Value::Array(list) => {
            list.push(value);
            Ok(())
        }
        _ => Err("it is given in two ways".to_owned()),
    }
}

#[cfg(test)]
mod tests;
