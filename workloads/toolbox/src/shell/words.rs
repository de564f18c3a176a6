//! From text to words: quotes, parameters, substitutions.

use std::rc::Rc;

use super::ast::{Action, Parameter, Piece, Word};
use super::parser::{ParseError, Parser};

type Parsed<T> = Result<T, ParseError>;

/// What the last regular expression of `[[` has found.
const MATCHED: &str = "BASH_REMATCH";

/// The variable that holds one of its parts.
pub fn matched(part: usize) -> String {
    if part == 0 { MATCHED.to_owned() } else { format!("{MATCHED}[{part}]") }
}

/// A word of plain text.
pub fn literal(text: &str) -> Word {
    vec![Piece::Bare(text.to_owned())]
}

/// The text of a here-document's end, and whether any of it was quoted.
pub fn plain_text(word: &Word) -> (String, bool) {
    let (mut text, mut quoted) = (String::new(), false);
    for piece in word {
        match piece {
            Piece::Bare(bare) => text.push_str(bare),
            Piece::Quoted(inner) => {
                text.push_str(inner);
                quoted = true;
            }
            Piece::Double(inner) => {
                text.push_str(&plain_text(inner).0);
                quoted = true;
            }
            _ => {}
        }
    }
    (text, quoted)
}

/// A here-document's body: as in double quotes, but for the quotes themselves.
pub fn here_document(text: &str) -> Parsed<Word> {
    let mut parser = Parser::new(text);
    Ok(vec![Piece::Double(parser.double(Ends::Text)?)])
}

/// The expression of an arithmetic expansion.
fn arithmetic(text: &str) -> Parsed<Word> {
    let mut parser = Parser::new(text);
    parser.double(Ends::Text)
}

/// What stands in `${x:-…}` and the like, and in prompts.
fn operand(text: &str, quoted: bool) -> Parsed<Word> {
    let mut parser = Parser::new(text);
    if quoted {
        return Ok(vec![Piece::Double(parser.double(Ends::Brace)?)]);
    }
    parser.pieces(|_| false)
}

/// What ends text in which only `$`, backquotes and some backslashes are special.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// The quote.
    Quote,
    /// The brace of a parameter that is itself in quotes; the text is what stands before it.
    Brace,
    /// The text does: a here-document.
    Text,
}

fn push(word: &mut Word, c: char) {
    match word.last_mut() {
        Some(Piece::Bare(text)) => text.push(c),
        _ => word.push(Piece::Bare(c.to_string())),
    }
}

impl Parser {
    /// One word. The caller has seen that there is one.
    pub(super) fn word(&mut self) -> Parsed<Word> {
        let word = self.pieces(|c| c.is_whitespace() || ";|&()<>".contains(c))?;
        if word.is_empty() { Err(self.unexpected()) } else { Ok(word) }
    }

    /// A regular expression: parentheses and bars are part of it.
    pub(super) fn regular(&mut self) -> Parsed<Word> {
        self.pieces(char::is_whitespace)
    }

    fn pieces(&mut self, ends: impl Fn(char) -> bool) -> Parsed<Word> {
        let mut word = Word::new();
        while let Some(c) = self.peek().filter(|c| !ends(*c)) {
            self.at += 1;
            match c {
                '\\' => match self.peek() {
                    Some('\n') => self.at += 1,
                    Some(next) => {
                        self.at += 1;
                        word.push(Piece::Quoted(next.to_string()));
                    }
                    None => push(&mut word, '\\'),
                },
                '\'' => word.push(Piece::Quoted(self.single()?)),
                '"' => word.push(Piece::Double(self.double(Ends::Quote)?)),
                '`' => word.push(Piece::Command(self.backquoted()?)),
                '$' if self.peek() == Some('\'') => {
                    self.at += 1;
                    word.push(Piece::Quoted(self.escaped()?));
                }
                '$' => match self.dollar(false)? {
                    Some(piece) => word.push(piece),
                    None => push(&mut word, '$'),
                },
                other => push(&mut word, other),
            }
        }
        Ok(word)
    }

