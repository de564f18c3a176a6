//! `find`, `xargs`.

use std::fs::{self, Metadata};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::io::{Input, Out};
use crate::process::{Ended, Fail, Options, Process, why};
use crate::shell::{Later, pattern};

enum Test {
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    Name(String, bool),
    Path(String),
    Type(char),
    Size(char, u64, u64),
    /// Age in units of so many seconds.
    Age(char, i64, i64),
    Newer(SystemTime),
    Empty,
    Print(&'static str),
    Delete,
    Prune,
    Quit,
    Exec(Vec<String>, bool),
    Always(bool),
}

struct Search<'a> {
    process: &'a Process,
    out: Out,
    least: usize,
    most: usize,
    depth_first: bool,
    /// For `-exec … +`.
    gathered: Vec<(Vec<String>, Vec<String>)>,
    code: i32,
    over: bool,
}

struct Reader<'a> {
    process: &'a Process,
    args: &'a [String],
    at: usize,
    acts: bool,
    least: usize,
    most: usize,
    depth_first: bool,
}

pub async fn find(process: &Process) -> Ended {
    let args = &process.args[1..];
    let is_path = |arg: &String| !arg.starts_with('-') && arg != "!" && arg != "(";
    let count = args.iter().take_while(|arg| is_path(arg)).count();
    let mut paths = args[..count].to_vec();
    if paths.is_empty() {
        paths.push(".".to_owned());
    }
    let rest: Vec<String> = args[count..].to_vec();
    let mut reader = Reader { process, args: &rest, at: 0, acts: false, least: 0, most: usize::MAX, depth_first: false };
    let mut test = reader.or()?;
    if reader.at < rest.len() {
        return Err(format!("unrecognized: {}", rest[reader.at]).into());
    }
    if !reader.acts {
        test = Test::And(vec![test, Test::Print("\n")]);
    }
    let mut search = Search {
        process,
        out: process.out(),
        least: reader.least,
        most: reader.most,
        depth_first: reader.depth_first,
        gathered: Vec::new(),
        code: 0,
        over: false,
    };
    for path in paths {
        search.visit(path, 0, &test).await?;
    }
    search.out.flush().await?;
    for (command, paths) in std::mem::take(&mut search.gathered) {
        let args: Vec<String> = command.into_iter().filter(|word| word != "{}").chain(paths).collect();
        search.code |= i32::from(super::run(Process { args, ..process.clone() }).await != 0);
    }
    Ok(search.code)
}

