//! Inverse offers: what frameworks are asked to give back, because it was lent to them ([`crate::recall`]) or because its
//! machine will be away ([`crate::maintenance`]).

use crate::frameworks::event;
use crate::master::{Cx, Master};
use allocator::{AgentId, FrameworkId};
use std::sync::Arc;
use std::time::Duration;
use wire::v1;
use wire::v1::scheduler::{Event, event};

/// What a framework says to an inverse offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It will give back in time what is asked for.
    Accept,
    /// It will not.
    Decline,
}

impl Master {
    /// Offers and inverse offers have ids of one kind.
    pub(crate) fn next_offer_id(&mut self) -> String {
        let id = format!("{}-O{}", self.config.info.id, self.next_offer);
        self.next_offer += 1;
        id
    }

    pub(crate) fn inverse_offer(
        &self,
        id: &str,
        framework: FrameworkId,
        agent: AgentId,
        unavailability: v1::Unavailability,
        resources: Vec<v1::Resource>,
    ) -> v1::InverseOffer {
        let agent = self.agent(agent);
        v1::InverseOffer {
            id: id.into(),
            url: agent.map(|a| a.url()),
            framework_id: self.framework(framework).map_or("", |f| f.id.as_str()).into(),
            agent_id: agent.map(|a| a.id.as_str().into()),
            unavailability,
            resources,
        }
    }

    pub(crate) fn send_inverse_offers(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        inverse_offers: Vec<v1::InverseOffer>,
    ) {
        if let Some(known) = self.framework_mut(framework).filter(|f| f.is_connected()) {
            let open = inverse_offers.iter().map(|o| (o.id.value.clone(), Arc::new(o.clone())));
            known.inverse_offers.extend(open);
        }
        for _ in &inverse_offers {
            self.count("master/inverse_offers_sent");
        }
        let offers = event::InverseOffers { inverse_offers };
        let kind = event(event::Type::InverseOffers);
        self.send_event(cx, framework, Event { inverse_offers: Some(offers), ..kind });
    }

    /// Ends an inverse offer and tells its framework, unless it was answered.
    pub(crate) fn rescind_inverse(&mut self, cx: &mut Cx<'_>, framework: FrameworkId, id: &str) {
        let known = self.framework_mut(framework);
        if known.and_then(|f| f.inverse_offers.remove(id)).is_none() {
            return;
        }
        self.count("master/inverse_offers_rescinded");
        let rescind = event::RescindInverseOffer { inverse_offer_id: id.into() };
        let kind = event(event::Type::RescindInverseOffer);
        let rescind = Event { rescind_inverse_offer: Some(rescind), ..kind };
        self.send_event(cx, framework, rescind);
    }

    /// A framework says what it thinks of inverse offers, and for how long it does not want to hear of those for
    /// maintenance again. Those that it does not have are ignored.
    pub(crate) fn answer_inverse(
        &mut self,
        cx: &Cx<'_>,
        framework: FrameworkId,
        ids: &[v1::OfferId],
        answer: Answer,
        refuse: Duration,
    ) {
        for id in ids {
            let known = self.framework_mut(framework);
            let Some(offer) = known.and_then(|f| f.inverse_offers.remove(&id.value)) else {
                continue;
            };
            self.count(match answer {
                Answer::Accept => "master/inverse_offers_accepted",
                Answer::Decline => "master/inverse_offers_declined",
            });
            let agent = offer.agent_id.as_ref().and_then(|id| self.agent_keys.get(&id.value));
            if let Some(agent) = agent.copied() {
                self.answer_warning(cx, (agent, framework), &id.value, answer, refuse);
            }
        }
    }
}
