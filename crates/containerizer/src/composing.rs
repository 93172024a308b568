//! Several containerizers as one: each container goes to the first whose matter it is (spec/agent.md 6.1).

use crate::isolation::Running;
use crate::{
    BoxFuture, ContainerSpec, Containerizer, Exited, FetcherFigures, Found, MountedVolume,
    ProbeAnswer, SecretResolver, StartError, Started, Target, Terminal, secrets,
};
use base::Timings;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use wire::v1;

/// One of the containerizers, and where the ends of its containers come from.
#[derive(Debug)]
pub struct Member {
    /// Its name in `--containerizers`.
    pub name: &'static str,
    /// Itself.
    pub containerizer: Arc<dyn Containerizer>,
    /// Its ends.
    pub exits: mpsc::UnboundedReceiver<Exited>,
}

/// All that an agent has.
#[derive(Debug)]
pub struct Composing {
    members: Vec<(&'static str, Arc<dyn Containerizer>)>,
    /// Which of them has a container, until that is forgotten.
    owners: Mutex<BTreeMap<String, usize>>,
    /// Who knows secrets that are named.
    secrets: Option<SecretResolver>,
}

impl Composing {
    /// Asks the members in alphabetical order, whatever order they are given in. Ends of all come out of the receiver.
    pub fn new(
        mut members: Vec<Member>,
        secrets: Option<SecretResolver>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Exited>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        members.sort_by_key(|member| member.name);
        let take = |member: Member| {
            let Member { name, containerizer, mut exits } = member;
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(exited) = exits.recv().await {
                    let _ = sender.send(exited);
                }
            });
            (name, containerizer)
        };
        let members = members.into_iter().map(take).collect();
        (Arc::new(Self { members, owners: Mutex::default(), secrets }), receiver)
    }

    fn owners(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owner(&self, container_id: &str) -> Option<&dyn Containerizer> {
        let at = *self.owners().get(container_id)?;
        Some(&*self.members[at].1)
    }

    /// Puts secrets in the place of their names.
    async fn resolve(&self, mut spec: ContainerSpec) -> Result<ContainerSpec, String> {
        let Some(secrets) = self.secrets.clone().filter(|_| secrets::has_references(&mut spec))
        else {
            return Ok(spec);
        };
        let resolving = move || secrets.resolve(&mut spec).map(|()| spec);
        let resolved = tokio::task::spawn_blocking(resolving).await;
        resolved.map_err(|e| format!("cannot find secrets: {e}"))?
    }

    fn choose(&self, spec: &ContainerSpec) -> Result<usize, StartError> {
        // What is inside another container is its containerizer's.
        if let Some(parent) = &spec.parent {
            let owner = self.owners().get(parent).copied();
            return owner.ok_or_else(|| {
                format!("the container '{parent}' around it is not running").into()
            });
        }
        let found = self.members.iter().position(|(_, member)| member.supports(spec));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.members.iter().map(|(name, _)| *name).collect();
            let kind = spec.container.as_ref().map_or("MESOS", |c| c.r#type().as_str_name());
            let names = names.join(", ");
            format!("containers of type {kind} are no matter of --containerizers={names}").into()
        })
    }
}

