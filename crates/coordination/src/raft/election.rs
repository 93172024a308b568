//! When a master asks for votes: only after a majority has agreed that there is no leader (the pre-vote of Ongaro's
//! thesis, 9.6). openraft 0.9 would raise the term at once, and a master that was away or slow would depose a leader
//! whom everybody else follows.

use super::sealed::Id;
use super::store::Store;
use super::{ELECTION, HEARTBEAT, Identity, Raft, id_of};
use openraft::{LogId, ServerState};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Whether others would vote for this master.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) last_log: Option<LogId<u64>>,
}

/// When the leader was heard last.
#[derive(Debug)]
pub(super) struct Heard(Mutex<Instant>);

impl Default for Heard {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Heard {
    pub(super) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Whether this master knows of no leader, and of nothing that the other one lacks.
pub(super) fn agrees(
    raft: &openraft::Raft<Raft>,
    store: &Store,
    heard: &Heard,
    question: &Question,
) -> bool {
    let leads = raft.metrics().borrow().state == ServerState::Leader;
    let is_behind = store.last_log().is_ok_and(|last| question.last_log < last);
    !leads && heard.elapsed() >= ELECTION.0 && !is_behind
}

/// A time between the bounds of [`ELECTION`], another one each time.
fn patience() -> Duration {
    let random: Id = super::sealed::new_id().unwrap_or_default();
    let spread = (ELECTION.1 - ELECTION.0) / 256;
    ELECTION.0 + spread * u32::from(random[0])
}

/// Asks for votes whenever there is no leader, for ever.
pub(super) async fn run(
    raft: openraft::Raft<Raft>,
    store: Store,
    identity: Arc<Identity>,
) -> std::convert::Infallible {
    // A new cluster begins with an election by itself.
    let (mut wait, mut asked) = (patience(), Instant::now());
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let metrics = raft.metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        let me = id_of(&identity.me);
        let voters: Vec<u64> = membership.voter_ids().collect();
        if metrics.state == ServerState::Leader || !voters.contains(&me) {
            continue;
        }
        let is_alone = voters.len() == 1;
        let is_heard = !is_alone && identity.heard.elapsed() < wait;
        if is_heard || asked.elapsed() < wait {
            continue;
        }
        (wait, asked) = (patience(), Instant::now());
        let mut answers = JoinSet::new();
        let question = Question { last_log: store.last_log().unwrap_or_default() };
        let question = Arc::new(postcard::to_stdvec(&question).unwrap_or_default());
        for (id, node) in membership.nodes().filter(|(id, _)| **id != me && voters.contains(id)) {
            tracing::debug!(id, "asks whether there is a leader");
            let (identity, question, to) = (identity.clone(), question.clone(), node.addr.clone());
            answers.spawn(async move {
                let answer = identity.ask(&to, "prevote", &question).await;
                answer.is_ok_and(|answer| postcard::from_bytes(&answer) == Ok(true))
            });
        }
        let mut yes = 1;
        while yes <= voters.len() / 2 {
            match answers.join_next().await {
                Some(answer) => yes += usize::from(answer.unwrap_or(false)),
                None => break,
            }
        }
        if yes > voters.len() / 2 {
            let _ = raft.trigger().elect().await;
        }
    }
}
