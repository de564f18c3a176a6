//! `echo`, `printf`, `yes`.

use crate::process::{Ended, Process};

/// Backslash escapes as bytes, and whether `\c` ended the text. `zero`: octal numbers begin with a zero, as in `echo -e`.
pub fn unescape(text: &str, zero: bool) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let mut buffer = [0; 4];
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        let Some(escape) = chars.next() else {
            out.push(b'\\');
            break;
        };
        let number = |first: u32, radix: u32, most: usize, chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut value = first;
            for _ in 0..most {
                let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
                value = value * radix + digit;
                chars.next();
            }
            value
        };
        match escape {
            'a' => out.push(7),
            'b' => out.push(8),
            'e' | 'E' => out.push(0x1b),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            '\'' | '"' if !zero => out.push(escape as u8),
            'c' => return (out, true),
            'x' => out.push((number(0, 16, 2, &mut chars) & 255) as u8),
            'u' => {
                let c = char::from_u32(number(0, 16, 4, &mut chars)).unwrap_or('\u{fffd}');
                out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            }
            '0' if zero => out.push((number(0, 8, 3, &mut chars) & 255) as u8),
            '0'..='7' if !zero => out.push((number(escape as u32 - 48, 8, 2, &mut chars) & 255) as u8),
            other => {
                out.push(b'\\');
                out.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }
    (out, false)
}

pub async fn echo(process: &Process) -> Ended {
    let mut words = process.args[1..].iter().peekable();
    let (mut newline, mut escapes) = (true, false);
    while let Some(options) =
        words.next_if(|word| word.len() > 1 && word.starts_with('-') && word[1..].chars().all(|c| "neE".contains(c)))
    {
        for option in options[1..].chars() {
            match option {
                'n' => newline = false,
                'e' => escapes = true,
                _ => escapes = false,
            }
        }
    }
    let text = words.cloned().collect::<Vec<_>>().join(" ");
    let mut bytes = if escapes {
        let (bytes, stopped) = unescape(&text, true);
        newline &= !stopped;
        bytes
    } else {
        text.into_bytes()
    };
    if newline {
        bytes.push(b'\n');
    }
    process.stdout.write(&bytes).await?;
    Ok(0)
}

pub async fn printf(process: &Process) -> Ended {
    let mut args = process.args[1..].iter().skip_while(|arg| *arg == "--");
    let Some(format) = args.next() else { return Err("usage: printf FORMAT [ARG]...".to_owned().into()) };
    let mut rest = args.cloned().collect::<std::collections::VecDeque<_>>();
    let (mut out, mut bad) = (Vec::new(), Vec::new());
    loop {
        let before = rest.len();
        let stopped = one_round(format, &mut rest, &mut out, &mut bad);
        if stopped || rest.is_empty() || rest.len() == before {
            break;
        }
    }
    process.stdout.write(&out).await?;
    for text in &bad {
        process.complain(format!("invalid number '{text}'")).await;
    }
    Ok(i32::from(!bad.is_empty()))
}

/// The format once over. Whether `\c` came.
fn one_round(
    format: &str,
    args: &mut std::collections::VecDeque<String>,
    out: &mut Vec<u8>,
    bad: &mut Vec<String>,
) -> bool {
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        // An escape may hold a percent sign only as a number.
        let (bytes, stopped) = unescape(&rest[..at], false);
        out.extend(bytes);
        if stopped {
            return true;
        }
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            out.push(b'%');
            rest = tail;
            continue;
        }
        let length = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let Some(kind) = rest[length..].chars().next() else {
            out.push(b'%');
            continue;
        };
        let mut spec = rest[..length].to_owned();
        while let Some(star) = spec.find('*') {
            spec.replace_range(star..=star, &args.pop_front().unwrap_or_else(|| "0".to_owned()));
        }
        rest = &rest[length + 1..];
        if one(&spec, kind, args.pop_front(), out, bad) {
            return true;
        }
    }
    let (bytes, stopped) = unescape(rest, false);
    out.extend(bytes);
    stopped
}

