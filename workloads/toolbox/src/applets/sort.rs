//! `sort`, `uniq`.

use std::cmp::Ordering;

use super::lines::operands;
use crate::io::Output;
use crate::process::{Ended, Options, Process, why};

#[derive(Clone, Copy, Default)]
struct Way {
    numeric: bool,
    human: bool,
    version: bool,
    fold: bool,
    reverse: bool,
    blanks: bool,
    dictionary: bool,
}

impl Way {
    fn add(&mut self, letters: &str) {
        for letter in letters.chars() {
            match letter {
                'n' | 'g' => self.numeric = true,
                'h' => self.human = true,
                'V' => self.version = true,
                'f' => self.fold = true,
                'r' => self.reverse = true,
                'b' => self.blanks = true,
                'd' => self.dictionary = true,
                _ => {}
            }
        }
    }

    fn compare(self, left: &str, right: &str) -> Ordering {
        let (left, right) = if self.blanks || self.numeric { (left.trim_start(), right.trim_start()) } else { (left, right) };
        let order = if self.numeric || self.human {
            let (a, b) = (amount(left, self.human), amount(right, self.human));
            a.partial_cmp(&b).unwrap_or(Ordering::Equal)
        } else if self.version {
            by_version(left, right)
        } else if self.fold {
            left.to_uppercase().cmp(&right.to_uppercase())
        } else if self.dictionary {
            let plain = |text: &str| text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).collect::<String>();
            plain(left).cmp(&plain(right))
        } else {
            left.as_bytes().cmp(right.as_bytes())
        };
        if self.reverse { order.reverse() } else { order }
    }
}

fn amount(text: &str, human: bool) -> f64 {
    let text = text.trim_start();
    let length = text.char_indices().take_while(|(at, c)| c.is_ascii_digit() || *c == '.' || (*at == 0 && *c == '-')).count();
    let value: f64 = text[..length].parse().unwrap_or(0.0);
    let factor = match text[length..].chars().next().filter(|_| human) {
        Some('k' | 'K') => 1e3,
        Some('M') => 1e6,
        Some('G') => 1e9,
        Some('T') => 1e12,
        _ => 1.0,
    };
    value * factor
}

fn by_version(left: &str, right: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(String, u64)> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let at = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let (words, tail) = rest.split_at(at);
            let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            parts.push((words.to_owned(), tail[..end].parse().unwrap_or(0)));
            rest = &tail[end..];
        }
        parts
    };
    parts(left).cmp(&parts(right))
}

struct Key {
    from: (usize, usize),
    to: Option<(usize, usize)>,
    way: Option<Way>,
}

fn key(text: &str) -> Result<Key, String> {
    let mut way = None;
    let mut place = |text: &str| -> Result<(usize, usize), String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        if digits.len() < text.len() {
            way.get_or_insert_with(Way::default).add(&text[digits.len()..]);
        }
        let (field, column) = digits.split_once('.').unwrap_or((digits, "0"));
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("bad field specification '{text}'"));
        Ok((number(field)?.max(1), number(column)?))
    };
    let (from, to) = text.split_once(',').map_or((text, None), |(from, to)| (from, Some(to)));
    let (from, to) = (place(from)?, to.map(&mut place).transpose()?);
    Ok(Key { from, to, way })
}

/// Where fields begin and end in a line.
fn fields(line: &str, separator: Option<char>) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    if let Some(separator) = separator {
        let mut at = 0;
        for part in line.split(separator) {
            found.push((at, at + part.len()));
            at += part.len() + separator.len_utf8();
        }
        return found;
    }
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        let word = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let end = rest[word..].find(char::is_whitespace).map_or(line.len(), |by| at + word + by);
        found.push((at, end));
        at = end;
    }
    found
}

fn selected<'a>(line: &'a str, key: &Key, separator: Option<char>) -> &'a str {
    let fields = fields(line, separator);
    let Some((start, _)) = fields.get(key.from.0 - 1) else { return "" };
    let from = start + key.from.1.saturating_sub(1);
    let to = match key.to {
        None => line.len(),
        Some((field, 0)) => fields.get(field - 1).map_or(line.len(), |(_, end)| *end),
        Some((field, column)) => fields.get(field - 1).map_or(line.len(), |(start, end)| (start + column).min(*end)),
    };
    line.get(from..to.max(from)).unwrap_or_default()
}

