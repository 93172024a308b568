//! Decoders on arbitrary bytes, and on bytes near to valid ones: they answer, and what they accept they can write and
//! read again. Inputs of the corpus are in `__fuzz__`.

use std::time::Duration;
use wire::v1::{executor, scheduler};

/// How long each target looks for inputs under `cargo test`.
const TIME: Duration = Duration::from_secs(2);

#[test]
fn recordio_on_arbitrary_bytes() {
    bolero::check!(name = "recordio").with_test_time(TIME).for_each(|bytes: &[u8]| {
        let mut decoder = wire::recordio::Decoder::new(1 << 16);
        for piece in bytes.chunks(7) {
            decoder.push(piece);
            while let Ok(Some(record)) = decoder.next() {
                assert!(record.len() <= bytes.len());
            }
        }
    });
}

fn json<M: wire::Message>(bytes: &[u8]) {
    if let Ok(message) = wire::json::from_slice::<M>(bytes) {
        let text = wire::json::to_vec(&message);
        wire::json::from_slice::<M>(&text).expect("what is written can be read");
    }
}

fn protobuf<M: wire::Message>(bytes: &[u8]) {
    if let Ok(message) = wire::protobuf::from_slice::<M>(bytes) {
        wire::protobuf::from_slice::<M>(&wire::protobuf::to_vec(&message))
            .expect("what is written can be read");
        assert!(wire::json::to_vec(&message).starts_with(b"{"));
    }
}

#[test]
fn json_calls_on_arbitrary_bytes() {
    bolero::check!(name = "json_call").with_test_time(TIME).for_each(|bytes: &[u8]| {
        json::<scheduler::Call>(bytes);
        json::<executor::Call>(bytes);
    });
}

#[test]
fn protobuf_calls_on_arbitrary_bytes() {
    bolero::check!(name = "protobuf_call").with_test_time(TIME).for_each(|bytes: &[u8]| {
        protobuf::<scheduler::Call>(bytes);
        protobuf::<executor::Call>(bytes);
    });
}

/// Valid calls of the corpus.
const CALLS: [&str; 3] = [
    include_str!("__fuzz__/json_call/corpus/subscribe"),
    include_str!("__fuzz__/json_call/corpus/accept"),
    include_str!("__fuzz__/json_call/corpus/update"),
];

/// `bytes` with some replaced, and cut.
fn damaged(mut bytes: Vec<u8>, edits: &[(u16, u8)], cut: Option<u16>) -> Vec<u8> {
    for (at, byte) in edits {
        let length = bytes.len().max(1);
        if let Some(place) = bytes.get_mut(usize::from(*at) % length) {
            *place = *byte;
        }
    }
    bytes.truncate(cut.map_or(bytes.len(), usize::from));
    bytes
}

#[test]
fn calls_that_are_nearly_valid() {
    type Damage = (u8, Vec<(u16, u8)>, Option<u16>);
    let update: executor::Call = wire::json::from_slice(CALLS[2].as_bytes()).expect("it is valid");
    let encoded: Vec<Vec<u8>> = CALLS[..2]
        .iter()
        .map(|text| {
            let call: scheduler::Call = wire::json::from_slice(text.as_bytes()).expect("valid");
            wire::protobuf::to_vec(&call)
        })
        .chain([wire::protobuf::to_vec(&update)])
        .collect();
    bolero::check!(name = "damaged_call").with_test_time(TIME).with_type::<Damage>().for_each(
        |(which, edits, cut)| {
            let at = usize::from(*which) % CALLS.len();
            let text = damaged(CALLS[at].as_bytes().to_vec(), edits, *cut);
            json::<scheduler::Call>(&text);
            json::<executor::Call>(&text);
            let bytes = damaged(encoded[at].clone(), edits, *cut);
            protobuf::<scheduler::Call>(&bytes);
            protobuf::<executor::Call>(&bytes);
        },
    );
}
