//! A shell that somebody types into.

use std::pin::pin;
use std::task::Poll;

use super::parser::{ParseError, Parser};
use super::{Flow, Ran, Shell};
use crate::io::terminal::Terminal;

/// 128 + SIGINT
pub const INTERRUPTED: i32 = 130;

/// Nothing when `^C` came first.
pub async fn unless_interrupted<T>(terminal: Option<&Terminal>, work: impl Future<Output = T>) -> Option<T> {
    let Some(terminal) = terminal else { return Some(work.await) };
    let (mut work, mut interrupted) = (pin!(work), pin!(terminal.interrupted()));
    std::future::poll_fn(|context| {
        if interrupted.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}

impl Shell {
    /// Prompts, reads and runs until the input ends.
    pub async fn converse(&mut self) -> Ran {
        self.interactive = true;
        let (terminal, files) = (self.process.terminal.clone(), self.files.clone());
        let input = files.input();
        let mut text = String::new();
        loop {
            self.resize();
            let prompt = if text.is_empty() { self.prompt() } else { self.get("PS2").unwrap_or_else(|| "> ".to_owned()) };
            let _ = files.error().write(prompt.as_bytes()).await;
            let Some(line) = unless_interrupted(terminal.as_deref(), input.line()).await else {
                let _ = files.error().write(b"\n").await;
                text.clear();
                self.status = INTERRUPTED;
                continue;
            };
            // The window may have changed while somebody typed.
            self.resize();
            let line = line.unwrap_or_default();
            if line.is_empty() {
                if text.is_empty() {
                    return Ok(self.status);
                }
                text.clear();
                continue;
            }
            text.push_str(&String::from_utf8_lossy(&line));
            match Parser::new(&text).next_line() {
                Err(ParseError::Incomplete(_)) => continue,
                Ok(_) if text.ends_with("\\\n") => continue,
                _ => {}
            }
            let script = std::mem::take(&mut text);
            let ran = unless_interrupted(terminal.as_deref(), self.script(&script)).await;
            self.files = files.clone();
            match ran {
                None => {
                    let _ = files.error().write(b"\n").await;
                    self.status = INTERRUPTED;
                    (self.guarded, self.depth) = (0, 0);
                    for locals in std::mem::take(&mut self.hidden).into_iter().rev() {
                        self.restore(locals);
                    }
                }
                // `exit` says so itself; other errors end the line only.
                Some(Err(Flow::Exit(code))) if self.leaving => return Err(Flow::Exit(code)),
                Some(Ok(code) | Err(Flow::Exit(code) | Flow::Return(code))) => self.status = code,
                Some(Err(Flow::Break(_) | Flow::Continue(_))) => {}
            }
        }
    }

    fn resize(&mut self) {
        let told = self.process.terminal.as_ref().and_then(|terminal| terminal.new_size());
        if let Some((rows, columns)) = told {
            for (name, value) in [("LINES", rows), ("COLUMNS", columns)] {
                self.set_variable(name, value.to_string());
                if let Some(variable) = self.variables.get_mut(name) {
                    variable.exported = true;
                }
            }
        }
    }

    /// `PS1` with the few escapes that people use.
    fn prompt(&self) -> String {
        let template = self.get("PS1").unwrap_or_else(|| "\\w # ".to_owned());
        let mut out = String::new();
        let mut chars = template.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('w') => out.push_str(&self.cwd),
                Some('W') => out.push_str(self.cwd.rsplit('/').next().unwrap_or_default()),
                Some('h' | 'H') => out.push_str(&self.get("HOSTNAME").unwrap_or_default()),
                Some('u') => out.push_str("root"),
                Some('$') => out.push('#'),
                Some('n') => out.push('\n'),
                Some('e') => out.push('\x1b'),
                Some('[' | ']') | None => {}
                Some(other) => out.extend(['\\', other]),
            }
        }
        out
    }
}
