//! As much of HTTP/1.1 as a load generator needs: where a response ends, and its status.

/// A response that is all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// How many bytes it took.
    pub length: usize,
}

/// The request that is sent again and again.
pub fn request(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: compare\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// The response at the start of `bytes`, once all of it is there.
pub fn answer(bytes: &[u8]) -> Option<Answer> {
    let head_length = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_length]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut body_length = 0;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            body_length = value.parse().ok()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            body_length = chunked_length(&bytes[head_length..])?;
        }
    }
    let length = head_length + body_length;
    (bytes.len() >= length).then_some(Answer { status, length })
}

fn chunked_length(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = &body[at..];
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let digits = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(digits.trim(), 16).ok()?;
        at += line + 2 + size + 2;
        if at > body.len() {
            return None;
        }
        if size == 0 {
            return Some(at);
        }
    }
}
