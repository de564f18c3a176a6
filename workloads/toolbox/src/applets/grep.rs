//! `grep`, `egrep`, `fgrep`; and POSIX' basic patterns as the crate `regex` wants them.

use regex::bytes::{Regex, RegexBuilder};

use crate::io::Input;
use crate::process::{Ended, Fail, Options, Process, why};

/// A basic regular expression in the extended form.
pub fn from_basic(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let mut begins = true;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('(' | ')' | '{' | '}' | '|' | '+' | '?')) => {
                    out.push(c);
                    begins = matches!(c, '(' | '|');
                    continue;
                }
                Some('<' | '>') => out.push_str("\\b"),
                Some(c) => out.extend(['\\', c]),
                None => out.push_str("\\\\"),
            },
            '(' | ')' | '{' | '}' | '|' | '+' | '?' => out.extend(['\\', c]),
            '*' if begins => out.push_str("\\*"),
            '^' if !begins => out.push_str("\\^"),
            '$' if chars.peek().is_some_and(|next| *next != '\\') => out.push_str("\\$"),
            '[' => out.push_str(&bracket(&mut chars)),
            c => out.push(c),
        }
        begins = c == '^' && begins;
    }
    out
}

/// An extended one: only brackets and words differ from the crate's.
pub fn from_extended(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('<' | '>') => out.push_str("\\b"),
                Some(c) => out.extend(['\\', c]),
                None => out.push_str("\\\\"),
            },
            '[' => out.push_str(&bracket(&mut chars)),
            '{' if !chars.peek().is_some_and(char::is_ascii_digit) => out.push_str("\\{"),
            c => out.push(c),
        }
    }
    out
}

/// A bracket expression: a backslash in it is a character like others.
fn bracket(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut out = String::from("[");
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            ']' if !first => {
                out.push(']');
                return out;
            }
            '[' if matches!(chars.peek(), Some(':' | '.' | '=')) => {
                out.push('[');
                while let Some(c) = chars.next() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '\\' => match chars.peek() {
                // As GNU's and busybox' do, in spite of the letter of POSIX.
                Some('n' | 't' | ']' | '\\' | 'd' | 'w' | 's') => {
                    out.push('\\');
                    out.extend(chars.next());
                }
                _ => out.push_str("\\\\"),
            },
            '[' | ']' | '&' | '~' => out.extend(['\\', c]),
            c => out.push(c),
        }
        first = false;
    }
    out
}

pub fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, Fail> {
    let built = RegexBuilder::new(pattern).unicode(false).case_insensitive(ignore_case).multi_line(true).build();
    // Text that is not ASCII in classes needs Unicode.
    let built = built.or_else(|_| RegexBuilder::new(pattern).case_insensitive(ignore_case).multi_line(true).build());
    built.map_err(|error| Fail::Said(2, format!("bad regex '{pattern}': {error}")))
}

struct Search<'a> {
    process: &'a Process,
    options: &'a Options,
    regex: Regex,
    names: bool,
    before: usize,
    after: usize,
    most: usize,
}

