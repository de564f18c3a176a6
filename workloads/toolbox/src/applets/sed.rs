//! `sed`: the everyday part. Addresses (numbers, `$`, patterns, ranges, `!`), and the commands `s p d q Q n N D P g G h H x i a c y = l r w b t : { }`.

mod script;

use std::collections::VecDeque;

use regex::bytes::Regex;

use crate::io::{Input, Out, Output};
use crate::process::{Ended, Fail, Options, Process, why};
use script::{Address, Command, Step};

struct Machine<'a> {
    process: &'a Process,
    steps: &'a [Step],
    quiet: bool,
    lines: VecDeque<Vec<u8>>,
    inputs: VecDeque<Input>,
    number: usize,
    space: Vec<u8>,
    hold: Vec<u8>,
    appended: Vec<Vec<u8>>,
    /// Which ranges are open, and where they end.
    open: Vec<Option<usize>>,
    out: Out,
    last_regex: Option<Regex>,
}

enum Next {
    Cycle,
    /// Without reading a line first.
    Restart,
    Quit(i32),
}

pub async fn sed(process: &Process) -> Ended {
    let options = Options::of(&process.args, "nrEe:f:isz", &[("quiet", 'n'), ("expression", 'e'), ("in-place", 'i'), ("regexp-extended", 'r'), ("file", 'f')])?;
    let mut rest = options.rest.clone();
    let mut text: Vec<String> = options.values('e').map(str::to_owned).collect();
    for path in options.values('f') {
        text.push(String::from_utf8_lossy(&process.open(path)?.all().await?).into_owned());
    }
    if text.is_empty() {
        if rest.is_empty() {
            return Err("usage: sed [-nrEi] SCRIPT [FILE]...".to_owned().into());
        }
        text.push(rest.remove(0));
    }
    let steps = script::parse(&text.join("\n"), options.has('r') || options.has('E'))?;
    if rest.is_empty() {
        rest.push("-".to_owned());
    }
    let (mut code, mut inputs) = (0, VecDeque::new());
    for path in &rest {
        match process.open(path) {
            Ok(input) if options.has('i') => {
                let buffer = Output::buffer();
                let mut machine = Machine::new(process, &steps, options.has('n'), VecDeque::from([input]), &buffer);
                let ended = machine.run().await?;
                let whole = process.path(path);
                std::fs::write(whole, buffer.taken()).map_err(|error| format!("{path}: {}", why(&error)))?;
                code = code.max(ended);
            }
            Ok(input) => inputs.push_back(input),
            Err(words) => {
                process.complain(words).await;
                code = 1;
            }
        }
    }
    if !options.has('i') {
        let mut machine = Machine::new(process, &steps, options.has('n'), inputs, &process.stdout);
        code = code.max(machine.run().await?);
    }
    Ok(code)
}

impl<'a> Machine<'a> {
    fn new(process: &'a Process, steps: &'a [Step], quiet: bool, inputs: VecDeque<Input>, sink: &Output) -> Self {
        Self {
            process,
            steps,
            quiet,
            lines: VecDeque::new(),
            inputs,
            number: 0,
            space: Vec::new(),
            hold: Vec::new(),
            appended: Vec::new(),
            open: vec![None; steps.len()],
            out: Out::new(sink),
            last_regex: None,
        }
    }

