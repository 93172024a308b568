//! Calls of other masters, and masters that come and go.

use super::election::{self, Question};
use super::identity::Identity;
use super::store::{Store, WeakStore};
use super::{Raft, id_of};
use openraft::error::{ClientWriteError, RaftError};
use openraft::raft::AppendEntriesResponse;
use openraft::{BasicNode, ChangeMembers, ServerState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Longest time for a new master to take the registry over.
const LEARN_MAX: Duration = Duration::from_secs(10);
/// Longest time for a change of members.
const CHANGE_MAX: Duration = Duration::from_secs(30);

/// Other masters of the group, as this one knows them.
#[derive(Clone)]
pub struct Peers {
    raft: openraft::Raft<Raft>,
    identity: Arc<Identity>,
    store: WeakStore,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

/// One master of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// Where it listens.
    pub address: String,
    /// Whether it counts for majorities; a master that has not all of the registry yet does not.
    pub votes: bool,
    /// Whether it leads.
    pub leads: bool,
}

/// Why a change of members was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// This master does not lead.
    #[error("this master does not lead")]
    NotLeading,
    /// It would be unsafe or makes no sense: says why.
    #[error("{0}")]
    Refused(String),
}

impl Peers {
    pub(super) fn new(raft: openraft::Raft<Raft>, identity: Arc<Identity>, store: &Store) -> Self {
        Self { raft, identity, store: store.downgrade() }
    }

    /// Answers a call of another master.
    ///
    /// # Errors
    /// Why this master does not answer it: the other one has another secret, is of another cluster or version, or this
    /// one must not take part.
    pub async fn answer(&self, kind: &str, call: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, body) = self.identity.open(kind, call)?;
        let answer = self.carry_out(kind, body).await;
        let answer = answer.ok_or("this is no call of a master of this version")?;
        Ok(self.identity.answer(&nonce, answer))
    }

    async fn carry_out(&self, kind: &str, body: &[u8]) -> Option<Vec<u8>> {
        fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
            postcard::from_bytes(body).ok()
        }
        fn answer(answer: &impl Serialize) -> Option<Vec<u8>> {
            postcard::to_stdvec(answer).ok()
        }
        match kind {
            "append" => {
                let appended = self.raft.append_entries(read(body)?).await;
                if !matches!(appended, Err(_) | Ok(AppendEntriesResponse::HigherVote(_))) {
                    self.identity.heard.now();
                }
                answer(&appended)
            }
            "snapshot" => {
                let installed = self.raft.install_snapshot(read(body)?).await;
                if installed.is_ok() {
                    self.identity.heard.now();
                }
                answer(&installed)
            }
            "vote" => answer(&self.raft.vote(read(body)?).await),
            "prevote" => {
                let question: Question = read(body)?;
                let (store, heard) = (self.store.upgrade()?, &self.identity.heard);
                answer(&election::agrees(&self.raft, &store, heard, &question))
            }
            "hello" => answer(&self.identity.hello()),
            "invite" => {
                let store = self.store.upgrade()?;
                answer(&self.identity.invited(&store, read(body)?))
            }
            _ => None,
        }
    }

    /// All masters of the group.
    #[must_use]
    pub fn members(&self) -> Vec<MemberState> {
        let metrics = self.raft.metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        membership
            .nodes()
            .map(|(id, node)| MemberState {
                address: node.addr.clone(),
                votes: voters.contains(id),
                leads: metrics.current_leader == Some(*id),
            })
            .collect()
    }

    /// Adds masters, which must run already: they get the whole registry, and then count for majorities.
    ///
    /// # Errors
    /// When this master does not lead, or one of them does not answer in time.
    pub async fn add(&self, addresses: &[String]) -> Result<(), MembersError> {
        let new: BTreeMap<u64, BasicNode> =
            addresses.iter().map(|a| (id_of(a), BasicNode::new(a))).collect();
        for member in self.members().iter().filter(|m| m.votes) {
            if new.contains_key(&id_of(&member.address)) {
                let text = format!("{} is a master of this cluster already", member.address);
                return Err(MembersError::Refused(text));
            }
        }
        for (id, node) in &new {
            self.invite(&node.addr).await?;
            let learned = self.raft.add_learner(*id, node.clone(), true);
            let late = || {
                MembersError::Refused(format!(
                    "{} does not take over the registry; does a master with --coordination=raft run there?",
                    node.addr
                ))
            };
            match tokio::time::timeout(LEARN_MAX, learned).await {
                Ok(learned) => drop(learned.map_err(refused)?),
                Err(_) => {
                    let gone = BTreeSet::from([*id]);
                    self.change(ChangeMembers::RemoveNodes(gone)).await?;
                    return Err(late());
                }
            }
        }
        self.change(ChangeMembers::AddVoterIds(new.into_keys().collect())).await
    }

    /// Lets a new master take part.
    async fn invite(&self, address: &str) -> Result<(), MembersError> {
        let refused = |why: String| MembersError::Refused(format!("{address} is not added: {why}"));
        if self.raft.metrics().borrow().state != ServerState::Leader {
            return Err(MembersError::NotLeading);
        }
        let cluster = self.identity.begun().map(|begun| begun.cluster);
        let body = postcard::to_stdvec(&cluster.unwrap_or_default());
        let body = body.map_err(|e| refused(e.to_string()))?;
        let answer = self.identity.ask(address, "invite", &body).await.map_err(|error| {
            refused(format!("{error}; does a master with --coordination=raft run there?"))
        })?;
        let answer: Result<Result<(), String>, _> = postcard::from_bytes(&answer);
        answer.map_err(|e| refused(e.to_string()))?.map_err(refused)
    }

    /// Removes masters. What stays must have a majority that runs.
    ///
    /// # Errors
    /// When this master does not lead, would be removed itself, or nobody would be left.
    pub async fn remove(&self, addresses: &[String]) -> Result<(), MembersError> {
        let gone: BTreeSet<u64> = addresses.iter().map(|a| id_of(a)).collect();
        for member in self.members() {
            if member.leads && gone.contains(&id_of(&member.address)) {
                return Err(MembersError::Refused(format!(
                    "{} leads; stop it, and remove it when another master leads",
                    member.address
                )));
            }
        }
        let known = |address: &&String| self.members().iter().all(|m| m.address != **address);
        if let Some(unknown) = addresses.iter().find(known) {
            return Err(MembersError::Refused(format!("{unknown} is no master of this cluster")));
        }
        self.change(ChangeMembers::RemoveVoters(gone)).await
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>) -> Result<(), MembersError> {
        let changed = self.raft.change_membership(change, false);
        match tokio::time::timeout(CHANGE_MAX, changed).await {
            Ok(changed) => changed.map(drop).map_err(refused),
            Err(_) => Err(MembersError::Refused("no majority of masters answers".to_owned())),
        }
    }
}

fn refused(error: RaftError<u64, ClientWriteError<u64, BasicNode>>) -> MembersError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => MembersError::NotLeading,
        error => MembersError::Refused(error.to_string()),
    }
}
