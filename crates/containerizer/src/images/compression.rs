//! Layers come as tar archives, plain or compressed; what they are is seen from their first bytes, since the media types
//! in manifests are not always right.

use std::io::{self, BufReader, Read};

/// The archive in what may be compressed.
pub(crate) fn decompress<'a>(
    compressed: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut reader = BufReader::with_capacity(1 << 17, compressed);
    let mut start = Vec::with_capacity(6);
    (&mut reader).take(6).read_to_end(&mut start)?;
    let whole = io::Cursor::new(start.clone()).chain(reader);
    match start.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(
            BufReader::with_capacity(1 << 16, whole),
        ))),
        // Also behind a frame that is to be skipped.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Ok(Box::new(zstd::stream::read::Decoder::new(whole)?))
        }
        [0x42, 0x5a, 0x68, ..] => {
            Err(io::Error::other("it is compressed with bzip2: use gzip or zstd"))
        }
        [0xfd, 0x37, 0x7a, 0x58, 0x5a, ..] => {
            Err(io::Error::other("it is compressed with xz: use gzip or zstd"))
        }
        _ => Ok(Box::new(whole)),
    }
}