impl Reader<'_> {
    fn eat(&mut self, words: &[&str]) -> bool {
        let found = self.args.get(self.at).is_some_and(|word| words.contains(&word.as_str()));
        self.at += usize::from(found);
        found
    }

    fn value(&mut self) -> Result<String, String> {
        let value = self.args.get(self.at).cloned();
        self.at += 1;
        value.ok_or_else(|| format!("{} requires an argument", self.args[self.at - 2]))
    }

    fn or(&mut self) -> Result<Test, String> {
        let mut tests = vec![self.and()?];
        while self.eat(&["-o", "-or"]) {
            tests.push(self.and()?);
        }
        Ok(Test::Or(tests))
    }

    fn and(&mut self) -> Result<Test, String> {
        let mut tests = Vec::new();
        while self.at < self.args.len() && !matches!(self.args[self.at].as_str(), "-o" | "-or" | ")") {
            if !self.eat(&["-a", "-and"]) {
                tests.push(self.one()?);
            }
        }
        Ok(Test::And(tests))
    }

    fn one(&mut self) -> Result<Test, String> {
        if self.eat(&["!", "-not"]) {
            return Ok(Test::Not(Box::new(self.one()?)));
        }
        if self.eat(&["("]) {
            let test = self.or()?;
            return if self.eat(&[")"]) { Ok(test) } else { Err("missing )".to_owned()) };
        }
        let name = self.args.get(self.at).cloned().unwrap_or_default();
        self.at += 1;
        Ok(match name.as_str() {
            "-name" => Test::Name(self.value()?, false),
            "-iname" => Test::Name(self.value()?.to_lowercase(), true),
            "-path" | "-wholename" => Test::Path(self.value()?),
            "-type" => Test::Type(self.value()?.chars().next().unwrap_or('f')),
            "-size" => {
                let text = self.value()?;
                let (sign, rest) = signed(&text);
                let unit = rest.chars().last().filter(char::is_ascii_alphabetic);
                let unit_bytes = match unit {
                    Some('c') => 1,
                    Some('k') => 1 << 10,
                    Some('M') => 1 << 20,
                    Some('G') => 1 << 30,
                    _ => 512,
                };
                let digits = rest.trim_end_matches(|c: char| c.is_ascii_alphabetic());
                Test::Size(sign, digits.parse().map_err(|_| format!("invalid number '{text}'"))?, unit_bytes)
            }
            "-mtime" | "-mmin" | "-atime" | "-ctime" | "-amin" | "-cmin" => {
                let text = self.value()?;
                let (sign, rest) = signed(&text);
                let count = rest.parse().map_err(|_| format!("invalid number '{text}'"))?;
                Test::Age(sign, count, if name.ends_with("min") { 60 } else { 86_400 })
            }
            "-newer" => {
                let path = self.value()?;
                let found = fs::metadata(self.process.path(&path)).and_then(|metadata| metadata.modified());
                Test::Newer(found.map_err(|error| format!("{path}: {}", why(&error)))?)
            }
            "-empty" => Test::Empty,
            "-maxdepth" => self.number(|reader, count| reader.most = count)?,
            "-mindepth" => self.number(|reader, count| reader.least = count)?,
            "-depth" | "-d" => {
                self.depth_first = true;
                Test::Always(true)
            }
            "-xdev" | "-mount" | "-follow" | "-L" | "-H" | "-P" | "-true" => Test::Always(true),
            "-false" => Test::Always(false),
            "-prune" => Test::Prune,
            "-quit" => Test::Quit,
            "-print" => self.act(Test::Print("\n")),
            "-print0" => self.act(Test::Print("\0")),
            "-delete" => {
                self.depth_first = true;
                self.act(Test::Delete)
            }
            "-exec" | "-ok" => {
                let mut words = Vec::new();
                loop {
                    let word = self.value()?;
                    if word == ";" || word == "+" {
                        return Ok(self.act(Test::Exec(words, word == "+")));
                    }
                    words.push(word);
                }
            }
            other => return Err(format!("unrecognized: {other}")),
        })
    }

    fn act(&mut self, test: Test) -> Test {
        self.acts = true;
        test
    }

    fn number(&mut self, set: fn(&mut Self, usize)) -> Result<Test, String> {
        let text = self.value()?;
        let count = text.parse().map_err(|_| format!("invalid number '{text}'"))?;
        set(self, count);
        Ok(Test::Always(true))
    }
}

fn signed(text: &str) -> (char, &str) {
    match text.chars().next() {
        Some(sign @ ('+' | '-')) => (sign, &text[1..]),
        _ => ('=', text),
    }
}

fn compared<T: Ord>(sign: char, value: T, wanted: T) -> bool {
    match sign {
        '+' => value > wanted,
        '-' => value < wanted,
        _ => value == wanted,
    }
}

