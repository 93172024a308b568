//! When a master asks for votes: only after a majority has agreed that there is no leader (the pre-vote of Ongaro's
//! thesis, 9.6). openraft 0.9 would raise the term at once, and a master that was away or slow would depose a leader
//! whom everybody else follows.

use super::sealed::Id;
use super::store::Store;
use super::{ELECTION, Identity, Raft, id_of};
use openraft::{LogId, ServerState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Time between looks at whether there is a leader: two masters that wait for different times do not ask at once.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Time that each voter leaves to those before it.
const TURN: Duration = Duration::from_millis(50);

/// Whether others would vote for this master.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) last_log: Option<LogId<u64>>,
}

/// When the leader was heard last, or a candidate that was voted for: it may lead.
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

/// A time between the bounds of [`ELECTION`]: each of the voters has a part of it of its own, and another time in it each
/// time, so that no two ask at once, of whom one would depose the other.
fn patience(rank: usize, voters: usize, random: u8) -> Duration {
    let part = (ELECTION.1 - ELECTION.0) / u32::try_from(voters.max(1)).unwrap_or(u32::MAX);
    let begin = part * u32::try_from(rank).unwrap_or(0);
    ELECTION.0 + begin + part / 2 / 256 * u32::from(random)
}

fn random() -> u8 {
    let random: Id = super::sealed::new_id().unwrap_or_default();
    random[0]
}

/// Asks for votes whenever there is no leader, for ever.
pub(super) async fn run(
    raft: openraft::Raft<Raft>,
    store: Store,
    identity: Arc<Identity>,
) -> std::convert::Infallible {
    // A new cluster begins with an election by itself.
    let (mut chance, mut asked) = (random(), Instant::now());
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let metrics = raft.metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        let me = id_of(&identity.me);
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let rank = voters.iter().position(|voter| *voter == me);
        let Some(rank) = rank.filter(|_| metrics.state != ServerState::Leader) else { continue };
        let wait = patience(rank, voters.len(), chance);
        let is_alone = voters.len() == 1;
        let is_heard = !is_alone && identity.heard.elapsed() < wait;
        if is_heard || asked.elapsed() < wait {
            continue;
        }
        (chance, asked) = (random(), Instant::now());
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
        if yes <= voters.len() / 2 {
            continue;
        }
        // Others may have asked at the same time: whoever comes first is voted for, and not deposed at once.
        tokio::time::sleep(TURN * u32::try_from(rank).unwrap_or(0)).await;
        let is_silent = is_alone || identity.heard.elapsed() >= ELECTION.0;
        if is_silent && raft.metrics().borrow().vote == metrics.vote {
            let _ = raft.trigger().elect().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_voter_has_a_time_of_its_own() {
        for voters in 1..=9 {
            let all = (0..voters).flat_map(|rank| [(rank, 0), (rank, 255)]);
            let times: Vec<Duration> =
                all.map(|(rank, random)| patience(rank, voters, random)).collect();
            assert!(
                times.is_sorted() && times[0] == ELECTION.0 && times[times.len() - 1] <= ELECTION.1
            );
            let apart = times.chunks(2).zip(times.chunks(2).skip(1)).map(|(a, b)| b[0] - a[1]);
            assert!(apart.min().is_none_or(|apart| apart > LOOK_EVERY), "{times:?}");
        }
    }
}
