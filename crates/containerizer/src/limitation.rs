//! Why a container was ended, if it was for what it may use.

use crate::Limitation;
use crate::isolation::Isolators;
use crate::supervisor::{Files, Kept};
use wire::v1::TaskResourceLimitation;
use wire::v1::agent::response::WaitContainer;

/// Name of the file in the runtime directory: what was found out once.
const FILE: &str = "limitation";

/// Asks the isolators, before they clean up. The answer stays with the container: an agent that dies before it has stored
/// what follows from it is followed by one that finds the answer, but nothing to ask.
pub(crate) fn find(
    container_id: &str,
    files: &Files,
    kept: Option<Kept>,
    isolators: &Isolators,
) -> Option<Limitation> {
    let path = files.0.join(FILE);
    if let Some(known) = std::fs::read(&path).ok().and_then(|bytes| decode(&bytes)) {
        return Some(known);
    }
    let found = isolators.limitation(container_id, kept.is_some_and(|kept| kept.saw_oom))?;
    keep(files, &found);
    Some(found)
}

/// Keeps why a container is ended.
pub(crate) fn keep(files: &Files, limitation: &Limitation) {
    let path = files.0.join(FILE);
    if let Err(error) = std::fs::write(&path, encode(limitation)) {
        tracing::warn!(path = %path.display(), %error, "cannot keep why a container was ended");
    }
}

fn encode(limitation: &Limitation) -> Vec<u8> {
    let resources = limitation.resources.clone();
    wire::protobuf::to_vec(&WaitContainer {
        reason: Some(limitation.reason as i32),
        message: Some(limitation.message.clone()),
        limitation: Some(TaskResourceLimitation { resources }),
        ..Default::default()
    })
}

fn decode(bytes: &[u8]) -> Option<Limitation> {
    let kept: WaitContainer = wire::protobuf::from_slice(bytes).ok()?;
    let reason = kept.reason.is_some().then(|| kept.reason())?;
    let resources = kept.limitation?.resources;
    Some(Limitation { reason, message: kept.message?, resources })
}
