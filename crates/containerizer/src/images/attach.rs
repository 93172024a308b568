//! Images of a container: its root file system, and its volumes that are images.

use super::manifest::ImageConfig;
use super::provisioner::{Provisioner, Pulled};
use super::runtime::{merge_command, merge_environment};
use crate::isolation::{Isolator, Root, Running, asks_for_nvidia};
use crate::{ContainerSpec, User};
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::v1;

/// The images that a container asks for: that of its root file system if it has one, then those of its volumes.
pub(crate) fn wanted(spec: &ContainerSpec) -> Vec<v1::Image> {
    let Some(container) = &spec.container else { return Vec::new() };
    let volumes = container.volumes.iter().filter_map(|volume| volume.image.as_ref());
    root(container).into_iter().chain(volumes).cloned().collect()
}

fn root(container: &v1::ContainerInfo) -> Option<&v1::Image> {
    container.mesos.as_ref()?.image.as_ref()
}

/// Makes what a container asked for: `pulled` are the images that [`wanted`] named. The container then has a root file
/// system, and volumes of host paths in the place of images. With `as_told` the image says what is run, as far as the
/// framework does not (the isolator `docker/runtime`).
pub(crate) async fn attach(
    provisioner: &Provisioner,
    spec: &mut ContainerSpec,
    pulled: Vec<Pulled>,
    as_told: bool,
) -> Result<(), String> {
    let mut pulled = pulled.into_iter();
    let Some(container) = &mut spec.container else { return Ok(()) };
    if root(container).is_some() {
        let image = pulled.next().ok_or("an image is missing")?;
        let found = provisioner.provision(&spec.container_id, image).await?;
        spec.image_wants_nvidia = wants_nvidia(&found.config);
        if as_told {
            spec.command = merge_command(&spec.command, &found.config)?;
            merge_environment(&mut spec.environment, &spec.command, &found.config);
            if spec.working_directory.is_none() {
                spec.working_directory.clone_from(&found.config.working_dir);
            }
            let user = spec.user.as_deref();
            spec.image_user = user_of_image(&found.config, &spec.command, user, &found.root)?;
        }
        spec.rootfs = Some(found.root);
    }
    for volume in container.volumes.iter_mut().filter(|volume| volume.image.is_some()) {
        let image = pulled.next().ok_or("an image is missing")?;
        let found = provisioner.provision(&spec.container_id, image).await?;
        let place = found.place.to_str().ok_or("the path of the volume is not text")?;
        volume.image = None;
        volume.host_path = Some(place.to_owned());
        spec.image_volumes.insert(place.to_owned(), found.root);
    }
    Ok(())
}

fn wants_nvidia(image: &ImageConfig) -> bool {
    let labels = image.labels.iter().map(|(name, _)| name.as_str());
    let variables = image.env.iter().filter_map(|variable| variable.split_once('='));
    asks_for_nvidia(
        |name| variables.clone().find(|(n, _)| *n == name).map(|(_, value)| value),
        labels,
    )
}

/// The user that an image names counts instead of root, if the framework names none for the command: it takes
/// privileges away and gives none.
fn user_of_image(
    image: &ImageConfig,
    command: &v1::CommandInfo,
    user: Option<&str>,
    rootfs: &Root,
) -> Result<Option<User>, String> {
    let Some(wanted) = &image.user else { return Ok(None) };
    let is_root = user.is_some_and(|u| User::named(u, None).is_ok_and(|user| user.uid == 0));
    if command.user.is_some() || !is_root {
        return Ok(None);
    }
    let user = User::by_image(wanted, rootfs).map_err(|e| format!("the image's User: {e}"))?;
    Ok(Some(user).filter(|user| user.uid != 0))
}

/// Has root file systems recovered and removed together with what isolators make.
#[derive(Debug)]
pub(crate) struct Images(pub(crate) Arc<Provisioner>);

impl Isolator for Images {
    fn name(&self) -> &'static str {
        "images"
    }

    fn recover(&self, running: &[Running], _ended: &[String]) -> Result<(), String> {
        let known: BTreeSet<String> = running.iter().map(|r| r.container_id.clone()).collect();
        self.0.recover(&known)
    }

    fn cleanup(&self, container_id: &str) -> Result<(), String> {
        self.0.destroy(container_id)
    }
}
