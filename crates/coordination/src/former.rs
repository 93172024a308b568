//! What a master that was alone has left in its directory: it goes with it when masters begin to meet in a service.

use crate::RegistryError;
use crate::divided::{Content, Divided, Transactions};
use crate::embedded;
use crate::moved::replacing;
use crate::registry_id;
use std::path::{Path, PathBuf};

/// A registry that was not moved yet.
#[derive(Debug)]
pub(crate) struct Former {
    directory: PathBuf,
    content: Content,
}

impl Former {
    /// Looks into the directory of the master at these addresses; None: there is nothing that could be lost.
    ///
    /// # Errors
    /// When there is a registry that can't be read, or one that can't be moved.
    pub(crate) fn find(
        directory: Option<&Path>,
        own: &[String],
    ) -> Result<Option<Self>, RegistryError> {
        let Some(directory) = directory.filter(|directory| embedded::path_in(directory).exists())
        else {
            return Ok(None);
        };
        let content = embedded::read_alone(directory, own)?;
        let former = Self { directory: directory.to_owned(), content };
        Ok((!former.content.is_empty()).then_some(former))
    }

    /// Refuses to meet where there is another registry.
    pub(crate) async fn fits(&self, shared: &impl Transactions) -> Result<(), RegistryError> {
        let mut there = shared.all().await?;
        there.retain(|(section, _), _| section != registry_id::SECTION);
        match replacing(&there, &self.content) {
            Some(_) => Ok(()),
            None => Err(self.in_both(shared.place())),
        }
    }

    /// Writes all of it to a registry that is empty, and moves the file away.
    pub(crate) async fn move_into<T: Transactions>(
        self,
        registry: &mut Divided<T>,
    ) -> Result<(), RegistryError> {
        let changes = replacing(&registry.first(), &self.content)
            .ok_or_else(|| self.in_both(registry.place()))?;
        registry.commit(&[&changes]).await?;
        registry_id::forget(&self.directory)?;
        let moved = embedded::move_away(&self.directory);
        tracing::info!(
            entries = self.content.len(),
            to = registry.place(),
            "the registry was moved"
        );
        moved
    }

    fn in_both(&self, place: &str) -> RegistryError {
        let file = embedded::path_in(&self.directory).display().to_string();
        RegistryError::InBoth { file, place: place.to_owned() }
    }
}
