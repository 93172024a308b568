//! The registry is linearizable: what masters read and wrote could have happened one after the other.

use crate::World;
use crate::linearizability::{self, Kind, Operation, hash};
use base::Time;

/// To be called at the end, when nothing is on its way: then everything is read once more.
///
/// # Errors
/// What can't have happened.
pub fn check(world: &World) -> Result<(), String> {
    if !world.has_coordination() {
        return Ok(());
    }
    let mut history = world.history.operations().to_vec();
    let now = history.iter().map(|o| o.called).max().unwrap_or_default();
    let returned = history.iter().filter(|o| o.returned < Time(u64::MAX)).map(|o| o.returned).max();
    let end = Time(now.max(returned.unwrap_or_default()).0 + 1);
    let content = world.registry().iter().map(|(key, value)| (key.clone(), hash(value))).collect();
    history.push(Operation { called: end, returned: end, kind: Kind::Read { content } });
    linearizability::check(&history)
        .map_err(|what| format!("the registry is not linearizable: {what}"))
}
