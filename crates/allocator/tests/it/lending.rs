//! Lending: what is kept for idle roles goes to others as revocable resources, and comes back.

use super::*;
use crate::quota::quota;
use allocator::{Quota, Reason};
use wire::v1::framework_info::capability::Type as Capability;

const OWNER: FrameworkId = FrameworkId(1);
const IDLE: Duration = Duration::from_secs(60);

impl Cluster {
    fn borrower(&mut self, id: u32, roles: &[&str]) {
        let capabilities = BTreeSet::from([Capability::RevocableResources]);
        let options =
            FrameworkOptions { roles: set(roles), capabilities, ..FrameworkOptions::default() };
        self.allocator.add_framework(FrameworkId(id), options, true);
    }

    /// Waits for as long as a role must be idle, and runs a cycle before and after.
    #[track_caller]
    fn run_when_idle(&mut self) -> Vec<Allocation> {
        assert_eq!(self.run(), Vec::<String>::new(), "nobody was idle for long enough");
        self.wait(IDLE);
        assert!(self.due(), "somebody has been idle for long enough");
        self.allocations()
    }

    fn wanted(&self, agent: u32) -> Option<BTreeMap<String, i64>> {
        self.allocator.recalls().get(&AgentId(agent)).map(|r| r.wanted.clone())
    }
}

fn cpus(amount: i64) -> Option<BTreeMap<String, i64>> {
    Some(BTreeMap::from([("cpus".to_owned(), amount * 1000)]))
}

fn revocable(name: &str, amount: i64) -> Resources {
    std::iter::once(resources::Entry::revocable_scalar(name, amount * 1000)).collect()
}

fn texts(allocations: &[Allocation]) -> Vec<String> {
    let text = |a: &Allocation| {
        format!("{} {} {} {}", a.framework.0, a.role, a.agent.0, a.resources.unallocated())
    };
    allocations.iter().map(text).collect()
}

/// An agent with 4 cpus for `owner`, whose framework is suppressed, all of them lent to framework 2.
fn lent() -> (Cluster, Allocation) {
    let mut c = cluster();
    c.framework(1, &["owner"]);
    c.allocator.suppress(OWNER, &BTreeSet::new());
    c.borrower(2, &["batch"]);
    c.agent(1, "cpus(owner):4");
    let offers = c.run_when_idle();
    assert_eq!(texts(&offers), ["2 batch 1 cpus{REV}:4"]);
    let offer = offers[0].clone();
    (c, offer)
}

#[test]
fn what_is_reserved_to_an_idle_role_is_lent() {
    let mut c = cluster();
    c.borrower(2, &["batch"]);
    c.agent(1, "cpus(owner):4;mem(owner):400;disk(owner):1000;ports(owner):[1-9];cpus:1");
    assert_eq!(c.run(), ["2 batch 1 cpus:1"]);
    c.wait(IDLE);
    assert!(c.due());
    assert_eq!(c.run(), ["2 batch 1 cpus{REV}:4; mem{REV}:400"], "neither disk nor ports");
}

#[test]
fn only_frameworks_that_take_revocable_resources_borrow() {
    let mut c = cluster();
    c.framework(2, &["batch"]);
    c.agent(1, "cpus(owner):4");
    assert!(c.run().is_empty());
    c.wait(IDLE * 10);
    assert!(c.run().is_empty());
    assert_eq!(c.allocator.why(FrameworkId(2), "batch", AgentId(1)), Reason::Reserved);
}

#[test]
fn nothing_is_lent_when_that_is_switched_off() {
    let mut c = cluster_with(|config| config.lending = false);
    c.borrower(2, &["batch"]);
    c.agent(1, "cpus(owner):4");
    assert!(c.run().is_empty());
    c.wait(IDLE);
    assert!(c.run().is_empty());
}

#[test]
fn an_owner_that_is_away_for_a_moment_lends_nothing() {
    let mut c = cluster();
    c.framework(1, &["owner"]);
    c.borrower(2, &["batch"]);
    c.agent(1, "cpus(owner):4");
    let offer = c.allocations().remove(0);
    c.allocator.deactivate_framework(OWNER);
    c.decline(&offer, None);
    assert!(c.run().is_empty());
    c.wait(IDLE - Duration::from_secs(1));
    assert!(c.run().is_empty());
    c.allocator.activate_framework(OWNER);
    assert_eq!(c.run().len(), 1, "it is the owner's");
}

