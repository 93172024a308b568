//! Masters that meet in an etcd whose connections are secured.

use crate::contract::{self, change, content, leads, master, next, write};
use coordination::{Backend, Standing, join};
use detector::{Detector, MasterName};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::cluster::temporary_directory;
use testkit::etcd::Servers;

const SESSION: Duration = Duration::from_secs(2);

/// An authority in `ca.pem`, and what it vouches for in `server.pem` and `client.pem` with their keys.
struct Certificates(PathBuf);

impl Certificates {
    fn new() -> Self {
        let directory = temporary_directory();
        let key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&key).expect("a certificate");
        write_file(&directory.join("ca.pem"), &certificate.pem());
        let issuer = Issuer::new(authority, key);
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let mut params =
                CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
            // The gateway is a client of its own server.
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            // Names of clients would be users, which a gateway refuses to pass on.
            params.distinguished_name = rcgen::DistinguishedName::new();
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            write_file(&directory.join(format!("{name}.pem")), &certificate.pem());
            write_file(&directory.join(format!("{name}.key")), &key.serialize_pem());
        }
        Self(directory)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// What a URL says of a client that trusts these.
    fn query(&self, identity: &str) -> String {
        let trusted = self.file("ca.pem");
        match identity {
            "" => format!("?cacert={trusted}"),
            name => {
                let (cert, key) =
                    (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
                format!("?cacert={trusted}&cert={cert}&key={key}")
            }
        }
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write_file(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}

fn url(servers: &Servers, path: &str) -> String {
    servers.url("", path).replace("etcd://", "etcds://")
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_and_detectors_meet_over_connections_that_are_secured() {
    let certificates = Certificates::new();
    let Some(servers) = Servers::start_secured(&certificates.0) else { return };
    let url = format!("{}{}", url(&servers, "mesos"), certificates.query("client"));
    let backend = contract::meeting(&url, SESSION, None);
    contract::keeps_what_is_written(&backend).await;
    contract::one_leads_at_a_time(&backend).await;
    let detector = Detector::new(MasterName::parse(&url).expect("a name"), SESSION);
    let mut member = join(&backend, master(1)).await.expect("joined");
    let registry = leads(&mut member).await;
    assert_eq!(detector.addresses().await.expect("a leader"), ["127.0.0.1:1"]);
    // The lease outlives itself: it is renewed over TLS too.
    tokio::time::sleep(SESSION * 2).await;
    let (_, written) = write(registry, vec![change("later", Some("1"))]).await;
    written.expect("it leads");
    member.leave().await;
}

/// Nobody is spoken to whose certificate is not trusted, and nobody is let in without one.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_certificates_nobody_leads_until_they_are_there() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let Some(servers) = Servers::start_secured(&certificates.0) else { return };
    for query in [others.query("client"), certificates.query("")] {
        let url = format!("{}{query}", url(&servers, "mesos"));
        let mut member =
            join(&contract::meeting(&url, SESSION, None), master(1)).await.expect("joined");
        let Standing::Nobody = next(&mut member).await else { panic!("it leads: {query}") };
        member.leave().await;
        let detector = Detector::new(MasterName::parse(&url).expect("a name"), SESSION);
        // A server that is slow to answer says nothing of certificates.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let error = detector.addresses().await.expect_err("not let in").to_string();
            if error.contains("ertificate") {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{error}");
        }
    }

    // They are renewed in place, and nothing is started anew.
    let backend: Backend = contract::meeting(
        &format!("{}{}", url(&servers, "mesos"), others.query("client")),
        SESSION,
        None,
    );
    let mut member = join(&backend, master(1)).await.expect("joined");
    let Standing::Nobody = next(&mut member).await else { panic!("it leads") };
    for name in ["client.key", "client.pem", "ca.pem"] {
        std::fs::copy(certificates.0.join(name), others.0.join(name)).expect("copied");
    }
    let (_, all) = content(leads(&mut member).await).await;
    assert_eq!(all, []);
    member.leave().await;
}
