//! What a script of `sed` says.

use std::collections::HashMap;

use regex::bytes::{Captures, Regex};

use super::super::grep;
use crate::process::Fail;

#[derive(Debug)]
pub enum Address {
    Line(usize),
    Last,
    /// `first~step`
    Step(usize, usize),
    /// Without one: the last that was used.
    Pattern(Option<Regex>),
    /// `addr,+N`
    Plus(usize),
}

#[derive(Debug)]
pub struct Step {
    pub from: Option<Address>,
    pub to: Option<Address>,
    pub negated: bool,
    pub command: Command,
}

#[derive(Debug)]
pub enum Command {
    /// With the place of its end.
    Begin(usize),
    End,
    Label,
    Substitute(Box<Substitute>),
    Print,
    PrintFirst,
    Delete,
    DeleteFirst,
    Quit(i32, bool),
    Next,
    NextAppended,
    Hold(bool),
    Get(bool),
    Exchange,
    Insert(Vec<u8>),
    Append(Vec<u8>),
    Change(Vec<u8>),
    Translate(Box<[u8; 256]>),
    Number,
    Read(String),
    Write(String),
    /// Where to, and whether only after a substitution.
    Branch(usize, bool),
}

#[derive(Debug)]
pub struct Substitute {
    regex: Option<Regex>,
    by: Vec<Part>,
    all: bool,
    nth: usize,
    pub print: bool,
    pub file: Option<String>,
}

#[derive(Debug)]
enum Part {
    Text(Vec<u8>),
    Group(usize),
    /// `\U`, `\L`, `\E`
    Case(char),
}

impl Substitute {
    /// What the text becomes; nothing when nothing fits.
    pub fn apply(&self, text: &[u8], last: &mut Option<Regex>) -> Option<Vec<u8>> {
        let regex = match &self.regex {
            Some(regex) => {
                *last = Some(regex.clone());
                regex.clone()
            }
            None => last.clone()?,
        };
        let (mut out, mut from, mut changed) = (Vec::new(), 0, false);
        for (number, found) in regex.captures_iter(text).enumerate() {
            if number + 1 < self.nth {
                continue;
            }
            let Some(whole) = found.get(0) else { continue };
            out.extend_from_slice(&text[from..whole.start()]);
            self.put(&found, &mut out);
            from = whole.end();
            changed = true;
            if !self.all {
                break;
            }
        }
        out.extend_from_slice(&text[from..]);
        changed.then_some(out)
    }

    fn put(&self, found: &Captures<'_>, out: &mut Vec<u8>) {
        let mut case = 'E';
        for part in &self.by {
            let bytes = match part {
                Part::Text(text) => text.as_slice(),
                Part::Group(number) => found.get(*number).map_or(&[][..], |group| group.as_bytes()),
                Part::Case(to) => {
                    case = *to;
                    continue;
                }
            };
            match case {
                'U' => out.extend(bytes.to_ascii_uppercase()),
                'L' => out.extend(bytes.to_ascii_lowercase()),
                _ => out.extend_from_slice(bytes),
            }
        }
    }
}

struct Reader {
    text: Vec<char>,
    at: usize,
    extended: bool,
}

fn wrong(why: &str) -> Fail {
    Fail::Said(1, why.to_owned())
}

