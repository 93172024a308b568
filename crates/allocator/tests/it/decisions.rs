//! What cycles decided, counted by framework, role and reason.

use super::*;
use allocator::Reason;

/// `framework role: offered, REASON count`.
fn decided(c: &mut Cluster) -> Vec<String> {
    let all = c.allocator.take_decisions(c.now.mono);
    let one = |d: &allocator::Decisions| {
        let reasons = d.reasons.iter().map(|(reason, n)| match reason {
            Reason::Refused { .. } => format!(", Refused {n}"),
            reason => format!(", {reason:?} {n}"),
        });
        format!("{} {}: {}{}", d.framework.0, d.role, d.offered, reasons.collect::<String>())
    };
    all.iter().map(one).collect()
}

#[test]
fn every_decision_is_counted_with_its_reason() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    c.agent(1, "cpus:4;mem:1024");
    c.agent(2, "cpus:4;mem:1024;gpus:1");
    c.agent(3, "cpus(x):4;mem(x):1024");
    c.run();
    decided(&mut c);
    c.agent(4, "cpus:4;mem:1024");
    c.agent(5, "mem:1");
    c.allocator.suppress(FrameworkId(2), &BTreeSet::new());
    let offer = c.allocations().remove(0);
    assert_eq!(offer.framework.0, 1);
    assert_eq!(decided(&mut c), ["1 a: 1, BelowMinimum 1", "2 b: 0, Suppressed 2"]);
    c.decline(&offer, Some(Duration::from_secs(60)));
    c.run();
    assert_eq!(decided(&mut c), ["1 a: 0, Refused 1", "2 b: 0, Suppressed 1"]);
    assert!(decided(&mut c).is_empty());
}

#[test]
fn what_others_took_before_ones_turn_is_counted() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    c.run();
    decided(&mut c);
    c.agent(1, "cpus:4;mem:1024");
    c.run();
    let mut all = decided(&mut c);
    all.sort_by_key(|line| line.contains("Taken"));
    assert!(all[0].ends_with(": 1") && all[1].ends_with(": 0, Taken 1"), "{all:?}");
}
