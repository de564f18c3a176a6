//! One gzip stream out of pieces that are packed side by side (RFC 1952 over RFC 1951).
//!
//! Each piece becomes deflate blocks that end at a byte and refer to nothing before them, so that pieces can be packed
//! on several threads and laid end to end.

use api::Status;
use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Crc, FlushCompress, Status as Progress};
use futures::stream::{self, BoxStream, StreamExt};

/// How much is packed as one piece.
const PIECE: usize = 512 * 1024;
/// How many pieces are packed at one time for one answer.
const AT_ONCE: usize = 2;
/// Magic, deflate, no flags, no time, no extra flags, unknown system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block: pieces themselves never end the stream.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// Packs what is there as a whole.
pub(super) fn whole(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() / 6 + 64);
    out.put_slice(&HEAD);
    let mut sum = Crc::new();
    for piece in bytes.chunks(PIECE) {
        sum.update(piece);
        out.put_slice(&deflate(piece));
    }
    out.put_slice(&tail(&sum));
    out.freeze()
}

/// Packs pieces as they come.
pub(super) fn pieces(pieces: BoxStream<'static, Result<Bytes, Status>>) -> BoxStream<'static, Result<Bytes, Status>> {
    let packed = pieces
        .map(|piece| async move {
            let piece = piece?;
            let packed = tokio::task::spawn_blocking(move || {
                let mut sum = Crc::new();
                sum.update(&piece);
                (deflate(&piece), sum)
            });
            packed.await.map_err(|error| Status::internal(error.to_string()))
        })
        .buffered(AT_ONCE);
    let head = stream::once(async { Ok(Bytes::from_static(&HEAD)) });
    let body = packed.map(Some).chain(stream::once(async { None })).scan(Crc::new(), |sum, piece| {
        let out = match piece {
            Some(Ok((bytes, own))) => {
                sum.combine(&own);
                Ok(bytes)
            }
            Some(Err(status)) => Err(status),
            None => Ok(tail(sum)),
        };
        std::future::ready(Some(out))
    });
    head.chain(body).boxed()
}

fn tail(sum: &Crc) -> Bytes {
    let mut out = BytesMut::with_capacity(10);
    out.put_slice(&LAST_BLOCK);
    out.put_u32_le(sum.sum());
    out.put_u32_le(sum.amount());
    out.freeze()
}

/// Deflate blocks that end at a byte.
fn deflate(mut input: &[u8]) -> Bytes {
    let mut packer = Compress::new(Compression::fast(), false);
    let mut out = Vec::with_capacity(input.len() / 6 + 1024);
    loop {
        let before = packer.total_in();
        // Packing into memory that grows cannot fail; a failure would end in a sum that does not fit.
        let progress = packer.compress_vec(input, &mut out, FlushCompress::Sync).unwrap_or(Progress::StreamEnd);
        let taken = usize::try_from(packer.total_in() - before).unwrap_or(input.len());
        input = input.get(taken..).unwrap_or_default();
        if progress == Progress::StreamEnd || (input.is_empty() && out.len() < out.capacity()) {
            return out.into();
        }
        out.reserve(out.capacity().max(4096));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // Not the reader of several members: there must be one.
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).expect("gzip");
        out
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|at| b"{metadata:{name:0123456789"[(at * 7 + at / 100) % 26]).collect()
    }

    #[test]
    fn whole_and_pieces_unpack_to_what_went_in() {
        for length in [0, 1, PIECE - 1, PIECE, 3 * PIECE + 17] {
            let plain = text(length);
            assert_eq!(unpacked(&whole(&plain)), plain);
            let parts: Vec<Result<Bytes, Status>> =
                plain.chunks(PIECE / 3).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            let packed: Vec<Result<Bytes, Status>> =
                runtime.block_on(pieces(stream::iter(parts).boxed()).collect::<Vec<_>>());
            let packed: Vec<u8> = packed.into_iter().flat_map(|piece| piece.expect("piece").to_vec()).collect();
            assert_eq!(unpacked(&packed), plain);
        }
    }

    proptest! {
        #[test]
        fn anything_survives(plain in proptest::collection::vec(any::<u8>(), 0..20_000)) {
            prop_assert_eq!(unpacked(&whole(&plain)), plain);
        }
    }
}
