//! What containers use, as their agents measure it.

use client::Agent;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Agents that are asked at the same time; the next ones in the next round.
const AT_ONCE: usize = 32;
/// Time between two rounds: agents answer this no oftener than twice a second.
const ROUND: Duration = Duration::from_secs(2);
/// Longest time for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What agents answer. Those that don't are left out.
pub(super) async fn sample(agents: &[String]) -> Vec<Value> {
    let mut answers = Vec::new();
    for some in agents.chunks(AT_ONCE) {
        let mut asked = JoinSet::new();
        for address in some {
            let mut agent = Agent::new(address.clone());
            asked.spawn(async move {
                let answer = tokio::time::timeout(ANSWER_MAX, agent.get("/monitor/statistics"));
                serde_json::from_slice::<Value>(&answer.await.ok()?.ok()?).ok()
            });
        }
        answers.extend(asked.join_all().await.into_iter().flatten());
    }
    answers
}

/// Asks agents in turn: those that are told, for as long as answers are taken.
pub(super) fn measure() -> (watch::Sender<Vec<String>>, Receiver<Value>) {
    let (tell_agents, agents) = watch::channel(Vec::<String>::new());
    let (tell, answers) = channel(AT_ONCE);
    tokio::spawn(async move {
        let mut at = 0;
        while !tell.is_closed() {
            let all = agents.borrow().clone();
            at = if at < all.len() { at } else { 0 };
            let some: Vec<String> = all.iter().skip(at).take(AT_ONCE).cloned().collect();
            at += some.len();
            for answer in sample(&some).await {
                if tell.send(answer).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(ROUND).await;
        }
    });
    (tell_agents, answers)
}
