//! Lending: what is kept for idle roles is lent, and comes back within a bounded time.

use crate::*;

/// Stream of the borrower.
const BORROWER: Token = Token(2);
const GRACE: u64 = 30;

struct Loan {
    w: World,
    /// What the borrower was offered.
    offer: Value,
}

fn subscribe(w: &mut World, stream: Token, role: &str, capabilities: &[&str]) -> Vec<Effect> {
    let mut info = framework_info(capabilities);
    info["name"] = json!(role);
    info["roles"] = json!([role]);
    info["checkpoint"] = json!(true);
    info["failover_timeout"] = json!(10_000.0);
    w.subscribe(stream, info)
}

/// Owner `m-0000` of role `owner` and borrower `m-0001` of role `batch`, and an agent that is kept for the owner.
fn cluster(capabilities: &[&str]) -> World {
    let mut settings = config();
    settings.agent_ping_timeout = Duration::from_secs(100_000);
    let mut w = world_with(settings, Vec::new());
    subscribe(&mut w, STREAM, "owner", &[]);
    w.call(json!({"type": "SUPPRESS", "suppress": {}}));
    subscribe(&mut w, BORROWER, "batch", capabilities);
    w.register(AGENT, registration("cpus(owner):4;mem(owner):400"));
    w
}

fn sent_to(effects: &[Effect], stream: Token) -> Vec<Value> {
    let offers = events(effects, stream).into_iter().filter(|e| e["type"] == "OFFERS");
    offers.flat_map(|e| e["offers"]["offers"].as_array().cloned().unwrap_or_default()).collect()
}

fn lent() -> Loan {
    let mut w = cluster(&["REVOCABLE_RESOURCES", "PARTITION_AWARE"]);
    let effects = w.wait(61);
    let mut offers = sent_to(&effects, BORROWER);
    assert_eq!(offers.len(), 1, "{offers:?}");
    Loan { w, offer: offers.remove(0) }
}

fn cpus(amount: f64, is_revocable: bool) -> Value {
    let mut cpus = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": amount}});
    if is_revocable {
        cpus["revocable"] = json!({});
    }
    cpus
}

fn task(offer: &Value, id: &str, cpus: Value) -> Value {
    json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"],
        "command": {"value": "true"}, "resources": [cpus],
        "kill_policy": {"grace_period": {"nanoseconds": 3_600_000_000_000_i64}}})
}

impl Loan {
    fn call(&mut self, mut call: Value) -> Vec<Effect> {
        call["framework_id"] = json!({"value": "m-0001"});
        self.w.raw_call(call, Some("stream-2")).2
    }

    fn launch(&mut self, tasks: Vec<Value>) -> Vec<Effect> {
        let id = self.offer["id"].clone();
        self.call(json!({"type": "ACCEPT", "accept": {"offer_ids": [id],
            "filters": {"refuse_seconds": 100_000.0},
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}]}}))
    }

    /// A status update of the borrower's task, so many seconds after the epoch.
    fn update(&mut self, task: &str, state: &str, at: f64) -> Vec<Effect> {
        let status = json!({"task_id": {"value": task}, "state": state, "timestamp": at,
            "source": "SOURCE_EXECUTOR", "agent_id": {"value": "m-S0"}});
        let status: v1::TaskStatus = wire::json::from_value(&status).expect("a status");
        let update =
            internal::StatusUpdate { framework_id: "m-0001".into(), status, latest_state: None };
        self.w.agent_says(agent_to_master::Message::StatusUpdate(update))
    }

    /// The agent comes back with other resources.
    fn return_with(&mut self, resources: &str) -> Vec<Effect> {
        let mut effects = self.w.step(Input::AgentClosed { connection: AGENT });
        let mut register = registration(resources);
        register.info.id = Some("m-S0".into());
        let view = self.w.master.view();
        register.frameworks = view.frameworks.values().map(|f| f.info.clone()).collect();
        let tasks = view.frameworks.values().flat_map(|f| f.tasks.values());
        register.tasks = tasks.map(|t| t.wire.clone()).collect();
        effects.extend(self.w.register(AGENT, register));
        effects
    }

    /// The owner wants its own.
    fn revive(&mut self) -> Vec<Effect> {
        self.w.call(json!({"type": "REVIVE", "revive": {}})).2
    }
}

