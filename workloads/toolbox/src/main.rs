//! A shell and the everyday commands in one component: what `kubectl exec`, `kubectl cp` and `kubectl debug` run in a pod, and
//! an image for manifests that say `command: ["sh", "-c", "…"]`.
//!
//! The name it is called by decides: `sh`, `ls`, `/bin/cat`. As `busybox` or `toolbox` its first argument does, and without
//! one it is a shell.

#![deny(unsafe_code)]

mod applets;
mod io;
mod process;
mod shell;
mod signals;

use std::rc::Rc;

use crate::io::terminal::Terminal;
use crate::io::{Input, Output};
use process::Process;
use shell::interactive::{INTERRUPTED, unless_interrupted};

const NOT_FOUND: i32 = 127;

fn main() {
    // It ends from within: what only listens, for signals and keys, is nothing to wait for.
    wstd::runtime::block_on(async { leave(start().await) });
}

fn leave(code: i32) {
    match u8::try_from(code).unwrap_or(1) {
        0 => wasip2::cli::exit::exit(Ok(())),
        code => wasip2::cli::exit::exit_with_code(code),
    }
}

async fn start() -> i32 {
    let mut args: Vec<String> = std::env::args().collect();
    // An image is called by its own name, and without more it is a shell.
    if matches!(args.as_slice(), [] | [_]) && args.first().is_none_or(|name| matches!(name.as_str(), "busybox" | "toolbox")) {
        args = vec!["sh".to_owned()];
    }
    let env: Vec<(String, String)> = std::env::vars().collect();
    let cwd = wasip2::cli::environment::initial_cwd().unwrap_or_default();
    let cwd: Rc<str> = process::absolute("/", &cwd).into();
    // A script by its path.
    if args[0].contains('/') && std::fs::metadata(process::absolute(&cwd, &args[0])).is_ok_and(|found| found.is_file()) {
        args.insert(0, "sh".to_owned());
    }
    signals::listen();
    let terminal = Terminal::open();
    let process = Process {
        args,
        env: Rc::new(env),
        cwd,
        stdin: terminal.clone().map_or_else(Input::host, Input::terminal),
        stdout: Output::stdout(),
        stderr: Output::stderr(),
        terminal: terminal.clone(),
    };
    if applets::find(&process.args[0]).is_none() {
        let name = &process.args[0];
        let why = match name.contains('/') {
            true => format!("stat {name}: no such file or directory"),
            false => "executable file not found in $PATH".to_owned(),
        };
        let words = format!("exec: {name:?}: {why}\n");
        let _ = process.stderr.write(words.as_bytes()).await;
        return NOT_FOUND;
    }
    let interactive = process.name() == "sh" && process.args.len() == 1;
    let work = signals::unless_untrapped(applets::run(process));
    if interactive {
        // It hears interrupts by itself.
        return work.await;
    }
    unless_interrupted(terminal.as_deref(), work).await.unwrap_or(INTERRUPTED)
}
