//! What a process knows of itself: `env`, `id`, `uname`, `ps` and the like.

use std::rc::Rc;

use crate::process::{Ended, Options, Process};

async fn say(process: &Process, text: &str) -> Ended {
    process.stdout.write(format!("{text}\n").as_bytes()).await?;
    Ok(0)
}

pub async fn yes_quietly(_: &Process) -> Ended {
    Ok(0)
}

pub async fn no(_: &Process) -> Ended {
    Ok(1)
}

pub async fn clear(process: &Process) -> Ended {
    process.stdout.write(b"\x1b[H\x1b[J").await?;
    Ok(0)
}

pub async fn pwd(process: &Process) -> Ended {
    say(process, &process.cwd).await
}

pub async fn env(process: &Process) -> Ended {
    let options = Options::of(&process.args, "+iu:0C:", &[("ignore-environment", 'i'), ("unset", 'u')])?;
    let mut env: Vec<(String, String)> = if options.has('i') { Vec::new() } else { process.env.to_vec() };
    for name in options.values('u') {
        env.retain(|(key, _)| key != name);
    }
    let mut rest = options.rest.into_iter().peekable();
    while let Some((name, value)) = rest.peek().and_then(|word| word.split_once('=')) {
        env.retain(|(key, _)| key != name);
        env.push((name.to_owned(), value.to_owned()));
        rest.next();
    }
    let args: Vec<String> = rest.collect();
    if args.is_empty() {
        let mut out = process.out();
        for (name, value) in env {
            out.line(&format!("{name}={value}")).await?;
        }
        out.flush().await?;
        return Ok(0);
    }
    if super::find(&args[0]).is_none() {
        process.complain(format!("can't execute '{}': No such file or directory", args[0])).await;
        return Ok(127);
    }
    Ok(super::run(Process { args, env: Rc::new(env), ..process.clone() }).await)
}

pub async fn printenv(process: &Process) -> Ended {
    let names = &process.args[1..];
    if names.is_empty() {
        return Box::pin(env(process)).await;
    }
    let mut code = 0;
    for name in names {
        match process.var(name) {
            Some(value) => drop(say(process, value).await?),
            None => code = 1,
        }
    }
    Ok(code)
}

pub async fn hostname(process: &Process) -> Ended {
    let options = Options::of(&process.args, "sfid", &[])?;
    let file = std::fs::read_to_string("/etc/hostname").ok().map(|text| text.trim().to_owned());
    let name = process.var("HOSTNAME").map(str::to_owned).or(file).unwrap_or_else(|| "localhost".to_owned());
    if options.has('i') || options.has('f') {
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let mut rows = hosts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row.iter().skip(1).any(|known| *known == name));
        let row = row.as_ref().and_then(|row| Some((row.first()?.to_string(), row.get(1)?.to_string())));
        let (address, whole) = row.unwrap_or_else(|| ("127.0.0.1".to_owned(), name.clone()));
        return say(process, if options.has('i') { &address } else { &whole }).await;
    }
    say(process, &name).await
}

/// Who this is, as the container's spec has it: numbers of the user, of the group, and of all groups.
struct Identity {
    user: u32,
    group: u32,
    groups: Vec<u32>,
}

impl Identity {
    fn own() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let numbers = |title: &str| -> Vec<u32> {
            let row = status.lines().find_map(|line| line.strip_prefix(title)).unwrap_or_default();
            row.split_whitespace().filter_map(|number| number.parse().ok()).collect()
        };
        let first = |title: &str| numbers(title).first().copied().unwrap_or(0);
        let (user, group) = (first("Uid:"), first("Gid:"));
        let mut groups = numbers("Groups:");
        groups.push(group);
        groups.sort_unstable();
        groups.dedup();
        Self { user, group, groups }
    }
}

/// The name that a number has in `/etc/passwd` or `/etc/group`.
fn name_of(file: &str, number: u32) -> Option<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut rows = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let row = rows.find(|row| row.get(2).and_then(|text| text.parse().ok()) == Some(number));
    row.and_then(|row| row.first().map(|name| (*name).to_owned())).or_else(|| (number == 0).then(|| "root".to_owned()))
}

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

