//! What a script is made of.

use std::cell::RefCell;
use std::rc::Rc;

pub type Word = Vec<Piece>;

#[derive(Clone, Debug)]
pub enum Piece {
    /// Text outside of quotes.
    Bare(String),
    /// Text in quotes, or behind a backslash.
    Quoted(String),
    /// `"…"`
    Double(Word),
    /// `$x`, `${x…}`
    Parameter(Rc<Parameter>),
    /// `$(…)`, `` `…` ``
    Command(Rc<str>),
    /// `$((…))`
    Arithmetic(Word),
}

#[derive(Debug)]
pub struct Parameter {
    pub name: String,
    pub action: Action,
}

#[derive(Debug)]
pub enum Action {
    Plain,
    Length,
    /// `-`, `=`, `?` or `+`; with a colon, empty counts as unset.
    Otherwise {
        kind: char,
        or_empty: bool,
        word: Word,
    },
    /// `#`, `##`, `%`, `%%`
    Trim {
        suffix: bool,
        longest: bool,
        pattern: Word,
    },
    /// `${x/a/b}`, `${x//a/b}`
    Replace {
        all: bool,
        pattern: Word,
        by: Word,
    },
    /// `${x:offset:length}`
    Part {
        offset: Word,
        length: Option<Word>,
    },
}

#[derive(Clone, Debug)]
pub struct Redirection {
    pub descriptor: u32,
    pub kind: Redirected,
}

#[derive(Clone, Debug)]
pub enum Redirected {
    Read(Word),
    Write(Word),
    Append(Word),
    ReadWrite(Word),
    /// `>&2`, `<&3`, `>&-`
    Same(Word),
    /// Filled in when the line is over.
    Here(Rc<RefCell<Word>>),
    HereString(Word),
    /// `&>FILE`
    Both(Word, bool),
}

#[derive(Clone, Debug)]
pub struct Command {
    pub body: Body,
    pub redirections: Vec<Redirection>,
}

#[derive(Clone, Debug)]
pub enum Body {
    Simple { assignments: Vec<(String, bool, Word)>, words: Vec<Word> },
    Group(Rc<List>),
    Subshell(Rc<List>),
    If { arms: Vec<(Rc<List>, Rc<List>)>, otherwise: Option<Rc<List>> },
    While { until: bool, condition: Rc<List>, body: Rc<List> },
    For { name: String, words: Option<Vec<Word>>, body: Rc<List> },
    Case { word: Word, arms: Rc<Vec<Arm>> },
    Function { name: String, body: Rc<Command> },
}

#[derive(Debug)]
pub struct Arm {
    pub patterns: Vec<Word>,
    pub body: List,
    /// `;&`
    pub falls_through: bool,
}

#[derive(Clone, Debug)]
pub struct Pipeline {
    pub negated: bool,
    pub commands: Rc<Vec<Command>>,
}

#[derive(Clone, Debug)]
pub struct Chain {
    pub first: Pipeline,
    /// `true` is `&&`.
    pub rest: Vec<(bool, Pipeline)>,
    pub background: bool,
}

pub type List = Vec<Chain>;
