//! ftp, and ftps (TLS from the first byte on, port 990).

use crate::http;
use std::io::Read;
use suppaftp::types::FileType;
use suppaftp::{FtpStream, ImplFtpStream, Mode, RustlsConnector, RustlsFtpStream, TlsStream};

/// A URL's parts.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    secure: bool,
    host: String,
    port: u16,
    user: String,
    password: String,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("a URL without a scheme")?;
        let secure = scheme == "ftps";
        let (authority, path) = rest.split_once('/').ok_or("a URL without a path")?;
        let (user, host) =
            authority.rsplit_once('@').unwrap_or(("anonymous:ftp@example.com", authority));
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        // An IPv6 address has colons, and brackets around it.
        let (host, port) = match host.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => {
                (host, port.parse().map_err(|_| format!("the port '{port}' is no number"))?)
            }
            None => (host, if secure { 990 } else { 21 }),
        };
        let plain = |text: &str| String::from_utf8_lossy(&http::decoded(text)).into_owned();
        let path = plain(path.split(";type=").next().unwrap_or(path));
        if path.contains(['\r', '\n'])
            || user.contains(['\r', '\n'])
            || password.contains(['\r', '\n'])
        {
            return Err("a URL with a line break".to_owned());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { secure, host, port, user: plain(user), password: plain(password), path })
    }

    fn plain(&self) -> Result<FtpStream, String> {
        let stream =
            FtpStream::connect((self.host.as_str(), self.port)).map_err(|e| e.to_string())?;
        self.log_in(stream)
    }

    fn secure(&self) -> Result<RustlsFtpStream, String> {
        let config = containerizer::download::tls_config().map_err(|e| e.to_string())?;
        let connector = RustlsConnector::from(config);
        let address = (self.host.as_str(), self.port);
        let stream = RustlsFtpStream::connect_secure_implicit(address, connector, &self.host);
        self.log_in(stream.map_err(|e| e.to_string())?)
    }

    fn log_in<T: TlsStream>(
        &self,
        mut stream: ImplFtpStream<T>,
    ) -> Result<ImplFtpStream<T>, String> {
        stream.set_mode(Mode::ExtendedPassive);
        // Data comes from the host that was asked, not from one that it names.
        stream.set_passive_nat_workaround(true);
        stream.login(self.user.as_str(), self.password.as_str()).map_err(|e| e.to_string())?;
        stream.transfer_type(FileType::Binary).map_err(|e| e.to_string())?;
        Ok(stream)
    }
}

/// Downloads a file through `take`, which gets its length, if the server tells, and its bytes.
pub(crate) fn get(
    url: &str,
    take: impl FnOnce(Option<u64>, &mut dyn Read) -> Result<(), String>,
) -> Result<(), String> {
    let target = Target::parse(url).map_err(fault)?;
    if target.secure {
        retrieve(target.secure().map_err(fault)?, &target.path, take)
    } else {
        retrieve(target.plain().map_err(fault)?, &target.path, take)
    }
}

fn retrieve<T: TlsStream>(
    mut stream: ImplFtpStream<T>,
    path: &str,
    take: impl FnOnce(Option<u64>, &mut dyn Read) -> Result<(), String>,
) -> Result<(), String> {
    let size = stream.size(path).ok().map(|size| size as u64);
    let data = match stream.retr_as_stream(path) {
        Ok(data) => Ok(data),
        // The server may not know the extended form.
        Err(_) => {
            stream.set_mode(Mode::Passive);
            stream.retr_as_stream(path)
        }
    };
    let mut data = data.map_err(fault)?;
    take(size, &mut data)?;
    // Only now does the server say that it was all (226).
    data.finish().map_err(fault)
}

/// How large a file is.
pub(crate) fn size(url: &str) -> Result<u64, String> {
    let target = Target::parse(url).map_err(fault)?;
    let size = if target.secure {
        target.secure().map_err(fault)?.size(&target.path)
    } else {
        target.plain().map_err(fault)?.size(&target.path)
    };
    match size.map_err(|e| fault(e.to_string()))? {
        0 => Err(format!("URI reported content-length 0: {url}")),
        size => Ok(size as u64),
    }
}

fn fault(text: impl std::fmt::Display) -> String {
    format!("Error downloading resource: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_user_host_port_and_path() {
        let target = Target::parse("ftp://me:a%3ab@h:2121/d/f%20x;type=i").expect("a target");
        assert_eq!((target.user.as_str(), target.password.as_str()), ("me", "a:b"));
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("h", 2121, "d/f x"));
        let target = Target::parse("ftps://[::1]/f").expect("a target");
        assert_eq!(
            (target.host.as_str(), target.port, target.user.as_str()),
            ("::1", 990, "anonymous")
        );
        assert!(Target::parse("ftp://h/a%0d%0aDELE x").is_err());
        assert!(Target::parse("ftp://h:x/a").is_err());
    }
}