fn inverse_offers(effects: &[Effect]) -> Vec<Value> {
    let all = events(effects, BORROWER).into_iter().filter(|e| e["type"] == "INVERSE_OFFERS");
    all.flat_map(|e| e["inverse_offers"]["inverse_offers"].as_array().cloned().unwrap_or_default())
        .collect()
}

fn kills(effects: &[Effect]) -> Vec<internal::KillTask> {
    let messages = to_agent(effects).into_iter();
    let kills = messages.filter_map(|m| match m {
        master_to_agent::Message::KillTask(kill) => Some(kill.clone()),
        _ => None,
    });
    kills.collect()
}

fn killed(effects: &[Effect]) -> Vec<String> {
    kills(effects).into_iter().map(|k| k.task_id.value).collect()
}

#[test]
fn what_is_kept_for_an_idle_role_is_offered_as_revocable() {
    let loan = lent();
    let resources = loan.offer["resources"].as_array().expect("resources");
    assert_eq!(resources.len(), 2);
    for resource in resources {
        assert!(resource.get("revocable").is_some(), "{resource}");
        assert!(resource.get("reservations").is_none(), "{resource}");
    }
    assert_eq!(loan.w.master.view().lent()["owner"]["cpus"], 4000);
}

#[test]
fn frameworks_without_the_capability_see_nothing_lent() {
    let mut w = cluster(&[]);
    assert!(sent_to(&w.wait(10_000), BORROWER).is_empty());
}

#[test]
fn an_offer_of_what_is_lent_gives_way_at_once() {
    let mut loan = lent();
    let mut effects = loan.revive();
    effects.extend(loan.w.wait(1));
    assert_eq!(types(&effects, BORROWER), ["RESCIND"]);
    assert_eq!(offers(&effects).len(), 1, "the owner has it");
    assert!(loan.w.master.view().lent().is_empty());
}

#[test]
fn borrowers_are_told_then_killed_and_the_owner_has_its_offer() {
    let mut loan = lent();
    let one = task(&loan.offer, "one", cpus(4.0, true));
    loan.launch(vec![one]);
    loan.update("one", "TASK_RUNNING", 1.0);
    let begun = loan.w.now.mono;
    let effects = loan.revive();
    let wall = loan.w.now.wall.0;
    // The memory is there; what is missing comes by and by.
    let told = inverse_offers(&effects);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["framework_id"]["value"], "m-0001");
    assert_eq!(told[0]["agent_id"]["value"], "m-S0");
    assert!(told[0]["id"]["value"].as_str().expect("an id").starts_with("m-O"));
    assert_eq!(told[0]["resources"][0]["scalar"]["value"], 4.0);
    let start = told[0]["unavailability"]["start"]["nanoseconds"].as_u64().expect("a time");
    assert_eq!(start, wall + GRACE * 1_000_000_000);
    assert_eq!(killed(&effects), [] as [&str; 0]);
    assert_eq!(killed(&loan.w.wait(GRACE - 1)), [] as [&str; 0]);
    let effects = loan.w.wait(2);
    let kill = kills(&effects).remove(0);
    assert_eq!(kill.task_id.value, "one");
    let grace = kill.kill_policy.and_then(|p| p.grace_period).expect("a grace period");
    assert_eq!(grace.nanoseconds, 30_000_000_000, "not the hour of its own policy");
    assert_eq!(
        kill.preemption.as_deref(),
        Some("Preempted: role 'owner' wants back what was lent")
    );
    loan.w.wait(GRACE - 5);
    let mut effects = loan.update("one", "TASK_GONE", 60.0);
    effects.extend(loan.w.wait(1));
    let offered = offers(&effects);
    let whole = offered.iter().any(|o| o["resources"].to_string().contains("4.0"));
    assert!(whole, "{offered:?}");
    assert!(loan.w.now.mono.since(begun) <= Duration::from_secs(2 * GRACE + 1));
    assert!(types(&effects, BORROWER).contains(&"RESCIND_INVERSE_OFFER".to_owned()));
}

