//! The shell's open files, and how redirections change them.

use std::collections::BTreeMap;
use std::fs::OpenOptions;

use super::ast::{Redirected, Redirection};
use super::{Flow, Shell};
use crate::io::{Input, Output};
use crate::process::{Process, absolute, open_input, why};

#[derive(Clone)]
enum Open {
    Read(Input),
    Write(Output),
    Both(Input, Output),
}

/// What is open, by descriptor.
#[derive(Clone)]
pub struct Files(BTreeMap<u32, Open>);

impl Files {
    pub fn new(process: &Process) -> Self {
        let open = [
            (0, Open::Read(process.stdin.clone())),
            (1, Open::Write(process.stdout.clone())),
            (2, Open::Write(process.stderr.clone())),
        ];
        Self(open.into_iter().collect())
    }

    pub fn reader(&self, descriptor: u32) -> Option<Input> {
        match self.0.get(&descriptor)? {
            Open::Read(input) | Open::Both(input, _) => Some(input.clone()),
            Open::Write(_) => None,
        }
    }

    fn writer(&self, descriptor: u32) -> Option<Output> {
        match self.0.get(&descriptor)? {
            Open::Write(output) | Open::Both(_, output) => Some(output.clone()),
            Open::Read(_) => None,
        }
    }

    pub fn input(&self) -> Input {
        self.reader(0).unwrap_or_else(Input::nothing)
    }

    pub fn output(&self) -> Output {
        self.writer(1).unwrap_or_else(Output::nothing)
    }

    pub fn error(&self) -> Output {
        self.writer(2).unwrap_or_else(Output::nothing)
    }

    pub fn set_input(&mut self, descriptor: u32, input: Input) {
        self.0.insert(descriptor, Open::Read(input));
    }

    pub fn set_output(&mut self, descriptor: u32, output: Output) {
        self.0.insert(descriptor, Open::Write(output));
    }

    fn same(&mut self, descriptor: u32, target: &str) -> Result<(), String> {
        if target == "-" {
            self.0.remove(&descriptor);
            return Ok(());
        }
        let open = target.parse().ok().and_then(|number: u32| self.0.get(&number).cloned());
        let open = open.ok_or_else(|| format!("{target}: bad file descriptor"))?;
        self.0.insert(descriptor, open);
        Ok(())
    }

    fn open_to_write(&self, path: &str, append: bool, both: bool) -> std::io::Result<Open> {
        let output = match path {
            "/dev/null" => Output::nothing(),
            "/dev/stdout" | "/dev/fd/1" | "/dev/tty" | "/proc/1/fd/1" | "/proc/self/fd/1" => self.output(),
            "/dev/stderr" | "/dev/fd/2" | "/proc/1/fd/2" | "/proc/self/fd/2" => self.error(),
            _ => {
                let mut options = OpenOptions::new();
                options.create(true).write(!append).append(append).truncate(!append && !both).read(both);
                let file = options.open(path)?;
                if both {
                    return Ok(Open::Both(Input::file(file.try_clone()?), Output::file(file)));
                }
                Output::file(file)
            }
        };
        Ok(Open::Write(output))
    }
}

impl Shell {
    /// Carries redirections out. What they change is the caller's to put back.
    pub async fn redirect(&mut self, redirections: &[Redirection]) -> Result<Result<(), String>, Flow> {
        for redirection in redirections {
            let descriptor = redirection.descriptor;
            let done = match &redirection.kind {
                Redirected::Read(word) => {
                    let path = self.text(word).await?;
                    let found = open_input(&absolute(&self.cwd, &path), &self.files.input());
                    found
                        .map(|input| self.files.set_input(descriptor, input))
                        .map_err(|error| format!("can't open {path}: {}", why(&error).to_lowercase().replace("no such file or directory", "no such file")))
                }
                Redirected::Write(word) => {
                    let path = self.text(word).await?;
                    self.write_to(&[descriptor], &path, false, false)
                }
                Redirected::Append(word) => {
                    let path = self.text(word).await?;
                    self.write_to(&[descriptor], &path, true, false)
                }
                Redirected::ReadWrite(word) => {
                    let path = self.text(word).await?;
                    self.write_to(&[descriptor], &path, false, true)
                }
                Redirected::Both(word, append) => {
                    let path = self.text(word).await?;
                    self.write_to(&[1, 2], &path, *append, false)
                }
                Redirected::Same(word) => {
                    let target = self.text(word).await?;
                    let number = target == "-" || target.chars().all(|c| c.is_ascii_digit());
                    // `>&FILE`
                    if number || descriptor != 1 {
                        self.files.same(descriptor, &target)
                    } else {
                        self.write_to(&[1, 2], &target, false, false)
                    }
                }
                Redirected::Here(body) => {
                    let body = body.borrow().clone();
                    let text = self.text(&body).await?;
                    self.files.set_input(descriptor, Input::bytes(text.into_bytes()));
                    Ok(())
                }
                Redirected::HereString(word) => {
                    let text = self.text(word).await? + "\n";
                    self.files.set_input(descriptor, Input::bytes(text.into_bytes()));
                    Ok(())
                }
            };
            if done.is_err() {
                return Ok(done);
            }
        }
        Ok(Ok(()))
    }

    fn write_to(&mut self, descriptors: &[u32], path: &str, append: bool, both: bool) -> Result<(), String> {
        let whole = absolute(&self.cwd, path);
        if self.options.no_clobber && !append && !both && std::fs::metadata(&whole).is_ok_and(|found| found.is_file()) {
            return Err(format!("can't create {path}: File exists"));
        }
        let open = self.files.open_to_write(&whole, append, both);
        let open = open.map_err(|error| format!("can't create {path}: {}", why(&error)))?;
        for descriptor in descriptors {
            self.files.0.insert(*descriptor, open.clone());
        }
        Ok(())
    }
}
