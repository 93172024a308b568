//! Parse: a hundred resources from text.

use super::operations;
use crate::{Case, Scale, Watch};
use resources::Resources;
use std::hint::black_box;

const RESOURCES: usize = 100;

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let text: Vec<String> = (0..RESOURCES).map(|i| format!("res{i}:{i}")).collect();
    let text = text.join(";");
    let case = |number| {
        let (text, count) = (text.clone(), operations(scale, number));
        Case::new("Parse", [("operations", &count)], move |w| run(&text, count, w))
    };
    scale.pick(1, &[1_000, 10_000, 50_000], |_| true).into_iter().map(case).collect()
}

fn run(text: &str, count: u64, watch: &mut Watch) {
    let parse = || Resources::parse(black_box(text), "*").expect("resources");
    // The first is of nothing.
    assert_eq!(parse().iter().count(), RESOURCES - 1);
    watch.laps("parse", count, || (0..count).for_each(|_| drop(black_box(parse()))));
}
