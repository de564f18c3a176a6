//! `ls`, `stat`, `du`, `df`.

use std::fs::{self, Metadata};
use std::io;
use std::time::UNIX_EPOCH;

use crate::io::Out;
use crate::process::{Ended, Fail, Options, Process, why};

/// The names in a folder.
pub fn names(path: &str) -> io::Result<Vec<String>> {
    fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Seconds since 1970.
pub fn changed(metadata: &Metadata) -> i64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

/// WASI knows no permissions: what can be opened can be read.
pub fn mode(metadata: &Metadata) -> &'static str {
    if metadata.file_type().is_symlink() {
        "lrwxrwxrwx"
    } else if metadata.is_dir() {
        "drwxr-xr-x"
    } else {
        "-rw-r--r--"
    }
}

/// As `ls -h` and `du -h` print it.
pub fn human(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit < 4 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { bytes.to_string() } else { format!("{value:.1}{}", ["", "K", "M", "G", "T"][unit]) }
}

struct Entry {
    name: String,
    path: String,
    metadata: Metadata,
}

pub async fn ls(process: &Process) -> Ended {
    let long = [("all", 'a'), ("human-readable", 'h'), ("recursive", 'R'), ("color", 'z'), ("almost-all", 'A'), ("full-time", 'e')];
    let options = Options::of(&process.args, "lah1AdrtSRFpinCxLsTzeX", &long)?;
    let operands = if options.rest.is_empty() { vec![".".to_owned()] } else { options.rest.clone() };
    let (mut code, mut files, mut folders) = (0, Vec::new(), std::collections::VecDeque::new());
    for operand in &operands {
        let path = process.path(operand);
        let follow = !options.has('d') && (!options.has('l') || operand.ends_with('/'));
        let found = if follow { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        match found {
            Ok(metadata) if metadata.is_dir() && !options.has('d') => folders.push_back((operand.clone(), path)),
            Ok(metadata) => files.push(Entry { name: operand.clone(), path, metadata }),
            // The root is there even if nothing is mounted at it.
            Err(_) if path == "/" && !options.has('d') => folders.push_back((operand.clone(), path)),
            Err(error) => {
                process.complain(format!("{operand}: {}", why(&error))).await;
                code = 1;
            }
        }
    }
    let mut out = process.out();
    let titled = operands.len() > 1 || options.has('R');
    let mut first = files.is_empty();
    show(process, &options, files, &mut out, false).await?;
    while let Some((title, path)) = folders.pop_front() {
        if titled {
            out.line(&format!("{}{title}:", if first { "" } else { "\n" })).await?;
        }
        first = false;
        let entries = match entries(&path, &options) {
            Ok(entries) => entries,
            Err(error) => {
                process.complain(format!("{title}: {}", why(&error))).await;
                code = 1;
                continue;
            }
        };
        if options.has('R') {
            let below = entries.iter().filter(|entry| entry.metadata.is_dir() && entry.name != "." && entry.name != "..");
            let mut below: Vec<_> =
                below.map(|entry| (format!("{}/{}", title.trim_end_matches('/'), entry.name), entry.path.clone())).collect();
            below.sort();
            for folder in below.into_iter().rev() {
                folders.push_front(folder);
            }
        }
        show(process, &options, entries, &mut out, true).await?;
    }
    out.flush().await?;
    Ok(code)
}

fn entries(path: &str, options: &Options) -> io::Result<Vec<Entry>> {
    let all = options.has('a');
    let mut names = match names(path) {
        Ok(names) => names,
        Err(_) if path == "/" => Vec::new(),
        Err(error) => return Err(error),
    };
    names.retain(|name| all || options.has('A') || !name.starts_with('.'));
    if all {
        names.extend([".".to_owned(), "..".to_owned()]);
    }
    let entry = |name: String| {
        let whole = crate::process::absolute(path, &name);
        // The folder itself, whatever leads to it.
        let itself = matches!(name.as_str(), "." | "..");
        let found = if itself { fs::metadata(&whole) } else { fs::symlink_metadata(&whole) };
        let metadata = found.or_else(|_| fs::metadata(path)).ok()?;
        Some(Entry { name, path: whole, metadata })
    };
    Ok(names.into_iter().filter_map(entry).collect())
}

async fn show(process: &Process, options: &Options, mut entries: Vec<Entry>, out: &mut Out, total: bool) -> Result<(), Fail> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if options.has('t') {
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.metadata.modified().ok()));
    } else if options.has('S') {
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.metadata.len()));
    }
    if options.has('r') {
        entries.reverse();
    }
    let marked = |entry: &Entry| {
        let mark = match entry.metadata.file_type() {
            kind if kind.is_dir() && (options.has('F') || options.has('p')) => "/",
            kind if kind.is_symlink() && options.has('F') => "@",
            _ => "",
        };
        format!("{}{mark}", entry.name)
    };
    if !options.has('l') && !options.has('n') && !options.has('e') {
        if process.stdout_is_terminal() && !options.has('1') && !entries.is_empty() {
            let names: Vec<String> = entries.iter().map(marked).collect();
            let told = process.terminal.as_ref().and_then(|terminal| terminal.columns());
            let width = told.or_else(|| process.var("COLUMNS")?.parse().ok()).unwrap_or(80);
            for line in columns(&names, width) {
                out.line(&line).await?;
            }
            return Ok(());
        }
        for entry in &entries {
            out.line(&marked(entry)).await?;
        }
        return Ok(());
    }
    if total {
        let blocks: u64 = entries.iter().map(|entry| entry.metadata.len().div_ceil(4096) * 4).sum();
        out.line(&format!("total {blocks}")).await?;
    }
    let size = |entry: &Entry| {
        let bytes = entry.metadata.len();
        if options.has('h') { human(bytes) } else { bytes.to_string() }
    };
    let width = entries.iter().map(|entry| size(entry).len()).max().unwrap_or(1).max(8);
    for entry in &entries {
        let owner = if options.has('n') { "0        0       " } else { "root     root    " };
        let time = super::time::stamp(changed(&entry.metadata));
        let target = if entry.metadata.file_type().is_symlink() {
            fs::read_link(&entry.path).map(|target| format!(" -> {}", target.display())).unwrap_or_default()
        } else {
            String::new()
        };
        let line = format!("{}    1 {owner} {:>width$} {time} {}{target}", mode(&entry.metadata), size(entry), marked(entry));
        out.line(&line).await?;
    }
    Ok(())
}

