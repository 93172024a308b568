//! Flags that say where masters meet.

use crate::flags::Flags;
use crate::host::Address;
use detector::{Service, Url};
use master::{Backend, Meeting, Replicas, Secret, Timeouts};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bounds of `--zk_session_timeout`.
const SESSION: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// Fewest bytes of a secret that masters share.
const SECRET_MIN: usize = 16;

/// The backend that the flags of a master ask for.
///
/// # Errors
/// When they contradict each other, or name what is not supported.
pub(crate) fn backend(flags: &Flags, address: &Address) -> Result<Backend, String> {
    let backend = chosen(flags, address)?;
    let Some(text) = flags.text("registry_from") else { return Ok(backend) };
    if backend == Backend::InMemory {
        return Err("--registry_from: --registry=in_memory keeps nothing".to_owned());
    }
    let from = Meeting { former: None, ..meeting(flags, "registry_from", text)? };
    if matches!(&backend, Backend::Meeting(at) if at.url.to_string() == from.url.to_string()) {
        return Err("--registry_from: the registry is there; give where it was before".to_owned());
    }
    Ok(Backend::Moved(Box::new(from), Box::new(backend)))
}

fn chosen(flags: &Flags, address: &Address) -> Result<Backend, String> {
    let chosen = match (flags.text("coordination"), flags.text("zk")) {
        (Some(a), Some(b)) if a != b => {
            return Err("--coordination and --zk differ; give one of them".to_owned());
        }
        (Some(text), _) => ("coordination", text),
        (None, Some(text)) => ("zk", text),
        (None, None) => ("coordination", "embedded"),
    };
    let (flag, text) = chosen;
    let quorum = flags.text("quorum").map(|_| flags.number::<u32>("quorum")).transpose()?;
    if quorum == Some(0) {
        return Err("--quorum: expected at least 1, got '0'".to_owned());
    }
    let text = text.trim();
    match (flag, Url::service_of(text)) {
        (_, Some(Service::ZooKeeper)) | ("coordination", Some(Service::Etcd)) => {
            return meeting(flags, flag, text).map(Backend::Meeting);
        }
        _ => {}
    }
    if text == "raft" && flag == "coordination" {
        return raft(flags, address);
    }
    if let Some(flag) = ["peers", "peers_secret"].into_iter().find(|f| flags.text(f).is_some()) {
        return Err(format!("--{flag}: only masters with --coordination=raft have peers"));
    }
    match text {
        "embedded" if flag == "coordination" => {}
        _ => {
            let others = match flag {
                "zk" => " or file:///path",
                _ => ", etcd://…/path, etcds://…/path, file:///path, raft or embedded",
            };
            return Err(format!(
                "--{flag}: expected zk://[user:password@]host:port,…/path{others}"
            ));
        }
    }
    if quorum.is_some_and(|quorum| quorum != 1) {
        return Err("--quorum: one master without --zk is alone; expected 1".to_owned());
    }
    match flags.text("registry") {
        Some("in_memory") => Ok(Backend::InMemory),
        Some("replicated_log") => match flags.text("work_dir") {
            Some(directory) => Ok(Backend::Embedded(crate::daemon::absolute(directory)?)),
            None => {
                Err("--work_dir is needed: it holds the registry (or give --registry=in_memory)"
                    .to_owned())
            }
        },
        other => {
            let other = other.unwrap_or_default();
            Err(format!("--registry: expected replicated_log or in_memory, got '{other}'"))
        }
    }
}

/// Masters that meet in ZooKeeper or etcd.
fn meeting(flags: &Flags, flag: &str, text: &str) -> Result<Meeting, String> {
    let url = url(flag, text)?;
    if flags.text("registry") == Some("in_memory") {
        return Err(format!(
            "--registry=in_memory: with --{flag} the registry is where masters meet; leave one of them out"
        ));
    }
    let former = flags.text("work_dir").map(crate::daemon::absolute).transpose()?;
    let (session_timeout, timeouts) = (session_timeout(flags)?, timeouts(flags)?);
    Ok(Meeting { url, session_timeout, timeouts, former })
}

/// The URL of a flag, whose files can be read.
fn url(flag: &str, text: &str) -> Result<Url, String> {
    let fault = |why| format!("--{flag}: {why}");
    let url = Url::parse(text).map_err(fault)?;
    url.tls.iter().try_for_each(|tls| tls.check()).map_err(fault)?;
    Ok(url)
}

