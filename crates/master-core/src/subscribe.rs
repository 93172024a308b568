//! SUBSCRIBE: new frameworks, and frameworks that come back (spec/master.md 1.3).

use crate::announce::Announcement;
use crate::frameworks::{HEARTBEAT, event, options};
use crate::master::{Cx, Master, Timer};
use crate::validate;
use allocator::{AgentId, FrameworkId};
use base::Token;
use std::collections::BTreeSet;
use wire::internal::master_to_agent::Message;
use wire::v1::scheduler::{self, Event, event};
use wire::{internal, v1};

impl Master {
    pub(crate) fn on_subscribe(
        &mut self,
        cx: &mut Cx<'_>,
        stream: Token,
        stream_id: String,
        call: scheduler::Call,
        principal: Option<String>,
    ) {
        let subscribe = call.subscribe.unwrap_or_default();
        let mut info = subscribe.framework_info;
        if info.principal.is_none() {
            info.principal = principal;
        }
        let suppressed: BTreeSet<String> = subscribe.suppressed_roles.into_iter().collect();
        let constraints = subscribe.offer_constraints;
        if let Err(message) = self.check_subscription(&info, &suppressed, constraints.as_ref()) {
            Self::refuse_stream(cx, stream, message);
            return;
        }
        let id = info.id.as_ref().map(|id| id.value.clone()).filter(|id| !id.is_empty());
        self.count(match id {
            Some(_) => "master/messages_reregister_framework",
            None => "master/messages_register_framework",
        });
        let known = id.as_ref().and_then(|id| self.framework_keys.get(id).copied());
        if let Some(key) = known {
            let old = self.framework(key).map(|f| f.info.principal.clone()).unwrap_or_default();
            if old != info.principal {
                Self::refuse_stream(cx, stream, "Changing framework's principal is not allowed.");
                return;
            }
        }
        let key = match (known, id) {
            (Some(key), _) => {
                self.take_over(cx, key);
                key
            }
            (None, Some(id)) => self.make_framework(cx, id, info.clone(), false),
            (None, None) => {
                let id = format!("{}-{:04}", self.config.info.id, self.next_framework);
                self.next_framework += 1;
                self.make_framework(cx, id, info.clone(), false)
            }
        };
        self.attach(cx, key, stream, stream_id, info, suppressed, constraints, known.is_some());
    }

    fn check_subscription(
        &self,
        info: &v1::FrameworkInfo,
        suppressed: &BTreeSet<String>,
        constraints: Option<&scheduler::OfferConstraints>,
    ) -> Result<(), String> {
        validate::framework::check(info)?;
        self.check_against_flags(info)?;
        let id = info.id.as_ref().map_or("", |id| id.value.as_str());
        if self.state.completed_frameworks.iter().any(|f| f.id == id) {
            return Err("Framework has been removed".to_owned());
        }
        validate::framework::check_roles_of_subscription(info, suppressed, constraints)
    }

    /// `--roles` and `--root_submissions`.
    pub(crate) fn check_against_flags(&self, info: &v1::FrameworkInfo) -> Result<(), String> {
        if let Some(whitelist) = &self.config.roles {
            let unknown: Vec<String> = crate::state::roles_of(info)
                .into_iter()
                .filter(|r| r != "*" && !whitelist.contains(r))
                .collect();
            if !unknown.is_empty() {
                return Err(format!(
                    "Roles {{{}}} are not present in the master's --roles",
                    unknown.join(", ")
                ));
            }
        }
        if info.user == "root" && !self.config.root_submissions {
            return Err(
                "User 'root' is not allowed to run frameworks without --root_submissions set"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The newest subscription wins: the old one is closed, its offers are forgotten.
    fn take_over(&mut self, cx: &mut Cx<'_>, key: FrameworkId) {
        if let Some(old) = self.framework(key).and_then(|f| f.stream) {
            self.streams.remove(&old);
            Self::refuse_stream(cx, old, "Framework failed over");
        }
        self.disconnect(cx, key);
        self.timers.cancel(&Timer::Failover(key));
    }

    #[expect(clippy::too_many_arguments, reason = "the whole subscription, once")]
    fn attach(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        stream: Token,
        stream_id: String,
        mut info: v1::FrameworkInfo,
        suppressed: BTreeSet<String>,
        constraints: Option<scheduler::OfferConstraints>,
        came_back: bool,
    ) {
        let master_info = self.config.info.clone();
        let Some(framework) = self.framework_mut(key) else { return };
        info.id = Some(framework.id.as_str().into());
        if came_back {
            // What can't be changed stays silently as it was.
            info.user.clone_from(&framework.info.user);
            info.checkpoint = framework.info.checkpoint;
        }
        let was_recovered = framework.recovered;
        if was_recovered {
            framework.registered = cx.now.wall;
        }
        framework.recovered = false;
        framework.reregistered = cx.now.wall;
        framework.info = info.clone();
        framework.stream = Some(stream);
        framework.disconnected = None;
        framework.stream_id = stream_id;
        framework.suppressed = suppressed;
        framework.constraints = constraints;
        let options =
            options(&framework.info, &framework.suppressed, framework.constraints.as_ref());
        let id = framework.id.clone();
        self.streams.insert(stream, key);
        self.allocator.update_framework(key, options);
        self.allocator.activate_framework(key);
        self.warnings.look_at(self.state.scheduled.keys().copied());
        self.count_of(key, "calls");
        self.count_of(key, "calls/subscribe");
        let subscribed = event::Subscribed {
            framework_id: id.as_str().into(),
            heartbeat_interval_seconds: Some(HEARTBEAT.as_secs_f64()),
            master_info: Some(master_info),
        };
        self.send_event(
            cx,
            key,
            Event { subscribed: Some(subscribed), ..event(event::Type::Subscribed) },
        );
        self.heartbeat(cx, key);
        self.repeat_notices(cx, key);
        if came_back {
            // Of a former master's framework agents have told what it is; those that are not back yet will be reminded.
            let agents = if was_recovered { self.agents_of(key) } else { self.all_agents() };
            self.tell_agents(cx, &agents, &info);
            self.announce(cx, || Announcement::FrameworkUpdated { framework: key });
        }
    }

    pub(crate) fn all_agents(&self) -> BTreeSet<AgentId> {
        self.state.agents.keys().copied().collect()
    }

    /// Agents on which a framework has tasks or executors.
    fn agents_of(&self, key: FrameworkId) -> BTreeSet<AgentId> {
        let Some(framework) = self.framework(key) else { return BTreeSet::new() };
        let tasks = framework.tasks.values().map(|task| task.agent);
        tasks.chain(framework.executors.keys().map(|(agent, _)| *agent)).collect()
    }

    /// Agents learn of a framework's new description.
    pub(crate) fn tell_agents(
        &self,
        cx: &mut Cx<'_>,
        agents: &BTreeSet<AgentId>,
        info: &v1::FrameworkInfo,
    ) {
        for agent in agents {
            let message = internal::UpdateFramework { framework: info.clone() };
            self.send_to_agent(cx, *agent, Message::UpdateFramework(message));
        }
    }
}
