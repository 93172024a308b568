//! Values of options as the command `docker run` reads them.

use super::{object, push};
use serde_json::{Map, Value, json};

/// Nanoseconds of a second.
const SECOND: f64 = 1e9;

pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("expected true or false, got '{text}'")),
    }
}

pub(super) fn number(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| format!("expected a whole number, got '{text}'"))
}

/// Bytes, or with a unit of 1024: `512`, `64m`, `1.5g`, `2GiB`. -1 is no limit.
pub(super) fn bytes(text: &str) -> Result<i64, String> {
    let fault = || format!("expected a number of bytes such as 64m, got '{text}'");
    if text.trim() == "-1" {
        return Ok(-1);
    }
    let lower = text.trim().to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (digits, unit) = lower.split_at(end);
    let unit = unit.trim();
    let power = match unit.chars().next() {
        None | Some('b') => 0,
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some(_) => return Err(fault()),
    };
    if !matches!(unit.get(1..).unwrap_or_default(), "" | "b" | "ib") || power == 0 && unit.len() > 1
    {
        return Err(fault());
    }
    let value: f64 = digits.parse().map_err(|_| fault())?;
    whole(value * 1024_f64.powi(power)).ok_or_else(fault)
}

/// A number that is not negative and fits, without what is behind its point.
fn whole(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (0.0..9e18).contains(&value).then_some(value as i64)
}

/// Nanocpus.
pub(super) fn cpus(text: &str) -> Result<i64, String> {
    let value: Option<f64> = text.trim().parse().ok();
    let nanos = value.filter(|v| *v > 0.0).and_then(|v| whole((v * SECOND).round()));
    nanos.ok_or_else(|| format!("expected a number of cpus such as 1.5, got '{text}'"))
}

/// Nanoseconds, as Go writes a duration: `1h2m3.5s`, `500ms`.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let fault = || format!("expected a duration such as 1m30s, got '{text}'");
    let (mut rest, mut sum) = (text.trim(), 0.0);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(fault());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
        let value: f64 = rest[..end].parse().map_err(|_| fault())?;
        let after = &rest[end..];
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let seconds = match &after[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(fault()),
        };
        sum += value * seconds;
        rest = &after[end..];
    }
    whole((sum * SECOND).round()).ok_or_else(fault)
}

/// `name=soft[:hard]`.
pub(super) fn ulimit(text: &str) -> Result<Value, String> {
    let fault = || format!("expected name=soft[:hard], got '{text}'");
    let (name, limits) = text.split_once('=').ok_or_else(fault)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| text.parse::<i64>().map_err(|_| fault());
    Ok(json!({ "Name": name, "Soft": number(soft)?, "Hard": number(hard)? }))
}

/// `host[:container[:rwm]]`.
pub(super) fn device(text: &str) -> Result<Value, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_mode = |t: &str| !t.is_empty() && t.chars().all(|c| "rwm".contains(c));
    let (host, container, mode) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, container] => (host, container, "rwm"),
        [host, container, mode] if is_mode(mode) => (host, container, mode),
        _ => return Err(format!("expected host[:container[:rwm]], got '{text}'")),
    };
    if !host.starts_with('/') {
        return Err(format!("expected the absolute path of a device, got '{host}'"));
    }
    Ok(json!({ "PathOnHost": host, "PathInContainer": container, "CgroupPermissions": mode }))
}

fn of_device(text: &str) -> Result<(&str, &str), String> {
    text.rsplit_once(':').ok_or_else(|| format!("expected device:value, got '{text}'"))
}

/// `device:weight`.
pub(super) fn weight(text: &str) -> Result<Value, String> {
    let (path, weight) = of_device(text)?;
    Ok(json!({ "Path": path, "Weight": number(weight)? }))
}

/// `device:bytes` a second.
pub(super) fn rate(text: &str) -> Result<Value, String> {
    let (path, rate) = of_device(text)?;
    Ok(json!({ "Path": path, "Rate": bytes(rate)? }))
}

/// `device:number` a second.
pub(super) fn operations(text: &str) -> Result<Value, String> {
    let (path, rate) = of_device(text)?;
    Ok(json!({ "Path": path, "Rate": number(rate)? }))
}