    fn single(&mut self) -> Parsed<String> {
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(ParseError::Incomplete("'")),
                Some('\'') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(c) => text.push(c),
            }
            self.at += 1;
        }
    }

    /// `$'…'`
    fn escaped(&mut self) -> Parsed<String> {
        let began = self.at;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(ParseError::Incomplete("'")),
                Some('\'') => break,
                Some('\\') => {
                    text.extend([Some('\\'), self.ahead(1)].into_iter().flatten());
                    self.at += 2;
                }
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        debug_assert!(self.at >= began);
        self.at += 1;
        Ok(String::from_utf8_lossy(&crate::applets::print::unescape(&text, false).0).into_owned())
    }

    /// What is in double quotes, up to `end` or the end of the text.
    pub(super) fn double(&mut self, ends: Ends) -> Parsed<Word> {
        let mut word = Word::new();
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                if ends == Ends::Quote {
                    return Err(ParseError::Incomplete("\""));
                }
                break;
            };
            self.at += 1;
            match c {
                '"' if ends == Ends::Quote => break,
                // `"${x:-"…"}"`: quotes within quotes change nothing.
                '"' if ends == Ends::Brace => {}
                '\\' => match self.peek() {
                    Some('\n') => self.at += 1,
                    Some(next @ ('$' | '`' | '\\')) => {
                        self.at += 1;
                        text.push(next);
                    }
                    Some('"') if ends != Ends::Text => {
                        self.at += 1;
                        text.push('"');
                    }
                    _ => text.push('\\'),
                },
                '$' | '`' => {
                    let piece = if c == '`' { Some(Piece::Command(self.backquoted()?)) } else { self.dollar(true)? };
                    match piece {
                        Some(piece) => {
                            word.push(Piece::Quoted(std::mem::take(&mut text)));
                            word.push(piece);
                        }
                        None => text.push('$'),
                    }
                }
                other => text.push(other),
            }
        }
        word.push(Piece::Quoted(text));
        Ok(word)
    }

    fn backquoted(&mut self) -> Parsed<Rc<str>> {
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else { return Err(ParseError::Incomplete("`")) };
            self.at += 1;
            match c {
                '`' => return Ok(text.into()),
                '\\' => match self.peek() {
                    Some(next @ ('$' | '`' | '\\')) => {
                        self.at += 1;
                        text.push(next);
                    }
                    _ => text.push('\\'),
                },
                other => text.push(other),
            }
        }
    }

    /// What follows a dollar sign; nothing when it stands for itself.
    fn dollar(&mut self, quoted: bool) -> Parsed<Option<Piece>> {
        match self.peek() {
            Some('(') if self.ahead(1) == Some('(') => {
                let began = self.at;
                self.at += 2;
                if let Some(text) = self.balanced_arithmetic() {
                    return Ok(Some(Piece::Arithmetic(arithmetic(&text)?)));
                }
                self.at = began + 1;
                Ok(Some(Piece::Command(self.substitution()?)))
            }
            Some('(') => {
                self.at += 1;
                Ok(Some(Piece::Command(self.substitution()?)))
            }
            Some('{') => {
                self.at += 1;
                self.braced(quoted).map(Some)
            }
            Some(c) if c.is_ascii_digit() || "@*#?$!-".contains(c) => {
                self.at += 1;
                Ok(Some(plain(c.to_string())))
            }
            _ => Ok(self.name().map(plain)),
        }
    }

    /// The text up to `))`; nothing when the parentheses do not fit.
    fn balanced_arithmetic(&mut self) -> Option<String> {
        let (mut depth, mut text) = (0, String::new());
        loop {
            let c = self.peek()?;
            if c == ')' && depth == 0 {
                if self.ahead(1) != Some(')') {
                    return None;
                }
                self.at += 2;
                return Some(text);
            }
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            text.push(c);
            self.at += 1;
        }
    }

    /// The text up to the parenthesis that ends it: found by reading the commands.
    fn substitution(&mut self) -> Parsed<Rc<str>> {
        let began = self.at;
        let mut parser = Parser { at: self.at, text: std::mem::take(&mut self.text), ..Parser::new("") };
        let end = parser.skip_commands();
        self.text = std::mem::take(&mut parser.text);
        end?;
        self.at = parser.at;
        Ok(self.text[began..self.at - 1].iter().collect::<String>().into())
    }

    fn braced(&mut self, quoted: bool) -> Parsed<Piece> {
        let incomplete = || ParseError::Incomplete("${");
        let bad = || ParseError::Unexpected("substitution".to_owned());
        if self.peek() == Some('#') && self.ahead(1) != Some('}') {
            self.at += 1;
            let name = self.parameter_name().ok_or_else(bad)?;
            if self.peek() != Some('}') {
                return Err(bad());
            }
            self.at += 1;
            return Ok(Piece::Parameter(Rc::new(Parameter { name, action: Action::Length })));
        }
        let name = self.parameter_name().ok_or_else(bad)?;
        let operator = self.peek().ok_or_else(incomplete)?;
        if operator == '}' {
            self.at += 1;
            return Ok(plain(name));
        }
        self.at += 1;
        let next = self.peek().ok_or_else(incomplete)?;
        let action = match operator {
            ':' if "-=?+".contains(next) => {
                self.at += 1;
                Action::Otherwise { kind: next, or_empty: true, word: operand(&self.until_brace()?, quoted)? }
            }
            '-' | '=' | '?' | '+' => {
                Action::Otherwise { kind: operator, or_empty: false, word: operand(&self.until_brace()?, quoted)? }
            }
            '#' | '%' => {
                let longest = next == operator;
                self.at += usize::from(longest);
                let pattern = operand(&self.until_brace()?, false)?;
                Action::Trim { suffix: operator == '%', longest, pattern }
            }
            '/' => {
                let all = next == '/';
                self.at += usize::from(all);
                let text = self.until_brace()?;
                let (pattern, by) = split_unescaped(&text);
                Action::Replace { all, pattern: operand(pattern, false)?, by: operand(by, false)? }
            }
            ':' => {
                let text = self.until_brace()?;
                let (offset, length) = match text.split_once(':') {
                    Some((offset, length)) => (offset, Some(arithmetic(length)?)),
                    None => (text.as_str(), None),
                };
                Action::Part { offset: arithmetic(offset)?, length }
            }
            _ => return Err(bad()),
        };
        Ok(Piece::Parameter(Rc::new(Parameter { name, action })))
    }

    fn parameter_name(&mut self) -> Option<String> {
        if let Some(name) = self.name() {
            // The one array that there is: what a regular expression has found.
            if name == MATCHED
                && self.peek() == Some('[')
                && let Some(digit) = self.ahead(1).filter(char::is_ascii_digit)
                && self.ahead(2) == Some(']')
            {
                self.at += 3;
                return Some(matched(digit as usize - '0' as usize));
            }
            return Some(name);
        }
        let c = self.peek()?;
        if c.is_ascii_digit() {
            let mut digits = String::new();
            while let Some(c) = self.peek().filter(char::is_ascii_digit) {
                digits.push(c);
                self.at += 1;
            }
            return Some(digits);
        }
        "@*#?$!-".contains(c).then(|| {
            self.at += 1;
            c.to_string()
        })
    }

    /// The text up to the brace that ends it, quotes and all.
    fn until_brace(&mut self) -> Parsed<String> {
        let (began, mut depth) = (self.at, 0);
        loop {
            let c = self.peek().ok_or(ParseError::Incomplete("${"))?;
            self.at += 1;
            match c {
                '}' if depth == 0 => return Ok(self.text[began..self.at - 1].iter().collect()),
                '}' => depth -= 1,
                '\\' => self.at += 1,
                '\'' => drop(self.single_or_not()),
                '"' => drop(self.double(Ends::Quote)?),
                '$' if self.peek() == Some('{') => {
                    self.at += 1;
                    depth += 1;
                }
                '$' if self.peek() == Some('(') => drop(self.dollar(true)?),
                '`' => drop(self.backquoted()?),
                _ => {}
            }
        }
    }

    /// A single quote in `"${x:-it's}"` stands for itself.
    fn single_or_not(&mut self) {
        let began = self.at;
        if self.single().is_err() {
            self.at = began;
        }
    }
}

fn plain(name: String) -> Piece {
    Piece::Parameter(Rc::new(Parameter { name, action: Action::Plain }))
}

/// Pattern and replacement.
fn split_unescaped(text: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '/' if !escaped && at > 0 => return (&text[..at], &text[at + 1..]),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    (text, "")
}
