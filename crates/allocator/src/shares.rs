//! Who holds how much: dominant shares of roles and frameworks (Ghodsi et al., Dominant Resource Fairness, NSDI
//! 2011), in the tree of roles.

use crate::FrameworkId;
use resources::{Milli, Resources, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Scalars by the number of their name.
type Scalars = Vec<Milli>;

/// What one holder has.
#[derive(Debug, Clone, Default)]
struct Holding {
    scalars: Scalars,
    /// Number of allocations: breaks ties between equal shares.
    count: u64,
}

/// From the top of the tree: share, count and name of each role.
type Path<'a> = Vec<(f64, u64, &'a str)>;

/// Position in an order: share, count of allocations, number. Shares are finite and not negative, so that their bits
/// order as they do.
type Position = (u64, u64, u32);

#[derive(Debug, Clone, Default)]
struct Role {
    name: String,
    /// Of the role and everything below it.
    tree: Holding,
    /// Of the role itself.
    own: Holding,
    frameworks: BTreeMap<FrameworkId, Holding>,
    /// Active frameworks of the role, least share first.
    order: BTreeSet<Position>,
}

/// The books of all shares.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shares {
    names: Vec<String>,
    excluded: BTreeSet<String>,
    weights: BTreeMap<String, f64>,
    total: Scalars,
    roles: Vec<Role>,
    numbers: BTreeMap<String, u32>,
    dirty_order: bool,
}

impl Shares {
    pub(crate) fn new(excluded: BTreeSet<String>, weights: BTreeMap<String, f64>) -> Self {
        Self { excluded, weights, ..Self::default() }
    }

    /// Number of a role, made at first use.
    pub(crate) fn role(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        for ancestor in resources::ancestors(name).map(str::to_owned).collect::<Vec<_>>() {
            self.role(&ancestor);
        }
        let number = u32::try_from(self.roles.len()).unwrap_or(u32::MAX);
        self.roles.push(Role { name: name.to_owned(), ..Role::default() });
        self.numbers.insert(name.to_owned(), number);
        number
    }

    pub(crate) fn role_name(&self, role: u32) -> &str {
        &self.roles[role as usize].name
    }

    fn scalars(&mut self, resources: &Resources) -> Vec<(usize, Milli)> {
        let mut out = Vec::new();
        for entry in resources.iter() {
            let Value::Scalar(milli) = entry.value else { continue };
            if self.excluded.contains(&entry.identity.name) {
                continue;
            }
            let known = self.names.iter().position(|n| *n == entry.identity.name);
            let at = known.unwrap_or_else(|| {
                self.names.push(entry.identity.name.clone());
                self.names.len() - 1
            });
            out.push((at, milli));
        }
        out
    }

    /// The cluster has more (sign 1) or less (sign -1).
    pub(crate) fn change_total(&mut self, resources: &Resources, sign: i64) {
        let changes = self.scalars(resources);
        apply(&mut self.total, &changes, sign);
        self.dirty_order = true;
    }

    /// A framework got (sign 1) or gave back (sign -1) resources for a role.
    pub(crate) fn change(
        &mut self,
        framework: FrameworkId,
        role: u32,
        resources: &Resources,
        sign: i64,
    ) {
        let changes = self.scalars(resources);
        let counts = u64::from(sign > 0);
        let position = self.position_of(framework, role);
        let at = &mut self.roles[role as usize];
        let holding = at.frameworks.entry(framework).or_default();
        apply(&mut holding.scalars, &changes, sign);
        holding.count += counts;
        apply(&mut at.own.scalars, &changes, sign);
        at.own.count += counts;
        let name = at.name.clone();
        if at.order.remove(&position) {
            let position = self.position_of(framework, role);
            self.roles[role as usize].order.insert(position);
        }
        for name in std::iter::once(name.as_str()).chain(resources::ancestors(&name)) {
            if let Some(number) = self.numbers.get(name) {
                let tree = &mut self.roles[*number as usize].tree;
                apply(&mut tree.scalars, &changes, sign);
                tree.count += counts;
            }
        }
    }

    /// Lets a framework compete in a role, or not.
    pub(crate) fn set_active(&mut self, framework: FrameworkId, role: u32, active: bool) {
        self.roles[role as usize].frameworks.entry(framework).or_default();
        let position = self.position_of(framework, role);
        let order = &mut self.roles[role as usize].order;
        if active {
            order.insert(position);
        } else {
            order.remove(&position);
        }
    }