fn columns(names: &[String], width: usize) -> Vec<String> {
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(1) + 2;
    let across = (width / widest).max(1);
    let down = names.len().div_ceil(across);
    let row = |row: usize| {
        let cells = names.iter().skip(row).step_by(down);
        cells.map(|name| format!("{name:<widest$}")).collect::<String>().trim_end().to_owned()
    };
    (0..down).map(row).collect()
}

pub async fn stat(process: &Process) -> Ended {
    let options = Options::of(&process.args, "c:Lft", &[("format", 'c')])?;
    let mut code = 0;
    let mut out = process.out();
    for operand in &options.rest {
        let path = process.path(operand);
        let found = if options.has('L') { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        let metadata = match found {
            Ok(metadata) => metadata,
            Err(error) => {
                process.complain(format!("can't stat '{operand}': {}", why(&error))).await;
                code = 1;
                continue;
            }
        };
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => "directory",
            kind if kind.is_symlink() => "symbolic link",
            _ if metadata.len() == 0 => "regular empty file",
            _ => "regular file",
        };
        let octal = match metadata.file_type() {
            kind if kind.is_symlink() => "777",
            kind if kind.is_dir() => "755",
            _ => "644",
        };
        let seconds = changed(&metadata);
        let time = super::time::format(seconds, "%Y-%m-%d %H:%M:%S.000000000 %z")?;
        let Some(format) = options.value('c') else {
            out.line(&format!("  File: {operand}\n  Size: {:<10}\tBlocks: {:<10} IO Block: 4096   {kind}", metadata.len(), metadata.len().div_ceil(512))).await?;
            out.line(&format!("Access: (0{octal}/{})  Uid: (    0/    root)   Gid: (    0/    root)\nModify: {time}", mode(&metadata))).await?;
            continue;
        };
        let mut text = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some('n') => text.push_str(operand),
                Some('N') => text.push_str(&format!("'{operand}'")),
                Some('s') => text.push_str(&metadata.len().to_string()),
                Some('b') => text.push_str(&metadata.len().div_ceil(512).to_string()),
                Some('F') => text.push_str(kind),
                Some('a') => text.push_str(octal),
                Some('A') => text.push_str(mode(&metadata)),
                Some('u' | 'g') => text.push('0'),
                Some('U' | 'G') => text.push_str("root"),
                Some('X' | 'Y' | 'Z' | 'W') => text.push_str(&seconds.to_string()),
                Some('x' | 'y' | 'z') => text.push_str(&time),
                Some('h') => text.push('1'),
                Some(other) => text.extend(['%', other]),
                None => text.push('%'),
            }
        }
        out.line(&text).await?;
    }
    out.flush().await?;
    Ok(code)
}

