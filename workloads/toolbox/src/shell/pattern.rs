//! Patterns: `*`, `?`, `[…]`, where quoted characters stand for themselves.

use std::fs;

use crate::process::absolute;

/// A character, and whether it was quoted.
pub type Marked = (char, bool);

pub fn plain(text: &str) -> Vec<Marked> {
    text.chars().map(|c| (c, false)).collect()
}

pub fn text(marked: &[Marked]) -> String {
    marked.iter().map(|(c, _)| *c).collect()
}

pub fn is_pattern(marked: &[Marked]) -> bool {
    let is = |wanted: char| marked.iter().position(|(c, quoted)| !quoted && *c == wanted);
    // `[` alone is a command, and a frequent one.
    let class = is('[').is_some_and(|at| marked[at + 1..].iter().any(|(c, _)| *c == ']'));
    class || is('*').is_some() || is('?').is_some()
}

/// Whether the whole text fits.
pub fn matches(pattern: &[Marked], text: &[char]) -> bool {
    // Where to go on when something does not fit: behind the last `*`, one character further.
    let (mut p, mut t, mut again) = (0, 0, None);
    loop {
        let step = match pattern.get(p) {
            Some(('*', false)) => {
                again = Some((p + 1, t));
                p += 1;
                continue;
            }
            None if t == text.len() => return true,
            None => None,
            Some(_) => text.get(t).and_then(|c| one(&pattern[p..], *c)),
        };
        match (step, again) {
            (Some(width), _) => {
                p += width;
                t += 1;
            }
            (None, Some((from, at))) if at < text.len() => {
                again = Some((from, at + 1));
                p = from;
                t = at + 1;
            }
            _ => return false,
        }
    }
}

/// How much of the pattern fits one character.
fn one(pattern: &[Marked], c: char) -> Option<usize> {
    match pattern[0] {
        ('?', false) => Some(1),
        ('[', false) => match class(pattern, c) {
            Some((true, width)) => Some(width),
            Some((false, _)) => None,
            None => (c == '[').then_some(1),
        },
        ('\\', false) if pattern.len() > 1 => (pattern[1].0 == c).then_some(2),
        (wanted, _) => (wanted == c).then_some(1),
    }
}

/// Whether a class holds the character, and how long it is; nothing when it has no end.
fn class(pattern: &[Marked], c: char) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(('!' | '^', false)));
    at += usize::from(negated);
    let (began, mut found) = (at, false);
    loop {
        let (low, quoted) = *pattern.get(at)?;
        if low == ']' && !quoted && at > began {
            return Some((found != negated, at + 1));
        }
        if low == '[' && !quoted && pattern.get(at + 1).is_some_and(|(next, _)| *next == ':') {
            let name: String = pattern[at + 2..].iter().map(|(c, _)| *c).take_while(|c| *c != ':').collect();
            if pattern.get(at + name.len() + 3).is_some_and(|(end, _)| *end == ']') {
                found |= named(&name, c);
                at += name.len() + 4;
                continue;
            }
        }
        let range = pattern.get(at + 1).is_some_and(|(dash, quoted)| *dash == '-' && !quoted);
        match pattern.get(at + 2).filter(|(high, quoted)| range && (*high != ']' || *quoted)) {
            Some((high, _)) => {
                found |= (low..=*high).contains(&c);
                at += 3;
            }
            None => {
                found |= low == c;
                at += 1;
            }
        }
    }
}

/// `[:alpha:]` and the like.
pub fn named(name: &str, c: char) -> bool {
    match name {
        "alpha" => c.is_ascii_alphabetic(),
        "digit" => c.is_ascii_digit(),
        "alnum" => c.is_ascii_alphanumeric(),
        "upper" => c.is_ascii_uppercase(),
        "lower" => c.is_ascii_lowercase(),
        "space" => c.is_ascii_whitespace() || c == '\x0b',
        "blank" => c == ' ' || c == '\t',
        "punct" => c.is_ascii_punctuation(),
        "xdigit" => c.is_ascii_hexdigit(),
        "cntrl" => c.is_ascii_control(),
        "print" => (' '..='~').contains(&c),
        "graph" => c.is_ascii_graphic(),
        _ => false,
    }
}

/// What is left of `text` without what the pattern fits at its beginning or end.
pub fn trim(text: &str, pattern: &[Marked], suffix: bool, longest: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let count = chars.len();
    let fits = |cut: usize| {
        let part = if suffix { &chars[count - cut..] } else { &chars[..cut] };
        matches(pattern, part)
    };
    let cut = if longest { (0..=count).rev().find(|cut| fits(*cut)) } else { (0..=count).find(|cut| fits(*cut)) };
    let Some(cut) = cut else { return text.to_owned() };
    if suffix { chars[..count - cut].iter().collect() } else { chars[cut..].iter().collect() }
}

/// `text` with what the pattern fits replaced.
pub fn replace(text: &str, pattern: &[Marked], by: &str, all: bool) -> String {
    let (anchor, pattern) = match pattern.first() {
        Some((c @ ('#' | '%'), false)) if !all => (Some(*c), &pattern[1..]),
        _ => (None, pattern),
    };
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut at) = (String::new(), 0);
    while at < chars.len() {
        let found = (at + 1..=chars.len())
            .rev()
            .find(|end| (anchor != Some('%') || *end == chars.len()) && matches(pattern, &chars[at..*end]));
        let Some(end) = found.filter(|_| anchor != Some('#') || at == 0) else {
            out.push(chars[at]);
            at += 1;
            continue;
        };
        out.push_str(by);
        at = end;
        if !all {
            break;
        }
    }
    out.extend(&chars[at..]);
    out
}

/// The paths that fit, in order; none when none does.
pub fn paths(cwd: &str, pattern: &[Marked]) -> Vec<String> {
    let rooted = pattern.first().is_some_and(|(c, _)| *c == '/');
    let parts: Vec<&[Marked]> = pattern.split(|(c, _)| *c == '/').filter(|part| !part.is_empty()).collect();
    let folder = pattern.last().is_some_and(|(c, _)| *c == '/');
    let mut found = vec![if rooted { "/".to_owned() } else { String::new() }];
    for (number, part) in parts.iter().enumerate() {
        let last = number + 1 == parts.len();
        found = found.iter().flat_map(|base| step(cwd, base, part, !last || folder)).collect();
    }
    if folder {
        found.iter_mut().for_each(|path| path.push('/'));
    }
    found.sort();
    found
}

/// The paths one level below.
fn step(cwd: &str, base: &str, part: &[Marked], must_be_folder: bool) -> Vec<String> {
    let joined = |name: &str| match base {
        "" => name.to_owned(),
        base if base.ends_with('/') => format!("{base}{name}"),
        base => format!("{base}/{name}"),
    };
    let is_folder = |path: &str| fs::metadata(absolute(cwd, path)).is_ok_and(|found| found.is_dir());
    if !is_pattern(part) {
        let path = joined(&text(part));
        let fits = if must_be_folder { is_folder(&path) } else { fs::symlink_metadata(absolute(cwd, &path)).is_ok() };
        return if fits { vec![path] } else { Vec::new() };
    }
    let Ok(entries) = fs::read_dir(absolute(cwd, base)) else { return Vec::new() };
    let hidden = part[0].0 == '.';
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| hidden || !name.starts_with('.'))
        .filter(|name| matches(part, &name.chars().collect::<Vec<_>>()))
        .map(|name| joined(&name))
        .filter(|path| !must_be_folder || is_folder(path))
        .collect()
}