impl Containerizer for Composing {
    fn supports(&self, spec: &ContainerSpec) -> bool {
        self.members.iter().any(|(_, member)| member.supports(spec))
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<Found>, String>> {
        Box::pin(async {
            let mut all = Vec::new();
            for (at, (name, member)) in self.members.iter().enumerate() {
                let found = member.recover().await.map_err(|e| format!("{name}: {e}"))?;
                self.owners().extend(found.iter().map(|f| (f.container_id.clone(), at)));
                all.extend(found);
            }
            Ok(all)
        })
    }

    fn attend(&self, container_id: &str) {
        if let Some(owner) = self.owner(container_id) {
            owner.attend(container_id);
        }
    }

    fn announce(&self, spec: &ContainerSpec) {
        if let Ok(at) = self.choose(spec) {
            self.owners().insert(spec.container_id.clone(), at);
            self.members[at].1.announce(spec);
        }
    }

    fn cancel(&self, container_id: &str) {
        if let Some(owner) = self.owner(container_id) {
            owner.cancel(container_id);
        }
    }

    fn pull_times(&self) -> Vec<(&'static str, Timings)> {
        self.members.iter().flat_map(|(_, member)| member.pull_times()).collect()
    }

    fn figures(&self) -> Vec<(&'static str, u64)> {
        self.members.iter().flat_map(|(_, member)| member.figures()).collect()
    }

    /// All have the same fetcher.
    fn fetcher_figures(&self) -> FetcherFigures {
        let first = self.members.first();
        first.map_or_else(FetcherFigures::default, |(_, member)| member.fetcher_figures())
    }

    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Started, StartError>> {
        Box::pin(async move {
            let at = self.choose(&spec)?;
            let container_id = spec.container_id.clone();
            self.owners().insert(container_id.clone(), at);
            if let Some(pod) = spec.pod.as_ref().filter(|_| self.members[at].1.holds_pods()) {
                self.owners().insert(pod.id.clone(), at);
            }
            let started = match self.resolve(spec).await {
                Ok(spec) => self.members[at].1.start(spec).await,
                Err(text) => Err(text.into()),
            };
            if started.is_err() {
                self.owners().remove(&container_id);
            }
            started
        })
    }

    fn update(
        &self,
        container_id: &str,
        resources: Vec<v1::Resource>,
        limits: BTreeMap<String, f64>,
    ) {
        if let Some(owner) = self.owner(container_id) {
            owner.update(container_id, resources, limits);
        }
    }

    fn show_volume(
        &self,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        let owner = self.owner(container_id).ok_or("the container is gone")?;
        owner.show_volume(container_id, sandbox, volume)
    }

    fn hide_volume(
        &self,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        self.owner(container_id)
            .map_or(Ok(()), |owner| owner.hide_volume(container_id, sandbox, volume))
    }

    fn usage(&self, running: &[Running]) -> Vec<v1::ResourceStatistics> {
        let owners = self.owners();
        let owner = |running: &Running| owners.get(&running.container_id).copied();
        let owned: Vec<Option<usize>> = running.iter().map(owner).collect();
        drop(owners);
        let mut all = vec![v1::ResourceStatistics::default(); running.len()];
        for (at, (_, member)) in self.members.iter().enumerate() {
            let its = |n: &usize| owned[*n] == Some(at);
            let places: Vec<usize> = (0..running.len()).filter(its).collect();
            let asked: Vec<Running> = places.iter().map(|n| running[*n].clone()).collect();
            if !asked.is_empty() {
                let answers = member.usage(&asked);
                places.into_iter().zip(answers).for_each(|(n, answer)| all[n] = answer);
            }
        }
        all
    }

    fn probe(
        &self,
        container_id: &str,
        target: Target,
    ) -> BoxFuture<'static, Result<ProbeAnswer, String>> {
        match self.owner(container_id) {
            Some(owner) => owner.probe(container_id, target),
            None => Box::pin(async { Err("the container is gone".to_owned()) }),
        }
    }

    fn attach(&self, container_id: &str) -> BoxFuture<'_, Result<Terminal, String>> {
        let (owner, container_id) = (self.owner(container_id), container_id.to_owned());
        Box::pin(async move {
            match owner {
                Some(owner) => owner.attach(&container_id).await,
                None => Err("the container is gone".to_owned()),
            }
        })
    }

    fn holds_pods(&self) -> bool {
        self.members.iter().any(|(_, member)| member.holds_pods())
    }

    fn supervisor(&self, container_id: &str) -> Option<u32> {
        self.owner(container_id)?.supervisor(container_id)
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            for (_, member) in &self.members {
                member.leave().await;
            }
        })
    }

    fn prune_images(&self, excluded: Vec<v1::Image>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            for (_, member) in &self.members {
                member.prune_images(excluded.clone()).await?;
            }
            Ok(())
        })
    }

    fn signal(&self, container_id: &str, signal: i32) {
        if let Some(owner) = self.owner(container_id) {
            owner.signal(container_id, signal);
        }
    }

    fn destroy(&self, container_id: &str) {
        if let Some(owner) = self.owner(container_id) {
            owner.destroy(container_id);
        }
    }

    fn forget(&self, container_id: &str) {
        if let Some(owner) = self.owner(container_id) {
            owner.forget(container_id);
        }
        self.owners().remove(container_id);
    }
}
