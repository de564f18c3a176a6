//! From text to [`List`]s, one line of commands at a time.

use std::cell::RefCell;
use std::rc::Rc;

use super::ast::{Arm, Body, Chain, Command, List, Piece, Pipeline, Redirected, Redirection, Word};
use super::words;

#[derive(Debug)]
pub enum ParseError {
    /// The text ends in the middle of something.
    Incomplete(&'static str),
    Unexpected(String),
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Incomplete(what) => write!(f, "syntax error: unexpected end of file ({what})"),
            Self::Unexpected(what) => write!(f, "syntax error: unexpected {what}"),
        }
    }
}

type Parsed<T> = Result<T, ParseError>;

pub(super) struct Pending {
    end: String,
    /// `<<-`
    tabs: bool,
    quoted: bool,
    body: Rc<RefCell<Word>>,
}

pub struct Parser {
    pub(super) text: Vec<char>,
    pub(super) at: usize,
    pub(super) pending: Vec<Pending>,
    pub(super) depth: usize,
}

const RESERVED: [&str; 8] = ["then", "else", "elif", "fi", "do", "done", "esac", "}"];
const DEPTH_MAX: usize = 200;
/// What is a word of its own in `[[ … ]]`.
const CONDITIONAL: [&str; 6] = ["&&", "||", "(", ")", "<", ">"];

fn is_bare(word: &Word, text: &str) -> bool {
    matches!(word.as_slice(), [Piece::Bare(bare)] if bare == text)
}

impl Parser {
    pub fn new(text: &str) -> Self {
        Self { text: text.chars().collect(), at: 0, pending: Vec::new(), depth: 0 }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(super) fn ahead(&self, by: usize) -> Option<char> {
        self.text.get(self.at + by).copied()
    }

    fn starts(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(by, c)| self.ahead(by) == Some(c))
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.starts(text);
        if found {
            self.at += text.chars().count();
        }
        found
    }

    /// Blanks, continued lines and comments.
    fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('\\') if self.ahead(1) == Some('\n') => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn newline(&mut self) -> Parsed<bool> {
        if self.peek() != Some('\n') {
            return Ok(false);
        }
        self.at += 1;
        for pending in std::mem::take(&mut self.pending) {
            self.here_document(&pending)?;
        }
        Ok(true)
    }

    fn lines(&mut self) -> Parsed<()> {
        loop {
            self.blanks();
            if !self.newline()? {
                return Ok(());
            }
        }
    }

