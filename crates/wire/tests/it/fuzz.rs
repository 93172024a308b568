//! Decoders on arbitrary bytes: they answer, and what they accept they can write and read again.

use wire::v1::{executor, scheduler};

#[test]
fn recordio_on_arbitrary_bytes() {
    bolero::check!().for_each(|bytes: &[u8]| {
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
    bolero::check!().for_each(|bytes: &[u8]| {
        json::<scheduler::Call>(bytes);
        json::<executor::Call>(bytes);
    });
}

#[test]
fn protobuf_calls_on_arbitrary_bytes() {
    bolero::check!().for_each(|bytes: &[u8]| {
        protobuf::<scheduler::Call>(bytes);
        protobuf::<executor::Call>(bytes);
    });
}
