//! `tr`

use crate::process::{Ended, Options, Process};
use crate::shell::pattern::named;

/// A set as bytes, in order.
fn set(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("[:")
            && let Some((name, after)) = tail.split_once(":]")
        {
            bytes.extend((0..=127_u8).filter(|byte| named(name, char::from(*byte))));
            rest = after;
            continue;
        }
        let (low, after) = one(rest, c);
        if low.len() == 1
            && let Some(tail) = after.strip_prefix('-')
            && let Some(next) = tail.chars().next()
        {
            let (high, after) = one(tail, next);
            if high.len() == 1 {
                if high[0] < low[0] {
                    return Err(format!("range-endpoints of '{text}' are in reverse order"));
                }
                bytes.extend(low[0]..=high[0]);
                rest = after;
                continue;
            }
        }
        bytes.extend(low);
        rest = after;
    }
    Ok(bytes)
}

/// One character or escape, and what follows.
fn one(text: &str, first: char) -> (Vec<u8>, &str) {
    if first == '\\' && text.len() > 1 {
        let digits = text[1..].chars().take(3).take_while(|c| ('0'..='7').contains(c)).count();
        let width = if digits > 0 { digits } else { text[1..].chars().next().map_or(1, char::len_utf8) };
        let (escape, rest) = text.split_at(1 + width);
        let (bytes, _) = super::print::unescape(escape, false);
        let unknown = bytes.len() > 1 && bytes[0] == b'\\';
        return (if unknown { bytes[1..].to_vec() } else { bytes }, rest);
    }
    let (c, rest) = text.split_at(first.len_utf8());
    (c.as_bytes().to_vec(), rest)
}

pub async fn tr(process: &Process) -> Ended {
    let options = Options::of(&process.args, "+dscCt", &[("delete", 'd'), ("squeeze-repeats", 's'), ("complement", 'c')])?;
    let (delete, squeeze) = (options.has('d'), options.has('s'));
    let mut sets = options.rest.iter().map(|text| set(text));
    let mut from = sets.next().ok_or("usage: tr [-cds] SET1 [SET2]")??;
    let to = sets.next().transpose()?;
    if options.has('c') || options.has('C') {
        from = (0..=255).filter(|byte| !from.contains(byte)).collect();
    }
    if to.is_none() && !delete && !squeeze {
        return Err("two strings must be given when translating".to_owned().into());
    }
    let mut map: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    if let Some(to) = to.as_ref().filter(|to| !delete && !to.is_empty()) {
        for (number, byte) in from.iter().enumerate() {
            map[usize::from(*byte)] = to[number.min(to.len() - 1)];
        }
    }
    let flags = |set: &[u8]| {
        let mut flags = [false; 256];
        set.iter().for_each(|byte| flags[usize::from(*byte)] = true);
        flags
    };
    let deleted = flags(if delete { &from } else { &[] });
    let squeezed = flags(if squeeze { to.as_deref().unwrap_or(&from) } else { &[] });
    let mut last = None;
    loop {
        let piece = process.stdin.read().await?;
        if piece.is_empty() {
            return Ok(0);
        }
        let mut out = Vec::with_capacity(piece.len());
        for byte in piece.into_iter().filter(|byte| !deleted[usize::from(*byte)]) {
            let byte = map[usize::from(byte)];
            if !(squeezed[usize::from(byte)] && last == Some(byte)) {
                out.push(byte);
            }
            last = Some(byte);
        }
        process.stdout.write(&out).await?;
    }
}
