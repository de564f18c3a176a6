//! Kubernetes' times: RFC 3339 in, UTC to the second or the microsecond out.

use jiff::Timestamp;

/// `text` in the one way that Kubernetes writes it.
pub(super) fn normal(text: &str, micros: bool) -> Result<String, String> {
    // RFC 3339 wants the `T` and a zone, where jiff would do with less.
    let shaped = text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T') && !text.contains('[');
    let stamp = shaped.then(|| text.parse::<Timestamp>().ok()).flatten().ok_or_else(|| {
        let form = if micros { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
        format!("parsing time {text:?} as {form:?}: cannot parse {text:?} as RFC 3339")
    })?;
    Ok(written(stamp, micros))
}

/// `2026-01-02T03:04:05Z`, or with microseconds.
pub(crate) fn written(stamp: Timestamp, micros: bool) -> String {
    let form = if micros { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    stamp.strftime(form).to_string()
}