/// `--registry_fetch_timeout` and `--registry_store_timeout`.
fn timeouts(flags: &Flags) -> Result<Timeouts, String> {
    let positive = |name: &str| match flags.duration(name)? {
        Duration::ZERO => Err(format!("--{name}: expected more than 0secs")),
        time => Ok(time),
    };
    let (fetch, store) = (positive("registry_fetch_timeout")?, positive("registry_store_timeout")?);
    Ok(Timeouts { fetch, store })
}

/// Masters that replicate the registry among themselves.
fn raft(flags: &Flags, address: &Address) -> Result<Backend, String> {
    let Some(directory) = flags.text("work_dir") else {
        return Err("--work_dir is needed: it holds this master's part of the registry".to_owned());
    };
    if flags.text("registry") == Some("in_memory") {
        return Err("--registry=in_memory: with --coordination=raft the registry is in --work_dir"
            .to_owned());
    }
    let listened = if address.port == 0 { address.listen.port() } else { address.port };
    if listened == 0 {
        return Err("--port=0: others must know where this master is; give a port".to_owned());
    }
    let mut peers = Vec::new();
    for peer in flags.text("peers").unwrap_or_default().split(',').map(str::trim) {
        if peer.is_empty() {
            continue;
        }
        let (host, port) = peer.rsplit_once(':').unwrap_or_default();
        if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(format!("--peers: expected host:port,host:port,…, got '{peer}'"));
        }
        peers.push(peer.to_owned());
    }
    let own = [format!("{}:{listened}", address.ip), format!("{}:{listened}", address.hostname)];
    let named = own.iter().find(|own| peers.contains(own));
    if !peers.is_empty() && named.is_none() {
        return Err(format!(
            "--peers: expected all first masters, this one among them as {} or {} (none when it is added to others later)",
            own[0], own[1]
        ));
    }
    if named.is_none() && address.ip == "0.0.0.0" {
        return Err(
            "--ip: others must know where this master is; give its address, or --advertise_ip"
                .to_owned(),
        );
    }
    let me = named.unwrap_or(&own[0]).clone();
    let directory = crate::daemon::absolute(directory)?;
    let (secret, timeouts) = (secret(flags)?, timeouts(flags)?);
    Ok(Backend::Raft(Replicas { directory, me, peers, secret, timeouts }))
}

/// `--peers_secret`.
fn secret(flags: &Flags) -> Result<Option<Secret>, String> {
    let Some(path) = flags.text("peers_secret") else { return Ok(None) };
    let fault = |why: &str| format!("--peers_secret: {path}: {why}");
    let text = std::fs::read(path).map_err(|e| fault(&e.to_string()))?;
    let text = text.trim_ascii();
    if text.len() < SECRET_MIN {
        return Err(fault(&format!("expected at least {SECRET_MIN} bytes")));
    }
    Ok(Some(Secret(text.to_vec())))
}

/// `--zk_session_timeout`.
///
/// # Errors
/// When it is out of bounds.
pub(crate) fn session_timeout(flags: &Flags) -> Result<Duration, String> {
    let timeout = flags.duration("zk_session_timeout")?;
    if timeout < SESSION.0 || timeout > SESSION.1 {
        return Err(format!(
            "--zk_session_timeout: expected 1secs to 10mins, got '{}'",
            flags.text("zk_session_timeout").unwrap_or_default()
        ));
    }
    Ok(timeout)
}