#[test]
fn only_a_refusal_that_holds_for_long_makes_an_owner_idle() {
    let mut c = cluster();
    c.framework(1, &["owner"]);
    c.borrower(2, &["batch"]);
    c.agent(1, "cpus(owner):4");
    for _ in 0..20 {
        let offer = c.allocations().remove(0);
        assert_eq!(offer.framework, OWNER);
        c.decline(&offer, Some(Duration::from_secs(5)));
        assert!(c.run().is_empty(), "five seconds are not for long");
        c.wait(Duration::from_secs(6));
    }
    let offer = c.allocations().remove(0);
    c.decline(&offer, Some(Duration::from_secs(600)));
    assert_eq!(c.run(), ["2 batch 1 cpus{REV}:4"]);
}

#[test]
fn an_owner_that_revives_is_told_why_and_gets_it_when_it_comes_back() {
    let (mut c, loan) = lent();
    assert!(c.allocator.recalls().is_empty());
    c.allocator.revive(OWNER, &BTreeSet::new());
    assert!(c.run().is_empty());
    assert_eq!(c.wanted(1), cpus(4));
    assert_eq!(c.allocator.recalls()[&AgentId(1)].roles, set(&["owner"]));
    assert_eq!(c.allocator.why(OWNER, "owner", AgentId(1)), Reason::Lent);
    c.decline(&loan, None);
    assert_eq!(c.run(), ["1 owner 1 cpus(reservations: [(STATIC,owner)]):4"]);
    assert!(c.allocator.recalls().is_empty());
}

#[test]
fn what_comes_back_in_parts_is_offered_in_parts() {
    let (mut c, loan) = lent();
    c.allocator.revive(OWNER, &BTreeSet::new());
    assert!(c.run().is_empty());
    let part = revocable("cpus", 1).allocated_to("batch");
    c.decline(&Allocation { resources: part, ..loan }, None);
    assert_eq!(c.run(), ["1 owner 1 cpus(reservations: [(STATIC,owner)]):1"]);
    assert_eq!(c.wanted(1), cpus(3));
}

#[test]
fn a_recall_ends_when_the_owner_loses_interest() {
    let (mut c, _) = lent();
    c.allocator.revive(OWNER, &BTreeSet::new());
    c.run();
    assert_eq!(c.wanted(1), cpus(4));
    c.allocator.suppress(OWNER, &BTreeSet::new());
    assert!(c.due());
    c.run();
    assert_eq!(c.wanted(1), None);
}

#[test]
fn an_owner_takes_what_is_free_before_anything_is_recalled() {
    let mut c = cluster();
    c.borrower(2, &["batch"]);
    c.agent(1, "cpus(owner):4;cpus(other):4");
    c.framework(3, &["other"]);
    let other = c.allocations().remove(0);
    c.wait(IDLE);
    assert_eq!(c.run(), ["2 batch 1 cpus{REV}:4"]);
    c.decline(&other, Some(Duration::from_secs(3600)));
    c.framework(1, &["owner"]);
    let offers = c.run();
    assert_eq!(offers, ["1 owner 1 cpus(reservations: [(STATIC,owner)]):4"], "it is there");
    assert_eq!(c.wanted(1), None);
    c.allocator.revive(FrameworkId(3), &BTreeSet::new());
    assert!(c.run().is_empty());
    assert_eq!(c.wanted(1), cpus(4), "now both want theirs");
}

#[test]
fn headroom_of_an_idle_guarantee_is_lent_and_comes_back() {
    let mut c = cluster();
    c.allocator.set_quota("owner", quota("cpus:4", ""));
    c.framework(1, &["owner"]);
    c.allocator.suppress(OWNER, &BTreeSet::new());
    c.borrower(2, &["batch"]);
    c.agent(1, "cpus:5");
    assert_eq!(c.run(), ["2 batch 1 cpus:1"], "the rest is headroom");
    c.wait(IDLE);
    assert!(c.due());
    let loan = c.allocations().remove(0);
    assert_eq!(texts(std::slice::from_ref(&loan)), ["2 batch 1 cpus{REV}:4"]);
    c.allocator.revive(OWNER, &BTreeSet::new());
    assert!(c.run().is_empty());
    assert_eq!(c.wanted(1), cpus(4));
    c.decline(&loan, None);
    assert_eq!(c.run(), ["1 owner 1 cpus:4"]);
    assert_eq!(c.wanted(1), None);
}

