//! Writing: keys sorted, lists at the indentation of their key, quotes only where a reader needs them.

use std::fmt::Write as _;

use serde_json::Value;

/// `value` as kubectl prints it, with a line feed at its end.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    node(&mut out, value, 0, Lead::Line);
    out
}

/// What stands before a value.
#[derive(Clone, Copy, PartialEq)]
enum Lead {
    /// The start of a line, or `- `.
    Line,
    /// `key:`
    Key,
}

fn node(out: &mut String, value: &Value, indent: usize, lead: Lead) {
    let space = if lead == Lead::Key { " " } else { "" };
    match value {
        Value::Object(fields) if fields.is_empty() => _ = writeln!(out, "{space}{{}}"),
        Value::Array(items) if items.is_empty() => _ = writeln!(out, "{space}[]"),
        Value::Object(fields) => {
            if lead == Lead::Key {
                out.push('\n');
            }
            for (number, (name, inner)) in fields.iter().enumerate() {
                if number > 0 || lead == Lead::Key {
                    pad(out, indent);
                }
                _ = write!(out, "{}:", key(name));
                let deeper = if inner.is_array() { indent } else { indent + 2 };
                node(out, inner, deeper, Lead::Key);
            }
        }
        Value::Array(items) => {
            if lead == Lead::Key {
                out.push('\n');
            }
            for (number, item) in items.iter().enumerate() {
                if number > 0 || lead == Lead::Key {
                    pad(out, indent);
                }
                out.push_str("- ");
                node(out, item, indent + 2, Lead::Line);
            }
        }
        Value::String(text) if block(text) => {
            out.push_str(space);
            literal(out, text, indent);
        }
        Value::String(text) => _ = writeln!(out, "{space}{}", scalar(text)),
        other => _ = writeln!(out, "{space}{other}"),
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn key(name: &str) -> String {
    if name.contains('\n') { double(name) } else { scalar(name) }
}

/// Whether a text of several lines may be written as `|`.
fn block(text: &str) -> bool {
    text.contains('\n')
        && text.trim_matches('\n').contains(|letter: char| !letter.is_whitespace())
        && !text.ends_with(' ')
        && !text.contains(" \n")
        && !text.chars().any(|letter| special(letter) && letter != '\n')
}

fn special(letter: char) -> bool {
    letter.is_control() && letter != '\t' || matches!(letter, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{85}')
}

fn literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with([' ', '\n', '\t']) {
        out.push('2');
    }
    if !text.ends_with('\n') {
        out.push('-');
    } else if text.ends_with("\n\n") {
        out.push('+');
    }
    out.push('\n');
    // Deeper than what surrounds it; the root is surrounded by nothing.
    let indent = indent.max(2);
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// A text of one line: plain, in single quotes, or in double quotes.
fn scalar(text: &str) -> String {
    if text.is_empty() || text.chars().any(|letter| special(letter) || letter == '\n') || means_something(text) {
        double(text)
    } else if plain(text) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Whether a reader of YAML 1.1 would take it for something else than text.
fn means_something(text: &str) -> bool {
    const WORDS: [&str; 18] = [
        "y", "yes", "n", "no", "on", "off", "true", "false", "null", "~", ".inf", "+.inf", "-.inf", ".nan", "<<", "=",
        "---", "...",
    ];
    let lower = text.to_ascii_lowercase();
    WORDS.contains(&lower.as_str()) || number(text) || date(text)
}

fn number(text: &str) -> bool {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text).replace('_', "");
    let radix = |prefix: &str, base| {
        bare.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(base)))
    };
    let starts = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    radix("0x", 16) || radix("0o", 8) || radix("0b", 2) || starts && bare.parse::<f64>().is_ok()
}

fn date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    (0..4).all(digit) && bytes.get(4) == Some(&b'-') && digit(5) && text.matches('-').count() >= 2
}

fn plain(text: &str) -> bool {
    let mut letters = text.chars();
    let (first, second) = (letters.next().unwrap_or(' '), letters.next());
    let indicator = ",[]{}#&*!|>'\"%@`".contains(first);
    let dash = "-?:".contains(first) && second.is_none_or(|next| next == ' ');
    !indicator
        && !dash
        && !text.starts_with("---")
        && !text.starts_with("...")
        && !text.starts_with([' ', '\t'])
        && !text.ends_with([' ', '\t', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains('\t')
}

fn double(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            other if special(other) => match u32::from(other) {
                code @ 0..=0xff => _ = write!(out, "\\x{code:02x}"),
                code => _ = write!(out, "\\u{code:04x}"),
            },
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