#[test]
fn only_as_many_as_needed_go_and_the_youngest_first() {
    let mut loan = lent();
    let tasks = ["a", "b", "c", "d"].map(|id| task(&loan.offer, id, cpus(1.0, true)));
    loan.launch(tasks.to_vec());
    for (id, at) in [("a", 4.0), ("b", 1.0), ("c", 3.0), ("d", 2.0)] {
        loan.update(id, "TASK_RUNNING", at);
    }
    // Two cpus more are there than are kept for the owner: it misses two only.
    loan.return_with("cpus(owner):2;cpus(other):2;mem(owner):400");
    let effects = loan.revive();
    assert_eq!(inverse_offers(&effects).len(), 1);
    assert_eq!(killed(&loan.w.wait(GRACE + 1)), ["a", "c"]);
}

#[test]
fn what_came_back_by_itself_during_the_grace_period_spares_a_task() {
    let mut loan = lent();
    let tasks = ["old", "young"].map(|id| task(&loan.offer, id, cpus(2.0, true)));
    loan.launch(tasks.to_vec());
    for (id, at) in [("old", 1.0), ("young", 2.0)] {
        loan.update(id, "TASK_RUNNING", at);
    }
    let effects = loan.revive();
    assert_eq!(inverse_offers(&effects).len(), 1);
    // The older one ends: half of what is wanted is there.
    loan.update("old", "TASK_FINISHED", 3.0);
    let spared = loan.w.wait(GRACE + 1);
    assert_eq!(killed(&spared), ["young"]);

    let mut loan = lent();
    let tasks = ["old", "young"].map(|id| task(&loan.offer, id, cpus(2.0, true)));
    loan.launch(tasks.to_vec());
    for (id, at) in [("old", 1.0), ("young", 2.0)] {
        loan.update(id, "TASK_RUNNING", at);
    }
    loan.revive();
    // The agent comes back with two cpus more than what is kept for the owner.
    loan.return_with("cpus(owner):4;mem(owner):400;cpus:2");
    assert_eq!(killed(&loan.w.wait(GRACE + 1)), ["young"], "no more than needed");
}

#[test]
fn a_task_that_uses_nothing_revocable_is_never_killed_for_it() {
    let mut loan = lent();
    let effects = loan.return_with("cpus(owner):4;mem(owner):400;cpus:4");
    loan.offer = sent_to(&effects, BORROWER).remove(0);
    let tasks = vec![
        task(&loan.offer, "firm", cpus(4.0, false)),
        task(&loan.offer, "lent", cpus(4.0, true)),
    ];
    loan.launch(tasks);
    loan.update("lent", "TASK_RUNNING", 1.0);
    loan.update("firm", "TASK_RUNNING", 2.0);
    let mut effects = loan.revive();
    effects.extend(loan.w.wait(1000));
    assert_eq!(killed(&effects), ["lent"]);
}

/// Borrower with a firm task and one that borrows, in one executor.
fn sharing(executor: Value) -> Loan {
    let mut loan = lent();
    let effects = loan.return_with("cpus(owner):4;mem(owner):400;cpus:4;disk:10");
    loan.offer = sent_to(&effects, BORROWER).remove(0);
    let disk = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 1.0}});
    let mut tasks = vec![
        task(&loan.offer, "firm", disk),
        task(&loan.offer, "lent", cpus(4.0 - own_cpus(&executor), true)),
    ];
    for task in &mut tasks {
        task.as_object_mut().expect("a task").remove("command");
        task["executor"] = executor.clone();
    }
    loan.launch(tasks);
    assert_eq!(loan.w.master.view().lent()["owner"]["cpus"], 4000, "it was launched");
    loan
}