pub async fn du(process: &Process) -> Ended {
    let options = Options::of(&process.args, "shkmacbd:xH", &[("summarize", 's'), ("human-readable", 'h'), ("max-depth", 'd'), ("all", 'a'), ("bytes", 'b')])?;
    let deepest = if options.has('s') { 0 } else { usize::try_from(options.number('d')?.unwrap_or(u64::MAX)).unwrap_or(usize::MAX) };
    let mut out = process.out();
    let operands = if options.rest.is_empty() { vec![".".to_owned()] } else { options.rest.clone() };
    let (mut code, mut total) = (0, 0);
    let shown = |bytes: u64| match () {
        () if options.has('b') => bytes.to_string(),
        () if options.has('h') => human(bytes),
        () if options.has('m') => bytes.div_ceil(1 << 20).to_string(),
        () => bytes.div_ceil(1024).to_string(),
    };
    for operand in operands {
        let mut lines = Vec::new();
        match usage(&process.path(&operand), &operand, 0, deepest, options.has('a'), &mut lines) {
            Ok(bytes) => total += bytes,
            Err(error) => {
                process.complain(format!("{operand}: {}", why(&error))).await;
                code = 1;
            }
        }
        for (bytes, name) in lines {
            out.line(&format!("{}\t{name}", shown(bytes))).await?;
        }
    }
    if options.has('c') {
        out.line(&format!("{}\ttotal", shown(total))).await?;
    }
    out.flush().await?;
    Ok(code)
}

fn usage(path: &str, name: &str, depth: usize, deepest: usize, all: bool, lines: &mut Vec<(u64, String)>) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    let mut bytes = metadata.len();
    if metadata.is_dir() {
        bytes = 0;
        let mut below = names(path)?;
        below.sort();
        for child in below {
            let whole = crate::process::absolute(path, &child);
            bytes += usage(&whole, &format!("{}/{child}", name.trim_end_matches('/')), depth + 1, deepest, all, lines).unwrap_or(0);
        }
    }
    if depth <= deepest && (metadata.is_dir() || all || depth == 0) {
        lines.push((bytes, name.to_owned()));
    }
    Ok(bytes)
}

/// WASI tells no sizes of volumes: only what they are.
pub async fn df(process: &Process) -> Ended {
    Options::of(&process.args, "hkmPTai", &[])?;
    let mut out = process.out();
    out.line("Filesystem           1K-blocks      Used Available Use% Mounted on").await?;
    for (_, path) in wasip2::filesystem::preopens::get_directories() {
        out.line(&format!("{:<20} {:>9} {:>9} {:>9}   -% {path}", "volume", "-", "-", "-")).await?;
    }
    out.flush().await?;
    Ok(0)
}
