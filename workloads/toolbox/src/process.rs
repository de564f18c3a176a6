//! What an applet is given, and the small things that all of them need.

use std::io;
use std::rc::Rc;

use crate::io::terminal::Terminal;
use crate::io::{Input, Out, Output};

/// Killed for want of a reader: 128 + SIGPIPE.
pub const BROKEN_PIPE: i32 = 141;

/// One run of one applet.
#[derive(Clone)]
pub struct Process {
    /// With the applet's name first.
    pub args: Vec<String>,
    pub env: Rc<Vec<(String, String)>>,
    /// Always absolute: WASI has no working directory.
    pub cwd: Rc<str>,
    pub stdin: Input,
    pub stdout: Output,
    pub stderr: Output,
    pub terminal: Option<Rc<Terminal>>,
}

/// How an applet ends: with a code, or with words that go to standard error.
pub enum Fail {
    Io(io::Error),
    Said(i32, String),
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Fail {
    fn from(words: String) -> Self {
        Self::Said(1, words)
    }
}

impl From<&str> for Fail {
    fn from(words: &str) -> Self {
        Self::Said(1, words.to_owned())
    }
}

pub type Ended = Result<i32, Fail>;

impl Process {
    pub fn name(&self) -> &str {
        self.args.first().map_or("", |name| name.rsplit('/').next().unwrap_or_default())
    }

    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn path(&self, path: &str) -> String {
        absolute(&self.cwd, path)
    }

    pub fn out(&self) -> Out {
        Out::new(&self.stdout)
    }

    pub fn stdout_is_terminal(&self) -> bool {
        self.terminal.is_some() && self.stdout.is_host()
    }

    /// Says something on standard error, after the applet's name.
    pub async fn complain(&self, words: impl AsRef<str>) {
        let line = format!("{}: {}\n", self.name(), words.as_ref());
        let _ = self.stderr.write(line.as_bytes()).await;
    }

    /// `-` is standard input.
    pub fn open(&self, path: &str) -> Result<Input, String> {
        if path == "-" {
            return Ok(self.stdin.clone());
        }
        open_input(&self.path(path), &self.stdin).map_err(|error| format!("can't open '{path}': {}", why(&error)))
    }

    /// The same, for those who go on without what there is not: they complain and end with 1.
    pub async fn open_or_complain(&self, path: &str, code: &mut i32) -> Option<Input> {
        match self.open(path) {
            Ok(input) => Some(input),
            Err(words) => {
                self.complain(words).await;
                *code = 1;
                None
            }
        }
    }

    /// The exit code of what an applet answered.
    pub async fn conclude(&self, ended: Ended) -> i32 {
        match ended {
            Ok(code) => code,
            Err(Fail::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => BROKEN_PIPE,
            Err(Fail::Io(error)) => {
                self.complain(why(&error)).await;
                1
            }
            Err(Fail::Said(code, words)) => {
                self.complain(words).await;
                code
            }
        }
    }
}

/// Opens a file to read, or one of the devices that everybody expects.
pub fn open_input(path: &str, stdin: &Input) -> io::Result<Input> {
    match path {
        "/dev/null" => Ok(Input::nothing()),
        "/dev/stdin" | "/dev/fd/0" | "/dev/tty" => Ok(stdin.clone()),
        "/dev/zero" => Ok(Input::zeros()),
        "/dev/urandom" | "/dev/random" => Ok(Input::random()),
        _ => {
            let file = std::fs::File::open(path)?;
            if file.metadata()?.is_dir() {
                return Err(io::Error::other("Is a directory"));
            }
            Ok(Input::file(file))
        }
    }
}

/// An error in libc's words. What a component has no right to is what is mounted to be read only.
pub fn why(error: &io::Error) -> String {
    match words(error) {
        text if text == "Operation not permitted" => "Read-only file system".to_owned(),
        text => text,
    }
}

/// The same to the letter.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// `path` from `cwd`, without `.` and `..`.
pub fn absolute(cwd: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let from = if path.starts_with('/') { "" } else { cwd };
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Options as applets take them: letters, those with a colon behind them take a value; long ones stand for letters.
pub struct Options {
    flags: Vec<(char, String)>,
    pub rest: Vec<String>,
}

impl Options {
    /// Everything after the name. `+` in front of the letters: the first operand ends the options.
    pub fn of(args: &[String], letters: &str, long: &[(&str, char)]) -> Result<Self, String> {
        let (posix, letters) = letters.strip_prefix('+').map_or((false, letters), |letters| (true, letters));
        let takes = |flag: char| letters.contains(&format!("{flag}:"));
        let (mut flags, mut rest) = (Vec::new(), Vec::new());
        let mut args = args.iter().skip(1);
        while let Some(arg) = args.next() {
            if arg == "--" {
                rest.extend(args.cloned());
                break;
            }
            if let Some(name) = arg.strip_prefix("--") {
                let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
                let found = long.iter().find(|(text, _)| *text == name);
                let (_, flag) = *found.ok_or_else(|| format!("unrecognized option '--{name}'"))?;
                let value = match value {
                    Some(value) => value.to_owned(),
                    None if takes(flag) => {
                        args.next().cloned().ok_or_else(|| format!("option '--{name}' requires an argument"))?
                    }
                    None => String::new(),
                };
                flags.push((flag, value));
            } else if arg.len() > 1 && arg.starts_with('-') {
                let mut chars = arg[1..].chars();
                while let Some(flag) = chars.next() {
                    if flag == ':' || !letters.contains(flag) {
                        return Err(format!("invalid option -- '{flag}'"));
                    }
                    if !takes(flag) {
                        flags.push((flag, String::new()));
                        continue;
                    }
                    let mut value = chars.as_str().to_owned();
                    if value.is_empty() {
                        value =
                            args.next().cloned().ok_or_else(|| format!("option requires an argument -- '{flag}'"))?;
                    }
                    flags.push((flag, value));
                    break;
                }
            } else {
                rest.push(arg.clone());
                if posix {
                    rest.extend(args.cloned());
                    break;
                }
            }
        }
        Ok(Self { flags, rest })
    }

    pub fn has(&self, flag: char) -> bool {
        self.flags.iter().any(|(found, _)| *found == flag)
    }

    /// The last one counts.
    pub fn value(&self, flag: char) -> Option<&str> {
        self.values(flag).last()
    }

    pub fn values(&self, flag: char) -> impl Iterator<Item = &str> {
        self.flags.iter().filter(move |(found, _)| *found == flag).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, flag: char) -> Result<Option<u64>, String> {
        self.value(flag).map(|text| number(text)).transpose()
    }
}

/// A number with busybox' suffixes.
pub fn number(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "c" => 1,
        "b" => 512,
        "k" | "K" | "kB" | "KB" => 1 << 10,
        "m" | "M" | "MB" => 1 << 20,
        "g" | "G" | "GB" => 1 << 30,
        _ => return Err(format!("invalid number '{text}'")),
    };
    let parsed: Result<u64, _> = digits.parse();
    parsed.ok().and_then(|count| count.checked_mul(factor)).ok_or_else(|| format!("invalid number '{text}'"))
}
