//! `test`, `[`, `expr`.

use std::fs;

use crate::process::{Ended, Fail, Process};
use crate::shell::pattern;

pub async fn test(process: &Process) -> Ended {
    let mut args: Vec<&str> = process.args[1..].iter().map(String::as_str).collect();
    let wide = process.name() == "[[";
    let close = match process.name() {
        "[" => Some("]"),
        "[[" => Some("]]"),
        _ => None,
    };
    if let Some(close) = close
        && args.pop() != Some(close)
    {
        return Err(Fail::Said(2, format!("missing {close}")));
    }
    let mut reader = Reader { process, args: &args, at: 0, wide };
    let value = match args.len() {
        0 => false,
        // Short forms mean what POSIX says, whatever the words look like.
        1 => !args[0].is_empty(),
        2 if args[0] == "!" => args[1].is_empty(),
        3 if is_binary(args[1]) => reader.binary(args[0], args[1], args[2])?,
        _ => {
            let value = reader.or()?;
            if reader.at < args.len() {
                return Err(Fail::Said(2, format!("{}: unknown operand", args[reader.at])));
            }
            value
        }
    };
    Ok(i32::from(!value))
}

/// What every applet opens without there being a file.
fn is_device(path: &str) -> bool {
    matches!(path, "/dev/null" | "/dev/zero" | "/dev/random" | "/dev/urandom" | "/dev/tty" | "/dev/stdin" | "/dev/stdout" | "/dev/stderr")
}

fn is_binary(word: &str) -> bool {
    matches!(word, "=" | "==" | "!=" | "<" | ">" | "=~" | "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" | "-nt" | "-ot" | "-ef")
}

struct Reader<'a> {
    process: &'a Process,
    args: &'a [&'a str],
    at: usize,
    wide: bool,
}

impl Reader<'_> {
    fn eat(&mut self, words: &[&str]) -> bool {
        let found = self.args.get(self.at).is_some_and(|word| words.contains(word));
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Result<String, Fail> {
        let word = self.args.get(self.at).ok_or_else(|| Fail::Said(2, "argument expected".to_owned()))?;
        self.at += 1;
        Ok((*word).to_owned())
    }

    fn or(&mut self) -> Result<bool, Fail> {
        let mut value = self.and()?;
        while self.eat(&["-o", "||"]) {
            value |= self.and()?;
        }
        Ok(value)
    }

    fn and(&mut self) -> Result<bool, Fail> {
        let mut value = self.not()?;
        while self.eat(&["-a", "&&"]) {
            value &= self.not()?;
        }
        Ok(value)
    }

    fn not(&mut self) -> Result<bool, Fail> {
        if self.eat(&["!"]) {
            return Ok(!self.not()?);
        }
        if self.args.get(self.at + 1).is_some_and(|word| is_binary(word)) {
            let (left, operator, right) = (self.next()?, self.next()?, self.next()?);
            return self.binary(&left, &operator, &right);
        }
        if self.eat(&["("]) {
            let value = self.or()?;
            if !self.eat(&[")"]) {
                return Err(Fail::Said(2, "closing paren expected".to_owned()));
            }
            return Ok(value);
        }
        let word = self.next()?;
        if word.len() == 2 && word.starts_with('-') && self.at < self.args.len() {
            let operand = self.next()?;
            return self.unary(&word, &operand);
        }
        Ok(!word.is_empty())
    }

    fn unary(&self, operator: &str, operand: &str) -> Result<bool, Fail> {
        let path = self.process.path(operand);
        let is = |found: fn(&fs::Metadata) -> bool| fs::metadata(&path).is_ok_and(|metadata| found(&metadata));
        let command = super::find(operand).is_some() && operand.starts_with('/');
        Ok(match operator {
            "-z" => operand.is_empty(),
            "-n" => !operand.is_empty(),
            "-e" | "-a" => command || is(|_| true) || path == "/" || is_device(&path),
            "-r" | "-w" => is(|_| true),
            "-x" => command || is(|_| true),
            "-f" => command || is(fs::Metadata::is_file),
            "-d" => path == "/" || is(fs::Metadata::is_dir),
            "-s" => is(|metadata| metadata.len() > 0),
            "-h" | "-L" => fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.file_type().is_symlink()),
            "-t" if operand == "0" => self.process.stdin.is_terminal(),
            "-t" => self.process.stdout_is_terminal(),
            "-v" => self.process.var(operand).is_some(),
            "-b" | "-c" | "-p" | "-S" | "-u" | "-g" | "-k" => operator == "-c" && is_device(&path),
            "-O" | "-G" => is(|_| true),
            other => return Err(Fail::Said(2, format!("{other}: unknown operand"))),
        })
    }

    fn binary(&self, left: &str, operator: &str, right: &str) -> Result<bool, Fail> {
        let number = |text: &str| {
            let parsed: Result<i64, _> = text.trim().parse();
            parsed.map_err(|_| Fail::Said(2, format!("bad number: '{text}'")))
        };
        let changed = |text: &str| fs::metadata(self.process.path(text)).and_then(|metadata| metadata.modified()).ok();
        Ok(match operator {
            "=" | "==" if self.wide => pattern::matches(&pattern::plain(right), &left.chars().collect::<Vec<_>>()),
            "!=" if self.wide => !pattern::matches(&pattern::plain(right), &left.chars().collect::<Vec<_>>()),
            "=~" => regex::Regex::new(right).map_err(|error| Fail::Said(2, error.to_string()))?.is_match(left),
            "=" | "==" => left == right,
            "!=" => left != right,
            "<" => left < right,
            ">" => left > right,
            "-eq" => number(left)? == number(right)?,
            "-ne" => number(left)? != number(right)?,
            "-lt" => number(left)? < number(right)?,
            "-le" => number(left)? <= number(right)?,
            "-gt" => number(left)? > number(right)?,
            "-ge" => number(left)? >= number(right)?,
            "-nt" => changed(left) > changed(right),
            "-ot" => changed(left) < changed(right),
            _ => self.process.path(left) == self.process.path(right),
        })
    }
}