pub async fn sort(process: &Process) -> Ended {
    let long = [("reverse", 'r'), ("numeric-sort", 'n'), ("unique", 'u'), ("key", 'k'), ("field-separator", 't'), ("output", 'o'), ("check", 'c'), ("version-sort", 'V'), ("human-numeric-sort", 'h')];
    let options = Options::of(&process.args, "rnughfVbdsmcz k:t:o:", &long)?;
    let mut way = Way::default();
    "nghVfrbd".chars().filter(|letter| options.has(*letter)).for_each(|letter| way.add(&letter.to_string()));
    let keys = options.values('k').map(key).collect::<Result<Vec<_>, _>>()?;
    let separator = options.value('t').and_then(|text| text.chars().next());
    let mut lines = Vec::new();
    for path in operands(&options) {
        let bytes = process.open(&path)?.all().await?;
        lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
    }
    let by_keys = |left: &String, right: &String| {
        if keys.is_empty() {
            return way.compare(left, right);
        }
        let each = keys.iter().map(|key| {
            let how = key.way.unwrap_or(way);
            how.compare(selected(left, key, separator), selected(right, key, separator))
        });
        each.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    let whole = |left: &String, right: &String| {
        let order = left.as_bytes().cmp(right.as_bytes());
        if way.reverse { order.reverse() } else { order }
    };
    let stable = options.has('s') || options.has('u');
    let compare = |left: &String, right: &String| {
        let order = by_keys(left, right);
        if stable { order } else { order.then_with(|| whole(left, right)) }
    };
    if options.has('c') {
        return Ok(i32::from(lines.windows(2).any(|pair| by_keys(&pair[0], &pair[1]).is_gt())));
    }
    lines.sort_by(compare);
    if options.has('u') {
        lines.dedup_by(|left, right| by_keys(left, right).is_eq());
    }
    let target = match options.value('o') {
        Some(path) => {
            let file = std::fs::File::create(process.path(path)).map_err(|error| format!("{path}: {}", why(&error)))?;
            Output::file(file)
        }
        None => process.stdout.clone(),
    };
    let mut out = crate::io::Out::new(&target);
    for line in &lines {
        out.line(line).await?;
    }
    out.flush().await?;
    Ok(0)
}

pub async fn uniq(process: &Process) -> Ended {
    let options = Options::of(&process.args, "cduif:s:w:", &[("count", 'c'), ("repeated", 'd'), ("unique", 'u'), ("ignore-case", 'i')])?;
    let input = process.open(options.rest.first().map_or("-", String::as_str))?;
    let number = |flag| options.number(flag).map(|value| usize::try_from(value.unwrap_or(0)).unwrap_or(0));
    let (skipped, chars, width) = (number('f')?, number('s')?, number('w')?);
    let key = |line: &str| {
        let from = fields(line, None).get(skipped).map_or(line.len(), |(start, _)| if skipped > 0 { *start } else { 0 });
        let rest = line[from.min(line.len())..].chars().skip(chars);
        let text: String = if width > 0 { rest.take(width).collect() } else { rest.collect() };
        if options.has('i') { text.to_lowercase() } else { text }
    };
    let mut out = process.out();
    let mut group: Option<(String, usize)> = None;
    loop {
        let line = out.next_line(&input).await?;
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if !line.is_empty()
            && let Some((first, count)) = &mut group
            && key(first) == key(text)
        {
            *count += 1;
            continue;
        }
        let shown = group.take().filter(|(_, count)| {
            (!options.has('d') || *count > 1) && (!options.has('u') || *count == 1)
        });
        if let Some((first, count)) = shown {
            let prefix = if options.has('c') { format!("{count:7} ") } else { String::new() };
            out.line(&format!("{prefix}{first}")).await?;
        }
        if line.is_empty() {
            break;
        }
        group = Some((text.to_owned(), 1));
    }
    out.flush().await?;
    Ok(0)
}
