//! Registrations of agents that wait for the registry.

use base::Token;
use std::collections::{BTreeMap, BTreeSet};

/// Which connections wait, and for which agents. An agent waits on one connection at a time.
#[derive(Debug, Default)]
pub(crate) struct Registering {
    /// "" for a new agent.
    connections: BTreeMap<Token, String>,
    agents: BTreeSet<String>,
}

impl Registering {
    pub(crate) fn has(&self, connection: Token) -> bool {
        self.connections.contains_key(&connection)
    }

    /// Whether this agent waits on any connection.
    pub(crate) fn has_agent(&self, id: &str) -> bool {
        self.agents.contains(id)
    }

    /// An agent begins to wait; `id`: None for a new one.
    pub(crate) fn begin(&mut self, connection: Token, id: Option<&str>) {
        self.agents.extend(id.map(str::to_owned));
        self.connections.insert(connection, id.unwrap_or_default().to_owned());
    }

    /// It waits no longer; whether it did.
    pub(crate) fn end(&mut self, connection: Token) -> bool {
        let Some(id) = self.connections.remove(&connection) else { return false };
        self.agents.remove(&id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_waits_until_its_connection_ends() {
        let mut registering = Registering::default();
        registering.begin(Token(1), Some("S1"));
        registering.begin(Token(2), None);
        assert!(registering.has(Token(1)) && registering.has(Token(2)));
        assert!(registering.has_agent("S1") && !registering.has_agent(""));
        assert!(registering.end(Token(1)) && !registering.end(Token(1)));
        assert!(!registering.has_agent("S1"));
        assert!(registering.end(Token(2)));
    }
}
