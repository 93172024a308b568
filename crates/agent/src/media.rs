//! What headers say of the forms of a call and its answer (spec/agent.md 8.1). Beside whole messages there are streams of
//! records: they name the form of a record in a header of its own.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_api::negotiate::{self, Encoding};
use http_api::{Response, respond};
use wire::v1::agent::call::Type;

const RECORDIO: &str = "application/recordio";
const MESSAGE_CONTENT_TYPE: &str = "message-content-type";
const MESSAGE_ACCEPT: &str = "message-accept";

/// The forms of a call and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Media {
    /// The body is a stream of records in this form; None: it is one message.
    pub(crate) records: Option<Encoding>,
    /// The form of the answer, or of its records.
    pub(crate) answer: Encoding,
    /// The answer has to be a stream of records that says so.
    pub(crate) is_recordio: bool,
}

type Refusal = (u16, String);

impl Media {
    /// Reads headers.
    ///
    /// # Errors
    /// Status and text of the answer that refuses them.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let records = records(headers)?;
        let Some(accept) = headers.get(ACCEPT) else {
            return Ok(Self {
                records,
                answer: plain(headers, Encoding::Json)?,
                is_recordio: false,
            });
        };
        if let Some(answer) = negotiate::accepted(headers) {
            return Ok(Self { records, answer: plain(headers, answer)?, is_recordio: false });
        }
        if !negotiate::is_accepted(accept.to_str().unwrap_or_default(), RECORDIO) {
            let text = "Expecting 'Accept' to allow application/json, application/x-protobuf or \
                        application/recordio";
            return Err((406, text.to_owned()));
        }
        let mut wanted = HeaderMap::new();
        wanted.extend(headers.get(MESSAGE_ACCEPT).map(|value| (ACCEPT, value.clone())));
        let answer = negotiate::accepted(&wanted).ok_or_else(|| {
            let text = "Expecting 'Message-Accept' to allow application/json or \
                        application/x-protobuf";
            (406, text.to_owned())
        })?;
        Ok(Self { records, answer, is_recordio: true })
    }

    /// Whether a call of this type may have these forms.
    ///
    /// # Errors
    /// Status and text of the answer that refuses it.
    pub(crate) fn check(&self, call: Type) -> Result<(), Refusal> {
        let name = call.as_str_name();
        let takes_records = call == Type::AttachContainerInput;
        if self.records.is_some() && !takes_records {
            let text = format!("'Content-Type' {RECORDIO} is not supported for a {name} call");
            return Err((415, text));
        }
        if self.records.is_none() && takes_records {
            let text = format!("Expecting 'Content-Type' to be {RECORDIO} for a {name} call");
            return Err((415, text));
        }
        let is_stream =
            matches!(call, Type::AttachContainerOutput | Type::LaunchNestedContainerSession);
        if self.is_recordio && !is_stream {
            return Err((406, format!("A streaming response is not supported for a {name} call")));
        }
        Ok(())
    }

    /// Says in the headers of an answer that it is a stream of records, if that was asked for.
    pub(crate) fn mark(&self, mut response: Response) -> Response {
        if self.is_recordio && response.status() == 200 {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(RECORDIO));
            let media_type = HeaderValue::from_static(self.answer.media_type());
            headers.insert(MESSAGE_CONTENT_TYPE, media_type);
        }
        response
    }
}

/// The answer that refuses a call.
pub(crate) fn refuse((status, text): Refusal) -> Response {
    respond::text(status, text)
}

/// The form of the records that are the body; None: it is one message.
fn records(headers: &HeaderMap) -> Result<Option<Encoding>, Refusal> {
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        return Err((400, "Expecting 'Content-Type' to be present".to_owned()));
    };
    let of_records = headers.get(MESSAGE_CONTENT_TYPE);
    if named(content_type).is_some() {
        return match of_records {
            None => Ok(None),
            Some(_) => {
                let text = "Expecting 'Message-Content-Type' to be not set for non-streaming \
                            requests";
                Err((415, text.to_owned()))
            }
        };
    }
    if content_type != RECORDIO {
        let text = "Expecting 'Content-Type' of application/json or application/x-protobuf or \
                    application/recordio";
        return Err((415, text.to_owned()));
    }
    let Some(of_records) = of_records else {
        let text = "Expecting 'Message-Content-Type' to be set for streaming requests";
        return Err((400, text.to_owned()));
    };
    let encoding = named(of_records).ok_or_else(|| {
        let text = "Expecting 'Message-Content-Type' of application/json or application/x-protobuf";
        (415, text.to_owned())
    })?;
    Ok(Some(encoding))
}