    /// Forgets a framework in a role.
    pub(crate) fn remove(&mut self, framework: FrameworkId, role: u32) {
        self.set_active(framework, role, false);
        self.roles[role as usize].frameworks.remove(&framework);
    }

    fn position_of(&self, framework: FrameworkId, role: u32) -> Position {
        let holding = self.roles[role as usize].frameworks.get(&framework);
        let (share, count) = holding.map_or((0.0, 0), |h| (self.share(&h.scalars), h.count));
        (share.to_bits(), count, framework.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "a share is approximate by nature")]
    fn share(&self, scalars: &[Milli]) -> f64 {
        let shares = scalars.iter().zip(&self.total).filter(|(_, total)| **total > 0);
        shares.map(|(have, total)| (*have).max(0) as f64 / *total as f64).fold(0.0, f64::max)
    }

    /// Dominant share of a role and everything below it, divided by its weight.
    fn role_share(&self, role: u32, holding: &Holding) -> f64 {
        let weight =
            self.weights.get(self.role_name(role)).copied().filter(|w| *w > 0.0).unwrap_or(1.0);
        self.share(&holding.scalars) / weight
    }

    /// After a change of the total every share is another.
    pub(crate) fn refresh(&mut self) {
        if !std::mem::take(&mut self.dirty_order) {
            return;
        }
        for role in 0..self.roles.len() {
            let active: Vec<u32> =
                self.roles[role].order.iter().map(|(_, _, framework)| *framework).collect();
            let number = u32::try_from(role).unwrap_or(u32::MAX);
            let order =
                active.into_iter().map(|f| self.position_of(FrameworkId(f), number)).collect();
            self.roles[role].order = order;
        }
    }

    /// Frameworks of a role, least share first.
    pub(crate) fn frameworks(&self, role: u32) -> impl Iterator<Item = FrameworkId> {
        self.roles[role as usize].order.iter().map(|(_, _, framework)| FrameworkId(*framework))
    }

    /// Roles with active frameworks, in the order in which they are served: the tree walked depth first, siblings by
    /// share, count, name. A role with children competes with them as a leaf of its own.
    pub(crate) fn roles_in_order(&self) -> Vec<u32> {
        let mut active: Vec<(Path<'_>, u32)> = Vec::new();
        for (at, role) in self.roles.iter().enumerate().filter(|(_, r)| !r.order.is_empty()) {
            let number = u32::try_from(at).unwrap_or(u32::MAX);
            let mut path: Vec<&str> = resources::ancestors(&role.name).collect();
            path.reverse();
            path.push(&role.name);
            let key = |name: &str| {
                let number = self.numbers.get(name).copied().unwrap_or(number);
                let node = &self.roles[number as usize];
                (self.role_share(number, &node.tree), node.tree.count, node.name.as_str())
            };
            let mut keys: Vec<_> = path.iter().map(|name| key(name)).collect();
            keys.push((self.role_share(number, &role.own), role.own.count, "."));
            active.push((keys, number));
        }
        active.sort_by(|(a, _), (b, _)| {
            for (x, y) in a.iter().zip(b) {
                let order = x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)).then(x.2.cmp(y.2));
                if order.is_ne() {
                    return order;
                }
            }
            a.len().cmp(&b.len())
        });
        active.into_iter().map(|(_, number)| number).collect()
    }

    /// Sum of what all frameworks hold, by name; for checks.
    pub(crate) fn held(&self) -> BTreeMap<&str, Milli> {
        let mut sums: BTreeMap<&str, Milli> = BTreeMap::new();
        for holding in self.roles.iter().flat_map(|r| r.frameworks.values()) {
            for (at, milli) in holding.scalars.iter().enumerate().filter(|(_, m)| **m != 0) {
                *sums.entry(&self.names[at]).or_default() += milli;
            }
        }
        sums
    }
}

fn apply(scalars: &mut Scalars, changes: &[(usize, Milli)], sign: i64) {
    for (at, milli) in changes {
        if scalars.len() <= *at {
            scalars.resize(at + 1, 0);
        }
        scalars[*at] += sign * milli;
    }
}
