//! Images of containers: pulled from a registry or found in a directory, kept layer by layer, and put together to a root
//! file system for each container (spec/agent.md 6.6).
//!
//! [`Provisioner`] is what the rest of the containerizer sees. Below it, from the outside in: names ([`Reference`]), the
//! `registry` protocol over [`crate::download`], `blob`s into files, `layer`s into directories, the `store`, and
//! the `backend`s that put layers together.

mod archive;
mod attach;
mod backend;
mod blob;
mod challenge;
mod compression;
mod copy;
mod credentials;
mod digest;
mod flights;
mod gc;
mod hadoop;
mod layer;
mod local;
mod manifest;
pub(crate) mod merged;
mod meta;
mod mounts;
mod options;
mod provisioner;
mod pull;
mod reference;
mod registry;
mod runtime;
mod sparse;
mod store;
mod trash;
mod whiteout;

pub(crate) use attach::{Images, attach, wanted};
pub use credentials::Credentials;
pub use digest::Digest;
pub use gc::GcConfig;
pub use manifest::{Descriptor, ImageConfig, Manifest};
pub use options::ProvisionerOptions;
pub use provisioner::{Provisioned, Provisioner, Pulled};
pub use reference::Reference;

/// Layers as they are put together: of one that comes twice only the upper counts, which hides the lower.
fn stacked(layers: &[Digest]) -> Vec<Digest> {
    let is_last = |at: usize| !layers[at + 1..].contains(&layers[at]);
    (0..layers.len()).filter(|at| is_last(*at)).map(|at| layers[at].clone()).collect()
}

/// What is inside, for tests of it alone.
#[doc(hidden)]
pub mod inside {
    use super::whiteout::Form;
    use std::io::Read;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    /// Unpacks a layer, for overlayfs or with whiteouts as they are.
    ///
    /// # Errors
    /// With a text that completes "the layer".
    pub fn unpack(layer: impl Read + Send, directory: &Path, overlay: bool) -> Result<(), String> {
        let form = if overlay { Form::Overlay } else { Form::Plain };
        let archive = super::compression::decompress(layer).map_err(|e| e.to_string())?;
        super::layer::unpack(archive, directory, form, &AtomicBool::new(false))
    }

    /// Puts layers with whiteouts as they are together in a directory.
    ///
    /// # Errors
    /// With what could not be copied.
    pub fn copy(layers: &[std::path::PathBuf], directory: &Path) -> Result<(), String> {
        super::copy::copy(layers, directory)
    }
}