#[test]
fn a_guarantee_recalls_no_more_than_it_lacks() {
    let mut c = cluster();
    c.allocator.set_quota("owner", quota("cpus:6", ""));
    c.borrower(2, &["batch"]);
    c.agent(1, "cpus:2");
    c.agent(2, "cpus:2");
    c.agent(3, "cpus:2");
    assert_eq!(c.run_when_idle().len(), 3);
    c.allocator.set_quota("owner", quota("cpus:3", ""));
    c.framework(1, &["owner"]);
    c.run();
    let wanted: i64 = c.allocator.recalls().values().map(|r| r.wanted["cpus"]).sum();
    assert_eq!(wanted, 3000);
    let before = c.allocator.recalls().clone();
    c.framework(9, &["nobody"]);
    c.run();
    assert_eq!(*c.allocator.recalls(), before, "recalls do not wander");
}

#[test]
fn others_than_the_owner_recall_only_what_is_kept_for_nobody() {
    let mut c = cluster();
    c.allocator.set_quota("owner", quota("cpus:4", ""));
    c.borrower(2, &["batch"]);
    c.agent(1, "cpus:4");
    assert_eq!(c.run_when_idle().len(), 1);
    c.framework(3, &["c"]);
    assert!(c.run().is_empty());
    assert_eq!(c.wanted(1), None);
    let why = |c: &Cluster| c.allocator.why(FrameworkId(3), "c", AgentId(1));
    assert_eq!(why(&c), Reason::Headroom, "without the loan it would be kept for the owner");
    c.allocator.set_quota("owner", quota("cpus:3", ""));
    assert_eq!(why(&c), Reason::Lent);
    c.run();
    assert_eq!(c.wanted(1), cpus(1));
    c.allocator.set_quota("owner", Quota::default());
    c.run();
    assert_eq!(c.wanted(1), cpus(4));
}

#[test]
fn nobody_loses_what_it_borrowed_to_be_offered_the_same_for_good() {
    let (mut c, _) = lent();
    // The reservation is gone: what is lent is kept for nobody.
    c.allocator.update_agent(AgentId(1), options(1), resources("cpus:4"));
    assert!(c.run().is_empty());
    assert_eq!(c.wanted(1), None);
    c.framework(3, &["other"]);
    assert!(c.run().is_empty());
    assert_eq!(c.wanted(1), cpus(4), "somebody else wants it");
}

#[test]
fn who_wants_something_for_good_comes_before_an_estimate_of_the_past() {
    let mut c = cluster();
    c.borrower(2, &["batch"]);
    let options = AgentOptions {
        capabilities: BTreeSet::from([AgentCapability::MultiRole]),
        ..AgentOptions::default()
    };
    let mut total = resources("cpus:4");
    total += &revocable("cpus", 2);
    c.framework(3, &["c"]);
    c.allocator.suppress(FrameworkId(3), &BTreeSet::new());
    c.allocator.add_agent(AgentId(1), options.clone(), total, &BTreeMap::new());
    let offer = c.allocations().remove(0);
    let firm = Allocation { resources: offer.resources.nonrevocable(), ..offer.clone() };
    c.decline(&firm, Some(Duration::from_secs(3600)));
    c.allocator.update_agent(AgentId(1), options, resources("cpus:4"));
    c.allocator.revive(FrameworkId(3), &BTreeSet::new());
    assert_eq!(c.run(), ["3 c 1 cpus:2"], "the rest is in use");
    assert_eq!(c.wanted(1), cpus(2));
}

