//! The frames of SPDY/3.1, as far as a tunnel needs them. Pure.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::SpdyError;

const VERSION: u16 = 3;
const HEAD: usize = 8;
const LAST: u8 = 1;
/// What one frame may hold; clients send pieces of 32 KiB.
const MOST_BYTES: usize = 1024 * 1024;
const NUMBER: u32 = 0x7fff_ffff;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// What the other side says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A new stream, with its packed headers.
    Open { stream: u32, headers: Bytes },
    /// Bytes of a stream, perhaps the last.
    Data { stream: u32, data: Bytes, last: bool },
    /// A stream ends at once.
    Reset { stream: u32 },
    /// To be said back.
    Ping { id: u32 },
    /// No more.
    GoAway,
    /// More headers.
    Headers { headers: Bytes },
    /// Settings and window updates, which matter to nobody here.
    Other,
}

/// Takes the next whole frame off the front, if there is one.
pub(crate) fn next(bytes: &mut BytesMut) -> Result<Option<Frame>, SpdyError> {
    let Some(head) = bytes.get(..HEAD) else { return Ok(None) };
    let (mut first, mut second) = (&head[..4], &head[4..]);
    let (first, second) = (first.get_u32(), second.get_u32());
    let (flags, length) = ((second >> 24) as u8, (second & 0x00ff_ffff) as usize);
    if length > MOST_BYTES {
        return Err(SpdyError::Frame);
    }
    if bytes.len() < HEAD + length {
        return Ok(None);
    }
    bytes.advance(HEAD);
    let mut body = bytes.split_to(length).freeze();
    if first & !NUMBER == 0 {
        return Ok(Some(Frame::Data { stream: first, data: body, last: flags & LAST != 0 }));
    }
    if (first >> 16) as u16 & 0x7fff != VERSION {
        return Err(SpdyError::Frame);
    }
    let mut number = || body.try_get_u32().map_err(|_| SpdyError::Frame);
    Ok(Some(match first as u16 {
        SYN_STREAM => {
            let stream = number()? & NUMBER;
            // The associated stream, priority and slot.
            number()?;
            if body.len() < 2 {
                return Err(SpdyError::Frame);
            }
            body.advance(2);
            Frame::Open { stream, headers: body }
        }
        RST_STREAM => Frame::Reset { stream: number()? & NUMBER },
        PING => Frame::Ping { id: number()? },
        GOAWAY => Frame::GoAway,
        SYN_REPLY | HEADERS => {
            number()?;
            Frame::Headers { headers: body }
        }
        _ => Frame::Other,
    }))
}

fn control(kind: u16, parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = BytesMut::with_capacity(HEAD + length);
    frame.put_u16(0x8000 | VERSION);
    frame.put_u16(kind);
    // Lengths of what we send are far below 24 bits.
    frame.put_u32(length as u32);
    for part in parts {
        frame.put_slice(part);
    }
    frame.freeze()
}

/// Accepts a stream.
pub(crate) fn reply(stream: u32, headers: &[u8]) -> Bytes {
    control(SYN_REPLY, &[&stream.to_be_bytes(), headers])
}

/// Says a ping back.
pub(crate) fn ping(id: u32) -> Bytes {
    control(PING, &[&id.to_be_bytes()])
}

/// Refuses a stream.
pub(crate) fn reset(stream: u32) -> Bytes {
    const REFUSED: u32 = 3;
    control(RST_STREAM, &[&stream.to_be_bytes(), &REFUSED.to_be_bytes()])
}

/// Bytes of a stream.
pub(crate) fn data(stream: u32, data: &[u8], last: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + data.len());
    frame.put_u32(stream & NUMBER);
    frame.put_u32(u32::from(last) << 24 | data.len() as u32);
    frame.put_slice(data);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let mut all = Vec::new();
        all.extend_from_slice(&control(SYN_STREAM, &[&7u32.to_be_bytes(), &[0; 6], b"packed"]));
        all.extend_from_slice(&data(7, b"hello", false));
        all.extend_from_slice(&data(7, b"", true));
        all.extend_from_slice(&ping(1));
        all.extend_from_slice(&reset(7));
        all.extend_from_slice(&control(4, &[&[0; 4]]));
        all.extend_from_slice(&control(GOAWAY, &[&[0; 8]]));
        for size in [1, 3, 7, all.len()] {
            let (mut bytes, mut found) = (BytesMut::new(), Vec::new());
            for piece in all.chunks(size) {
                bytes.extend_from_slice(piece);
                while let Some(frame) = next(&mut bytes).unwrap() {
                    found.push(frame);
                }
            }
            let wanted = [
                Frame::Open { stream: 7, headers: Bytes::from_static(b"packed") },
                Frame::Data { stream: 7, data: Bytes::from_static(b"hello"), last: false },
                Frame::Data { stream: 7, data: Bytes::new(), last: true },
                Frame::Ping { id: 1 },
                Frame::Reset { stream: 7 },
                Frame::Other,
                Frame::GoAway,
            ];
            assert_eq!(found, wanted, "pieces of {size}");
        }
    }

    #[test]
    fn nonsense_ends_the_tunnel() {
        for bytes in [&b"\x80\x02\0\x01\0\0\0\0"[..], b"\0\0\0\x01\0\xff\xff\xff", b"\x80\x03\0\x01\0\0\0\x02ab"] {
            assert!(next(&mut BytesMut::from(bytes)).is_err(), "{bytes:?}");
        }
    }
}