fn own_cpus(executor: &Value) -> f64 {
    executor["resources"][0]["scalar"]["value"].as_f64().unwrap_or(0.0)
}

fn custom() -> Value {
    json!({"type": "CUSTOM", "executor_id": {"value": "e"}, "command": {"value": "true"}})
}

fn shut_down(effects: &[Effect]) -> usize {
    let is_shutdown =
        |m: &&master_to_agent::Message| matches!(m, master_to_agent::Message::ShutdownExecutor(_));
    to_agent(effects).iter().filter(|m| is_shutdown(m)).count()
}

#[test]
fn a_task_that_borrows_goes_alone_from_an_executor_that_runs_others() {
    let mut loan = sharing(custom());
    let told = inverse_offers(&loan.revive());
    assert_eq!(told[0]["resources"][0]["scalar"]["value"], 4.0);
    let effects = loan.w.wait(GRACE + 1);
    assert_eq!(killed(&effects), ["lent"]);
    assert_eq!(kills(&effects)[0].at_once, None);
    // The executor is not shut down: the agent takes from it what it does not give.
    let effects = loan.w.wait(GRACE);
    assert_eq!((killed(&effects), shut_down(&effects)), (vec!["lent".to_owned()], 0));
    assert_eq!(kills(&effects)[0].at_once, Some(true));
    assert!(kills(&effects)[0].preemption.is_some());
    let mut effects = loan.update("lent", "TASK_GONE", 70.0);
    effects.extend(loan.w.wait(1));
    assert!(offers(&effects).iter().any(|o| o.to_string().contains("cpus")), "{effects:?}");
    assert_eq!(killed(&loan.w.wait(1000)), [] as [&str; 0]);
}

/// What an executor uses, its tasks use.
#[test]
fn an_executor_that_borrows_itself_goes_with_all_its_tasks() {
    let mut executor = custom();
    executor["resources"] = json!([cpus(1.0, true)]);
    let mut loan = sharing(executor);
    let told = inverse_offers(&loan.revive());
    assert_eq!(told[0]["resources"][0]["scalar"]["value"], 4.0, "with the executor's own");
    assert_eq!(killed(&loan.w.wait(GRACE + 1)), ["firm", "lent"]);
    let effects = loan.w.wait(GRACE);
    assert_eq!((killed(&effects).len(), shut_down(&effects)), (0, 1));
}

/// An agent that was away when the last word was said hears it when it is back.
#[test]
fn what_should_have_ended_is_asked_for_again_and_again() {
    let mut loan = sharing(custom());
    loan.revive();
    loan.w.wait(GRACE + 1);
    loan.w.step(Input::AgentClosed { connection: AGENT });
    assert_eq!(killed(&loan.w.wait(GRACE + 5)), [] as [&str; 0]);
    loan.return_with("cpus(owner):4;mem(owner):400;cpus:4;disk:10");
    let effects = loan.w.wait(GRACE);
    assert_eq!(kills(&effects).iter().filter(|k| k.at_once()).count(), 1);
}

#[test]
fn an_owner_that_loses_interest_withdraws_the_notice() {
    let mut loan = lent();
    let one = task(&loan.offer, "one", cpus(4.0, true));
    loan.launch(vec![one]);
    let told = inverse_offers(&loan.revive());
    loan.w.wait(10);
    let (_, _, mut effects) = loan.w.call(json!({"type": "SUPPRESS", "suppress": {}}));
    effects.extend(loan.w.wait(1));
    let withdrawn: Vec<Value> = events(&effects, BORROWER)
        .into_iter()
        .filter(|e| e["type"] == "RESCIND_INVERSE_OFFER")
        .map(|e| e["rescind_inverse_offer"]["inverse_offer_id"].clone())
        .collect();
    assert_eq!(withdrawn, [told[0]["id"].clone()]);
    assert_eq!(killed(&loan.w.wait(1000)), [] as [&str; 0]);
}

