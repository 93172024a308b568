//! The shape of scheduler calls.

use wire::v1::scheduler::Call;
use wire::v1::scheduler::call::Type;

/// What is missing or contradicts itself in a call.
///
/// # Errors
/// The first such thing, in words for the framework.
pub fn check(call: &Call) -> Result<(), String> {
    let expect = |there: bool, name: &str| {
        if there { Ok(()) } else { Err(format!("Expecting '{name}' to be present")) }
    };
    expect(call.r#type.is_some(), "type")?;
    let kind = call.r#type();
    if kind == Type::Subscribe {
        expect(call.subscribe.is_some(), "subscribe")?;
        let inside = call.subscribe.as_ref().and_then(|s| s.framework_info.id.as_ref());
        if call.framework_id.as_ref() != inside
            && !(call.framework_id.is_none() && inside.is_none_or(|i| i.value.is_empty()))
        {
            return Err("'framework_id' differs from 'subscribe.framework_info.id'".to_owned());
        }
        return Ok(());
    }
    expect(call.framework_id.is_some(), "framework_id")?;
    match kind {
        Type::Accept => expect(call.accept.is_some(), "accept"),
        Type::Decline => expect(call.decline.is_some(), "decline"),
        Type::AcceptInverseOffers => {
            expect(call.accept_inverse_offers.is_some(), "accept_inverse_offers")
        }
        Type::DeclineInverseOffers => {
            expect(call.decline_inverse_offers.is_some(), "decline_inverse_offers")
        }
        Type::Kill => expect(call.kill.is_some(), "kill"),
        Type::Shutdown => expect(call.shutdown.is_some(), "shutdown"),
        Type::Acknowledge => {
            expect(call.acknowledge.is_some(), "acknowledge")?;
            uuid(call.acknowledge.as_ref().map(|a| a.uuid.as_slice()))
        }
        Type::AcknowledgeOperationStatus => {
            expect(call.acknowledge_operation_status.is_some(), "acknowledge_operation_status")?;
            let acknowledge = call.acknowledge_operation_status.as_ref();
            uuid(acknowledge.map(|a| a.uuid.as_slice()))?;
            expect(acknowledge.is_some_and(|a| a.agent_id.is_some()), "agent_id")
        }
        Type::Reconcile => expect(call.reconcile.is_some(), "reconcile"),
        Type::ReconcileOperations => {
            expect(call.reconcile_operations.is_some(), "reconcile_operations")
        }
        Type::Message => expect(call.message.is_some(), "message"),
        Type::Request => expect(call.request.is_some(), "request"),
        Type::UpdateFramework => {
            expect(call.update_framework.is_some(), "update_framework")?;
            let inside = call.update_framework.as_ref().and_then(|u| u.framework_info.id.as_ref());
            if call.framework_id.as_ref() == inside {
                Ok(())
            } else {
                Err("'framework_id' differs from 'update_framework.framework_info.id'".to_owned())
            }
        }
        Type::Subscribe | Type::Revive | Type::Suppress | Type::Teardown | Type::Unknown => Ok(()),
    }
}

fn uuid(bytes: Option<&[u8]>) -> Result<(), String> {
    match bytes {
        Some(bytes) if bytes.len() == 16 => Ok(()),
        _ => Err("Not a valid UUID: expected 16 bytes in 'uuid'".to_owned()),
    }
}