/// `all`, a number, or `device=0,1` with `"` around it.
pub(super) fn gpus(text: &str) -> Result<Value, String> {
    let fault = || format!("expected all, a number or device=ID,ID, got '{text}'");
    let request = |count: i64, ids: &[&str]| json!({ "Count": count, "DeviceIDs": ids, "Capabilities": [["gpu"]] });
    let text = text.trim_matches('"');
    if text == "all" {
        return Ok(request(-1, &[]));
    }
    match text.strip_prefix("device=") {
        Some(ids) => Ok(request(0, &ids.split(',').collect::<Vec<_>>())),
        None => {
            text.parse().ok().filter(|n: &i64| *n > 0).map(|n| request(n, &[])).ok_or_else(fault)
        }
    }
}

/// A profile of system calls is read by the command `docker`: here it must be given itself.
pub(super) fn security(text: &str) -> Result<Value, String> {
    let profile = text.strip_prefix("seccomp=").or_else(|| text.strip_prefix("seccomp:"));
    match profile {
        Some(profile)
            if !matches!(profile, "unconfined" | "builtin")
                && !profile.trim_start().starts_with('{') =>
        {
            Err(format!(
                "expected seccomp=unconfined or a profile as JSON, got the file '{profile}'"
            ))
        }
        _ => Ok(json!(text)),
    }
}

/// `number[/protocol]`.
pub(super) fn port(text: &str) -> Result<String, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    match number.parse::<u16>() {
        Ok(number) if number > 0 && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") => {
            Ok(format!("{number}/{protocol}"))
        }
        _ => Err(format!("expected a port such as 80 or 53/udp, got '{text}'")),
    }
}

/// `[[ip:]host-port:]container-port[/protocol]`.
pub(super) fn publish(body: &mut Map<String, Value>, text: &str) -> Result<(), String> {
    let (rest, container) = text.rsplit_once(':').unwrap_or(("", text));
    let (ip, host) = rest.rsplit_once(':').unwrap_or(("", rest));
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    if !host.is_empty() && host.parse::<u16>().is_err() {
        return Err(format!(
            "expected [[ip:]host:]container[/protocol] with single ports, got '{text}'"
        ));
    }
    bind_port(body, ip, host, &port(container)?)
}

/// Shows a container's port at one of the host.
pub(in crate::docker) fn bind_port(
    body: &mut Map<String, Value>,
    ip: &str,
    host: &str,
    container: &str,
) -> Result<(), String> {
    object(body, "ExposedPorts").insert(container.to_owned(), json!({}));
    // A port has a slash in its name, so it is not a path.
    let bindings = object(body, "HostConfig/PortBindings");
    let mut list = Map::new();
    if let Some(known) = bindings.remove(container) {
        list.insert("list".to_owned(), known);
    }
    push(&mut list, "list", json!({ "HostIp": ip, "HostPort": host }))?;
    bindings.extend(list.remove("list").map(|all| (container.to_owned(), all)));
    Ok(())
}

/// `type=bind,source=/a,target=/b,readonly`.
pub(super) fn mount(text: &str) -> Result<Value, String> {
    let mut out = Map::new();
    out.insert("Type".to_owned(), json!("volume"));
    for part in text.split(',') {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (path, value) = match name.trim().to_ascii_lowercase().as_str() {
            "type" => ("Type", json!(value)),
            "source" | "src" => ("Source", json!(value)),
            "target" | "dst" | "destination" => ("Target", json!(value)),
            "readonly" | "ro" => ("ReadOnly", json!(flag(value)?)),
            "consistency" => ("Consistency", json!(value)),
            "bind-propagation" => ("BindOptions/Propagation", json!(value)),
            "bind-nonrecursive" => ("BindOptions/NonRecursive", json!(flag(value)?)),
            "volume-nocopy" => ("VolumeOptions/NoCopy", json!(flag(value)?)),
            "volume-driver" => ("VolumeOptions/DriverConfig/Name", json!(value)),
            "tmpfs-size" => ("TmpfsOptions/SizeBytes", json!(bytes(value)?)),
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8);
                let mode = mode.map_err(|_| format!("expected an octal mode, got '{value}'"))?;
                ("TmpfsOptions/Mode", json!(mode))
            }
            other => return Err(format!("'{other}' is not supported in a mount")),
        };
        super::place(&mut out, path, value);
    }
    if !out.contains_key("Target") {
        return Err(format!("expected target=PATH in '{text}'"));
    }
    Ok(Value::Object(out))
}
