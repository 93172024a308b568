//! Offer overlap (Schwarzkopf et al., Omega, EuroSys 2013): soft offers, of which the first valid ACCEPT wins, and the
//! overlap of roles as operators set it.

use crate::accept::Offered;
use crate::master::{Cx, Master, Waiting};
use crate::registry::{OFFER_OVERLAP, RegistryOp};
use crate::state::{Offer, State};
use allocator::{AgentId, FrameworkId, Overlap};
use base::Token;
use resources::{Resources, validate_role};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a task is told that others were allowed to use what was offered to it.
pub(crate) const DENIED: &str = "Task launched with invalid offers: limits of the role, or what is guaranteed to others, no longer allow what was offered";

/// Open soft offers, by who has them where.
pub(crate) type SoftOffers = BTreeMap<(AgentId, FrameworkId), BTreeSet<String>>;

impl Master {
    /// Notes a soft offer, or forgets it.
    pub(crate) fn index_soft(&mut self, offer: &Offer, is_open: bool) {
        if !offer.soft {
            return;
        }
        let at = (offer.agent, offer.framework);
        let ids = self.soft_offers.entry(at).or_default();
        if is_open {
            ids.insert(offer.id.clone());
        } else {
            ids.remove(&offer.id);
            if ids.is_empty() {
                self.soft_offers.remove(&at);
            }
        }
    }

    /// What was offered and is not used is free again; a soft offer took nothing.
    pub(crate) fn give_back(&mut self, cx: &Cx<'_>, offer: &Offer, refuse: Option<Duration>) {
        let (framework, agent) = (offer.framework, offer.agent);
        if offer.soft {
            self.allocator.withdraw(cx.now, framework, agent, &offer.resources, refuse);
        } else {
            self.allocator.recover(cx.now, framework, agent, &offer.resources, refuse);
        }
    }

    /// An accepted offer is the framework's from now on: a soft one as far as limits and guarantees allow.
    pub(crate) fn claim(&mut self, offer: &Offer, offered: &mut Offered) {
        if !offer.soft {
            offered.left += &offer.resources;
            return;
        }
        let granted = self.allocator.claim(offer.framework, offer.agent, &offer.resources);
        let mut denied = offer.resources.clone();
        denied -= &granted;
        offered.left += &granted;
        offered.denied += &denied;
        self.count("master/soft_offers_claimed");
    }

    /// Rescinds the soft offers of which others have accepted something.
    pub(crate) fn rescind_losers(&mut self, cx: &mut Cx<'_>) {
        for loser in self.allocator.losers() {
            let ids = self.soft_offers.get(&(loser.agent, loser.framework)).cloned();
            for id in ids.unwrap_or_default() {
                if self.offers.get(&id).is_some_and(|o| o.role == loser.role) {
                    self.count("master/soft_offers_lost");
                    self.rescind(cx, &id);
                }
            }
        }
    }

    /// What soft offers show of an agent, for each framework and role.
    pub(crate) fn shown_on(&self, agent: AgentId) -> BTreeMap<(FrameworkId, &str), Resources> {
        let mut shown: BTreeMap<(FrameworkId, &str), Resources> = BTreeMap::new();
        let first = (agent, FrameworkId(0));
        let ids = self.soft_offers.range(first..).take_while(|((on, _), _)| *on == agent);
        for offer in ids.flat_map(|(_, ids)| ids).filter_map(|id| self.offers.get(id)) {
            *shown.entry((offer.framework, &offer.role)).or_default() += &offer.resources;
        }
        shown
    }

    /// An operator sets the overlap of a role, or takes back what was set.
    pub(crate) fn set_overlap(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        role: String,
        overlap: Option<Overlap>,
    ) {
        if let Err(error) = validate_role(&role) {
            return cx.respond(token, 400, format!("'role': Invalid role '{role}': {error}"));
        }
        if !self.is_whitelisted(&role) {
            let text = format!("'role': Unknown role '{role}': it is not on the roles whitelist");
            return cx.respond(token, 400, text);
        }
        if overlap.is_none() && !self.set_overlaps.contains(&role) {
            let set: Vec<&str> = self.set_overlaps.iter().map(String::as_str).collect();
            let which = match set[..] {
                [] => "none was set for any role".to_owned(),
                _ => format!("one was set for: {}", set.join(", ")),
            };
            let text = format!("No overlap was set for role '{role}'; {which}");
            return cx.respond(token, 404, text);
        }
        let (section, key) = (OFFER_OVERLAP.to_owned(), role.clone());
        let op = match overlap {
            Some(overlap) => {
                RegistryOp::Put { section, key, value: overlap.to_string().into_bytes() }
            }
            None => RegistryOp::Delete { section, key },
        };
        self.write(cx, vec![op], Waiting::Overlap { token, role, overlap });
    }

    /// The registry has it.
    pub(crate) fn on_overlap(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        role: &str,
        overlap: Option<Overlap>,
    ) {
        self.put_overlap(role, overlap);
        self.rescind_soft(cx, role);
        cx.respond(token, 200, "");
    }

    /// Soft offers of a role and those below it were made for more frameworks, or fewer, than are meant now.
    fn rescind_soft(&mut self, cx: &mut Cx<'_>, role: &str) {
        let concerns = |of: &str| role == "*" || resources::is_descendant_or_self(of, role);
        let ids = self.soft_offers.values().flatten();
        let offers = ids.filter_map(|id| self.offers.get(id)).filter(|o| concerns(&o.role));
        for id in offers.map(|o| o.id.clone()).collect::<Vec<_>>() {
            self.rescind(cx, &id);
        }
    }

    /// Takes over what the registry holds.
    pub(crate) fn recover_overlap(&mut self, role: &str, value: &[u8]) -> Result<(), String> {
        let overlap = String::from_utf8_lossy(value).parse()?;
        self.put_overlap(role, Some(overlap));
        Ok(())
    }

    /// What is not set counts as the flag says.
    pub(crate) fn put_overlap(&mut self, role: &str, overlap: Option<Overlap>) {
        match overlap {
            Some(_) => self.set_overlaps.insert(role.to_owned()),
            None => self.set_overlaps.remove(role),
        };
        let overlap = overlap.or_else(|| self.config.offer_overlap.get(role).copied());
        self.allocator.set_overlap(role, overlap);
        match overlap {
            Some(overlap) => self.state.overlaps.insert(role.to_owned(), overlap),
            None => self.state.overlaps.remove(role),
        };
    }
}

impl State {
    /// To how many frameworks at a time the same resources may be offered in a role: its own, that of the nearest role
    /// above it, or that of `*`.
    #[must_use]
    pub fn overlap(&self, role: &str) -> Overlap {
        let mut named = std::iter::once(role).chain(resources::ancestors(role)).chain(["*"]);
        named.find_map(|role| self.overlaps.get(role).copied()).unwrap_or_default()
    }
}

impl Offered {
    /// The same with what was denied of it, if something was.
    pub(crate) fn undenied(&self) -> Option<Self> {
        let mut whole = self.clone();
        whole.left += &self.denied;
        (!self.denied.is_empty()).then_some(whole)
    }
}