#[test]
fn nothing_beyond_what_is_there_is_offered_as_unrevocable() {
    let (mut c, _) = lent();
    let options = AgentOptions {
        hostname: "host1".to_owned(),
        capabilities: BTreeSet::from([AgentCapability::MultiRole]),
        ..AgentOptions::default()
    };
    c.allocator.update_agent(AgentId(1), options, resources("cpus(owner):4;cpus:2"));
    c.framework(3, &["c"]);
    c.allocator.revive(OWNER, &BTreeSet::new());
    let offers = c.run();
    let sum: i64 =
        offers.iter().map(|o| o.rsplit_once(':').expect("it").1.parse::<i64>().expect("n")).sum();
    assert_eq!(sum, 2, "{offers:?}");
}

#[test]
fn what_the_agent_itself_oversubscribes_is_no_loan() {
    let mut c = cluster();
    c.borrower(2, &["batch"]);
    let mut total = resources("cpus(owner):4");
    total += &revocable("cpus", 2);
    let options = AgentOptions {
        capabilities: BTreeSet::from([AgentCapability::MultiRole]),
        ..AgentOptions::default()
    };
    c.allocator.add_agent(AgentId(1), options, total, &BTreeMap::new());
    let native = c.allocations();
    assert_eq!(texts(&native), ["2 batch 1 cpus{REV}:2"]);
    c.framework(1, &["owner"]);
    assert_eq!(c.run(), ["1 owner 1 cpus(reservations: [(STATIC,owner)]):4"]);
    assert_eq!(c.wanted(1), None);
}

#[test]
fn an_agent_that_comes_back_with_revocable_tasks_has_lent_them() {
    let mut c = cluster();
    let options = AgentOptions {
        capabilities: BTreeSet::from([AgentCapability::MultiRole]),
        ..AgentOptions::default()
    };
    c.borrower(2, &["batch"]);
    let used = revocable("cpus", 3).allocated_to("batch");
    let used = BTreeMap::from([(FrameworkId(2), used)]);
    c.allocator.add_agent(AgentId(1), options, resources("cpus(owner):4"), &used);
    c.framework(1, &["owner"]);
    assert_eq!(c.run(), ["1 owner 1 cpus(reservations: [(STATIC,owner)]):1"]);
    assert_eq!(c.wanted(1), cpus(3));
}

#[test]
fn a_role_does_not_borrow_from_itself() {
    let mut c = cluster();
    c.borrower(2, &["owner/a"]);
    c.agent(1, "cpus(owner):4");
    let offer = c.allocations().remove(0);
    assert_eq!(
        texts(std::slice::from_ref(&offer)),
        ["2 owner/a 1 cpus(reservations: [(STATIC,owner)]):4"]
    );
    c.decline(&offer, Some(Duration::from_secs(3600)));
    assert!(c.run().is_empty());
    c.borrower(3, &["batch"]);
    assert_eq!(c.run(), ["3 batch 1 cpus{REV}:4"]);
}

#[test]
fn who_wants_its_own_back_and_uses_nothing_must_be_idle_for_longer() {
    let (mut c, mut loan) = lent();
    let hour = Some(Duration::from_secs(3600));
    for refuse in [70, 130, 250] {
        c.allocator.revive(OWNER, &BTreeSet::new());
        assert!(c.run().is_empty());
        assert_eq!(c.wanted(1), cpus(4));
        c.decline(&loan, None);
        let own = c.allocations().remove(0);
        assert_eq!(own.framework, OWNER);
        c.decline(&own, Some(Duration::from_secs(refuse)));
        assert!(c.run().is_empty(), "{refuse} s were enough before");
        c.allocator.revive(OWNER, &BTreeSet::new());
        let own = c.allocations().remove(0);
        c.decline(&own, hour);
        loan = c.allocations().remove(0);
        assert_eq!(loan.framework, FrameworkId(2));
    }
    c.allocator.used(OWNER, "owner");
    c.allocator.revive(OWNER, &BTreeSet::new());
    c.run();
    c.decline(&loan, None);
    let own = c.allocations().remove(0);
    c.decline(&own, Some(Duration::from_secs(130)));
    assert_eq!(c.run(), ["2 batch 1 cpus{REV}:4"]);
}

