//! Flags that say where masters meet.

use crate::flags::Flags;
use detector::zookeeper::Url;
use master::Backend;
use std::collections::BTreeMap;
use std::time::Duration;

/// Bounds of `--zk_session_timeout`.
const SESSION: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// The backend that the flags of a master ask for.
///
/// # Errors
/// When they contradict each other, or name what is not supported.
pub(crate) fn backend(flags: &Flags) -> Result<Backend, String> {
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
    if text.starts_with(Url::SCHEME) {
        let url = Url::parse(text).map_err(|e| format!("--{flag}: {e}"))?;
        if flags.text("registry") == Some("in_memory") {
            return Err(format!(
                "--registry=in_memory: with --{flag} the registry is in ZooKeeper; leave one of them out"
            ));
        }
        return Ok(Backend::ZooKeeper { url, session_timeout: session_timeout(flags)? });
    }
    match text {
        "embedded" if flag == "coordination" => {}
        "raft" => {
            return Err(
                "--coordination=raft is not supported yet; expected embedded or zk://…".to_owned()
            );
        }
        other if other.starts_with("etcd://") => {
            return Err(
                "--coordination=etcd://… is not supported yet; expected embedded or zk://…"
                    .to_owned(),
            );
        }
        _ => {
            return Err(format!(
                "--{flag}: expected zk://[user:password@]host:port,…/path{}",
                if flag == "zk" { " or file:///path" } else { ", file:///path or embedded" }
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
    for name in ["zk", "coordination", "master"] {
        if let Some(text) = all.get_mut(name)
            && text.starts_with(Url::SCHEME)
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

    fn flags(text: &str) -> Flags {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        parse(&MASTER, &words, []).expect("flags")
    }

    #[test]
    fn where_masters_meet() {
        let url = Url::parse("zk://u:p@h:1/m").expect("valid");
        let zookeeper = Backend::ZooKeeper { url, session_timeout: Duration::from_secs(10) };
        for text in ["--zk=zk://u:p@h:1/m --quorum=2", "--coordination=zk://u:p@h:1/m/"] {
            assert_eq!(backend(&flags(text)).expect(text), zookeeper);
        }
        assert_eq!(backend(&flags("--registry=in_memory")), Ok(Backend::InMemory));
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
            ("--coordination=raft", "--coordination=raft is not supported yet"),
            ("--coordination=etcd://h/m", "--coordination=etcd://… is not supported yet"),
            ("--quiet", "--work_dir is needed"),
        ] {
            let error = backend(&flags(text)).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = shown(&flags("--zk=zk://u:secret@h:1/m"));
        assert_eq!(shown["zk"], "zk://h:1/m");
    }
}