fn named(value: &HeaderValue) -> Option<Encoding> {
    let all = [Encoding::Json, Encoding::Protobuf];
    all.into_iter().find(|encoding| encoding.media_type().as_bytes() == value.as_bytes())
}

/// The form of an answer that is one message, or a stream that does not say that it is one.
fn plain(headers: &HeaderMap, answer: Encoding) -> Result<Encoding, Refusal> {
    if headers.contains_key(MESSAGE_ACCEPT) {
        let text = "Expecting 'Message-Accept' to be not set for non-streaming responses";
        return Err((406, text.to_owned()));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json";
    const PROTOBUF: &str = "application/x-protobuf";

    fn read(headers: &[(&'static str, &'static str)]) -> Result<Media, u16> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)));
        Media::of(&headers.collect()).map_err(|(status, _)| status)
    }

    #[track_caller]
    fn check(
        headers: &[(&'static str, &'static str)],
        want: Result<(Option<Encoding>, Encoding, bool), u16>,
    ) {
        let want =
            want.map(|(records, answer, is_recordio)| Media { records, answer, is_recordio });
        assert_eq!(read(headers), want, "{headers:?}");
    }

    #[test]
    fn all_combinations_of_headers() {
        use Encoding::{Json, Protobuf};
        let content = ("content-type", JSON);
        check(&[], Err(400));
        check(&[content], Ok((None, Json, false)));
        check(&[("content-type", PROTOBUF), ("accept", PROTOBUF)], Ok((None, Protobuf, false)));
        check(&[("content-type", "application/json; charset=utf-8")], Err(415));
        check(&[("content-type", "text/plain")], Err(415));
        check(&[content, ("message-content-type", JSON)], Err(415));
        check(&[content, ("accept", "*/*")], Ok((None, Json, false)));
        check(&[content, ("accept", "text/html")], Err(406));
        check(&[content, ("message-accept", JSON)], Err(406));
        check(&[content, ("accept", PROTOBUF), ("message-accept", JSON)], Err(406));
        // Records.
        let content = ("content-type", RECORDIO);
        check(&[content], Err(400));
        check(&[content, ("message-content-type", "text/plain")], Err(415));
        check(&[content, ("message-content-type", RECORDIO)], Err(415));
        check(&[content, ("message-content-type", JSON)], Ok((Some(Json), Json, false)));
        let protobuf = ("message-content-type", PROTOBUF);
        check(&[content, protobuf, ("accept", JSON)], Ok((Some(Protobuf), Json, false)));
        // A stream as the answer.
        let (content, accept) = (("content-type", JSON), ("accept", RECORDIO));
        check(&[content, accept], Ok((None, Json, true)));
        check(&[content, accept, ("message-accept", PROTOBUF)], Ok((None, Protobuf, true)));
        check(&[content, accept, ("message-accept", "*/*")], Ok((None, Json, true)));
        check(&[content, accept, ("message-accept", RECORDIO)], Err(406));
        let both = ("accept", "application/recordio, application/json");
        check(&[content, both], Ok((None, Json, false)));
    }

    #[test]
    fn only_calls_about_streams_may_have_them() {
        let media = |records, is_recordio| Media { records, answer: Encoding::Json, is_recordio };
        let whole = media(None, false);
        let status = |media: Media, call| media.check(call).map_err(|(status, _)| status);
        assert_eq!(status(whole, Type::GetHealth), Ok(()));
        assert_eq!(status(whole, Type::AttachContainerOutput), Ok(()));
        assert_eq!(status(whole, Type::AttachContainerInput), Err(415));
        let records = media(Some(Encoding::Json), false);
        assert_eq!(status(records, Type::AttachContainerInput), Ok(()));
        assert_eq!(status(records, Type::AttachContainerOutput), Err(415));
        let stream = media(None, true);
        assert_eq!(status(stream, Type::GetHealth), Err(406));
        assert_eq!(status(stream, Type::AttachContainerOutput), Ok(()));
        assert_eq!(status(stream, Type::LaunchNestedContainerSession), Ok(()));
        let both = media(Some(Encoding::Json), true);
        assert_eq!(status(both, Type::AttachContainerInput), Err(406));
    }
}
