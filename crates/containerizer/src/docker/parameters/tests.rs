use super::*;

#[track_caller]
fn check(parameters: &[(&str, &str)], want: Result<Value, &str>) {
    let parameters: Vec<v1::Parameter> = parameters
        .iter()
        .map(|(key, value)| v1::Parameter { key: (*key).to_owned(), value: (*value).to_owned() })
        .collect();
    let mut body = Map::new();
    let got = apply(&mut body, &parameters).map(|_| {
        settle_network(&mut body);
        Value::Object(body)
    });
    assert_eq!(got, want.map_err(str::to_owned));
}

#[track_caller]
fn refused(key: &str, value: &str, text: &str) {
    check(&[(key, value)], Err(&format!("docker parameter '{key}': {text}")));
}

#[test]
fn options_are_fields() {
    check(
        &[("memory", "1.5g"), ("memory-swap", "-1"), ("cpus", "0.25"), ("init", "")],
        Ok(json!({ "HostConfig": {
            "Memory": 1_610_612_736, "MemorySwap": -1, "NanoCpus": 250_000_000, "Init": true
        } })),
    );
    check(
        &[("label", "a=b=c"), ("label", "d"), ("cap-add", "NET_ADMIN"), ("cap-add", "SYS_TIME")],
        Ok(json!({
            "Labels": { "a": "b=c", "d": "" },
            "HostConfig": { "CapAdd": ["NET_ADMIN", "SYS_TIME"] }
        })),
    );
    check(
        &[("env", "A=1"), ("env", "B=x=y"), ("env", "A=2"), ("entrypoint", "/run")],
        Ok(json!({ "Env": ["B=x=y", "A=2"], "Entrypoint": ["/run"] })),
    );
    check(
        &[("ulimit", "nofile=10:20"), ("ulimit", "core=-1"), ("device", "/dev/fuse:r")],
        Ok(json!({ "HostConfig": {
            "Ulimits": [
                { "Name": "nofile", "Soft": 10, "Hard": 20 }, { "Name": "core", "Soft": -1, "Hard": -1 }
            ],
            "Devices": [
                { "PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "r" }
            ]
        } })),
    );
    check(
        &[
            ("publish", "8080:80"),
            ("publish", "127.0.0.1::53/UDP"),
            ("publish", "8081:80"),
            ("expose", "9"),
        ],
        Ok(json!({
            "ExposedPorts": { "80/tcp": {}, "53/udp": {}, "9/tcp": {} },
            "HostConfig": { "PortBindings": {
                "80/tcp": [{ "HostIp": "", "HostPort": "8080" }, { "HostIp": "", "HostPort": "8081" }],
                "53/udp": [{ "HostIp": "127.0.0.1", "HostPort": "" }]
            } }
        })),
    );
    check(
        &[
            ("mount", "type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave"),
            ("tmpfs", "/t:size=1m"),
        ],
        Ok(json!({ "HostConfig": {
            "Mounts": [{
                "Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true,
                "BindOptions": { "Propagation": "rslave" }
            }],
            "Tmpfs": { "/t": "size=1m" }
        } })),
    );
    check(
        &[
            ("health-cmd", "true"),
            ("health-interval", "1m0.5s"),
            ("device-read-bps", "/dev/sda:1k"),
        ],
        Ok(json!({
            "Healthcheck": { "Test": ["CMD-SHELL", "true"], "Interval": 60_500_000_000_u64 },
            "HostConfig": { "BlkioDeviceReadBps": [{ "Path": "/dev/sda", "Rate": 1024 }] }
        })),
    );
}

#[test]
fn the_network_has_its_address_and_names() {
    check(
        &[("ip", "10.0.0.2"), ("network", "blue"), ("network-alias", "web")],
        Ok(json!({
            "HostConfig": { "NetworkMode": "blue" },
            "NetworkingConfig": { "EndpointsConfig": {
                "blue": { "IPAMConfig": { "IPv4Address": "10.0.0.2" }, "Aliases": ["web"] }
            } }
        })),
    );
    check(
        &[("net", "a"), ("network", "b")],
        Err("docker parameter 'network': a container has one network"),
    );
}

#[test]
fn removal_and_platform_are_not_part_of_the_container() {
    let parameters = [("rm", "true"), ("platform", "linux/arm64"), ("restart", "no")];
    let parameters = parameters
        .map(|(key, value)| v1::Parameter { key: key.to_owned(), value: value.to_owned() });
    let mut body = Map::new();
    let beside = apply(&mut body, &parameters).expect("good ones");
    assert_eq!(beside, Beside { platform: Some("linux/arm64".to_owned()), remove: true });
    assert_eq!(body, Map::new());
}

#[test]
fn what_can_not_be_done_is_refused_by_name() {
    refused("name", "x", "the container's name is its task's, by which it is found again");
    refused("restart", "always", "whether a task runs again is its framework's decision");
    refused("memory", "12q", "expected a number of bytes such as 64m, got '12q'");
    refused("memory", "12bb", "expected a number of bytes such as 64m, got '12bb'");
    refused("tty", "maybe", "expected true or false, got 'maybe'");
    refused("cpus", "-1", "expected a number of cpus such as 1.5, got '-1'");
    refused("ulimit", "nofile", "expected name=soft[:hard], got 'nofile'");
    refused(
        "publish",
        "80-90:80-90",
        "expected [[ip:]host:]container[/protocol] with single ports, got '80-90:80-90'",
    );
    refused("health-timeout", "5", "expected a duration such as 1m30s, got '5'");
    refused(
        "env",
        "HOME",
        "expected NAME=value, got 'HOME': there is no environment to take it from",
    );
    refused(
        "security-opt",
        "seccomp=/etc/x.json",
        "expected seccomp=unconfined or a profile as JSON, got the file '/etc/x.json'",
    );
    check(
        &[("cap-ad", "X")],
        Err(
            "docker parameter 'cap-ad' is not an option of 'docker run' that is supported; did you mean 'cap-add'?",
        ),
    );
    check(
        &[("e", "A=1")],
        Err("docker parameter 'e' is not an option of 'docker run' that is supported"),
    );
}

#[test]
fn the_table_has_every_option_once() {
    let mut names: Vec<&str> =
        OPTIONS.iter().map(|(name, ..)| *name).chain(SPECIAL.iter().copied()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(names.iter().all(|name| refusal(name).is_none()));
}
