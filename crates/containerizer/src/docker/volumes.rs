//! What of the host a container sees (spec/agent.md 6.7).

use super::parameters::{place, push};
use crate::MountedVolume;
use crate::isolation::volume::secret;
use serde_json::{Map, Value, json};
use std::path::Path;
use wire::v1;
use wire::v1::volume::source::Type;

/// Where the sandbox is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sandbox<'a> {
    /// On the host.
    pub(super) host: &'a str,
    /// In the container.
    pub(super) inside: &'a str,
    /// Where secrets of the container are files, on the host.
    pub(super) secrets: &'a Path,
}

/// Adds the sandbox, the volumes of the container's description and persistent volumes. Gives the contents of its
/// secrets, which are to be files, called by their numbers, when the container is started.
///
/// # Errors
/// Names the volume.
pub(super) fn add(
    body: &mut Map<String, Value>,
    container: &v1::ContainerInfo,
    persistent: &[MountedVolume],
    sandbox: Sandbox<'_>,
) -> Result<Vec<Vec<u8>>, String> {
    let mut secrets = Vec::new();
    let mut driver = container.docker.as_ref().and_then(|d| d.volume_driver.clone());
    for volume in &container.volumes {
        let named = container.docker.as_ref().is_some_and(|d| d.volume_driver.is_some());
        add_volume(body, volume, sandbox, named, &mut driver, &mut secrets)
            .map_err(|text| format!("volume '{}': {text}", volume.container_path))?;
    }
    bind(body, sandbox.host, sandbox.inside, "")?;
    for volume in persistent {
        // A relative one is a link in the sandbox that says where it is on the host: there it is in the container too.
        let target =
            if is_absolute(&volume.container_path) { &volume.container_path } else { &volume.path };
        mount(body, &volume.path, target, volume.read_only, None)?;
    }
    if let Some(driver) = driver {
        place(body, "HostConfig/VolumeDriver", json!(driver));
    }
    Ok(secrets)
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/')
}

fn joined(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}

fn add_volume(
    body: &mut Map<String, Value>,
    volume: &v1::Volume,
    sandbox: Sandbox<'_>,
    named: bool,
    driver: &mut Option<String>,
    secrets: &mut Vec<Vec<u8>>,
) -> Result<(), String> {
    let inside = &volume.container_path;
    let target = if is_absolute(inside) { inside.clone() } else { joined(sandbox.inside, inside) };
    let mode = if volume.mode() == v1::volume::Mode::Ro { "ro" } else { "rw" };
    if let Some(host) = &volume.host_path {
        if !is_absolute(host) && !is_absolute(inside) {
            return Err(format!("both 'host_path' ({host}) and 'container_path' are relative"));
        }
        if is_absolute(host) || named {
            return bind(body, host, &target, mode);
        }
        return bind(body, &within(sandbox.host, host)?, &target, mode);
    }
    if volume.image.is_some() {
        return Err("'image' is not supported for containers of type DOCKER".to_owned());
    }
    let source = volume.source.as_ref().ok_or("'host_path' or 'source' must be set")?;
    let unset = |field: &str| format!("'source.{field}' must be set");
    match source.r#type() {
        Type::DockerVolume => {
            let of = source.docker_volume.as_ref().ok_or_else(|| unset("docker_volume"))?;
            if of.driver_options.as_ref().is_some_and(|o| !o.parameter.is_empty()) {
                return Err(
                    "'driver_options' are not supported for containers of type DOCKER".to_owned()
                );
            }
            if let Some(wanted) = &of.driver
                && driver.replace(wanted.clone()).is_some_and(|other| other != *wanted)
            {
                return Err("a container has one volume driver".to_owned());
            }
            bind(body, &of.name, &target, mode)
        }
        Type::HostPath => {
            let of = source.host_path.as_ref().ok_or_else(|| unset("host_path"))?;
            let propagation = match of.mount_propagation.as_ref().map(|p| p.mode()) {
                Some(v1::mount_propagation::Mode::HostToContainer) => Some("rslave"),
                Some(v1::mount_propagation::Mode::Bidirectional) => Some("rshared"),
                _ => None,
            };
            if !is_absolute(&of.path) {
                return Err(format!("'source.host_path.path' ({}) must be absolute", of.path));
            }
            mount(body, &of.path, &target, mode == "ro", propagation)
        }
        Type::SandboxPath => {
            let of = source.sandbox_path.as_ref().ok_or_else(|| unset("sandbox_path"))?;
            if of.r#type() == v1::volume::source::sandbox_path::Type::Parent {
                return Err("a container of type DOCKER has no parent".to_owned());
            }
            bind(body, &within(sandbox.host, &of.path)?, &target, mode)
        }
        Type::Secret => {
            let of = source.secret.as_ref().ok_or_else(|| unset("secret"))?;
            let file = sandbox.secrets.join(secrets.len().to_string()).display().to_string();
            secrets.push(secret(of)?.to_vec());
            mount(body, &file, &target, mode == "ro", None)
        }
        other => Err(format!(
            "sources of type {} are not supported for containers of type DOCKER",
            other.as_str_name()
        )),
    }
}

