//! The headers of SPDY/3.1 streams: pairs of texts, packed with zlib and a dictionary that the protocol fixes. Each direction
//! of a connection has one state for all headers, so that every block must be unpacked, and in order.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Buf;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::SpdyError;

/// The first part of the dictionary: words that stand with their lengths in front.
const WORDS: &str = "\
    options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language|accept-rang\
    es|age|allow|authorization|cache-control|connection|content-base|content-encoding|content-language|c\
    ontent-length|content-location|content-md5|content-range|content-type|date|etag|expect|expires|from|\
    host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|location|ma\
    x-forwards|pragma|proxy-authenticate|proxy-authorization|range|referer|retry-after|server|te|trailer\
    |transfer-encoding|upgrade|user-agent|vary|via|warning|www-authenticate|method|get|status|200 OK|ver\
    sion|HTTP/1.1|url|public|set-cookie|keep-alive|origin";

/// The second part: texts without lengths.
const TEXTS: &str = "\
    100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Au\
    thoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidd\
    en404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr Ma\
    y Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,imag\
    e/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicpri\
    vatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    for word in WORDS.split('|') {
        bytes.extend_from_slice(&(word.len() as u32).to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TEXTS.as_bytes());
    bytes
});

#[cfg(test)]
pub(crate) fn dictionary() -> &'static [u8] {
    &DICTIONARY
}

/// The headers of one stream may have so many bytes.
const MOST_BYTES: usize = 16 * 1024;

/// Reads headers.
pub(crate) struct Unpacker(Decompress);

impl Default for Unpacker {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Unpacker {
    pub fn unpack(&mut self, packed: &[u8]) -> Result<HashMap<String, String>, SpdyError> {
        let mut text = Vec::with_capacity(MOST_BYTES);
        let begin = self.0.total_in();
        loop {
            let taken = usize::try_from(self.0.total_in() - begin).map_err(|_| SpdyError::Headers)?;
            let rest = packed.get(taken..).unwrap_or_default();
            match self.0.decompress_vec(rest, &mut text, FlushDecompress::Sync) {
                Ok(Status::Ok | Status::BufError) if self.0.total_in() - begin == packed.len() as u64 => break,
                Ok(Status::Ok) if text.len() < MOST_BYTES => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| SpdyError::Headers)?;
                }
                _ => return Err(SpdyError::Headers),
            }
        }
        pairs(&text)
    }
}

fn pairs(mut text: &[u8]) -> Result<HashMap<String, String>, SpdyError> {
    fn number(text: &mut &[u8]) -> Result<usize, SpdyError> {
        text.try_get_u32().map(|number| number as usize).map_err(|_| SpdyError::Headers)
    }
    fn word(text: &mut &[u8]) -> Result<String, SpdyError> {
        let length = number(text)?;
        let (word, rest) = text.split_at_checked(length).ok_or(SpdyError::Headers)?;
        *text = rest;
        String::from_utf8(word.to_vec()).map_err(|_| SpdyError::Headers)
    }
    let count = number(&mut text)?;
    (0..count).map(|_| Ok((word(&mut text)?.to_ascii_lowercase(), word(&mut text)?))).collect()
}

/// Writes headers.
pub(crate) struct Packer {
    state: Compress,
    begun: bool,
}

impl Default for Packer {
    fn default() -> Self {
        Self { state: Compress::new(Compression::default(), true), begun: false }
    }
}

impl Packer {
    fn pack(&mut self, text: &[u8]) -> Result<Vec<u8>, SpdyError> {
        if !std::mem::replace(&mut self.begun, true) {
            self.state.set_dictionary(&DICTIONARY).map_err(|_| SpdyError::Headers)?;
        }
        let mut packed = Vec::with_capacity(text.len() + 256);
        self.state.compress_vec(text, &mut packed, FlushCompress::Sync).map_err(|_| SpdyError::Headers)?;
        Ok(packed)
    }

    /// A block without headers.
    pub fn pack_none(&mut self) -> Result<Vec<u8>, SpdyError> {
        self.pack(&0u32.to_be_bytes())
    }

    #[cfg(test)]
    pub fn pack_all(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut text = (headers.len() as u32).to_be_bytes().to_vec();
        for word in headers.iter().flat_map(|(name, value)| [name, value]) {
            text.extend_from_slice(&(word.len() as u32).to_be_bytes());
            text.extend_from_slice(word.as_bytes());
        }
        self.pack(&text).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_protocols() {
        // RFC drafts give its length, and every SPDY/3 connection begins with its checksum.
        assert_eq!(DICTIONARY.len(), 1423);
        let packed = Packer::default().pack_none().unwrap();
        assert_eq!(packed.get(2..6), Some(&[0xe3, 0xc6, 0xa7, 0xc2][..]));
    }

    #[test]
    fn headers_come_back_in_order() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        for request in ["0", "1", "2"] {
            let packed = packer.pack_all(&[("streamtype", "data"), ("port", "80"), ("requestid", request)]);
            let headers = unpacker.unpack(&packed).unwrap();
            assert_eq!((headers["streamtype"].as_str(), headers["requestid"].as_str()), ("data", request));
        }
        assert!(unpacker.unpack(b"nonsense").is_err());
    }

    #[test]
    fn a_block_that_swells_is_refused() {
        let value = "x".repeat(MOST_BYTES);
        let packed = Packer::default().pack_all(&[("a", &value)]);
        assert!(Unpacker::default().unpack(&packed).is_err());
    }
}
