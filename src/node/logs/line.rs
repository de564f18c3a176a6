//! One line of a log file, and which lines are wanted.

use jiff::Timestamp;

use super::LogOptions;
use crate::sandbox::Stream;

/// Appends `TIME STREAM F TEXT`.
pub(super) fn append(buffer: &mut Vec<u8>, at: Timestamp, stream: Stream, text: &[u8]) {
    use std::io::Write;
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    // Writing to a Vec does not fail.
    let _ = write!(buffer, "{at:.9} {stream} F ");
    buffer.extend_from_slice(text);
    buffer.push(b'\n');
}

/// Appends the part of a line that is for people; nothing if the line is too old.
pub(super) fn show(out: &mut Vec<u8>, line: &[u8], options: &LogOptions) {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (Some(time), Some(stream), Some(_tag), Some(text)) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let other = match options.stream {
        None => false,
        Some(Stream::Stdout) => stream != b"stdout",
        Some(Stream::Stderr) => stream != b"stderr",
    };
    if other {
        return;
    }
    if let Some(since) = options.since {
        let at = std::str::from_utf8(time).ok().and_then(|time| time.parse::<Timestamp>().ok());
        if at.is_none_or(|at| at < since) {
            return;
        }
    }
    if options.timestamps {
        out.extend_from_slice(time);
        out.push(b' ');
    }
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// The lines of `bytes` (whole ones), without their breaks.
pub(super) fn lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let none = bytes.is_empty();
    bytes.split(|byte| *byte == b'\n').filter(move |_| !none)
}
