//! Writing more than anybody reads.

use wstd::http::Body;

/// Fills the log.
pub fn flood() -> ! {
    loop {
        println!("all work and no play makes this log a dull log");
    }
}

/// A gigabyte.
pub fn huge() -> Body {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = (1 << 30) / CHUNK;
    let chunks = futures_lite::stream::iter((0..CHUNKS).map(|_| vec![b'x'; CHUNK]));
    Body::from_stream(chunks)
}