impl Search<'_> {
    fn visit<'a>(&'a mut self, shown: String, depth: usize, test: &'a Test) -> Later<'a, Result<(), Fail>> {
        Box::pin(async move {
            let path = self.process.path(&shown);
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                Err(_) if path == "/" => fs::metadata("/").map_err(Fail::from)?,
                Err(error) => {
                    self.out.flush().await?;
                    self.process.complain(format!("{shown}: {}", why(&error))).await;
                    self.code = 1;
                    return Ok(());
                }
            };
            let mut descend = metadata.is_dir() && depth < self.most;
            if !self.depth_first && depth >= self.least {
                self.check(test, &shown, &path, &metadata, &mut descend).await?;
            }
            if descend && !self.over {
                let mut below = super::list::names(&path).unwrap_or_default();
                below.sort();
                for name in below {
                    if self.over {
                        break;
                    }
                    let base = if shown.ends_with('/') { shown.clone() } else { format!("{shown}/") };
                    self.visit(format!("{base}{name}"), depth + 1, test).await?;
                }
            }
            if self.depth_first && depth >= self.least && !self.over {
                self.check(test, &shown, &path, &metadata, &mut descend).await?;
            }
            Ok(())
        })
    }

    fn check<'a>(
        &'a mut self,
        test: &'a Test,
        shown: &'a str,
        path: &'a str,
        metadata: &'a Metadata,
        descend: &'a mut bool,
    ) -> Later<'a, Result<bool, Fail>> {
        Box::pin(async move {
            let name = || path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(shown);
            let fits = |wanted: &str, text: &str| pattern::matches(&pattern::plain(wanted), &text.chars().collect::<Vec<_>>());
            Ok(match test {
                Test::And(tests) => {
                    for test in tests {
                        if !self.check(test, shown, path, metadata, descend).await? {
                            return Ok(false);
                        }
                    }
                    true
                }
                Test::Or(tests) => {
                    for test in tests {
                        if self.check(test, shown, path, metadata, descend).await? {
                            return Ok(true);
                        }
                    }
                    false
                }
                Test::Not(test) => !self.check(test, shown, path, metadata, descend).await?,
                Test::Name(wanted, true) => fits(wanted, &name().to_lowercase()),
                Test::Name(wanted, false) => fits(wanted, name()),
                Test::Path(wanted) => fits(wanted, shown),
                Test::Type('d') => metadata.is_dir(),
                Test::Type('l') => metadata.file_type().is_symlink(),
                Test::Type(kind) => *kind == 'f' && metadata.is_file(),
                Test::Size(sign, count, unit) => compared(*sign, metadata.len().div_ceil(*unit), *count),
                Test::Age(sign, count, unit) => {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
                    let age = i64::try_from(now).unwrap_or(0) - super::list::changed(metadata);
                    compared(*sign, age / unit, *count)
                }
                Test::Newer(time) => metadata.modified().is_ok_and(|changed| changed > *time),
                Test::Empty => {
                    if metadata.is_dir() { super::list::names(path).is_ok_and(|names| names.is_empty()) } else { metadata.len() == 0 }
                }
                Test::Print(end) => {
                    self.out.put(shown.as_bytes()).await?;
                    self.out.put(end.as_bytes()).await?;
                    true
                }
                Test::Delete => match super::paths::remove(path, false).or_else(|_| fs::remove_dir(path)) {
                    Ok(()) => true,
                    Err(error) => {
                        self.process.complain(format!("{shown}: {}", why(&error))).await;
                        self.code = 1;
                        false
                    }
                },
                Test::Prune => {
                    *descend = false;
                    true
                }
                Test::Quit => {
                    self.over = true;
                    true
                }
                Test::Exec(command, true) => {
                    match self.gathered.iter_mut().find(|(known, _)| known == command) {
                        Some((_, paths)) => paths.push(shown.to_owned()),
                        None => self.gathered.push((command.clone(), vec![shown.to_owned()])),
                    }
                    true
                }
                Test::Exec(command, false) => {
                    self.out.flush().await?;
                    let args = command.iter().map(|word| word.replace("{}", shown)).collect();
                    super::run(Process { args, ..self.process.clone() }).await == 0
                }
                Test::Always(value) => *value,
            })
        })
    }
}

pub async fn xargs(process: &Process) -> Ended {
    let options = Options::of(&process.args, "+0rn:I:L:P:td:", &[("null", '0'), ("no-run-if-empty", 'r'), ("max-args", 'n')])?;
    let text = String::from_utf8_lossy(&process.stdin.all().await?).into_owned();
    let items: Vec<String> = match options.value('d') {
        _ if options.has('0') => text.split('\0').filter(|item| !item.is_empty()).map(str::to_owned).collect(),
        Some(delimiter) => {
            let (bytes, _) = super::print::unescape(delimiter, false);
            let delimiter = String::from_utf8_lossy(&bytes).into_owned();
            text.trim_end_matches('\n').split(&delimiter).map(str::to_owned).collect()
        }
        None if options.has('I') || options.has('L') => {
            text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
        }
        None => items(&text),
    };
    let command = if options.rest.is_empty() { vec!["echo".to_owned()] } else { options.rest.clone() };
    let mut batches: Vec<Vec<String>> = Vec::new();
    if let Some(mark) = options.value('I') {
        let replaced = |item: &String| command.iter().map(|word| word.replace(mark, item)).collect();
        batches = items.iter().map(replaced).collect();
    } else {
        let count = options.number('n')?.or(options.number('L')?).unwrap_or(5000);
        let count = usize::try_from(count).unwrap_or(5000).max(1);
        batches.extend(items.chunks(count).map(|chunk| command.iter().chain(chunk).cloned().collect()));
        if items.is_empty() && !options.has('r') {
            batches.push(command);
        }
    }
    let mut code = 0;
    for args in batches {
        if options.has('t') {
            process.stderr.write(format!("{}\n", args.join(" ")).as_bytes()).await?;
        }
        let known = super::find(&args[0]).is_some();
        let ended = super::run(Process { args, stdin: Input::nothing(), ..process.clone() }).await;
        code = match ended {
            0 => code,
            127 if !known => return Ok(127),
            255 => return Ok(124),
            _ => 123,
        };
    }
    Ok(code)
}

/// Words with quotes, as `xargs` reads them.
fn items(text: &str) -> Vec<String> {
    let (mut items, mut current, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => current.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            (None, '\\') => current.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => items.extend(current.take()),
            (None, c) => current.get_or_insert_default().push(c),
        }
    }
    items.extend(current);
    items
}