pub async fn id(process: &Process) -> Ended {
    let options = Options::of(&process.args, "ugnGr", &[])?;
    let Identity { user, group, groups } = Identity::own();
    let short = |file: &str, number: u32| match name_of(file, number).filter(|_| options.has('n')) {
        Some(name) => name,
        None => number.to_string(),
    };
    let long = |file: &str, number: u32| match name_of(file, number) {
        Some(name) => format!("{number}({name})"),
        None => number.to_string(),
    };
    let text = if options.has('u') {
        short(USERS, user)
    } else if options.has('g') {
        short(GROUPS, group)
    } else if options.has('G') {
        groups.iter().map(|group| short(GROUPS, *group)).collect::<Vec<_>>().join(" ")
    } else {
        let all: Vec<String> = groups.iter().map(|group| long(GROUPS, *group)).collect();
        format!("uid={} gid={} groups={}", long(USERS, user), long(GROUPS, group), all.join(","))
    };
    say(process, &text).await
}

pub async fn whoami(process: &Process) -> Ended {
    let user = Identity::own().user;
    match name_of(USERS, user) {
        Some(name) => say(process, &name).await,
        None => Err(format!("unknown uid {user}").into()),
    }
}

pub async fn tty(process: &Process) -> Ended {
    let is = process.stdin.is_terminal();
    say(process, if is { "/dev/tty" } else { "not a tty" }).await?;
    Ok(i32::from(!is))
}

/// The host edits lines: there is nothing to set, and the size to see.
pub async fn stty(process: &Process) -> Ended {
    let Some(terminal) = process.terminal.as_ref().filter(|_| process.stdin.is_terminal()) else {
        return Err("standard input: Not a tty".to_owned().into());
    };
    let (rows, columns) = terminal.size().unwrap_or((0, 0));
    match process.args.get(1).map(String::as_str) {
        Some("size") => say(process, &format!("{rows} {columns}")).await,
        None | Some("-a") => say(process, &format!("speed 38400 baud; rows {rows}; columns {columns};")).await,
        Some(_) => Ok(0),
    }
}

pub async fn nproc(process: &Process) -> Ended {
    say(process, "1").await
}

pub async fn uptime(process: &Process) -> Ended {
    let seconds = wasip2::clocks::monotonic_clock::now() / 1_000_000_000;
    say(process, &format!("up {}:{:02}", seconds / 3600, seconds / 60 % 60)).await
}

pub async fn uname(process: &Process) -> Ended {
    let options = Options::of(&process.args, "asnrvmpio", &[])?;
    let host = process.var("HOSTNAME").unwrap_or("localhost").to_owned();
    let fields = [('s', "WASI"), ('n', host.as_str()), ('r', "0.2"), ('v', "Coracle"), ('m', "wasm32"), ('o', "WASI")];
    let none = !fields.iter().any(|(flag, _)| options.has(*flag)) && !options.has('p') && !options.has('i');
    let shown = fields.iter().filter(|(flag, _)| options.has('a') || options.has(*flag) || (none && *flag == 's'));
    let mut text: Vec<&str> = shown.map(|(_, text)| *text).collect();
    if text.is_empty() {
        text.push("wasm32");
    }
    say(process, &text.join(" ")).await
}

/// A component sees nobody but itself.
pub async fn ps(process: &Process) -> Ended {
    say(process, "PID   USER     TIME  COMMAND").await?;
    say(process, &format!("    1 root      0:00 {}", process.args.join(" "))).await
}

pub async fn which(process: &Process) -> Ended {
    let options = Options::of(&process.args, "a", &[])?;
    let mut code = 0;
    for name in &options.rest {
        match super::find(name) {
            Some(found) => drop(say(process, &format!("/bin/{found}")).await?),
            None => code = 1,
        }
    }
    Ok(code)
}