/// Values of flags as everybody may see them: without the passwords of URLs.
pub(crate) fn shown(flags: &Flags) -> BTreeMap<String, String> {
    let mut all = flags.map();
    for name in ["zk", "coordination", "master", "registry_from"] {
        if let Some(text) = all.get_mut(name)
            && Url::service_of(text).is_some()
        {
            *text =
                Url::parse(text).map_or_else(|_| "(not shown)".to_owned(), |url| url.to_string());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{MASTER, parse};

    fn backend(flags: &Flags) -> Result<Backend, String> {
        let address = Address {
            listen: "10.0.0.1:5050".parse().expect("an address"),
            hostname: "m1".to_owned(),
            ip: "10.0.0.1".to_owned(),
            port: 0,
        };
        super::backend(flags, &address)
    }

    fn flags(text: &str) -> Flags {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        parse(&MASTER, &words, []).expect("flags")
    }

    #[test]
    fn where_masters_meet() {
        let second = Duration::from_secs(1);
        for (text, url, fetch, former) in [
            ("--zk=zk://u:p@h:1/m --quorum=2", "zk://u:p@h:1/m", 60, None),
            ("--coordination=zk://u:p@h:1/m/ --work_dir=/w", "zk://u:p@h:1/m", 60, Some("/w")),
            (
                "--coordination=etcd://u:p@h/m --registry_fetch_timeout=5secs",
                "etcd://u:p@h:2379/m",
                5,
                None,
            ),
        ] {
            let meeting = Meeting {
                url: Url::parse(url).expect("valid"),
                session_timeout: 10 * second,
                timeouts: Timeouts { fetch: fetch * second, store: 20 * second },
                former: former.map(Into::into),
            };
            assert_eq!(backend(&flags(text)), Ok(Backend::Meeting(meeting)), "{text}");
        }
        assert_eq!(backend(&flags("--registry=in_memory")), Ok(Backend::InMemory));
        for (peers, me) in [("", "10.0.0.1:5050"), (" --peers=m1:5050,m2:5050", "m1:5050")] {
            let text = format!("--coordination=raft --work_dir=/w{peers}");
            let Ok(Backend::Raft(Replicas { me: found, peers: all, .. })) = backend(&flags(&text))
            else {
                panic!("{text}")
            };
            assert_eq!((found.as_str(), all.len()), (me, peers.matches("m").count()));
        }
        let moved = backend(&flags("--work_dir=/w --registry_from=etcd://h/m"));
        let Ok(Backend::Moved(from, to)) = moved else { panic!("{moved:?}") };
        assert_eq!((from.former, *to), (None, Backend::Embedded("/w".into())));
        let embedded = backend(&flags("--coordination=embedded --work_dir=/w --quorum=1"));
        assert_eq!(embedded, Ok(Backend::Embedded("/w".into())));
    }

    #[test]
    fn contradictions_and_what_is_not_supported_are_refused() {
        for (text, why) in [
            ("--zk=zk://h/m --coordination=embedded", "--coordination and --zk differ"),
            ("--zk=zk://h", "--zk: Expecting a (chroot) path"),
            ("--zk=h:2181/m", "--zk: expected zk://"),
            ("--zk=zk://h/m --registry=in_memory", "--registry=in_memory: with --zk"),
            ("--zk=zk://h/m --quorum=0", "--quorum: expected at least 1"),
            ("--zk=zk://h/m --zk_session_timeout=1ms", "--zk_session_timeout: expected 1secs"),
            ("--work_dir=/w --quorum=2", "--quorum: one master without --zk is alone"),
            ("--coordination=raft", "--work_dir is needed"),
            (
                "--coordination=raft --work_dir=/w --peers=m2:5050",
                "this one among them as 10.0.0.1:5050 or m1:5050",
            ),
            ("--coordination=raft --work_dir=/w --peers=m1", "--peers: expected host:port"),
            ("--coordination=raft --work_dir=/w --registry=in_memory", "--registry=in_memory"),
            ("--work_dir=/w --peers=m1:5050", "--peers: only masters with --coordination=raft"),
            (
                "--coordination=raft --work_dir=/w --peers_secret=/dev/null",
                "--peers_secret: /dev/null: expected at least 16 bytes",
            ),
            (
                "--coordination=etcds://h/m?cacert=/nowhere/ca.pem",
                "--coordination: /nowhere/ca.pem: ",
            ),
            (
                "--registry=in_memory --registry_from=zk://h/m",
                "--registry_from: --registry=in_memory",
            ),
            ("--zk=zk://h/m --registry_from=zk://h/m", "--registry_from: the registry is there"),
            ("--work_dir=/w --registry_from=raft", "--registry_from: expected zk://"),
            ("--coordination=etcd://h", "--coordination: a path is missing"),
            ("--zk=etcd://h/m", "--zk: expected zk://"),
            (
                "--zk=zk://h/m --registry_store_timeout=0secs",
                "--registry_store_timeout: expected more",
            ),
            ("--quiet", "--work_dir is needed"),
        ] {
            let error = backend(&flags(text)).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for text in ["zk://h:1/m", "etcd://h:1/m"] {
            let secret = text.replace("://", "://u:secret@");
            let shown = shown(&flags(&format!("--coordination={secret}")));
            assert_eq!(shown["coordination"], text);
        }
    }
}
