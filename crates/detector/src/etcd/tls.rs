//! TLS with etcd's servers, by the files that etcd's own tools take.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a client of etcd trusts, and how it proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// File with the certificates of authorities that servers are trusted by; None: those that the system trusts.
    pub cacert: Option<PathBuf>,
    /// Files with this client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Parses `cacert=/file&cert=/file&key=/file`, each of which may be left out.
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let (mut cacert, mut cert, mut key) = (None, None, None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, path) = part.split_once('=').unwrap_or((part, ""));
            let to = match name {
                "cacert" => &mut cacert,
                "cert" => &mut cert,
                "key" => &mut key,
                _ => return Err(format!("'{name}' is none of cacert, cert and key")),
            };
            if !path.starts_with('/') {
                return Err(format!("{name}: expected an absolute path, got '{path}'"));
            }
            if to.replace(PathBuf::from(path)).is_some() {
                return Err(format!("{name} is given twice"));
            }
        }
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err("cert and key belong together".to_owned()),
        };
        Ok(Self { cacert, identity })
    }

    /// Reads the files.
    ///
    /// # Errors
    /// When one of them can't be read or used: which, and why.
    pub fn check(&self) -> Result<(), String> {
        self.load().map(drop)
    }

    fn load(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        match &self.cacert {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|e| fault(path, &e))?;
                }
            }
            None => drop(
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
            ),
        }
        if roots.is_empty() {
            return Err("this host trusts no certificates; give cacert=/file".to_owned());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots);
        let Some((cert, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| fault(key, &e))?;
        builder.with_client_auth_cert(certificates(cert)?, secret).map_err(|e| fault(cert, &e))
    }
}

fn fault(path: &Path, why: &dyn fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(path).map_err(|e| fault(path, &e))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|e| fault(path, &e))?;
    if all.is_empty() { Err(fault(path, &"there is no certificate in it")) } else { Ok(all) }
}

/// As it stands in a URL.
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.identity.as_ref();
        let given = [
            ("cacert", self.cacert.as_ref()),
            ("cert", identity.map(|(cert, _)| cert)),
            ("key", identity.map(|(_, key)| key)),
        ];
        let given = given.into_iter().filter_map(|(name, path)| Some((name, path?)));
        for (n, (name, path)) in given.enumerate() {
            let separator = if n == 0 { '?' } else { '&' };
            write!(f, "{separator}{name}={}", path.display())?;
        }
        Ok(())
    }
}

/// Makes connections secure. Files are read again after one has failed: certificates are renewed.
#[derive(Debug)]
pub(super) struct Secured {
    tls: Tls,
    config: Mutex<Option<Arc<ClientConfig>>>,
}

impl Secured {
    pub(super) fn new(tls: Tls) -> Self {
        Self { tls, config: Mutex::default() }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut known = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*known {
            return Ok(config.clone());
        }
        let config = Arc::new(self.tls.load()?);
        *known = Some(config.clone());
        Ok(config)
    }

    /// What has failed may be for the files.
    pub(super) fn forget(&self) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// `server` is `host:port`.
    pub(super) async fn secure(
        &self,
        socket: TcpStream,
        server: &str,
    ) -> Result<TlsStream<TcpStream>, String> {
        let config = self.config()?;
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|e| e.to_string())?;
        let secured = TlsConnector::from(config).connect(name, socket).await;
        secured.map_err(|e| format!("no TLS with {server}: {e}"))
    }
}