    fn here_document(&mut self, pending: &Pending) -> Parsed<()> {
        let mut body = String::new();
        loop {
            if self.at >= self.text.len() {
                return Err(ParseError::Incomplete("here-document"));
            }
            let end = self.text[self.at..].iter().position(|c| *c == '\n').map(|by| self.at + by);
            let line: String = self.text[self.at..end.unwrap_or(self.text.len())].iter().collect();
            self.at = end.map_or(self.text.len(), |end| end + 1);
            let line = if pending.tabs { line.trim_start_matches('\t') } else { &line };
            if line == pending.end {
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        *pending.body.borrow_mut() =
            if pending.quoted { vec![super::ast::Piece::Quoted(body)] } else { words::here_document(&body)? };
        Ok(())
    }

    /// The commands of the next line; nothing at the end.
    pub fn next_line(&mut self) -> Parsed<Option<List>> {
        self.lines()?;
        if self.at >= self.text.len() {
            return Ok(None);
        }
        let mut list = Vec::new();
        loop {
            let mut chain = self.chain()?;
            self.blanks();
            let more = match self.peek() {
                Some('&') => {
                    self.at += 1;
                    chain.background = true;
                    true
                }
                Some(';') if self.ahead(1) != Some(';') => {
                    self.at += 1;
                    true
                }
                _ => false,
            };
            list.push(chain);
            self.blanks();
            match self.peek() {
                None => return Ok(Some(list)),
                Some('\n') => {
                    self.newline()?;
                    return Ok(Some(list));
                }
                Some(_) if more => {}
                Some(other) => return Err(ParseError::Unexpected(format!("\"{other}\""))),
            }
        }
    }

    /// Commands up to one of the words (which is eaten and returned).
    fn body(&mut self, ends: &[&'static str], of: &'static str) -> Parsed<(List, &'static str)> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ParseError::Unexpected("depth: too many commands within commands".to_owned()));
        }
        let mut list = Vec::new();
        loop {
            self.lines()?;
            while self.peek() == Some(';') && !self.starts(";;") && !list.is_empty() {
                self.at += 1;
                self.lines()?;
            }
            if self.at >= self.text.len() {
                return Err(ParseError::Incomplete(of));
            }
            for end in ends {
                let found = match *end {
                    ")" | ";;" | ";&" => self.eat(end),
                    word => self.eat_word(word),
                };
                if found {
                    self.depth -= 1;
                    return Ok((list, end));
                }
            }
            let mut chain = self.chain()?;
            self.blanks();
            if self.peek() == Some('&') {
                self.at += 1;
                chain.background = true;
            }
            list.push(chain);
        }
    }

    /// Reads on to behind the parenthesis that ends a command substitution.
    pub(super) fn skip_commands(&mut self) -> Parsed<()> {
        self.body(&[")"], "$(").map(drop)
    }

    fn chain(&mut self) -> Parsed<Chain> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.blanks();
            let and = if self.eat("&&") {
                true
            } else if self.eat("||") {
                false
            } else {
                return Ok(Chain { first, rest, background: false });
            };
            self.lines()?;
            rest.push((and, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        self.blanks();
        let mut negated = false;
        while self.eat_word("!") {
            negated = !negated;
            self.blanks();
        }
        let mut commands = vec![self.command()?];
        loop {
            self.blanks();
            if self.peek() != Some('|') || self.ahead(1) == Some('|') {
                return Ok(Pipeline { negated, commands: Rc::new(commands) });
            }
            self.at += 1;
            if self.peek() == Some('&') {
                self.at += 1;
                let both = Redirection { descriptor: 2, kind: Redirected::Same(words::literal("1")) };
                commands.last_mut().into_iter().for_each(|command| command.redirections.push(both.clone()));
            }
            self.lines()?;
            commands.push(self.command()?);
        }
    }

    /// Whether the next word is this one, unquoted; then it is eaten.
    fn eat_word(&mut self, word: &str) -> bool {
        let after = self.ahead(word.chars().count());
        let ends = after.is_none_or(|c| c.is_whitespace() || ";|&()<>".contains(c));
        self.starts(word) && ends && self.eat(word)
    }

    fn command(&mut self) -> Parsed<Command> {
        self.blanks();
        let body = if self.eat("(") {
            Body::Subshell(Rc::new(self.body(&[")"], "(")?.0))
        } else if self.eat_word("{") {
            Body::Group(Rc::new(self.body(&["}"], "{")?.0))
        } else if self.eat_word("if") {
            self.conditional()?
        } else if self.eat_word("while") {
            self.repeated(false)?
        } else if self.eat_word("until") {
            self.repeated(true)?
        } else if self.eat_word("for") {
            self.for_each()?
        } else if self.eat_word("case") {
            self.case()?
        } else if let Some(function) = self.function()? {
            function
        } else {
            return self.simple();
        };
        let mut redirections = Vec::new();
        loop {
            self.blanks();
            match self.redirection()? {
                Some(redirection) => redirections.push(redirection),
                None => return Ok(Command { body, redirections }),
            }
        }
    }

    fn conditional(&mut self) -> Parsed<Body> {
        let mut arms = Vec::new();
        let mut otherwise = None;
        loop {
            let (condition, _) = self.body(&["then"], "if")?;
            let (body, end) = self.body(&["elif", "else", "fi"], "if")?;
            arms.push((Rc::new(condition), Rc::new(body)));
            match end {
                "elif" => {}
                "else" => {
                    otherwise = Some(Rc::new(self.body(&["fi"], "if")?.0));
                    break;
                }
                _ => break,
            }
        }
        Ok(Body::If { arms, otherwise })
    }

    fn repeated(&mut self, until: bool) -> Parsed<Body> {
        let (condition, _) = self.body(&["do"], "while")?;
        let (body, _) = self.body(&["done"], "while")?;
        Ok(Body::While { until, condition: Rc::new(condition), body: Rc::new(body) })
    }

    fn for_each(&mut self) -> Parsed<Body> {
        self.blanks();
        let name = self.name().ok_or_else(|| self.unexpected())?;
        self.lines()?;
        let mut words = None;
        if self.eat_word("in") {
            let mut list = Vec::new();
            loop {
                self.blanks();
                match self.peek() {
                    Some('\n' | ';') => break,
                    None => return Err(ParseError::Incomplete("for")),
                    Some(_) => list.push(self.word()?),
                }
            }
            words = Some(list);
        }
        self.blanks();
        self.eat(";");
        self.lines()?;
        if !self.eat_word("do") {
            return Err(self.unexpected());
        }
        let (body, _) = self.body(&["done"], "for")?;
        Ok(Body::For { name, words, body: Rc::new(body) })
    }

    fn case(&mut self) -> Parsed<Body> {
        self.blanks();
        let word = self.word()?;
        self.lines()?;
        if !self.eat_word("in") {
            return Err(self.unexpected());
        }
        let mut arms = Vec::new();
        loop {
            self.lines()?;
            if self.at >= self.text.len() {
                return Err(ParseError::Incomplete("case"));
            }
            if self.eat_word("esac") {
                return Ok(Body::Case { word, arms: Rc::new(arms) });
            }
            self.eat("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?);
                self.blanks();
                if self.eat(")") {
                    break;
                }
                if !self.eat("|") {
                    return Err(self.unexpected());
                }
            }
            let (body, end) = self.body(&[";;", ";&", "esac"], "case")?;
            arms.push(Arm { patterns, body, falls_through: end == ";&" });
            if end == "esac" {
                return Ok(Body::Case { word, arms: Rc::new(arms) });
            }
        }
    }

    fn function(&mut self) -> Parsed<Option<Body>> {
        let began = self.at;
        let keyword = self.eat_word("function");
        if keyword {
            self.blanks();
        }
        if let Some(name) = self.name_of_function() {
            self.blanks();
            if self.eat("()") || (self.starts("(") && self.eat_parentheses()) || keyword {
                self.lines()?;
                let body = Rc::new(self.command()?);
                return Ok(Some(Body::Function { name, body }));
            }
        }
        self.at = began;
        Ok(None)
    }

    fn eat_parentheses(&mut self) -> bool {
        let began = self.at;
        self.at += 1;
        self.blanks();
        if self.eat(")") {
            return true;
        }
        self.at = began;
        false
    }

    fn name_of_function(&mut self) -> Option<String> {
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || "_-.".contains(*c)) {
            name.push(c);
            self.at += 1;
        }
        (!name.is_empty()).then_some(name)
    }

    pub(super) fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if !(c == '_' || c.is_ascii_alphabetic() || (c.is_ascii_digit() && !name.is_empty())) {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        (!name.is_empty()).then_some(name)
    }

    fn simple(&mut self) -> Parsed<Command> {
        let (mut assignments, mut words, mut redirections) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirection) = self.redirection()? {
                redirections.push(redirection);
                continue;
            }
            if words.is_empty()
                && let Some(assignment) = self.assignment()?
            {
                assignments.push(assignment);
                continue;
            }
            match self.peek() {
                None | Some('\n' | ';' | '&' | '|' | ')') => break,
                Some('(') => return Err(self.unexpected()),
                Some(_) => {}
            }
            let began = self.at;
            if words.is_empty() && assignments.is_empty() {
                for word in RESERVED {
                    if self.eat_word(word) {
                        self.at = began;
                        return Err(ParseError::Unexpected(format!("\"{word}\"")));
                    }
                }
            }
            words.push(self.word()?);
            if words.len() == 1 && is_bare(&words[0], "[[") {
                self.bracketed(&mut words)?;
            }
        }
        if assignments.is_empty() && words.is_empty() && redirections.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Command { body: Body::Simple { assignments, words }, redirections })
    }

    /// What stands between `[[` and `]]`: operators of commands are its own there, and nothing is split or looked up as a
    /// pattern of files.
    fn bracketed(&mut self, words: &mut Vec<Word>) -> Parsed<()> {
        let mut expression = false;
        loop {
            self.lines()?;
            if self.at >= self.text.len() {
                return Err(ParseError::Incomplete("[["));
            }
            let operator = CONDITIONAL.iter().find(|operator| self.starts(operator)).filter(|_| !expression);
            if let Some(operator) = operator {
                self.at += operator.len();
                words.push(vec![Piece::Quoted((*operator).to_owned())]);
                continue;
            }
            let word = if expression { self.regular()? } else { self.word()? };
            if is_bare(&word, "]]") {
                words.push(word);
                return Ok(());
            }
            expression = is_bare(&word, "=~");
            words.push(vec![Piece::Double(word)]);
        }
    }

    fn assignment(&mut self) -> Parsed<Option<(String, bool, Word)>> {
        let began = self.at;
        if let Some(name) = self.name() {
            let append = self.eat("+=");
            if append || self.eat("=") {
                let empty = self.peek().is_none_or(|c| c.is_whitespace() || ";|&)<>".contains(c));
                let word = if empty { Word::new() } else { self.word()? };
                return Ok(Some((name, append, word)));
            }
        }
        self.at = began;
        Ok(None)
    }

    fn redirection(&mut self) -> Parsed<Option<Redirection>> {
        let began = self.at;
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        let descriptor = digits.parse::<u32>().ok();
        let both = digits.is_empty() && (self.starts("&>"));
        if !both && !matches!(self.peek(), Some('<' | '>')) {
            self.at = began;
            return Ok(None);
        }
        let (default, make): (u32, fn(Word) -> Redirected) = if self.eat("&>>") {
            (1, |word| Redirected::Both(word, true))
        } else if self.eat("&>") {
            (1, |word| Redirected::Both(word, false))
        } else if self.eat("<<<") {
            (0, Redirected::HereString)
        } else if self.eat("<<") {
            return self.here(descriptor.unwrap_or(0)).map(Some);
        } else if self.eat("<&") {
            (0, Redirected::Same)
        } else if self.eat("<>") {
            (0, Redirected::ReadWrite)
        } else if self.eat("<") {
            (0, Redirected::Read)
        } else if self.eat(">>") {
            (1, Redirected::Append)
        } else if self.eat(">&") {
            (1, Redirected::Same)
        } else if self.eat(">|") || self.eat(">") {
            (1, Redirected::Write)
        } else {
            return Err(self.unexpected());
        };
        self.blanks();
        let word = self.word()?;
        Ok(Some(Redirection { descriptor: descriptor.unwrap_or(default), kind: make(word) }))
    }

    fn here(&mut self, descriptor: u32) -> Parsed<Redirection> {
        let tabs = self.eat("-");
        self.blanks();
        let (end, quoted) = words::plain_text(&self.word()?);
        let body = Rc::<RefCell<Word>>::default();
        self.pending.push(Pending { end, tabs, quoted, body: Rc::clone(&body) });
        Ok(Redirection { descriptor, kind: Redirected::Here(body) })
    }

    pub(super) fn unexpected(&self) -> ParseError {
        match self.peek() {
            None => ParseError::Incomplete("command"),
            Some('\n') => ParseError::Unexpected("newline".to_owned()),
            Some(c) => ParseError::Unexpected(format!("\"{c}\"")),
        }
    }
}
