//! The way to the leading master: all addresses that are known, and where these redirect to.

use crate::ClientError;
use detector::Detector;
use std::collections::VecDeque;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// Addresses to ask, one after the other.
#[derive(Debug)]
pub(crate) struct Search {
    addresses: VecDeque<String>,
    /// All that were known at first, for the error.
    all: String,
    redirects: usize,
    last: String,
}

impl Search {
    pub(crate) async fn begin(master: &Detector) -> Result<Self, ClientError> {
        let known = master.addresses().await;
        let addresses = known.map_err(|e| ClientError::Undetected(e.to_string()))?;
        let all = addresses.join(", ");
        let last = "there is no address".to_owned();
        Ok(Self { addresses: addresses.into(), all, redirects: 0, last })
    }

    /// The next address to ask.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.addresses.pop_front()
    }

    /// Whether the leader that an answer names is asked next; false: there were too many redirects.
    pub(crate) fn follow(&mut self, leader: &str) -> bool {
        self.redirects += 1;
        let follows = self.redirects <= REDIRECTS_MAX;
        if follows {
            self.addresses.push_front(leader.to_owned());
        }
        follows
    }

    /// Nobody answers there.
    pub(crate) fn failed(&mut self, text: String) {
        self.last = text;
    }

    /// There is no other address.
    pub(crate) fn end(self) -> ClientError {
        ClientError::Unreachable { addresses: self.all, text: self.last }
    }
}
