//! RecordIO framing.

use wire::recordio::{Decoder, Error, encode};

#[test]
fn records_come_out_of_any_pieces() {
    let records = [&b"hello"[..], b"", b"12\n34"];
    let stream: Vec<u8> = records.iter().flat_map(|r| encode(r)).collect();
    for size in 1..=stream.len() {
        let mut decoder = Decoder::new(100);
        let mut got = Vec::new();
        for piece in stream.chunks(size) {
            decoder.push(piece);
            while let Some(record) = decoder.next().expect("a good stream") {
                got.push(record);
            }
        }
        assert_eq!(got, records);
        assert!(!decoder.is_partial());
    }
}

#[test]
fn lengths_that_are_no_lengths_are_refused() {
    for bad in [
        &b"x\n"[..],
        b"-1\n",
        b"+1\n",
        b"\n",
        b"123456789012345678901234",
        b"99999999999999999999\n",
        b" 1\na",
    ] {
        let mut decoder = Decoder::new(usize::MAX);
        decoder.push(bad);
        assert_eq!(decoder.next(), Err(Error::BadLength), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn a_record_over_the_limit_is_refused_before_it_is_read() {
    let mut decoder = Decoder::new(10);
    decoder.push(b"10\n0123456789");
    assert_eq!(decoder.next(), Ok(Some(b"0123456789".to_vec())));
    assert_eq!(decoder.next(), Ok(None));
    decoder.push(b"11\n");
    assert_eq!(decoder.next(), Err(Error::TooLong { length: 11, limit: 10 }));
}

#[test]
fn the_largest_length_is_waited_for() {
    let mut decoder = Decoder::new(usize::MAX);
    decoder.push(b"18446744073709551615\nx");
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.is_partial());
}
