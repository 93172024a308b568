//! A workload at one size.

use crate::Watch;
use std::fmt;

/// Which sizes of the workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Only to see that they run: not among the peer's sizes.
    Tiny,
    /// The smallest of the peer's sizes.
    Quick,
    /// Some of the peer's sizes, for minutes.
    Usual,
    /// All of the peer's sizes, for hours.
    All,
}

impl Scale {
    /// The sizes of this scale out of all, which begin with the smallest.
    pub(crate) fn pick<T: Copy>(self, tiny: T, all: &[T], usual: impl Fn(&T) -> bool) -> Vec<T> {
        match self {
            Scale::Tiny => vec![tiny],
            Scale::Quick => all[..1].to_vec(),
            Scale::Usual => all.iter().copied().filter(usual).collect(),
            Scale::All => all.to_vec(),
        }
    }
}

/// A workload at one size.
pub struct Case {
    /// The peer's name of it.
    pub name: &'static str,
    /// What its size is, by name.
    pub size: Vec<(&'static str, String)>,
    run: Box<dyn Fn(&mut Watch)>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("size", &self.size).finish()
    }
}

impl Case {
    pub(crate) fn new<const N: usize>(
        name: &'static str,
        size: [(&'static str, &dyn fmt::Display); N],
        run: impl Fn(&mut Watch) + 'static,
    ) -> Self {
        let size = size.into_iter().map(|(name, value)| (name, value.to_string())).collect();
        Self { name, size, run: Box::new(run) }
    }

    /// Runs it once; it panics when something else comes out than should.
    pub fn run(&self, watch: &mut Watch) {
        (self.run)(watch);
    }
}
