//! What a simulated task does: written into its command, read by the container model.

use std::time::Duration;

/// The script of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How long it runs when left alone.
    pub(crate) runs: Duration,
    /// Exit code when left alone.
    pub(crate) code: i32,
    /// Whether it ignores SIGTERM.
    pub(crate) stubborn: bool,
    /// How long its URIs are fetched before that; zero: it has none.
    pub(crate) fetches: Duration,
    /// Whether they can be had.
    pub(crate) fetchable: bool,
}

impl Plan {
    /// The command that stands for this plan.
    #[must_use]
    pub(crate) fn command(self) -> String {
        format!(
            "plan {} {} {} {} {}",
            self.runs.as_millis(),
            self.code,
            u8::from(self.stubborn),
            self.fetches.as_millis(),
            u8::from(self.fetchable)
        )
    }

    /// The plan behind a command; None for anything else.
    #[must_use]
    pub(crate) fn parse(command: &str) -> Option<Self> {
        let mut words = command.strip_prefix("plan ")?.split(' ');
        let runs = Duration::from_millis(words.next()?.parse().ok()?);
        let code = words.next()?.parse().ok()?;
        let stubborn = words.next()? == "1";
        let fetches = Duration::from_millis(words.next()?.parse().ok()?);
        let fetchable = words.next()? == "1";
        Some(Self { runs, code, stubborn, fetches, fetchable })
    }

    /// Raw wait status when left alone.
    #[must_use]
    pub(crate) fn status(self) -> i32 {
        self.code << 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_command() {
        let plan = Plan {
            runs: Duration::from_millis(1500),
            code: 3,
            stubborn: true,
            fetches: Duration::from_millis(7),
            fetchable: true,
        };
        assert_eq!(Plan::parse(&plan.command()), Some(plan));
        assert_eq!(Plan::parse("sleep 1"), None);
    }
}
