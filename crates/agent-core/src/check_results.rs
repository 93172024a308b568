//! What follows from a check's result (spec/agent.md 3.5).

use crate::agent::{Agent, Cx};
use crate::checks::{Key, seconds};
use std::time::Duration;
use wire::v1;
use wire::v1::check_status_info::{Command, Http, Tcp};
use wire::v1::task_status::Reason;

/// How a run of a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command's exit code.
    Command(i32),
    /// The status of the answer.
    Http(u16),
    /// Whether there was a connection.
    Tcp(bool),
    /// It took too long, or could not be made.
    Failed,
    /// It says nothing of the task.
    Unavailable,
}

impl Outcome {
    fn is_healthy(self) -> bool {
        match self {
            Self::Command(code) => code == 0,
            Self::Http(status) => (200..400).contains(&status),
            Self::Tcp(connected) => connected,
            Self::Failed | Self::Unavailable => false,
        }
    }

    fn fill(self, status: &mut v1::CheckStatusInfo) {
        match self {
            Self::Command(code) => status.command = Some(Command { exit_code: Some(code) }),
            Self::Http(code) => {
                status.http = Some(Http { status_code: Some(u32::from(code)) });
            }
            Self::Tcp(succeeded) => status.tcp = Some(Tcp { succeeded: Some(succeeded) }),
            Self::Failed | Self::Unavailable => {}
        }
    }
}

/// What is said of a check without a result.
pub(crate) fn empty_status(check: &v1::CheckInfo) -> v1::CheckStatusInfo {
    use v1::check_info::Type;
    let kind = check.r#type();
    v1::CheckStatusInfo {
        r#type: Some(kind as i32),
        command: (kind == Type::Command).then(Command::default),
        http: (kind == Type::Http).then(Http::default),
        tcp: (kind == Type::Tcp).then(Tcp::default),
    }
}

impl Agent {
    /// What a check says is told when it is not what was said last.
    pub(crate) fn on_check_result(&mut self, cx: &mut Cx<'_>, key: &Key, outcome: Outcome) {
        let Some(task) = self.task_to_check(key).filter(|_| outcome != Outcome::Unavailable) else {
            return;
        };
        let Some(check) = &task.info.check else { return };
        let mut said = empty_status(check);
        outcome.fill(&mut said);
        let Some(last) = task.statuses.last().cloned() else { return };
        if last.check_status == Some(said) {
            return;
        }
        let status = v1::TaskStatus {
            reason: Some(Reason::TaskCheckStatusUpdated as i32),
            check_status: Some(said),
            uuid: None,
            timestamp: None,
            ..last
        };
        self.update(cx, &key.framework, status);
    }

    /// The first success is told, each failure that counts, and the first success after failures. Too many failures in
    /// a row end the task.
    pub(crate) fn on_health_result(&mut self, cx: &mut Cx<'_>, key: &Key, outcome: Outcome) {
        let Some(task) = self.task_to_check(key).filter(|_| outcome != Outcome::Unavailable) else {
            return;
        };
        let Some(check) = &task.info.health_check else { return };
        let most = check.consecutive_failures();
        let grace = seconds(check.grace_period_seconds());
        let is_healthy = outcome.is_healthy();
        let (was_healthy, failures) = (task.was_healthy, task.failures_in_a_row);
        if is_healthy && was_healthy && failures == 0 {
            return;
        }
        let ran = task.running_since.map_or(0.0, |since| cx.now.wall.as_secs_f64() - since);
        let ran = Duration::try_from_secs_f64(ran).unwrap_or_default();
        if !is_healthy && !was_healthy && !grace.is_zero() && ran <= grace {
            return;
        }
        let Some(last) = task.statuses.last().cloned() else { return };
        let status = v1::TaskStatus {
            reason: Some(Reason::TaskHealthCheckStatusUpdated as i32),
            healthy: Some(is_healthy),
            uuid: None,
            timestamp: None,
            ..last
        };
        self.update(cx, &key.framework, status);
        if !is_healthy && failures.saturating_add(1) >= most {
            if let Some(executor) = self.executor_mut(&key.framework, &key.executor) {
                executor.unhealthy = true;
            }
            self.kill_one(cx, &key.framework, &key.executor, &key.task, None);
        }
    }
}
