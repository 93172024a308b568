//! What a master must know to lead with this registry (spec/operations.md 1.6): one that does not would take no notice
//! of what is kept there, and refuses to lead instead.

use crate::registry::{CAPABILITIES, DEACTIVATED, MINIMUM_CAPABILITIES, QUOTA, RegistryOp};
use std::collections::{BTreeMap, BTreeSet};

/// Sections that older masters must not take no notice of, and the capability that knows them.
const NEEDED: [(&str, &str); 2] = [(DEACTIVATED, "AGENT_DRAINING"), (QUOTA, "QUOTA_V2")];

/// The registry's minimum capabilities as they will be when all writes are done.
#[derive(Debug, Default)]
pub(crate) struct Minimum {
    /// Keys of the sections of [`NEEDED`].
    keys: BTreeMap<&'static str, BTreeSet<String>>,
    /// Capabilities that the registry names.
    named: BTreeSet<String>,
}

fn section(name: &str) -> Option<&'static str> {
    NEEDED.into_iter().map(|(section, _)| section).find(|section| *section == name)
}

impl Minimum {
    /// Takes note of an entry of the registry.
    ///
    /// # Errors
    /// When it names a capability that this master does not have.
    pub(crate) fn recover(&mut self, name: &str, key: &str) -> Result<(), String> {
        if let Some(section) = section(name) {
            self.keys.entry(section).or_default().insert(key.to_owned());
        }
        if name != MINIMUM_CAPABILITIES {
            return Ok(());
        }
        self.named.insert(key.to_owned());
        if CAPABILITIES.iter().any(|capability| capability.as_str_name() == key) {
            return Ok(());
        }
        Err(format!(
            "the registry needs the capability {key}, which this master does not have: a newer version has written to it; \
             run that version, and undo there what needs the capability before you go back"
        ))
    }

    /// Adds what follows from the changes of a write.
    pub(crate) fn amend(&mut self, ops: &mut Vec<RegistryOp>) {
        for op in &*ops {
            let (RegistryOp::Put { section: name, key, .. }
            | RegistryOp::Delete { section: name, key }) = op;
            let Some(section) = section(name) else { continue };
            let keys = self.keys.entry(section).or_default();
            match op {
                RegistryOp::Put { .. } => keys.insert(key.clone()),
                RegistryOp::Delete { .. } => keys.remove(key),
            };
        }
        for (section, capability) in NEEDED {
            let is_needed = self.keys.get(section).is_some_and(|keys| !keys.is_empty());
            let (section, key) = (MINIMUM_CAPABILITIES.to_owned(), capability.to_owned());
            if is_needed && self.named.insert(key.clone()) {
                ops.push(RegistryOp::Put { section, key, value: Vec::new() });
            } else if !is_needed && self.named.remove(&key) {
                ops.push(RegistryOp::Delete { section, key });
            }
        }
    }
}