#[test]
fn answers_are_counted_and_change_nothing() {
    for answer in ["ACCEPT", "DECLINE"] {
        let mut loan = lent();
        let one = task(&loan.offer, "one", cpus(4.0, true));
        loan.launch(vec![one]);
        let told = inverse_offers(&loan.revive());
        let field = format!("{}_inverse_offers", answer.to_lowercase());
        let ids = json!({"inverse_offer_ids": [told[0]["id"], {"value": "m-O99"}]});
        let mut call = json!({"type": format!("{answer}_INVERSE_OFFERS")});
        call[&field] = ids;
        loan.call(call.clone());
        loan.call(call);
        let metric = format!(
            "master/inverse_offers_{}",
            if answer == "ACCEPT" { "accepted" } else { "declined" }
        );
        assert_eq!(loan.w.master.view().counters[&metric], 1);
        assert_eq!(killed(&loan.w.wait(GRACE + 1)), ["one"], "{answer}");
        let effects = loan.update("one", "TASK_GONE", 60.0);
        assert!(!types(&effects, BORROWER).contains(&"RESCIND_INVERSE_OFFER".to_owned()));
    }
}

#[test]
fn a_borrower_that_ends_its_task_in_time_is_not_killed() {
    let mut loan = lent();
    let one = task(&loan.offer, "one", cpus(4.0, true));
    loan.launch(vec![one]);
    loan.revive();
    loan.w.wait(10);
    let mut effects = loan.update("one", "TASK_FINISHED", 10.0);
    effects.extend(loan.w.wait(1000));
    assert!(!offers(&effects).is_empty());
    assert_eq!(killed(&effects), [] as [&str; 0]);
}

#[test]
fn an_executor_that_does_not_obey_is_shut_down() {
    let mut loan = lent();
    let executor = json!({"type": "CUSTOM", "executor_id": {"value": "e"}, "command": {"value": "true"},
        "resources": [cpus(1.0, true)]});
    let mut one = task(&loan.offer, "one", cpus(3.0, true));
    one.as_object_mut().expect("a task").remove("command");
    one["executor"] = executor;
    loan.launch(vec![one]);
    let told = inverse_offers(&loan.revive());
    let asked: f64 = told[0]["resources"][0]["scalar"]["value"].as_f64().expect("a number");
    assert_eq!(asked, 4.0, "with the executor's own");
    assert_eq!(killed(&loan.w.wait(GRACE + 1)), ["one"]);
    assert_eq!(shut_down(&loan.w.wait(GRACE)), 1);
}

#[test]
fn headroom_of_a_guarantee_is_lent_and_comes_back() {
    let mut settings = config();
    settings.agent_ping_timeout = Duration::from_secs(100_000);
    let mut w = world_with(settings, Vec::new());
    subscribe(&mut w, STREAM, "owner", &[]);
    w.call(json!({"type": "SUPPRESS", "suppress": {}}));
    subscribe(&mut w, BORROWER, "batch", &["REVOCABLE_RESOURCES"]);
    let quota = json!({"role": "owner", "guarantees": {"cpus": {"value": 4.0}}});
    let configs = vec![wire::json::from_value(&quota).expect("a config")];
    let call = master_core::contract::OperatorCall::UpdateQuota { force: true, configs };
    w.step(Input::Operator { token: Token(7), call });
    w.register(AGENT, registration("cpus:4"));
    let effects = w.wait(61);
    let offer = sent_to(&effects, BORROWER).remove(0);
    let mut loan = Loan { w, offer };
    let one = task(&loan.offer, "one", cpus(4.0, true));
    loan.launch(vec![one]);
    assert_eq!(loan.w.master.view().lent()["*"]["cpus"], 4000);
    assert_eq!(inverse_offers(&loan.revive()).len(), 1);
    assert_eq!(killed(&loan.w.wait(GRACE + 1)), ["one"]);
    let mut effects = loan.update("one", "TASK_LOST", 60.0);
    effects.extend(loan.w.wait(1));
    assert_eq!(offers(&effects).len(), 1, "the guarantee is met");
}