/// A path in the sandbox, which does not lead out of it by its name.
fn within(sandbox: &str, path: &str) -> Result<String, String> {
    let plain = |c| matches!(c, std::path::Component::Normal(_) | std::path::Component::CurDir);
    if !Path::new(path).components().all(plain) {
        return Err(format!("'{path}' must be relative to the sandbox and without '..'"));
    }
    Ok(joined(sandbox, path))
}

/// What is missing on the host is made, as by the command `docker`. Colons stand between the parts, so that what has
/// one is described in the longer way.
fn bind(
    body: &mut Map<String, Value>,
    source: &str,
    target: &str,
    mode: &str,
) -> Result<(), String> {
    if source.contains(':') || target.contains(':') {
        return mount(body, source, target, mode == "ro", None);
    }
    let mode = if mode.is_empty() { String::new() } else { format!(":{mode}") };
    push(body, "HostConfig/Binds", json!(format!("{source}:{target}{mode}")))
}

fn mount(
    body: &mut Map<String, Value>,
    source: &str,
    target: &str,
    read_only: bool,
    propagation: Option<&str>,
) -> Result<(), String> {
    let mut mount = Map::new();
    for (name, value) in [
        ("Type", json!("bind")),
        ("Source", json!(source)),
        ("Target", json!(target)),
        ("ReadOnly", json!(read_only)),
    ] {
        mount.insert(name.to_owned(), value);
    }
    if let Some(propagation) = propagation {
        mount.insert("BindOptions".to_owned(), json!({ "Propagation": propagation }));
    }
    push(body, "HostConfig/Mounts", Value::Object(mount))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::v1::volume::{Mode, Source};

    fn sandbox<'a>(host: &'a str, inside: &'a str) -> Sandbox<'a> {
        Sandbox { host, inside, secrets: Path::new("/run/secrets/c") }
    }

    #[track_caller]
    fn check(host: &str, inside: &str, mode: Mode, want: Result<&str, &str>) {
        let volume = v1::Volume {
            mode: mode as i32,
            container_path: inside.to_owned(),
            host_path: Some(host.to_owned()),
            ..Default::default()
        };
        let container = v1::ContainerInfo { volumes: vec![volume], ..Default::default() };
        let mut body = Map::new();
        let got = add(&mut body, &container, &[], sandbox("/agent/box", "/mnt/mesos/sandbox"));
        let got = got.map(drop);
        let want = want.map_err(|text| format!("volume '{inside}': {text}"));
        assert_eq!(got.as_ref().err(), want.as_ref().err());
        if let Ok(bind) = want {
            let binds = json!([bind, "/agent/box:/mnt/mesos/sandbox"]);
            assert_eq!(body["HostConfig"]["Binds"], binds);
        }
    }

    #[test]
    fn host_paths() {
        check("/a", "/b", Mode::Ro, Ok("/a:/b:ro"));
        check("/a", "b/c", Mode::Rw, Ok("/a:/mnt/mesos/sandbox/b/c:rw"));
        check("a", "/b", Mode::Rw, Ok("/agent/box/a:/b:rw"));
        check("a", "b", Mode::Rw, Err("both 'host_path' (a) and 'container_path' are relative"));
        let out = "'../a' must be relative to the sandbox and without '..'";
        check("../a", "/b", Mode::Rw, Err(out));
    }

    fn source(container_path: &str, source: Source) -> v1::Volume {
        v1::Volume {
            mode: Mode::Rw as i32,
            container_path: container_path.to_owned(),
            source: Some(source),
            ..Default::default()
        }
    }

    fn docker_volume(driver: &str) -> Source {
        let volume = v1::volume::source::DockerVolume {
            driver: Some(driver.to_owned()),
            name: "data".to_owned(),
            driver_options: None,
        };
        let kind = Type::DockerVolume as i32;
        Source { r#type: Some(kind), docker_volume: Some(volume), ..Default::default() }
    }

    #[test]
    fn sources_and_persistent_volumes() {
        let path = v1::volume::source::HostPath {
            path: "/srv".to_owned(),
            mount_propagation: Some(v1::MountPropagation {
                mode: Some(v1::mount_propagation::Mode::HostToContainer as i32),
            }),
        };
        let path = Source {
            r#type: Some(Type::HostPath as i32),
            host_path: Some(path),
            ..Default::default()
        };
        let volumes = vec![source("/v", docker_volume("flocker")), source("/s", path)];
        let container = v1::ContainerInfo { volumes, ..Default::default() };
        let persistent = |container_path: &str| MountedVolume {
            path: "/agent/volumes/1".to_owned(),
            container_path: container_path.to_owned(),
            exclusive: true,
            read_only: container_path.starts_with('/'),
        };
        let sandbox = sandbox("/agent/a:b", "/box");
        let mut body = Map::new();
        let all = [persistent("data"), persistent("/var/data")];
        add(&mut body, &container, &all, sandbox).expect("good ones");
        let want = json!({ "HostConfig": {
            "Binds": ["data:/v:rw"],
            "VolumeDriver": "flocker",
            "Mounts": [
                { "Type": "bind", "Source": "/srv", "Target": "/s", "ReadOnly": false,
                  "BindOptions": { "Propagation": "rslave" } },
                { "Type": "bind", "Source": "/agent/a:b", "Target": "/box", "ReadOnly": false },
                { "Type": "bind", "Source": "/agent/volumes/1", "Target": "/agent/volumes/1", "ReadOnly": false },
                { "Type": "bind", "Source": "/agent/volumes/1", "Target": "/var/data", "ReadOnly": true }
            ]
        } });
        assert_eq!(Value::Object(body), want);
    }

    #[test]
    fn other_drivers_and_other_sources_are_refused() {
        let refused = |volumes: Vec<v1::Volume>| {
            let container = v1::ContainerInfo { volumes, ..Default::default() };
            let sandbox = sandbox("/agent/box", "/box");
            add(&mut Map::new(), &container, &[], sandbox).expect_err("refused")
        };
        let two = vec![source("/a", docker_volume("x")), source("/b", docker_volume("y"))];
        assert_eq!(refused(two), "volume '/b': a container has one volume driver");
        let csi = Source { r#type: Some(Type::CsiVolume as i32), ..Default::default() };
        assert_eq!(
            refused(vec![source("/a", csi)]),
            "volume '/a': sources of type CSI_VOLUME are not supported for containers of type DOCKER"
        );
        let secret = Source { r#type: Some(Type::Secret as i32), ..Default::default() };
        assert_eq!(refused(vec![source("/a", secret)]), "volume '/a': 'source.secret' must be set");
    }

    #[test]
    fn secrets_are_files_elsewhere() {
        let secret = |content: &str| v1::Secret {
            r#type: Some(v1::secret::Type::Value as i32),
            value: Some(v1::secret::Value { data: content.as_bytes().to_vec() }),
            ..Default::default()
        };
        let of = |content: &str| Source {
            r#type: Some(Type::Secret as i32),
            secret: Some(secret(content)),
            ..Default::default()
        };
        let mut volumes = vec![source("/etc/key", of("hush")), source("token", of("sesame"))];
        volumes[0].mode = Mode::Ro as i32;
        let container = v1::ContainerInfo { volumes, ..Default::default() };
        let mut body = Map::new();
        let secrets = add(&mut body, &container, &[], sandbox("/agent/box", "/box"));
        assert_eq!(secrets, Ok(vec![b"hush".to_vec(), b"sesame".to_vec()]));
        let want = json!([
            { "Type": "bind", "Source": "/run/secrets/c/0", "Target": "/etc/key", "ReadOnly": true },
            { "Type": "bind", "Source": "/run/secrets/c/1", "Target": "/box/token", "ReadOnly": false }
        ]);
        assert_eq!(body["HostConfig"]["Mounts"], want);
    }
}
