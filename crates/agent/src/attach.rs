//! Calls whose request or answer is a stream of records (spec/agent.md 8.2).

use crate::media::{Media, refuse};
use crate::routes::BODY_MAX;
use crate::session::{self, Attached};
use crate::shared::Shared;
use http_api::negotiate::Encoding;
use http_api::{Request, Response, respond};
use http_body_util::BodyExt as _;
use std::sync::Arc;
use std::time::Duration;
use wire::recordio::Decoder;
use wire::v1;
use wire::v1::agent::call::{AttachContainerInput, Type, attach_container_input};
use wire::v1::agent::{Call, ProcessIo};

/// For how long a client may still send to a container out of which nothing comes any more.
const PARTING: Duration = Duration::from_secs(1);

/// Answers a call that has a stream for an answer; None: it has not.
pub(crate) async fn answer(shared: &Arc<Shared>, call: &Call, media: Media) -> Option<Response> {
    let response = match call.r#type() {
        Type::LaunchNestedContainerSession => session::launch(shared, call, media.answer).await,
        Type::AttachContainerOutput => match &call.attach_container_output {
            Some(attach) => {
                session::attach_output(shared, &attach.container_id, media.answer).await
            }
            None => refuse(invalid("Expecting 'attach_container_output' to be present")),
        },
        _ => return None,
    };
    Some(media.mark(response))
}

fn invalid(text: &str) -> (u16, String) {
    (400, format!("Failed to validate agent::Call: {text}"))
}

fn decode(encoding: Encoding, record: &[u8]) -> Result<Call, String> {
    match encoding {
        Encoding::Json => {
            let value = serde_json::from_slice(record)
                .map_err(|e| format!("Failed to parse a record into JSON: {e}"))?;
            wire::json::from_value(&value).map_err(|e| format!("Failed to read a record: {e}"))
        }
        Encoding::Protobuf => {
            wire::protobuf::from_slice(record).map_err(|e| format!("Failed to read a record: {e}"))
        }
    }
}

/// The container that the first record names.
fn target(call: Call, media: Media) -> Result<v1::ContainerId, (u16, String)> {
    if call.r#type.is_none() {
        return Err(invalid("Expecting 'type' to be present"));
    }
    media.check(call.r#type())?;
    let attach = attach_of(call).map_err(|text| invalid(&text))?;
    if attach.r#type() != attach_container_input::Type::ContainerId {
        let text = "Expecting 'attach_container_input.type' to be CONTAINER_ID";
        return Err((400, text.to_owned()));
    }
    let expected = "Expecting 'attach_container_input.container_id' to be present";
    attach.container_id.ok_or_else(|| invalid(expected))
}

fn attach_of(call: Call) -> Result<AttachContainerInput, String> {
    let expected = "Expecting 'attach_container_input' to be present";
    call.attach_container_input.ok_or_else(|| expected.to_owned())
}

/// A piece of input.
fn piece(call: Call) -> Result<ProcessIo, String> {
    if call.r#type() != Type::AttachContainerInput {
        return Err("Expecting only calls of type ATTACH_CONTAINER_INPUT".to_owned());
    }
    let attach = attach_of(call)?;
    match attach.r#type() {
        attach_container_input::Type::ProcessIo => {
            let piece = attach.process_io;
            Ok(piece.ok_or("Expecting 'attach_container_input.process_io' to be present")?)
        }
        _ => Err("Expecting 'attach_container_input.type' to be PROCESS_IO".to_owned()),
    }
}

/// ATTACH_CONTAINER_INPUT: the body is a stream of calls, of which the first names the container.
pub(crate) async fn input(
    shared: &Shared,
    request: Request,
    media: Media,
    encoding: Encoding,
) -> Response {
    let mut body = request.into_body();
    let mut records = Decoder::new(BODY_MAX);
    let mut attached: Option<Attached<'_>> = None;
    loop {
        loop {
            let record = match records.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    return respond::text(400, format!("Failed to decode RecordIO: {error}"));
                }
            };
            let call = match decode(encoding, &record) {
                Ok(call) => call,
                Err(text) => return respond::text(400, text),
            };
            let Some(open) = &mut attached else {
                let id = match target(call, media) {
                    Ok(id) => id,
                    Err(refusal) => return refuse(refusal),
                };
                match session::attach_input(shared, &id).await {
                    Ok(found) => attached = Some(found),
                    Err(refusal) => return refuse(refusal),
                }
                continue;
            };
            let taken = match piece(call).and_then(session::typed) {
                Ok(piece) => open.take(piece).await,
                Err(text) => return refuse(invalid(&text)),
            };
            if let Err(text) = taken {
                return respond::text(400, text);
            }
        }
        let frame = match &mut attached {
            None => body.frame().await,
            Some(open) => tokio::select! {
                frame = body.frame() => frame,
                () = open.ended() => {
                    tokio::time::sleep(PARTING).await;
                    return respond::text(200, "");
                }
            },
        };
        match frame {
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref() {
                    records.push(bytes);
                }
            }
            Some(Err(_)) | None if attached.is_none() => {
                return respond::text(400, "Received EOF while reading request body");
            }
            // The end, or a client that went away.
            Some(Err(_)) | None => return respond::text(200, ""),
        }
    }
}