#[test]
fn why_says_to_whom_it_is_lent_and_when_it_comes_back() {
    let mut loan = lent();
    let one = task(&loan.offer, "one", cpus(4.0, true));
    loan.launch(vec![one]);
    loan.revive();
    loan.w.call(json!({"type": "SUPPRESS", "suppress": {}}));
    loan.revive();
    loan.w.wait(1);
    let question =
        master_core::why::Question { role: Some("owner".to_owned()), ..Default::default() };
    let answer = loan.w.master.why(loan.w.now, &question).remove(0);
    let cause = answer.reasons.first().expect("a reason");
    assert_eq!(cause.reason, "LENT");
    assert_eq!(
        cause.message,
        "it is lent as revocable resources to framework 'batch', and comes back within 1 min 0 s"
    );
}

/// The agent and the borrower are known to a new master from the agent alone.
#[test]
fn after_a_failover_what_is_lent_is_known_and_can_be_recalled() {
    let mut loan = lent();
    let one = task(&loan.offer, "one", cpus(4.0, true));
    loan.launch(vec![one]);
    let view = loan.w.master.view();
    let mut register = registration("cpus(owner):4;mem(owner):400");
    register.info.id = Some("m-S0".into());
    let borrower = view.framework("m-0001").expect("it").clone();
    register.frameworks = vec![borrower.info.clone()];
    register.tasks = borrower.tasks.values().map(|t| t.wire.clone()).collect();
    let kept: Vec<_> = loan.w.registry.clone().into_iter().collect();
    let mut settings = config();
    settings.info.id = "n".into();
    settings.agent_ping_timeout = Duration::from_secs(100_000);
    let mut w = world_with(settings, kept);
    w.register(AGENT, register);
    assert_eq!(w.master.view().lent()["owner"]["cpus"], 4000);
    let mut info = framework_info(&[]);
    info["roles"] = json!(["owner"]);
    let effects = w.subscribe(STREAM, info);
    let offered = offers(&effects);
    assert!(offered.iter().all(|o| !o.to_string().contains("cpus")), "{offered:?}");
    assert_eq!(killed(&w.wait(GRACE + 1)), ["one"]);
}

/// An agent that was away when its task should have been killed is told again, and what for.
#[test]
fn a_kill_that_was_missed_is_repeated_with_its_reason() {
    let mut loan = lent();
    let one = task(&loan.offer, "one", cpus(4.0, true));
    loan.launch(vec![one]);
    loan.revive();
    assert_eq!(killed(&loan.w.wait(GRACE + 1)), ["one"]);
    loan.w.step(Input::AgentClosed { connection: AGENT });
    loan.w.wait(5);
    let view = loan.w.master.view();
    let mut register = registration("cpus(owner):4;mem(owner):400");
    register.info.id = Some("m-S0".into());
    let borrower = view.framework("m-0001").expect("it");
    register.frameworks = vec![borrower.info.clone()];
    register.tasks = borrower.tasks.values().map(|t| t.wire.clone()).collect();
    let effects = loan.w.register(Token(1001), register);
    assert!(kills(&effects)[0].preemption.is_some(), "{effects:?}");
}

#[test]
fn a_request_counts_as_wanting() {
    let mut loan = lent();
    let mut effects = loan.revive();
    effects.extend(loan.w.wait(1));
    let offer = offers(&effects).remove(0);
    let (_, _, mut effects) = loan.w.call(json!({"type": "DECLINE", "decline": {
        "offer_ids": [offer["id"]], "filters": {"refuse_seconds": 100_000.0}}}));
    effects.extend(loan.w.wait(1));
    loan.offer = sent_to(&effects, BORROWER).remove(0);
    let one = task(&loan.offer, "one", cpus(4.0, true));
    loan.launch(vec![one]);
    assert!(inverse_offers(&loan.w.wait(10)).is_empty());
    let (_, _, effects) = loan.w.call(json!({"type": "REQUEST", "request": {"requests": []}}));
    assert_eq!(inverse_offers(&effects).len(), 1);
}

