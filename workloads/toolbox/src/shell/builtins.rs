//! Commands that change the shell itself.

mod read;
mod variables;

use std::rc::Rc;

use super::{Flow, Ran, Shell};
use crate::applets;
use crate::process::{Process, absolute};

const NAMES: [&str; 35] = [
    ":", ".", "source", "break", "continue", "return", "exit", "cd", "pwd", "export", "unset", "set", "shift", "local",
    "readonly", "eval", "exec", "read", "trap", "wait", "jobs", "kill", "type", "command", "getopts", "umask", "alias",
    "unalias", "hash", "ulimit", "times", "let", "fg", "bg", "declare",
];

pub fn is_builtin(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Variables that are set in front of these stay set.
pub fn keeps_assignments(name: &str) -> bool {
    matches!(name, ":" | "." | "eval" | "exec" | "export" | "readonly" | "set" | "unset" | "trap" | "shift")
}

/// A word as one would type it.
pub fn quoted_if_needed(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=,@%+^".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { quoted(word) }
}

pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

pub async fn run(shell: &mut Shell, name: &str, words: &[String]) -> Ran {
    let argument = |number: usize| words.get(number).map(String::as_str);
    match name {
        ":" | "umask" | "alias" | "unalias" | "hash" | "ulimit" | "times" => Ok(0),
        "." | "source" => source(shell, words).await,
        "break" | "continue" => {
            let levels = argument(1).and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
            Err(if name == "break" { Flow::Break(levels) } else { Flow::Continue(levels) })
        }
        "return" => Err(Flow::Return(code(shell, argument(1)))),
        "exit" => {
            shell.leaving = true;
            Err(Flow::Exit(code(shell, argument(1))))
        }
        "cd" => cd(shell, words).await,
        "pwd" => {
            let line = format!("{}\n", shell.cwd);
            say(shell, &line).await
        }
        "export" | "readonly" | "local" | "declare" => variables::declare(shell, name, words).await,
        "unset" => variables::unset(shell, words).await,
        "set" => variables::set(shell, words).await,
        "shift" => {
            let count = argument(1).and_then(|text| text.parse().ok()).unwrap_or(1_usize);
            if count > shell.args.len() {
                return Ok(1);
            }
            shell.args.drain(..count);
            Ok(0)
        }
        "eval" => {
            let script = words[1..].join(" ");
            shell.status = 0;
            shell.script(&script).await
        }
        "exec" => {
            let Some(command) = argument(1) else { return Ok(0) };
            let code = shell.program(command, words[1..].to_vec(), &[]).await?;
            shell.traps.remove("EXIT");
            shell.leaving = true;
            Err(Flow::Exit(code))
        }
        "read" => read::read(shell, words).await,
        "getopts" => read::getopts(shell, words).await,
        "trap" => trap(shell, words).await,
        "wait" => wait(shell, words).await,
        "jobs" => {
            let lines: String = shell.jobs.lines().iter().map(|line| format!("{line}\n")).collect();
            say(shell, &lines).await
        }
        "fg" => wait(shell, &["wait".to_owned(), argument(1).unwrap_or("%%").to_owned()]).await,
        "bg" => Ok(0),
        "kill" => kill(shell, words).await,
        "type" => describe(shell, &words[1..], true).await,
        "command" => command(shell, words).await,
        "let" => {
            let mut value = 0;
            for text in &words[1..] {
                value = match super::arithmetic::evaluate(text, shell) {
                    Ok(value) => value,
                    Err(why) => return Err(shell.fatal(&why, 2).await),
                };
            }
            Ok(i32::from(value == 0))
        }
        _ => Ok(0),
    }
}

async fn say(shell: &Shell, text: &str) -> Ran {
    Ok(match shell.files.output().write(text.as_bytes()).await {
        Ok(()) => 0,
        Err(_) => 1,
    })
}

fn code(shell: &Shell, text: Option<&str>) -> i32 {
    text.and_then(|text| text.parse::<i32>().ok()).map_or(shell.status, |code| code & 255)
}

async fn source(shell: &mut Shell, words: &[String]) -> Ran {
    let Some(path) = words.get(1) else { return Err(shell.fatal(".: filename argument required", 2).await) };
    let process = Process { cwd: Rc::clone(&shell.cwd), ..shell.process.clone() };
    let script = match super::read_script(&process, path).await {
        Ok(script) => script,
        Err(words) => return Err(shell.fatal(&words, 2).await),
    };
    shell.depth_check().await?;
    shell.depth += 1;
    let args = (words.len() > 2).then(|| std::mem::replace(&mut shell.args, words[2..].to_vec()));
    let ran = shell.script(&script).await;
    shell.depth -= 1;
    if let Some(args) = args {
        shell.args = args;
    }
    match ran {
        Err(Flow::Return(code)) => Ok(code),
        other => other,
    }
}

async fn cd(shell: &mut Shell, words: &[String]) -> Ran {
    let operand = words.iter().skip(1).find(|word| !matches!(word.as_str(), "-L" | "-P" | "--"));
    let back = operand.is_some_and(|operand| operand == "-");
    let target = match operand {
        Some(_) if back => shell.get("OLDPWD").unwrap_or_else(|| shell.cwd.to_string()),
        Some(path) => path.clone(),
        None => shell.get("HOME").unwrap_or_else(|| "/".to_owned()),
    };
    let path = absolute(&shell.cwd, &target);
    let found = std::fs::metadata(&path);
    match found {
        Ok(found) if !found.is_dir() => {
            shell.complain(&format!("cd: can't cd to {target}: Not a directory")).await;
            return Ok(2);
        }
        // The root is there even if nothing is mounted.
        Err(_) if path != "/" => {
            shell.complain(&format!("cd: can't cd to {target}: No such file or directory")).await;
            return Ok(2);
        }
        _ => {}
    }
    let old = shell.cwd.to_string();
    shell.set_variable("OLDPWD", old);
    shell.set_variable("PWD", path.clone());
    shell.cwd = path.as_str().into();
    if back { say(shell, &format!("{path}\n")).await } else { Ok(0) }
}

fn signal_name(text: &str) -> String {
    let name = text.to_uppercase();
    match name.strip_prefix("SIG").unwrap_or(&name) {
        "0" => "EXIT".to_owned(),
        "1" => "HUP".to_owned(),
        "2" => "INT".to_owned(),
        "3" => "QUIT".to_owned(),
        "9" => "KILL".to_owned(),
        "10" => "USR1".to_owned(),
        "12" => "USR2".to_owned(),
        "15" => "TERM".to_owned(),
        other => other.to_owned(),
    }
}

fn signal_number(name: &str) -> i32 {
    match name {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "KILL" => 9,
        "USR1" => 10,
        "USR2" => 12,
        _ => 15,
    }
}

async fn trap(shell: &mut Shell, words: &[String]) -> Ran {
    let operands: Vec<&String> = words.iter().skip(1).filter(|word| *word != "--").collect();
    let Some((action, signals)) = operands.split_first() else {
        let lines = shell.traps.iter().map(|(name, action)| format!("trap -- {} {name}\n", quoted(action)));
        let text: String = lines.collect();
        return say(shell, &text).await;
    };
    if signals.is_empty() || *action == "-" {
        let names = if *action == "-" { signals } else { std::slice::from_ref(action) };
        for name in names {
            shell.traps.remove(&signal_name(name));
        }
        return Ok(0);
    }
    for name in signals {
        let name = signal_name(name);
        if name == crate::signals::NAME {
            crate::signals::trap();
        }
        shell.traps.insert(name, (*action).clone());
    }
    Ok(0)
}

async fn wait(shell: &mut Shell, words: &[String]) -> Ran {
    let Some(waiting) = shell.jobs.wait(words.get(1).map(String::as_str)) else { return Ok(127) };
    let waiting = Box::pin(waiting);
    let mut waiting = waiting;
    // A trap that comes meanwhile ends the wait.
    let ended = std::future::poll_fn(|context| {
        use std::task::Poll;
        match waiting.as_mut().poll(context) {
            Poll::Ready(code) => Poll::Ready(code),
            Poll::Pending if crate::signals::wake(context) => Poll::Ready(crate::signals::TERMINATED),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    Ok(ended)
}

async fn kill(shell: &mut Shell, words: &[String]) -> Ran {
    let mut operands: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let mut signal = crate::signals::NAME.to_owned();
    match operands.first().copied() {
        Some("-l") => return say(shell, "HUP INT QUIT KILL TERM\n").await,
        Some("-s") => {
            signal = operands.get(1).map_or(signal, |name| signal_name(name));
            drop(operands.drain(..operands.len().min(2)));
        }
        Some(option) if option.starts_with('-') => {
            signal = signal_name(&option[1..]);
            operands.remove(0);
        }
        _ => {}
    }
    // As number 0 it asks whether somebody is there.
    let really = signal != "EXIT";
    if operands.is_empty() {
        shell.complain("kill: you need to specify whom to kill").await;
        return Ok(1);
    }
    let mut code = 0;
    for operand in operands {
        if operand == "1" && really {
            let Some(action) = shell.traps.get(&signal).cloned().filter(|_| signal != "KILL") else {
                shell.leaving = true;
                return Err(Flow::Exit(128 + signal_number(&signal)));
            };
            Box::pin(shell.script(&action)).await?;
        }
        if operand != "1" && !shell.jobs.kill(operand, really) {
            shell.complain(&format!("kill: can't kill pid {operand}: No such process")).await;
            code = 1;
        }
    }
    Ok(code)
}

async fn describe(shell: &mut Shell, names: &[String], wordy: bool) -> Ran {
    let mut code = 0;
    for name in names {
        let line = if shell.functions.contains_key(name) {
            if wordy { format!("{name} is a function") } else { name.clone() }
        } else if is_builtin(name) {
            if wordy { format!("{name} is a shell builtin") } else { name.clone() }
        } else if let Some(applet) = applets::find(name) {
            if wordy { format!("{name} is /bin/{applet}") } else { format!("/bin/{applet}") }
        } else {
            if wordy {
                shell.complain(&format!("{name}: not found")).await;
            }
            code = if wordy { 1 } else { 127 };
            continue;
        };
        say(shell, &format!("{line}\n")).await?;
    }
    Ok(code)
}

async fn command(shell: &mut Shell, words: &[String]) -> Ran {
    let mut words = &words[1..];
    while let Some(option) = words.first().filter(|word| word.starts_with('-')) {
        match option.as_str() {
            "-v" => return describe(shell, &words[1..], false).await,
            "-V" => return describe(shell, &words[1..], true).await,
            _ => words = &words[1..],
        }
    }
    let Some(name) = words.first().cloned() else { return Ok(0) };
    if is_builtin(&name) {
        return Box::pin(run(shell, &name, words)).await;
    }
    shell.program(&name, words.to_vec(), &[]).await
}
