//! Calls whose request or answer is a stream of records: what their headers have to be (spec/agent.md 8.1).

use crate::routes::BODY_MAX;
use crate::session;
use crate::shared::Shared;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_api::negotiate::{self, Encoding};
use http_api::{Request, Response, respond};
use http_body_util::BodyExt as _;
use std::sync::Arc;
use wire::recordio::Decoder;
use wire::v1::agent::call::{Type, attach_container_input};
use wire::v1::agent::{Call, ProcessIo};

const RECORDIO: &str = "application/recordio";

fn named(value: Option<&HeaderValue>) -> Option<Encoding> {
    let value = value?.as_bytes();
    let all = [Encoding::Json, Encoding::Protobuf];
    all.into_iter().find(|encoding| encoding.media_type().as_bytes() == value)
}

/// Whether the body is a stream of records.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value == RECORDIO)
}

/// Answers a call that has a stream for an answer; None: it has not.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    call: &Call,
    headers: &HeaderMap,
) -> Option<Response> {
    if !matches!(call.r#type(), Type::LaunchNestedContainerSession | Type::AttachContainerOutput) {
        return None;
    }
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let plain = negotiate::accepted(headers);
    let is_recordio = plain.is_none() && accept.contains(RECORDIO);
    let encoding = if is_recordio {
        let mut wanted = HeaderMap::new();
        wanted.extend(headers.get("message-accept").map(|value| (ACCEPT, value.clone())));
        (!wanted.is_empty()).then(|| negotiate::accepted(&wanted)).flatten()
    } else {
        plain
    };
    let Some(encoding) = encoding else {
        let text = if is_recordio {
            "Expecting 'Message-Accept' to allow application/json or application/x-protobuf"
        } else {
            "Expecting 'Accept' to allow application/json, application/x-protobuf or \
             application/recordio"
        };
        return Some(respond::text(406, text));
    };
    let mut response = if call.r#type() == Type::LaunchNestedContainerSession {
        session::launch(shared, call, encoding).await
    } else {
        match &call.attach_container_output {
            Some(attach) => session::attach_output(shared, &attach.container_id, encoding),
            None => {
                let text = "Failed to validate agent::Call: Expecting 'attach_container_output' to \
                            be present";
                respond::text(400, text)
            }
        }
    };
    if is_recordio && response.status() == 200 {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(RECORDIO));
        let media_type = HeaderValue::from_static(encoding.media_type());
        headers.insert("message-content-type", media_type);
    }
    Some(response)
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

/// A piece of input.
fn piece(call: Call) -> Result<ProcessIo, String> {
    if call.r#type() != Type::AttachContainerInput {
        return Err("Expecting only calls of type ATTACH_CONTAINER_INPUT".to_owned());
    }
    let attach =
        call.attach_container_input.ok_or("Expecting 'attach_container_input' to be present")?;
    match attach.r#type() {
        attach_container_input::Type::ProcessIo => {
            let piece = attach.process_io;
            Ok(piece.ok_or("Expecting 'attach_container_input.process_io' to be present")?)
        }
        _ => Err("Expecting 'attach_container_input.type' to be PROCESS_IO".to_owned()),
    }
}

/// ATTACH_CONTAINER_INPUT: the body is a stream of calls, of which the first names the container.
pub(crate) async fn input(shared: &Shared, request: Request) -> Response {
    if request.method() != http::Method::POST {
        return respond::method_not_allowed("POST", request.method());
    }
    let Some(given) = request.headers().get("message-content-type") else {
        return respond::text(
            400,
            "Expecting 'Message-Content-Type' to be set for streaming requests",
        );
    };
    let Some(encoding) = named(Some(given)) else {
        let text = "Expecting 'Message-Content-Type' of application/json or application/x-protobuf";
        return respond::text(415, text);
    };
    let mut body = request.into_body();
    let mut records = Decoder::new(BODY_MAX);
    let mut attached: Option<session::Attached> = None;
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
            let Some(target) = &attached else {
                let first = call.attach_container_input.and_then(|attach| {
                    let names = attach.r#type() == attach_container_input::Type::ContainerId;
                    attach.container_id.filter(|_| names)
                });
                let Some(id) = first else {
                    let text = "Failed to validate agent::Call: Expecting the first record to be \
                                ATTACH_CONTAINER_INPUT of type CONTAINER_ID";
                    return respond::text(400, text);
                };
                match session::attach_input(shared, &id) {
                    Ok(found) => attached = Some(found),
                    Err(refusal) => return *refusal,
                }
                continue;
            };
            match piece(call) {
                Ok(piece) => target.take(piece).await,
                Err(text) => {
                    return respond::text(400, format!("Failed to validate agent::Call: {text}"));
                }
            }
        }
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref() {
                    records.push(bytes);
                }
            }
            // The end, or a client that went away.
            Some(Err(_)) | None => return respond::text(200, ""),
        }
    }
}
