//! A POSIX shell: the state, and how scripts get in.
//!
//! There is one thread and no fork: a subshell is a copy of the state, a pipeline's stages are coroutines, and a background
//! job is one that nobody waits for.

mod arithmetic;
mod ast;
mod builtins;
pub use builtins::quoted_if_needed;
mod expand;
mod files;
pub mod interactive;
mod jobs;
pub mod parser;
pub mod pattern;
mod run;
mod settings;
mod words;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;

use crate::io::Output;
use crate::process::{Process, open_input, why};
use ast::Command;
use files::Files;
use jobs::Jobs;
use parser::{ParseError, Parser};

pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What ends more than the command itself.
#[derive(Clone, Copy, Debug)]
pub enum Flow {
    Exit(i32),
    Return(i32),
    Break(u32),
    Continue(u32),
}

/// An exit code, or what ends more than the command itself.
pub type Ran = Result<i32, Flow>;

#[derive(Clone, Debug, Default)]
struct Variable {
    value: Option<String>,
    exported: bool,
    read_only: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub exit_on_error: bool,
    pub trace: bool,
    pub no_unset: bool,
    pub no_patterns: bool,
    pub pipefail: bool,
    pub verbose: bool,
    pub no_run: bool,
    pub all_exported: bool,
    pub no_clobber: bool,
}

#[derive(Clone)]
pub struct Shell {
    process: Process,
    variables: BTreeMap<String, Variable>,
    functions: BTreeMap<String, Rc<Command>>,
    /// `$0`
    name: String,
    /// `$1`…
    args: Vec<String>,
    status: i32,
    options: Settings,
    cwd: Rc<str>,
    traps: BTreeMap<String, String>,
    /// What `local` hid, a list for each function that runs.
    hidden: Vec<Vec<(String, Option<Variable>)>>,
    files: Files,
    jobs: Jobs,
    /// Inside of a condition, where `set -e` does not count.
    guarded: u32,
    depth: u32,
    interactive: bool,
    /// `exit` was said.
    leaving: bool,
    /// What the last command substitution ended with.
    substituted: Option<i32>,
    steps: u32,
    began: std::time::Instant,
}

/// `sh`
pub fn main(process: Process) -> Later<'static, i32> {
    Box::pin(async move {
        let (options, operands) = match settings::arguments(&process.args) {
            Ok(parsed) => parsed,
            Err(words) => {
                process.complain(words).await;
                return 2;
            }
        };
        let mut shell = Shell::new(process.clone());
        shell.options = options.settings;
        let mut operands = operands.into_iter();
        let script = if options.command {
            let Some(script) = operands.next() else {
                process.complain("-c requires an argument").await;
                return 2;
            };
            if let Some(name) = operands.next() {
                shell.name = name;
            }
            Some(script)
        } else if let Some(path) = operands.next().filter(|_| !options.stdin) {
            shell.name.clone_from(&path);
            match read_script(&process, &path).await {
                Ok(script) => Some(script),
                Err(words) => {
                    process.complain(words).await;
                    return 2;
                }
            }
        } else {
            None
        };
        shell.args = operands.collect();
        let ended = match script {
            Some(script) => shell.script(&script).await,
            None if options.interactive || process.stdin.is_terminal() => shell.converse().await,
            None => shell.from_input().await,
        };
        let code = shell.leave(ended).await;
        shell.jobs.let_go();
        code
    })
}