/// Whatever is declined, kept, suppressed and revived: an agent never gives more than it has, and who wants its own has
/// it when what is wanted back comes back.
#[test]
fn random_loans_keep_the_books() {
    for seed in 0..80 {
        let mut rng = Rng::new(seed);
        let mut c = cluster();
        let roles = ["a", "a/x", "b", "c", "d"];
        c.allocator.set_quota("c", quota("cpus:5;mem:500", ""));
        for (id, role) in (0..).zip(roles) {
            if rng.chance(1, 2) { c.borrower(id, &[role]) } else { c.framework(id, &[role]) }
        }
        for agent in 0..4 {
            c.agent(agent, "cpus(a):2;mem(a):200;cpus(b):1;mem(b):100;cpus:3;mem:300;disk:50");
        }
        let mut held: Vec<Allocation> = Vec::new();
        for _ in 0..200 {
            match rng.below(6) {
                0 if !held.is_empty() => {
                    let offer = held.swap_remove(rng.below(held.len() as u64) as usize);
                    let refuse = [0, 1, 30, 300][rng.below(4) as usize];
                    c.decline(&offer, Some(Duration::from_secs(refuse)));
                }
                1 => c.allocator.suppress(
                    FrameworkId(u32::try_from(rng.below(5)).expect("small")),
                    &BTreeSet::new(),
                ),
                2 => c.allocator.revive(
                    FrameworkId(u32::try_from(rng.below(5)).expect("small")),
                    &BTreeSet::new(),
                ),
                3 => c.wait(Duration::from_secs(rng.below(90))),
                _ => held.extend(c.allocations()),
            }
            for agent in (0..4).map(AgentId) {
                for (name, most) in [("cpus", 6000), ("mem", 600_000)] {
                    let here = held.iter().filter(|a| a.agent == agent);
                    let sum: i64 = here.map(|a| a.resources.scalar(name)).sum();
                    assert!(sum <= most, "seed {seed}: {sum} of {name} on {agent:?}");
                }
            }
        }
        // Everything that is recalled is given back: then nothing is missing.
        for framework in 0..5 {
            c.allocator.revive(FrameworkId(framework), &BTreeSet::new());
        }
        for _ in 0..4 {
            held.extend(c.allocations());
            let wanted: BTreeSet<AgentId> = c.allocator.recalls().keys().copied().collect();
            let is_back =
                |a: &Allocation| wanted.contains(&a.agent) && !a.resources.revocable().is_empty();
            for offer in held.iter().filter(|a| is_back(a)) {
                c.decline(offer, None);
            }
            held.retain(|a| !is_back(a));
        }
        held.extend(c.allocations());
        assert!(c.allocator.recalls().is_empty(), "seed {seed}: {:?}", c.allocator.recalls());
        let reserved = |role: &str| -> i64 {
            held.iter()
                .filter_map(|a| a.resources.reserved().get(role).map(|r| r.scalar("cpus")))
                .sum()
        };
        assert_eq!((reserved("a"), reserved("b")), (8000, 4000), "seed {seed}");
    }
}

/// What comes back goes to its owner, also when another would be first by share and could have as much unreserved.
#[test]
fn what_comes_back_is_for_those_who_want_it_back() {
    for seed in 0..20 {
        let mut c = cluster();
        c.rng = base::Rng::new(seed);
        c.borrower(2, &["batch"]);
        c.agent(1, "cpus(owner):3;cpus:1");
        let plain = c.allocations().remove(0);
        c.wait(IDLE);
        let loan = c.allocations().remove(0);
        assert_eq!(loan.resources.unallocated(), revocable("cpus", 3));
        c.framework(1, &["owner"]);
        // The loan now stands for what is free of both.
        c.decline(&plain, None);
        let reserved = |offers: Vec<Allocation>| -> i64 {
            let of_owner = offers.iter().map(|o| o.resources.filter(|e| e.reserved_to().is_some()));
            of_owner.map(|resources| resources.scalar("cpus")).sum()
        };
        let mut owned = reserved(c.allocations());
        let wanted = c.wanted(1).expect("a recall")["cpus"];
        let part = revocable("cpus", 1).allocated_to("batch");
        for _ in 0..wanted / 1000 {
            c.allocator.recover(c.now, FrameworkId(2), AgentId(1), &part, None);
            owned += reserved(c.allocations());
        }
        assert_eq!((owned, c.wanted(1)), (3000, None), "after one recall");
    }
}
