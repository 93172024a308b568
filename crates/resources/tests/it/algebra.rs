//! Laws of addition, subtraction and containment.

use proptest::prelude::*;
use resources::Resources;

fn part() -> impl Strategy<Value = String> {
    let role = prop_oneof![Just(""), Just("(a)"), Just("(a/b)")];
    let scalar = (prop_oneof![Just("cpus"), Just("mem")], role.clone(), 1_u32..1_000_000).prop_map(
        |(name, role, milli)| format!("{name}{role}:{}.{:03}", milli / 1000, milli % 1000),
    );
    let ranges = (role, 0_u64..50, 0_u64..20)
        .prop_map(|(role, b, n)| format!("ports{role}:[{b}-{}]", b + n));
    let set = proptest::sample::subsequence(vec!["x", "y", "z"], 1..3)
        .prop_map(|s| format!("zone:{{{}}}", s.join(",")));
    prop_oneof![4 => scalar, 2 => ranges, 1 => set]
}

fn resources() -> impl Strategy<Value = Resources> {
    proptest::collection::vec(part(), 0..6)
        .prop_map(|p| Resources::parse(&p.join(";"), "*").expect("resources"))
}

fn sum(a: &Resources, b: &Resources) -> Resources {
    let mut sum = a.clone();
    sum += b;
    sum
}

proptest! {
    #[test]
    fn addition_commutes_and_contains_its_parts(a in resources(), b in resources()) {
        prop_assert_eq!(sum(&a, &b), sum(&b, &a));
        prop_assert!(sum(&a, &b).contains(&a));
    }

    #[test]
    fn what_is_taken_out_and_put_back_is_the_same(a in resources(), b in resources()) {
        let whole = sum(&a, &b);
        let mut rest = whole.clone();
        rest -= &a;
        rest += &a;
        prop_assert_eq!(&rest, &whole);
    }

    #[test]
    fn scalars_lose_nothing(a in resources(), b in resources()) {
        let mut back = sum(&a, &b);
        for name in ["cpus", "mem"] {
            prop_assert_eq!(back.scalar(name), a.scalar(name) + b.scalar(name));
        }
        back -= &b;
        for name in ["cpus", "mem"] {
            prop_assert_eq!(back.scalar(name), a.scalar(name));
        }
    }

    #[test]
    fn containment_is_a_partial_order(a in resources(), b in resources(), c in resources()) {
        prop_assert!(a.contains(&a));
        if a.contains(&b) && b.contains(&a) {
            prop_assert_eq!(&a, &b);
        }
        if a.contains(&b) && b.contains(&c) {
            prop_assert!(a.contains(&c));
        }
    }

    #[test]
    fn wire_forms_round_trip(a in resources()) {
        let allocated = a.allocated_to("a/b");
        prop_assert_eq!(&Resources::from_wire(&allocated.to_wire()).expect("valid"), &allocated);
        prop_assert_eq!(allocated.unallocated(), a);
    }
}