async fn read_script(process: &Process, path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("can't open '{path}': {}", why(&error));
    let input = open_input(&process.path(path), &process.stdin).map_err(failed)?;
    let bytes = input.all().await.map_err(failed)?;
    if bytes.starts_with(b"\0asm") {
        return Err(format!("{path}: a WebAssembly file is no script; name it as an image to run it"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Shell {
    fn new(process: Process) -> Self {
        let mut variables = BTreeMap::new();
        for (name, value) in process.env.iter() {
            let variable = Variable { value: Some(value.clone()), exported: true, read_only: false };
            variables.insert(name.clone(), variable);
        }
        let defaults = [("IFS", " \t\n", false), ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", true)];
        for (name, value, exported) in defaults {
            let variable = Variable { value: Some(value.to_owned()), exported, read_only: false };
            if name == "IFS" {
                variables.insert(name.to_owned(), variable);
            } else {
                variables.entry(name.to_owned()).or_insert(variable);
            }
        }
        let variable = Variable { value: Some(process.cwd.to_string()), exported: true, read_only: false };
        variables.insert("PWD".to_owned(), variable);
        Self {
            variables,
            functions: BTreeMap::new(),
            name: process.args.first().cloned().unwrap_or_default(),
            args: Vec::new(),
            status: 0,
            options: Settings::default(),
            cwd: Rc::clone(&process.cwd),
            traps: BTreeMap::new(),
            hidden: Vec::new(),
            files: Files::new(&process),
            jobs: Jobs::default(),
            guarded: 0,
            depth: 0,
            interactive: false,
            leaving: false,
            substituted: None,
            steps: 0,
            began: std::time::Instant::now(),
            process,
        }
    }

    /// A copy that can do what it likes.
    fn subshell(&self) -> Self {
        let mut copy = self.clone();
        copy.jobs = self.jobs.below();
        copy.traps.clear();
        copy.interactive = false;
        copy
    }

    fn get(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "#" => Some(self.args.len().to_string()),
            "$" => Some("1".to_owned()),
            "!" => self.jobs.last().map(|pid| pid.to_string()),
            "-" => Some(self.options.letters(self.interactive)),
            "0" => Some(self.name.clone()),
            "PPID" => Some("0".to_owned()),
            "RANDOM" => Some((wasip2::random::random::get_random_u64() % 32_768).to_string()),
            "SECONDS" => Some(self.began.elapsed().as_secs().to_string()),
            _ => match name.parse::<usize>() {
                Ok(number) => self.args.get(number.checked_sub(1)?).cloned(),
                Err(_) => self.variables.get(name)?.value.clone(),
            },
        }
    }

    fn set_variable(&mut self, name: &str, value: String) {
        let all = self.options.all_exported;
        let variable = self.variables.entry(name.to_owned()).or_default();
        if !variable.read_only {
            variable.value = Some(value);
            variable.exported |= all;
        }
    }

    /// Sets a variable that somebody may have made read-only.
    async fn assign(&mut self, name: &str, value: String) -> Result<(), Flow> {
        if self.variables.get(name).is_some_and(|variable| variable.read_only) {
            return Err(self.fatal(&format!("{name}: is read only"), 2).await);
        }
        self.set_variable(name, value);
        Ok(())
    }

    /// The environment of what is started here.
    fn environment(&self, extra: &[(String, String)]) -> Rc<Vec<(String, String)>> {
        let exported = self.variables.iter().filter(|(name, variable)| {
            variable.exported && !extra.iter().any(|(other, _)| other == *name)
        });
        let own = exported.filter_map(|(name, variable)| Some((name.clone(), variable.value.clone()?)));
        Rc::new(own.chain(extra.iter().cloned()).collect())
    }

    async fn complain(&self, words: &str) {
        let line = format!("{}: {words}\n", self.name);
        let _ = self.files.error().write(line.as_bytes()).await;
    }

    /// An error that ends the script, or the line of an interactive shell.
    async fn fatal(&mut self, words: &str, code: i32) -> Flow {
        self.complain(words).await;
        self.status = code;
        Flow::Exit(code)
    }

    /// Runs a whole text.
    async fn script(&mut self, text: &str) -> Ran {
        let mut parser = Parser::new(text);
        loop {
            match parser.next_line() {
                Ok(None) => return Ok(self.status),
                Ok(Some(list)) => drop(self.list(&list).await?),
                Err(error) => return Err(self.fatal(&error.to_string(), 2).await),
            }
        }
    }

    /// Runs what comes over standard input, line by line: commands may read the lines that follow.
    async fn from_input(&mut self) -> Ran {
        let input = self.files.input();
        let mut text = String::new();
        loop {
            let line = input.line().await.unwrap_or_default();
            let over = line.is_empty();
            text.push_str(&String::from_utf8_lossy(&line));
            match Parser::new(&text).next_line() {
                Err(ParseError::Incomplete(_)) if !over => continue,
                Err(error) => return Err(self.fatal(&error.to_string(), 2).await),
                // A line that ends in a backslash goes on.
                Ok(_) if text.ends_with("\\\n") && !over => continue,
                Ok(_) => {}
            }
            let script = std::mem::take(&mut text);
            self.script(&script).await?;
            if over {
                return Ok(self.status);
            }
        }
    }

    /// The code that the shell ends with, after its `EXIT` trap.
    async fn leave(&mut self, ended: Ran) -> i32 {
        self.status = match ended {
            Ok(code) | Err(Flow::Exit(code) | Flow::Return(code)) => code,
            Err(Flow::Break(_) | Flow::Continue(_)) => self.status,
        };
        if let Some(action) = self.traps.remove("EXIT") {
            let code = self.status;
            match self.script(&action).await {
                Err(Flow::Exit(code)) => return code,
                _ => return code,
            }
        }
        self.status
    }

    /// What a script prints, without the line breaks at its end.
    async fn output_of(&mut self, script: &str) -> Result<String, Flow> {
        let mut shell = self.subshell();
        let buffer = Output::buffer();
        shell.files.set_output(1, buffer.clone());
        self.depth_check().await?;
        shell.depth += 1;
        let code = {
            // `$(< FILE)` is what the file holds.
            let file = script.trim_start().strip_prefix('<').filter(|rest| !rest.starts_with(['<', '&', '>', '(']));
            let script = file.map_or_else(|| script.to_owned(), |file| format!("cat < {file}"));
            let ended = Box::pin(shell.script(&script)).await;
            shell.leave(ended).await
        };
        self.status = code;
        self.substituted = Some(code);
        let mut bytes = buffer.taken();
        while bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        bytes.retain(|byte| *byte != 0);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn depth_check(&mut self) -> Result<(), Flow> {
        const DEPTH_MAX: u32 = 60;
        if self.depth >= DEPTH_MAX {
            return Err(self.fatal("too deep: functions or substitutions within each other", 2).await);
        }
        Ok(())
    }
}
