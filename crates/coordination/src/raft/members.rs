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
use tokio::task::JoinSet;

/// Longest time for a new master to take the registry over.
const LEARN_MAX: Duration = Duration::from_secs(30);
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
            "vote" => {
                let voted = self.raft.vote(read(body)?).await;
                if voted.as_ref().is_ok_and(|vote| vote.vote_granted) {
                    self.identity.heard.now();
                }
                answer(&voted)
            }
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

    /// Adds masters, which must run already: they get the whole registry, and then count for majorities; all of them or
    /// none.
    ///
    /// # Errors
    /// When this master does not lead, or one of them does not answer in time.
    pub async fn add(&self, addresses: &[String]) -> Result<(), MembersError> {
        self.check_leads()?;
        let new: BTreeMap<u64, BasicNode> =
            addresses.iter().map(|a| (id_of(a), BasicNode::new(a))).collect();
        for member in self.members().iter().filter(|m| m.votes) {
            if new.contains_key(&id_of(&member.address)) {
                let text = format!("{} is a master of this cluster already", member.address);
                return Err(MembersError::Refused(text));
            }
        }
        for node in new.values() {
            self.invite(&node.addr).await?;
        }
        for (id, node) in &new {
            if let Err(why) = self.teach(*id, node).await {
                self.change(ChangeMembers::RemoveNodes(new.into_keys().collect())).await?;
                return Err(why);
            }
        }
        self.change(ChangeMembers::AddVoterIds(new.into_keys().collect())).await
    }

    /// Waits until a new master has the registry.
    async fn teach(&self, id: u64, node: &BasicNode) -> Result<(), MembersError> {
        let learned = self.raft.add_learner(id, node.clone(), true);
        match tokio::time::timeout(LEARN_MAX, learned).await {
            Ok(learned) => learned.map(drop).map_err(refused),
            Err(_) => Err(MembersError::Refused(format!(
                "{} does not take over the registry within {} s; see its log",
                node.addr,
                LEARN_MAX.as_secs()
            ))),
        }
    }

    fn check_leads(&self) -> Result<(), MembersError> {
        let leads = self.raft.metrics().borrow().state == ServerState::Leader;
        if leads { Ok(()) } else { Err(MembersError::NotLeading) }
    }

    /// Lets a new master take part.
    async fn invite(&self, address: &str) -> Result<(), MembersError> {
        let refused = |why: String| MembersError::Refused(format!("{address} is not added: {why}"));
        let cluster = self.identity.begun().map(|begun| begun.cluster);
        let body = postcard::to_stdvec(&cluster.unwrap_or_default());
        let body = body.map_err(|e| refused(e.to_string()))?;
        let answer = self.identity.ask(address, "invite", &body).await.map_err(|error| {
            refused(format!("{error}; does a master with --coordination=raft run there?"))
        })?;
        let answer: Result<Result<(), String>, _> = postcard::from_bytes(&answer);
        answer.map_err(|e| refused(e.to_string()))?.map_err(refused)
    }

    /// Removes masters. Of those that stay a majority must answer: without one nobody could lead, nor undo it.
    ///
    /// # Errors
    /// When this master does not lead, would be removed itself, or too few that answer would be left.
    pub async fn remove(&self, addresses: &[String]) -> Result<(), MembersError> {
        self.check_leads()?;
        let gone: BTreeSet<u64> = addresses.iter().map(|a| id_of(a)).collect();
        let members = self.members();
        let known = |address: &&String| members.iter().all(|m| m.address != **address);
        if let Some(unknown) = addresses.iter().find(known) {
            return Err(MembersError::Refused(format!("{unknown} is no master of this cluster")));
        }
        let (go, stay): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| gone.contains(&id_of(&member.address)));
        if let Some(leader) = go.iter().find(|member| member.leads) {
            return Err(MembersError::Refused(format!(
                "{} leads; stop it, and remove it when another master leads",
                leader.address
            )));
        }
        let stay: Vec<String> =
            stay.into_iter().filter(|m| m.votes).map(|member| member.address).collect();
        let absent = self.absent(&stay).await;
        if absent.len() * 2 >= stay.len() {
            return Err(MembersError::Refused(format!(
                "of {}, which would stay, {} does not answer: no majority would be left; remove that one first, or \
                 start it",
                stay.join(", "),
                absent.join(", ")
            )));
        }
        let voters =
            go.iter().filter(|m| m.votes).map(|m| id_of(&m.address)).collect::<BTreeSet<_>>();
        if voters.len() < gone.len() {
            let learners = gone.difference(&voters).copied().collect();
            self.change(ChangeMembers::RemoveNodes(learners)).await?;
        }
        match voters.is_empty() {
            true => Ok(()),
            false => self.change(ChangeMembers::RemoveVoters(voters)).await,
        }
    }

    /// Those of some masters that do not answer, or not as masters of this cluster.
    async fn absent(&self, masters: &[String]) -> Vec<String> {
        let mut asked = JoinSet::new();
        for master in masters.iter().filter(|master| **master != self.identity.me) {
            let (identity, master) = (self.identity.clone(), master.clone());
            asked.spawn(async move { (!identity.is_of_cluster(&master).await).then_some(master) });
        }
        let mut absent: Vec<String> = asked.join_all().await.into_iter().flatten().collect();
        absent.sort_unstable();
        absent
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