pub fn parse(text: &str, extended: bool) -> Result<Vec<Step>, Fail> {
    let mut reader = Reader { text: text.chars().collect(), at: 0, extended };
    let (mut steps, mut open, mut labels, mut jumps) = (Vec::new(), Vec::new(), HashMap::new(), Vec::new());
    loop {
        while reader.peek().is_some_and(|c| c.is_whitespace() || c == ';') {
            reader.at += 1;
        }
        let Some(first) = reader.peek() else { break };
        if first == '#' {
            reader.to_line_end();
            continue;
        }
        let from = reader.address()?;
        let mut to = None;
        if from.is_some() && reader.eat(',') {
            to = reader.address()?;
            if to.is_none() {
                return Err(wrong("unexpected ','"));
            }
        }
        reader.blanks();
        let mut negated = false;
        while reader.eat('!') {
            negated = true;
            reader.blanks();
        }
        let name = reader.next().ok_or_else(|| wrong("missing command"))?;
        let command = match name {
            '{' => {
                open.push(steps.len());
                Command::Begin(0)
            }
            '}' => {
                let begin: usize = open.pop().ok_or_else(|| wrong("unexpected '}'"))?;
                let end = steps.len();
                if let Some(Step { command: Command::Begin(place), .. }) = steps.get_mut(begin) {
                    *place = end;
                }
                Command::End
            }
            ':' => {
                labels.insert(reader.word(), steps.len());
                Command::Label
            }
            'b' | 't' => {
                jumps.push((steps.len(), reader.word()));
                Command::Branch(0, name == 't')
            }
            name => reader.command(name)?,
        };
        steps.push(Step { from, to, negated, command });
    }
    if !open.is_empty() {
        return Err(wrong("unmatched '{'"));
    }
    let count = steps.len();
    for (at, label) in jumps {
        let target = if label.is_empty() { Some(count) } else { labels.get(&label).copied() };
        let target = target.ok_or_else(|| Fail::Said(1, format!("can't find label for jump to '{label}'")))?;
        if let Command::Branch(place, _) = &mut steps[at].command {
            *place = target;
        }
    }
    Ok(steps)
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.at += 1;
        }
    }

    fn to_line_end(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.next().filter(|c| *c != '\n') {
            text.push(c);
        }
        text
    }

    /// A label: up to a blank, a semicolon or a brace.
    fn word(&mut self) -> String {
        self.blanks();
        let mut text = String::new();
        while let Some(c) = self.peek().filter(|c| !c.is_whitespace() && !";}".contains(*c)) {
            text.push(c);
            self.at += 1;
        }
        text
    }

    fn number(&mut self) -> Option<usize> {
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        digits.parse().ok()
    }

    fn address(&mut self) -> Result<Option<Address>, Fail> {
        self.blanks();
        Ok(match self.peek() {
            Some('$') => {
                self.at += 1;
                Some(Address::Last)
            }
            Some('+') => {
                self.at += 1;
                Some(Address::Plus(self.number().unwrap_or(0)))
            }
            Some('0'..='9') => {
                let number = self.number().unwrap_or(0);
                Some(if self.eat('~') { Address::Step(number, self.number().unwrap_or(0)) } else { Address::Line(number) })
            }
            Some(c @ ('/' | '\\')) => {
                self.at += 1;
                let delimiter = if c == '/' { '/' } else { self.next().ok_or_else(|| wrong("missing delimiter"))? };
                let pattern = self.until(delimiter)?;
                let ignore_case = self.eat('I');
                Some(Address::Pattern(self.regex(&pattern, ignore_case)?))
            }
            _ => None,
        })
    }

    fn regex(&self, pattern: &str, ignore_case: bool) -> Result<Option<Regex>, Fail> {
        if pattern.is_empty() {
            return Ok(None);
        }
        let pattern = if self.extended { grep::from_extended(pattern) } else { grep::from_basic(pattern) };
        // Not in the middle of several lines: `^` and `$` mean the pattern space's own.
        let pattern = format!("(?-m:{pattern})");
        grep::compile(&pattern, ignore_case).map(Some)
    }

    /// The text up to a delimiter; an escaped one stands for itself.
    fn until(&mut self, delimiter: char) -> Result<String, Fail> {
        let (mut text, mut bracket) = (String::new(), false);
        loop {
            match self.next().ok_or_else(|| wrong("unterminated pattern"))? {
                '\\' => match self.next().ok_or_else(|| wrong("unterminated pattern"))? {
                    c if c == delimiter && !bracket => text.push(c),
                    'n' => text.push_str("\\n"),
                    c => text.extend(['\\', c]),
                },
                c if c == delimiter && !bracket => return Ok(text),
                c => {
                    bracket = match c {
                        '[' if !bracket => true,
                        ']' if bracket && !text.ends_with('[') && !text.ends_with("[^") => false,
                        _ => bracket,
                    };
                    text.push(c);
                }
            }
        }
    }

    fn command(&mut self, name: char) -> Result<Command, Fail> {
        Ok(match name {
            's' => self.substitute()?,
            'y' => self.translate()?,
            'p' => Command::Print,
            'P' => Command::PrintFirst,
            'd' => Command::Delete,
            'D' => Command::DeleteFirst,
            'q' | 'Q' => {
                self.blanks();
                let code = self.number().and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
                Command::Quit(code, name == 'q')
            }
            'n' => Command::Next,
            'N' => Command::NextAppended,
            'h' | 'H' => Command::Hold(name == 'H'),
            'g' | 'G' => Command::Get(name == 'G'),
            'x' => Command::Exchange,
            '=' => Command::Number,
            'i' => Command::Insert(self.text()),
            'a' => Command::Append(self.text()),
            'c' => Command::Change(self.text()),
            'r' | 'w' => {
                self.blanks();
                let path = self.to_line_end();
                if name == 'r' { Command::Read(path) } else { Command::Write(path) }
            }
            other => return Err(Fail::Said(1, format!("unsupported command {other}"))),
        })
    }

    /// The text of `a`, `i` and `c`: to the end of the line, and on where a backslash ends it.
    fn text(&mut self) -> Vec<u8> {
        self.blanks();
        if self.eat('\\') {
            self.blanks();
            self.eat('\n');
        }
        let mut text = String::new();
        loop {
            match self.next() {
                None | Some('\n') => break,
                Some('\\') => text.extend(self.next()),
                Some(c) => text.push(c),
            }
        }
        text.push('\n');
        text.into_bytes()
    }

    fn substitute(&mut self) -> Result<Command, Fail> {
        let delimiter = self.next().ok_or_else(|| wrong("missing delimiter"))?;
        let pattern = self.until(delimiter)?;
        let by = self.replacement(delimiter)?;
        let (mut all, mut nth, mut print, mut ignore_case, mut file) = (false, 0, false, false, None);
        loop {
            match self.peek() {
                Some('g') => all = true,
                Some('p') => print = true,
                Some('i' | 'I') => ignore_case = true,
                Some('0'..='9') => {
                    nth = self.number().unwrap_or(0);
                    continue;
                }
                Some('w') => {
                    self.at += 1;
                    self.blanks();
                    file = Some(self.to_line_end());
                    break;
                }
                _ => break,
            }
            self.at += 1;
        }
        let regex = self.regex(&pattern, ignore_case)?;
        Ok(Command::Substitute(Box::new(Substitute { regex, by, all, nth, print, file })))
    }

    fn replacement(&mut self, delimiter: char) -> Result<Vec<Part>, Fail> {
        let (mut parts, mut text) = (Vec::new(), String::new());
        loop {
            let c = self.next().ok_or_else(|| wrong("unterminated 's' command"))?;
            let part = match c {
                c if c == delimiter => {
                    parts.push(Part::Text(text.into_bytes()));
                    return Ok(parts);
                }
                '&' => Part::Group(0),
                '\\' => match self.next().ok_or_else(|| wrong("unterminated 's' command"))? {
                    c @ '0'..='9' => Part::Group(c as usize - '0' as usize),
                    c @ ('U' | 'L' | 'E') => Part::Case(c),
                    'n' => {
                        text.push('\n');
                        continue;
                    }
                    't' => {
                        text.push('\t');
                        continue;
                    }
                    c => {
                        text.push(c);
                        continue;
                    }
                },
                c => {
                    text.push(c);
                    continue;
                }
            };
            parts.push(Part::Text(std::mem::take(&mut text).into_bytes()));
            parts.push(part);
        }
    }

    fn translate(&mut self) -> Result<Command, Fail> {
        let delimiter = self.next().ok_or_else(|| wrong("missing delimiter"))?;
        let (from, to) = (self.until(delimiter)?, self.until(delimiter)?);
        let bytes = |text: &str| super::super::print::unescape(text, false).0;
        let (from, to) = (bytes(&from), bytes(&to));
        if from.len() != to.len() {
            return Err(wrong("strings for 'y' command are different lengths"));
        }
        let mut map: [u8; 256] = std::array::from_fn(|byte| byte as u8);
        for (from, to) in from.into_iter().zip(to) {
            map[usize::from(from)] = to;
        }
        Ok(Command::Translate(Box::new(map)))
    }
}