    /// Reads ahead until there are so many lines, as far as there are.
    async fn ahead(&mut self, count: usize) -> Result<bool, Fail> {
        while self.lines.len() < count {
            let Some(input) = self.inputs.front().cloned() else { return Ok(false) };
            let mut line = self.out.next_line(&input).await?;
            if line.is_empty() {
                self.inputs.pop_front();
                continue;
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            self.lines.push_back(line);
        }
        Ok(true)
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, Fail> {
        self.ahead(1).await?;
        let line = self.lines.pop_front();
        self.number += usize::from(line.is_some());
        Ok(line)
    }

    async fn is_last(&mut self) -> Result<bool, Fail> {
        Ok(!self.ahead(1).await?)
    }

    async fn put(&mut self, text: &[u8]) -> Result<(), Fail> {
        self.out.put(text).await?;
        Ok(self.out.put(b"\n").await?)
    }

    async fn run(&mut self) -> Result<i32, Fail> {
        let mut restart = false;
        let mut code = 0;
        loop {
            if !restart {
                let Some(line) = self.next().await? else { break };
                self.space = line;
            }
            let next = self.cycle().await?;
            restart = matches!(next, Next::Restart);
            if let Next::Quit(with) = next {
                code = with;
                break;
            }
        }
        self.out.flush().await?;
        Ok(code)
    }

    async fn finish(&mut self, print: bool) -> Result<(), Fail> {
        if print && !self.quiet {
            let space = std::mem::take(&mut self.space);
            self.put(&space).await?;
            self.space = space;
        }
        for text in std::mem::take(&mut self.appended) {
            self.out.put(&text).await?;
        }
        Ok(())
    }

    async fn matches(&mut self, address: &Address) -> Result<bool, Fail> {
        Ok(match address {
            Address::Line(number) => self.number == *number,
            Address::Last => self.is_last().await?,
            Address::Step(first, step) => {
                if *step == 0 { self.number == *first } else { self.number >= *first && (self.number - first).is_multiple_of(*step) }
            }
            Address::Pattern(Some(regex)) => {
                self.last_regex = Some(regex.clone());
                regex.is_match(&self.space)
            }
            Address::Pattern(None) => self.last_regex.as_ref().is_some_and(|regex| regex.is_match(&self.space)),
            Address::Plus(_) => false,
        })
    }

    async fn selected(&mut self, at: usize) -> Result<bool, Fail> {
        let steps = self.steps;
        let step = &steps[at];
        let chosen = match (&step.from, &step.to) {
            (None, _) => true,
            (Some(from), None) => self.matches(from).await?,
            (Some(from), Some(to)) => {
                if let Some(end) = self.open[at] {
                    let over = match to {
                        Address::Line(_) | Address::Plus(_) => self.number >= end,
                        other => self.matches(other).await?,
                    };
                    if over {
                        self.open[at] = None;
                    }
                    // A line number that has passed selects one line only.
                    !matches!(to, Address::Line(_)) || self.number <= end
                } else if self.matches(from).await? {
                    let end = match to {
                        Address::Line(number) => *number,
                        Address::Plus(count) => self.number + count,
                        _ => usize::MAX,
                    };
                    if end > self.number {
                        self.open[at] = Some(end);
                    }
                    true
                } else {
                    false
                }
            }
        };
        Ok(chosen != step.negated)
    }

    async fn cycle(&mut self) -> Result<Next, Fail> {
        let steps = self.steps;
        let (mut at, mut substituted) = (0, false);
        while at < steps.len() {
            if !self.selected(at).await? {
                at = if let Command::Begin(end) = steps[at].command { end + 1 } else { at + 1 };
                continue;
            }
            match &steps[at].command {
                Command::Begin(_) | Command::End | Command::Label => {}
                Command::Substitute(substitute) => {
                    if let Some(replaced) = substitute.apply(&self.space, &mut self.last_regex) {
                        self.space = replaced;
                        substituted = true;
                        if substitute.print {
                            let space = self.space.clone();
                            self.put(&space).await?;
                        }
                        if let Some(path) = &substitute.file {
                            self.append_to(path)?;
                        }
                    }
                }
                Command::Print => {
                    let space = self.space.clone();
                    self.put(&space).await?;
                }
                Command::PrintFirst => {
                    let first = self.space.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
                    self.put(&first).await?;
                }
                Command::Delete => {
                    self.finish(false).await?;
                    return Ok(Next::Cycle);
                }
                Command::DeleteFirst => {
                    self.finish(false).await?;
                    return Ok(match self.space.iter().position(|byte| *byte == b'\n') {
                        Some(end) => {
                            self.space.drain(..=end);
                            Next::Restart
                        }
                        None => Next::Cycle,
                    });
                }
                Command::Quit(code, print) => {
                    self.finish(*print).await?;
                    return Ok(Next::Quit(*code));
                }
                Command::Next => {
                    self.finish(true).await?;
                    match self.next().await? {
                        Some(line) => self.space = line,
                        None => return Ok(Next::Quit(0)),
                    }
                }
                Command::NextAppended => match self.next().await? {
                    Some(line) => {
                        self.space.push(b'\n');
                        self.space.extend(line);
                    }
                    None => {
                        self.finish(true).await?;
                        return Ok(Next::Quit(0));
                    }
                },
                Command::Hold(append) => {
                    if *append {
                        self.hold.push(b'\n');
                        self.hold.extend_from_slice(&self.space);
                    } else {
                        self.hold.clone_from(&self.space);
                    }
                }
                Command::Get(append) => {
                    if *append {
                        self.space.push(b'\n');
                        self.space.extend_from_slice(&self.hold);
                    } else {
                        self.space.clone_from(&self.hold);
                    }
                }
                Command::Exchange => std::mem::swap(&mut self.space, &mut self.hold),
                Command::Insert(text) => self.out.put(text).await?,
                Command::Append(text) => self.appended.push(text.clone()),
                Command::Change(text) => {
                    if self.open[at].is_none() {
                        self.out.put(text).await?;
                    }
                    self.finish(false).await?;
                    return Ok(Next::Cycle);
                }
                Command::Translate(map) => self.space.iter_mut().for_each(|byte| *byte = map[usize::from(*byte)]),
                Command::Number => {
                    let number = format!("{}\n", self.number);
                    self.out.put(number.as_bytes()).await?;
                }
                Command::Read(path) => {
                    if let Ok(bytes) = std::fs::read(self.process.path(path)) {
                        self.appended.push(bytes);
                    }
                }
                Command::Write(path) => self.append_to(path)?,
                Command::Branch(target, only_if) => {
                    if !only_if || std::mem::take(&mut substituted) {
                        at = *target;
                        continue;
                    }
                }
            }
            at += 1;
        }
        self.finish(true).await?;
        Ok(Next::Cycle)
    }

    fn append_to(&self, path: &str) -> Result<(), Fail> {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.process.path(path))?;
        file.write_all(&self.space)?;
        Ok(file.write_all(b"\n")?)
    }
}