pub async fn grep(process: &Process) -> Ended {
    let long = [("extended-regexp", 'E'), ("fixed-strings", 'F'), ("ignore-case", 'i'), ("invert-match", 'v'), ("count", 'c'), ("line-number", 'n'), ("quiet", 'q'), ("silent", 'q'), ("recursive", 'r'), ("files-with-matches", 'l'), ("only-matching", 'o'), ("word-regexp", 'w'), ("line-regexp", 'x'), ("regexp", 'e'), ("max-count", 'm'), ("no-filename", 'h'), ("with-filename", 'H'), ("no-messages", 's'), ("perl-regexp", 'P'), ("text", 'a'), ("line-buffered", 'u'), ("color", 'z'), ("colour", 'z'), ("after-context", 'A'), ("before-context", 'B'), ("context", 'C')];
    let options = Options::of(&process.args, "EFGPivcnqrRlLowxe:f:m:hHsauzA:B:C:", &long).map_err(|why| Fail::Said(2, why))?;
    let mut rest = options.rest.clone();
    let mut patterns: Vec<String> = options.values('e').map(str::to_owned).collect();
    for path in options.values('f') {
        let bytes = process.open(path).map_err(|why| Fail::Said(2, why))?.all().await?;
        patterns.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
    }
    if options.value('e').is_none() && options.value('f').is_none() {
        if rest.is_empty() {
            return Err(Fail::Said(2, "usage: grep [-EFivcnqrlowx] PATTERN [FILE]...".to_owned()));
        }
        patterns = rest.remove(0).split('\n').map(str::to_owned).collect();
    }
    let fixed = options.has('F') || process.name() == "fgrep";
    let extended = options.has('E') || options.has('P') || process.name() == "egrep";
    let form = |text: &String| match (fixed, extended) {
        (true, _) => regex::escape(text),
        (_, true) => from_extended(text),
        _ => from_basic(text),
    };
    let mut pattern = patterns.iter().map(|text| format!("(?:{})", form(text))).collect::<Vec<_>>().join("|");
    if patterns.is_empty() {
        pattern = "[^\\x00-\\xff]".to_owned();
    }
    if options.has('x') {
        pattern = format!("^(?:{pattern})$");
    } else if options.has('w') {
        pattern = format!("\\b(?:{pattern})\\b");
    }
    let number = |flag| options.number(flag).map(|value| value.map(|value| usize::try_from(value).unwrap_or(usize::MAX)));
    let context = number('C')?;
    let recursive = options.has('r') || options.has('R');
    if recursive && rest.is_empty() {
        rest.push(".".to_owned());
    }
    let mut search = Search {
        process,
        regex: compile(&pattern, options.has('i'))?,
        names: (rest.len() > 1 || recursive || options.has('H')) && !options.has('h'),
        before: number('B')?.or(context).unwrap_or(0),
        after: number('A')?.or(context).unwrap_or(0),
        most: number('m')?.unwrap_or(usize::MAX),
        options: &options,
    };
    if rest.is_empty() {
        rest.push("-".to_owned());
    }
    let (mut found, mut failed) = (false, false);
    let mut waiting: std::collections::VecDeque<String> = rest.into();
    while let Some(path) = waiting.pop_front() {
        if path != "-" && std::fs::metadata(process.path(&path)).is_ok_and(|metadata| metadata.is_dir()) {
            if recursive {
                let mut names = super::list::names(&process.path(&path)).unwrap_or_default();
                names.sort();
                for name in names.into_iter().rev() {
                    waiting.push_front(format!("{}/{name}", path.trim_end_matches('/')));
                }
            } else if !options.has('s') {
                process.complain(format!("{path}: Is a directory")).await;
            }
            continue;
        }
        let input = match open(process, &path) {
            Ok(input) => input,
            Err(words) => {
                if !options.has('s') {
                    process.complain(words).await;
                }
                failed = true;
                continue;
            }
        };
        found |= search.file(&path, &input).await?;
        if found && options.has('q') {
            return Ok(0);
        }
    }
    Ok(if failed { 2 } else { i32::from(!found) })
}

fn open(process: &Process, path: &str) -> Result<Input, String> {
    if path == "-" {
        return Ok(process.stdin.clone());
    }
    crate::process::open_input(&process.path(path), &process.stdin).map_err(|error| format!("{path}: {}", why(&error)))
}

impl Search<'_> {
    async fn file(&mut self, path: &str, input: &Input) -> Result<bool, Fail> {
        let options = self.options;
        let shown = if path == "-" { "(standard input)" } else { path };
        let prefix = |number: usize, mark: char| {
            let mut prefix = String::new();
            if self.names {
                prefix = format!("{shown}{mark}");
            }
            if options.has('n') {
                prefix.push_str(&format!("{number}{mark}"));
            }
            prefix
        };
        let quiet = options.has('q') || options.has('l') || options.has('L') || options.has('c');
        let mut out = self.process.out();
        let (mut count, mut number, mut after, mut told) = (0_usize, 0_usize, 0_usize, 0_usize);
        let mut before = std::collections::VecDeque::new();
        while count < self.most || after > 0 {
            let line = out.next_line(input).await?;
            if line.is_empty() {
                break;
            }
            number += 1;
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            if count >= self.most || self.regex.is_match(text) == options.has('v') {
                if after > 0 && !quiet {
                    after -= 1;
                    told = number;
                    out.put(prefix(number, '-').as_bytes()).await?;
                    out.put(text).await?;
                    out.put(b"\n").await?;
                } else if self.before > 0 {
                    before.push_back((number, text.to_vec()));
                    if before.len() > self.before {
                        before.pop_front();
                    }
                }
                continue;
            }
            count += 1;
            if options.has('q') || options.has('l') || options.has('L') {
                break;
            }
            if quiet {
                continue;
            }
            if options.has('o') {
                for found in self.regex.find_iter(text).filter(|found| !found.is_empty()) {
                    out.put(prefix(number, ':').as_bytes()).await?;
                    out.put(found.as_bytes()).await?;
                    out.put(b"\n").await?;
                }
                continue;
            }
            let first = before.front().map_or(number, |(number, _)| *number);
            if (self.before > 0 || self.after > 0) && told > 0 && first > told + 1 {
                out.line("--").await?;
            }
            for (number, text) in before.drain(..) {
                out.put(prefix(number, '-').as_bytes()).await?;
                out.put(&text).await?;
                out.put(b"\n").await?;
            }
            out.put(prefix(number, ':').as_bytes()).await?;
            out.put(text).await?;
            out.put(b"\n").await?;
            (told, after) = (number, self.after);
        }
        if options.has('c') {
            let name = if self.names { format!("{shown}:") } else { String::new() };
            out.line(&format!("{name}{count}")).await?;
        } else if (options.has('l') && count > 0) || (options.has('L') && count == 0) {
            out.line(shown).await?;
        }
        out.flush().await?;
        Ok(count > 0)
    }
}