fn one(spec: &str, kind: char, arg: Option<String>, out: &mut Vec<u8>, bad: &mut Vec<String>) -> bool {
    let flags: &str = &spec[..spec.len() - spec.trim_start_matches(['-', '+', ' ', '#', '0']).len()];
    let (width, precision) = spec[flags.len()..].split_once('.').map_or((&spec[flags.len()..], None), |(width, precision)| {
        (width, Some(precision.parse::<usize>().unwrap_or(0)))
    });
    let (width, left) = (width.parse::<usize>().unwrap_or(0), flags.contains('-'));
    let text = arg.clone().unwrap_or_default();
    let mut stopped = false;
    let body = match kind {
        's' => text.chars().take(precision.unwrap_or(usize::MAX)).collect::<String>().into_bytes(),
        'b' => {
            let (bytes, ended) = unescape(&text, true);
            stopped = ended;
            bytes
        }
        'c' => text.chars().take(1).collect::<String>().into_bytes(),
        'q' => crate::shell::quoted_if_needed(&text).into_bytes(),
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' => {
            let value = whole(&text).unwrap_or_else(|| {
                bad.push(text.clone());
                0
            });
            integer(value, kind, flags, precision).into_bytes()
        }
        'f' | 'F' | 'e' | 'E' | 'g' | 'G' => {
            let value = if text.is_empty() { Some(0.0) } else { text.trim().parse::<f64>().ok() };
            let value = value.unwrap_or_else(|| {
                bad.push(text.clone());
                0.0
            });
            float(value, kind, flags, precision).into_bytes()
        }
        other => format!("%{spec}{other}").into_bytes(),
    };
    let count = String::from_utf8_lossy(&body).chars().count();
    let padding = width.saturating_sub(count);
    let zeros = flags.contains('0') && !left && !matches!(kind, 's' | 'b' | 'c') && precision.is_none_or(|_| "feg".contains(kind));
    if left {
        out.extend(body);
        out.extend(std::iter::repeat_n(b' ', padding));
    } else if zeros {
        let sign = usize::from(body.first().is_some_and(|c| matches!(c, b'-' | b'+')));
        out.extend(&body[..sign]);
        out.extend(std::iter::repeat_n(b'0', padding));
        out.extend(&body[sign..]);
    } else {
        out.extend(std::iter::repeat_n(b' ', padding));
        out.extend(body);
    }
    stopped
}

fn whole(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(c) = text.strip_prefix(['\'', '"']) {
        return c.chars().next().map(|c| i64::from(c as u32));
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text.trim_start_matches('+')), |rest| (true, rest));
    let value = if digits.is_empty() && !negative {
        0
    } else if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(if negative { -value } else { value })
}

fn integer(value: i64, kind: char, flags: &str, precision: Option<usize>) -> String {
    let (sign, digits) = match kind {
        'o' => ("", format!("{}{value:o}", if flags.contains('#') { "0" } else { "" })),
        'x' => ("", format!("{}{value:x}", if flags.contains('#') { "0x" } else { "" })),
        'X' => ("", format!("{}{value:X}", if flags.contains('#') { "0X" } else { "" })),
        'u' => ("", (value as u64).to_string()),
        _ if value < 0 => ("-", value.unsigned_abs().to_string()),
        _ if flags.contains('+') => ("+", value.to_string()),
        _ if flags.contains(' ') => (" ", value.to_string()),
        _ => ("", value.to_string()),
    };
    format!("{sign}{digits:0>width$}", width = precision.unwrap_or(0))
}

fn float(value: f64, kind: char, flags: &str, precision: Option<usize>) -> String {
    let precision = precision.unwrap_or(6);
    let exponential = |value: f64, precision: usize| {
        let text = format!("{value:.precision$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    let text = match kind {
        'e' | 'E' => exponential(value, precision),
        'g' | 'G' => {
            let precision = precision.max(1);
            let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
            let trimmed = |text: String| {
                if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
            };
            if magnitude < -4 || magnitude >= precision as i32 {
                let text = exponential(value, precision - 1);
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
                format!("{}e{exponent}", trimmed(mantissa.to_owned()))
            } else {
                let decimals = usize::try_from(precision as i32 - 1 - magnitude).unwrap_or(0);
                trimmed(format!("{value:.decimals$}"))
            }
        }
        _ => format!("{value:.precision$}"),
    };
    let text = if kind.is_ascii_uppercase() { text.to_uppercase() } else { text };
    if flags.contains('+') && value >= 0.0 { format!("+{text}") } else { text }
}

pub async fn yes(process: &Process) -> Ended {
    let text = if process.args.len() > 1 { process.args[1..].join(" ") } else { "y".to_owned() };
    let lines = format!("{text}\n").repeat((8192 / (text.len() + 1)).max(1));
    loop {
        process.stdout.write(lines.as_bytes()).await?;
    }
}