/// A scheduler that was away, or another in its place, hears what is to come back.
#[test]
fn a_framework_that_comes_back_hears_its_inverse_offers_again() {
    let mut loan = lent();
    let one = task(&loan.offer, "one", cpus(4.0, true));
    loan.launch(vec![one]);
    let told = inverse_offers(&loan.revive());
    loan.w.wait(10);
    loan.w.step(Input::StreamClosed { stream: BORROWER });
    let mut info = framework_info(&["REVOCABLE_RESOURCES", "PARTITION_AWARE"]);
    info["roles"] = json!(["batch"]);
    info["id"] = json!({"value": "m-0001"});
    info["failover_timeout"] = json!(10_000.0);
    let effects = loan.w.subscribe(BORROWER, info.clone());
    assert_eq!(inverse_offers(&effects), told, "with the time as it was");
    assert_eq!(types(&effects, BORROWER)[..2], ["SUBSCRIBED", "HEARTBEAT"]);
    assert_eq!(killed(&loan.w.wait(GRACE)), ["one"]);
    loan.w.step(Input::StreamClosed { stream: BORROWER });
    assert!(inverse_offers(&loan.w.subscribe(BORROWER, info)).is_empty(), "it is being killed");
}

/// The guarantee of a share is lent while its holder is idle; the loan outlasts the hours, and is recalled when they begin
/// again and the holder is awake.
#[test]
fn a_share_is_lent_while_its_holder_is_idle_and_recalled_in_its_hours() {
    let mut settings = config();
    settings.agent_ping_timeout = Duration::from_secs(1_000_000);
    let mut w = world_with(settings, Vec::new());
    subscribe(&mut w, STREAM, "owner", &[]);
    w.call(json!({"type": "SUPPRESS", "suppress": {}}));
    subscribe(&mut w, BORROWER, "batch", &["REVOCABLE_RESOURCES"]);
    let hours = master_core::schedule::Schedule::parse("daily 00:00-00:10 UTC").expect("hours");
    let share = master_core::ShareConfig {
        role: "owner".to_owned(),
        amounts: [("cpus".to_owned(), 4000)].into(),
        schedules: vec![hours],
        ..Default::default()
    };
    let call = master_core::contract::OperatorCall::SetShare { config: share, force: true };
    w.step(Input::Operator { token: Token(7), call });
    w.register(AGENT, registration("cpus:4"));
    let effects = w.wait(61);
    let offer = sent_to(&effects, BORROWER).remove(0);
    assert!(offer["resources"][0].get("revocable").is_some(), "{offer}");
    let mut loan = Loan { w, offer };
    let one = task(&loan.offer, "one", cpus(4.0, true));
    loan.launch(vec![one]);
    assert_eq!(loan.w.master.view().lent()["*"]["cpus"], 4000);
    loan.call(json!({"type": "SUPPRESS", "suppress": {}}));
    // Neither the end of the hours nor their beginning is enough: nobody wants it.
    let effects = loan.w.wait(86_400);
    assert!(inverse_offers(&effects).is_empty());
    assert!(loan.w.master.view().shares["owner"].active, "the next day");
    assert_eq!(inverse_offers(&loan.revive()).len(), 1);
    assert_eq!(killed(&loan.w.wait(GRACE + 1)), ["one"]);
    let mut effects = loan.update("one", "TASK_LOST", 60.0);
    effects.extend(loan.w.wait(1));
    let offered = offers(&effects);
    assert_eq!(offered.len(), 1);
    assert!(offered[0]["resources"][0].get("revocable").is_none());
}
