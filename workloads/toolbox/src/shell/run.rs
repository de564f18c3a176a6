//! How commands are carried out.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::ast::{Arm, Body, Chain, Command, List, Pipeline};
use super::{Flow, Later, Ran, Shell, Variable, builtins, pattern, words};
use crate::applets;
use crate::io::{Input, Output, breathe, pipe};
use crate::process::{Process, absolute};
use crate::signals;

/// After so many commands the other coroutines have their turn.
const STEPS: u32 = 64;
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

impl Shell {
    pub fn list<'a>(&'a mut self, list: &'a List) -> Later<'a, Ran> {
        Box::pin(async move {
            for chain in list {
                if self.options.no_run {
                    continue;
                }
                if chain.background {
                    self.background(chain);
                } else {
                    self.chain(chain).await?;
                }
                self.signals().await?;
            }
            Ok(self.status)
        })
    }

    /// Gives the others a turn now and then: a loop without end must not be the only one that runs.
    async fn step(&mut self) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS) {
            breathe().await;
        }
    }

    /// Runs the trap of a signal that has come.
    async fn signals(&mut self) -> Result<(), Flow> {
        let Some(action) = self.traps.get(signals::NAME).cloned() else { return Ok(()) };
        if !signals::take() {
            return Ok(());
        }
        let code = self.status;
        Box::pin(self.script(&action)).await?;
        self.status = code;
        Ok(())
    }

    fn background(&mut self, chain: &Chain) {
        let mut shell = self.subshell();
        shell.files.set_input(0, Input::nothing());
        let chain = Chain { background: false, ..chain.clone() };
        let pid = self.jobs.start("&".to_owned(), async move {
            let list = vec![chain];
            let ended = shell.list(&list).await;
            shell.leave(ended).await
        });
        if self.interactive {
            let (files, line) = (self.files.clone(), format!("[{}] {pid}\n", self.jobs.lines().len()));
            wstd::runtime::spawn(async move { drop(files.error().write(line.as_bytes()).await) }).detach();
        }
        self.status = 0;
    }

    async fn chain(&mut self, chain: &Chain) -> Ran {
        let count = chain.rest.len();
        self.pipeline(&chain.first, count > 0).await?;
        for (number, (and, pipeline)) in chain.rest.iter().enumerate() {
            if *and == (self.status == 0) {
                self.pipeline(pipeline, number + 1 < count).await?;
            }
        }
        Ok(self.status)
    }

    async fn pipeline(&mut self, pipeline: &Pipeline, guarded: bool) -> Ran {
        self.step().await;
        let guarded = guarded || pipeline.negated;
        self.guarded += u32::from(guarded);
        let ran = match pipeline.commands.as_slice() {
            [command] => self.command(command).await,
            _ => self.stages(&pipeline.commands).await,
        };
        self.guarded -= u32::from(guarded);
        let code = ran?;
        self.status = if pipeline.negated { i32::from(code == 0) } else { code };
        if self.options.exit_on_error && self.status != 0 && self.guarded == 0 && !guarded {
            return Err(Flow::Exit(self.status));
        }
        Ok(self.status)
    }

    /// The stages of a pipeline run at once, each in a shell of its own.
    async fn stages(&mut self, commands: &Rc<Vec<Command>>) -> Ran {
        let mut stages: Vec<Option<Later<'static, i32>>> = Vec::new();
        let mut input = None;
        for number in 0..commands.len() {
            let mut shell = self.subshell();
            shell.traps.clear();
            if let Some(reader) = input.take() {
                shell.files.set_input(0, Input::pipe(reader));
            }
            if number + 1 < commands.len() {
                let (reader, writer) = pipe();
                shell.files.set_output(1, Output::pipe(writer));
                input = Some(reader);
            }
            let commands = Rc::clone(commands);
            stages.push(Some(Box::pin(async move {
                let ended = shell.command(&commands[number]).await;
                shell.leave(ended).await
            })));
        }
        let codes = RefCell::new(vec![0; stages.len()]);
        poll_fn(|context| {
            for (number, stage) in stages.iter_mut().enumerate() {
                if let Some(running) = stage
                    && let Poll::Ready(code) = running.as_mut().poll(context)
                {
                    codes.borrow_mut()[number] = code;
                    // Its ends of the pipes close here.
                    *stage = None;
                }
            }
            if stages.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let codes = codes.take();
        let failed = codes.iter().rev().find(|code| **code != 0).copied().filter(|_| self.options.pipefail);
        Ok(failed.or(codes.last().copied()).unwrap_or_default())
    }

    fn command<'a>(&'a mut self, command: &'a Command) -> Later<'a, Ran> {
        Box::pin(async move {
            if let Body::Simple { assignments, words } = &command.body {
                return self.simple(command, assignments, words).await;
            }
            if command.redirections.is_empty() {
                return self.body(&command.body).await;
            }
            let before = self.files.clone();
            let ran = match self.redirect(&command.redirections).await {
                Ok(Ok(())) => self.body(&command.body).await,
                Ok(Err(words)) => {
                    self.complain(&words).await;
                    Ok(1)
                }
                Err(flow) => Err(flow),
            };
            self.files = before;
            ran
        })
    }

    async fn body(&mut self, body: &Body) -> Ran {
        match body {
            Body::Simple { .. } => Ok(0),
            Body::Group(list) => self.list(list).await,
            Body::Subshell(list) => {
                let mut shell = self.subshell();
                let ended = shell.list(list).await;
                let code = shell.leave(ended).await;
                Ok(code)
            }
            Body::If { arms, otherwise } => {
                for (condition, body) in arms {
                    if self.condition(condition).await? == 0 {
                        return self.list(body).await;
                    }
                }
                match otherwise {
                    Some(body) => self.list(body).await,
                    None => Ok(0),
                }
            }
            Body::While { until, condition, body } => self.repeat(*until, condition, body).await,
            Body::For { name, words, body } => {
                let values = match words {
                    Some(words) => self.arguments(words).await?,
                    None => self.args.clone(),
                };
                let mut code = 0;
                for value in values {
                    self.assign(name, value).await?;
                    match self.turn(body).await? {
                        Some(turned) => code = turned,
                        None => break,
                    }
                }
                Ok(code)
            }
            Body::Case { word, arms } => {
                let text = self.text(word).await?;
                self.case(&text, arms).await
            }
            Body::Function { name, body } => {
                self.functions.insert(name.clone(), Rc::clone(body));
                Ok(0)
            }
        }
    }

    async fn condition(&mut self, list: &List) -> Ran {
        self.guarded += 1;
        let ran = self.list(list).await;
        self.guarded -= 1;
        ran
    }

    async fn repeat(&mut self, until: bool, condition: &List, body: &List) -> Ran {
        let mut code = 0;
        loop {
            self.step().await;
            let goes_on = match self.condition(condition).await {
                Ok(code) => (code == 0) != until,
                Err(Flow::Break(levels)) if levels <= 1 => return Ok(code),
                Err(Flow::Continue(levels)) if levels <= 1 => continue,
                Err(flow) => return Err(outer(flow)),
            };
            if !goes_on {
                return Ok(code);
            }
            match self.turn(body).await? {
                Some(turned) => code = turned,
                None => return Ok(code),
            }
        }
    }

    /// One turn of a loop; nothing when it was the last.
    async fn turn(&mut self, body: &List) -> Result<Option<i32>, Flow> {
        self.step().await;
        match self.list(body).await {
            Ok(code) => Ok(Some(code)),
            Err(Flow::Break(levels)) if levels <= 1 => {
                self.status = 0;
                Ok(None)
            }
            Err(Flow::Continue(levels)) if levels <= 1 => Ok(Some(0)),
            Err(flow) => Err(outer(flow)),
        }
    }

    async fn case(&mut self, text: &str, arms: &[Arm]) -> Ran {
        let text: Vec<char> = text.chars().collect();
        let (mut code, mut falls) = (0, false);
        for arm in arms {
            let mut fits = falls;
            for word in &arm.patterns {
                if fits {
                    break;
                }
                fits = pattern::matches(&self.marked(word).await?, &text);
            }
            if fits {
                self.status = 0;
                code = self.list(&arm.body).await?;
                if !arm.falls_through {
                    return Ok(code);
                }
                falls = true;
            }
        }
        Ok(code)
    }

    async fn simple(
        &mut self,
        command: &Command,
        assignments: &[(String, bool, super::ast::Word)],
        words: &[super::ast::Word],
    ) -> Ran {
        self.substituted = None;
        let words = self.arguments(words).await?;
        let mut given = Vec::new();
        for (name, append, word) in assignments {
            let mut value = if *append { self.get(name).unwrap_or_default() } else { String::new() };
            value.push_str(&self.text(word).await?);
            if words.is_empty() {
                self.assign(name, value).await?;
            } else {
                given.push((name.clone(), value));
            }
        }
        if self.options.trace && !(words.is_empty() && given.is_empty()) {
            let quoted = words.iter().map(|word| builtins::quoted_if_needed(word));
            let assigned = given.iter().map(|(name, value)| format!("{name}={}", builtins::quoted_if_needed(value)));
            let line = format!("+ {}\n", assigned.chain(quoted).collect::<Vec<_>>().join(" "));
            let _ = self.files.error().write(line.as_bytes()).await;
        }
        let before = self.files.clone();
        if let Err(complaint) = self.redirect(&command.redirections).await? {
            self.files = before;
            self.complain(&complaint).await;
            return Ok(1);
        }
        let Some(name) = words.first().cloned() else {
            self.files = before;
            return Ok(self.substituted.unwrap_or(0));
        };
        // Redirections of `exec` stay.
        let stays = name == "exec" && words.len() == 1;
        let ran = self.invoke(&name, words, &given).await;
        if !stays {
            self.files = before;
        }
        ran
    }

    pub async fn invoke(&mut self, name: &str, words: Vec<String>, given: &[(String, String)]) -> Ran {
        if let Some(function) = self.functions.get(name).cloned() {
            return self.call(&function, words, given).await;
        }
        if builtins::is_builtin(name) {
            let hidden = self.hide(given);
            let ran = Box::pin(builtins::run(self, name, &words)).await;
            if !builtins::keeps_assignments(name) {
                self.restore(hidden);
            }
            return ran;
        }
        self.program(name, words, given).await
    }

    /// Sets variables for the time of one command.
    fn hide(&mut self, given: &[(String, String)]) -> Vec<(String, Option<Variable>)> {
        let mut hidden = Vec::new();
        for (name, value) in given {
            hidden.push((name.clone(), self.variables.get(name).cloned()));
            let variable = self.variables.entry(name.clone()).or_default();
            variable.value = Some(value.clone());
            variable.exported = true;
        }
        hidden
    }

    pub(super) fn restore(&mut self, hidden: Vec<(String, Option<Variable>)>) {
        for (name, variable) in hidden.into_iter().rev() {
            match variable {
                Some(variable) => drop(self.variables.insert(name, variable)),
                None => drop(self.variables.remove(&name)),
            }
        }
    }

    async fn call(&mut self, function: &Rc<Command>, words: Vec<String>, given: &[(String, String)]) -> Ran {
        self.depth_check().await?;
        let hidden = self.hide(given);
        let args = std::mem::replace(&mut self.args, words.into_iter().skip(1).collect());
        self.hidden.push(Vec::new());
        self.depth += 1;
        let ran = self.command(function).await;
        self.depth -= 1;
        let locals = self.hidden.pop().unwrap_or_default();
        self.restore(locals);
        self.restore(hidden);
        self.args = args;
        match ran {
            Err(Flow::Return(code)) => Ok(code),
            other => other,
        }
    }

    /// An applet, or a script that somebody names by its path.
    /// What a regular expression finds is kept for the script.
    fn keep_match(&mut self, text: &str, expression: &str) {
        let found = regex::Regex::new(expression).ok().and_then(|expression| expression.captures(text));
        for (part, text) in found.iter().flat_map(regex::Captures::iter).enumerate() {
            self.set_variable(&words::matched(part), text.map_or_else(String::new, |text| text.as_str().to_owned()));
        }
    }

    pub async fn program(&mut self, name: &str, words: Vec<String>, given: &[(String, String)]) -> Ran {
        let process = Process {
            args: words,
            env: self.environment(given),
            cwd: Rc::clone(&self.cwd),
            stdin: self.files.input(),
            stdout: self.files.output(),
            stderr: self.files.error(),
            terminal: self.process.terminal.clone(),
        };
        if let ["[[", left, "=~", right, "]]"] = *process.args.iter().map(String::as_str).collect::<Vec<_>>() {
            self.keep_match(left, right);
        }
        if applets::find(name).is_some() {
            let work = applets::run(process);
            let trapped = self.traps.contains_key(signals::NAME);
            return Ok(if trapped { signals::unless_terminated(work).await } else { work.await });
        }
        if !name.contains('/') {
            let line = format!("{}: {name}: not found\n", self.name);
            let _ = process.stderr.write(line.as_bytes()).await;
            return Ok(NOT_FOUND);
        }
        match std::fs::metadata(absolute(&self.cwd, name)) {
            Ok(found) if found.is_file() => {
                let mut args = vec!["sh".to_owned()];
                args.extend(process.args);
                Ok(super::main(Process { args, ..process }).await)
            }
            Ok(_) => {
                self.complain(&format!("{name}: Permission denied")).await;
                Ok(NOT_EXECUTABLE)
            }
            Err(_) => {
                self.complain(&format!("{name}: not found")).await;
                Ok(NOT_FOUND)
            }
        }
    }
}

/// What the loop around this one is told.
fn outer(flow: Flow) -> Flow {
    match flow {
        Flow::Break(levels) => Flow::Break(levels - 1),
        Flow::Continue(levels) => Flow::Continue(levels - 1),
        other => other,
    }
}
