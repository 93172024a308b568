//! Secrets that are named instead of given: files below a directory of the operator's.
//!
//! They are put into the specification of a container in memory when it is started, so that the rest of it knows secrets
//! by value alone. The store, messages and logs have only their names.

use crate::ContainerSpec;
use crate::rooted::{self, Within};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::v1;
use wire::v1::secret::{Reference, Type};

/// Longest secret.
const LENGTH_MAX: u64 = 1 << 20;
/// Longest name of a file.
const NAME_MAX: usize = 255;

/// Finds secrets by their names.
#[derive(Debug, Clone)]
pub struct SecretResolver {
    directory: Arc<OwnedFd>,
}

impl SecretResolver {
    /// Secrets are the files of a directory: `<name>`, or `<name>/<key>` where a reference has a key. What is put there
    /// later is found as well.
    ///
    /// # Errors
    /// When it is no directory.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let opened = rooted::directory(directory)?;
        match File::from(opened.try_clone()?).metadata()?.is_dir() {
            true => Ok(Self { directory: Arc::new(opened) }),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Puts values in the place of all references of a container. Blocks.
    ///
    /// # Errors
    /// With a text for the framework that names the secret.
    pub(crate) fn resolve(&self, spec: &mut ContainerSpec) -> Result<(), String> {
        secrets(spec).try_for_each(|secret| {
            let Some(reference) = reference_of(secret) else { return Ok(()) };
            let content = self.read(reference)?;
            *secret = v1::Secret {
                r#type: Some(Type::Value as i32),
                value: Some(v1::secret::Value { data: content }),
                reference: None,
            };
            Ok(())
        })
    }

    fn read(&self, reference: &Reference) -> Result<Vec<u8>, String> {
        let Reference { name, key } = reference;
        let shown = match key {
            Some(key) => format!("'{name}' with the key '{key}'"),
            None => format!("'{name}'"),
        };
        if !std::iter::once(name).chain(key).all(|part| is_name(part)) {
            return Err(format!(
                "the secret {shown}: its name and key must be names of files, without '/' and not hidden"
            ));
        }
        let path: PathBuf = std::iter::once(name).chain(key).collect();
        self.content(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                format!("there is no secret {shown} in this agent's --secret_resolver")
            }
            _ => format!("cannot read the secret {shown}: {error}"),
        })
    }

    /// No link leads out of the directory.
    fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = File::from(rooted::open(&self.directory, path, Within::Bounds, flags)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut content = Vec::new();
        file.take(LENGTH_MAX + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LENGTH_MAX {
            return Err(io::Error::other(format!("it is longer than {LENGTH_MAX} bytes")));
        }
        Ok(content)
    }
}

/// Whether a container has secrets that are only named.
pub(crate) fn has_references(spec: &mut ContainerSpec) -> bool {
    secrets(spec).any(|secret| reference_of(secret).is_some())
}

/// Whether a text may be the name of a file. Hidden ones are those by which directories of secrets are exchanged.
fn is_name(text: &str) -> bool {
    let is_odd = |c: char| c == '/' || c.is_control();
    !text.is_empty() && text.len() <= NAME_MAX && !text.starts_with('.') && !text.contains(is_odd)
}

fn reference_of(secret: &v1::Secret) -> Option<&Reference> {
    let is_reference = secret.r#type() == Type::Reference && secret.value.is_none();
    secret.reference.as_ref().filter(|_| is_reference)
}

fn of_image(image: &mut v1::Image) -> Option<&mut v1::Secret> {
    image.docker.as_mut()?.config.as_mut()
}

/// All places of a specification where a secret may be.
fn secrets(spec: &mut ContainerSpec) -> impl Iterator<Item = &mut v1::Secret> {
    let variables = spec.command.environment.iter_mut().flat_map(|e| &mut e.variables);
    let variables = variables.filter_map(|variable| variable.secret.as_mut());
    let (root, volumes) = match &mut spec.container {
        Some(container) => {
            let root = container.mesos.as_mut().and_then(|mesos| mesos.image.as_mut());
            (root, &mut container.volumes[..])
        }
        None => (None, &mut [][..]),
    };
    let volumes = volumes.iter_mut().flat_map(move |volume| {
        let own = volume.source.as_mut().and_then(|source| source.secret.as_mut());
        own.into_iter().chain(volume.image.as_mut().and_then(of_image))
    });
    variables.chain(root.and_then(of_image)).chain(volumes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str, key: Option<&str>) -> Reference {
        Reference { name: name.to_owned(), key: key.map(str::to_owned) }
    }

    #[test]
    fn secrets_are_files_that_are_named_and_nothing_else() {
        let around = testkit::cluster::temporary_directory();
        let directory = around.join("secrets");
        std::fs::create_dir_all(directory.join("db")).expect("a directory");
        std::fs::write(around.join("outside"), "outside").expect("a file");
        std::fs::write(directory.join("plain"), b"a\0b\n").expect("a file");
        std::fs::write(directory.join("db/password"), "sesame").expect("a file");
        std::fs::write(directory.join("long"), vec![b'x'; (1 << 20) + 1]).expect("a file");
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, directory.join(name)).expect("a link");
        };
        link("../outside", "up");
        link(around.join("outside").to_str().expect("text"), "absolute");
        link("db/password", "inside");
        let resolver = SecretResolver::open(&directory).expect("a directory");
        let read = |name: &str, key: Option<&str>| resolver.read(&reference(name, key));
        assert_eq!(read("plain", None), Ok(b"a\0b\n".to_vec()));
        assert_eq!(read("db", Some("password")), Ok(b"sesame".to_vec()));
        assert_eq!(read("inside", None), Ok(b"sesame".to_vec()));
        for (name, key) in [
            ("up", None),
            ("absolute", None),
            ("db", None),
            ("long", None),
            ("none", None),
            ("plain", Some("key")),
            ("db", Some("none")),
            ("../outside", None),
            ("..", Some("outside")),
            ("db", Some("../plain")),
            ("db/password", None),
            ("", None),
            ("db", Some("")),
            (".", Some("plain")),
            ("plain\0", None),
        ] {
            let text = read(name, key).expect_err(name);
            assert!(text.contains("secret") && !text.contains("sesame"), "{text}");
        }
        let missing =
            "there is no secret 'db' with the key 'none' in this agent's --secret_resolver";
        assert_eq!(read("db", Some("none")).expect_err("none"), missing);
        assert!(SecretResolver::open(&directory.join("plain")).is_err());
        std::fs::remove_dir_all(&around).expect("removed");
    }
}