/// `expr`: what is older than `$((…))`.
pub async fn expr(process: &Process) -> Ended {
    let args: Vec<&str> = process.args[1..].iter().map(String::as_str).collect();
    let mut at = 0;
    let value = level(&args, &mut at, 0)?;
    if at < args.len() {
        return Err(Fail::Said(2, "syntax error".to_owned()));
    }
    process.stdout.write(format!("{value}\n").as_bytes()).await?;
    Ok(i32::from(value.is_empty() || value == "0"))
}

const LEVELS: [&[&str]; 6] = [&["|"], &["&"], &["<", "<=", "=", "==", "!=", ">=", ">"], &["+", "-"], &["*", "/", "%"], &[":"]];

fn level(args: &[&str], at: &mut usize, depth: usize) -> Result<String, Fail> {
    let syntax = || Fail::Said(2, "syntax error".to_owned());
    if depth == LEVELS.len() {
        let word = args.get(*at).ok_or_else(syntax)?;
        *at += 1;
        return match *word {
            "(" => {
                let value = level(args, at, 0)?;
                if args.get(*at) != Some(&")") {
                    return Err(syntax());
                }
                *at += 1;
                Ok(value)
            }
            "length" if *at < args.len() => Ok(level(args, at, depth)?.chars().count().to_string()),
            "match" if *at + 1 < args.len() => {
                let (text, pattern) = (level(args, at, depth)?, level(args, at, depth)?);
                matched(&text, &pattern)
            }
            "substr" if *at + 2 < args.len() => {
                let text = level(args, at, depth)?;
                let numbers = [level(args, at, depth)?, level(args, at, depth)?].map(|text| text.parse::<usize>().unwrap_or(0));
                Ok(text.chars().skip(numbers[0].saturating_sub(1)).take(numbers[1]).collect())
            }
            word => Ok(word.to_owned()),
        };
    }
    let mut left = level(args, at, depth + 1)?;
    while let Some(operator) = args.get(*at).filter(|word| LEVELS[depth].contains(word)) {
        *at += 1;
        let right = level(args, at, depth + 1)?;
        left = combined(&left, operator, &right)?;
    }
    Ok(left)
}

fn combined(left: &str, operator: &str, right: &str) -> Result<String, Fail> {
    let none = |text: &str| text.is_empty() || text == "0";
    let numbers = left.parse::<i64>().ok().zip(right.parse::<i64>().ok());
    let order = numbers.map_or_else(|| left.cmp(right), |(left, right)| left.cmp(&right));
    let truth = match operator {
        "|" => return Ok(if none(left) { right } else { left }.to_owned()),
        "&" => return Ok(if none(left) || none(right) { "0" } else { left }.to_owned()),
        ":" => return matched(left, right),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        "=" | "==" => order.is_eq(),
        "!=" => order.is_ne(),
        ">=" => order.is_ge(),
        ">" => order.is_gt(),
        _ => {
            let (left, right) = numbers.ok_or_else(|| Fail::Said(2, "non-numeric argument".to_owned()))?;
            let value = match operator {
                "+" => left.checked_add(right),
                "-" => left.checked_sub(right),
                "*" => left.checked_mul(right),
                "/" => left.checked_div(right),
                _ => left.checked_rem(right),
            };
            return value.map(|value| value.to_string()).ok_or_else(|| Fail::Said(2, "division by zero".to_owned()));
        }
    };
    Ok(i32::from(truth).to_string())
}

fn matched(text: &str, pattern: &str) -> Result<String, Fail> {
    let pattern = format!("^(?:{})", super::grep::from_basic(pattern));
    let regex = regex::Regex::new(&pattern).map_err(|error| Fail::Said(2, error.to_string()))?;
    let groups = regex.captures_len() > 1;
    Ok(match regex.captures(text) {
        Some(found) if groups => found.get(1).map_or(String::new(), |group| group.as_str().to_owned()),
        Some(found) => found[0].chars().count().to_string(),
        None if groups => String::new(),
        None => "0".to_owned(),
    })
}
