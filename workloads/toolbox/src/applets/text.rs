//! `cat`, `head`, `tail`, `wc`, `tee`, `cmp`, `diff`.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use super::lines::operands;
use crate::io::Output;
use crate::process::{Ended, Options, Process, number, why};

/// How often `tail -f` looks.
const LOOK: Duration = Duration::from_millis(200);

/// `-5` as `-n 5`.
fn counted(process: &Process) -> Vec<String> {
    let shorthand = |arg: &String| arg.len() > 1 && arg.starts_with('-') && arg[1..].chars().all(|c| c.is_ascii_digit());
    let mut is_value = false;
    let spelled = |arg: &String| {
        // `-n -1`: all but the last.
        let was_value = std::mem::replace(&mut is_value, matches!(arg.as_str(), "-n" | "-c"));
        if shorthand(arg) && !was_value { format!("-n{}", &arg[1..]) } else { arg.clone() }
    };
    process.args.iter().map(spelled).collect()
}

pub async fn cat(process: &Process) -> Ended {
    let options = Options::of(&process.args, "nbAuvset", &[("number", 'n'), ("show-all", 'A')])?;
    let (mut code, mut count) = (0, 0);
    let mut out = process.out();
    for path in operands(&options) {
        let Some(input) = process.open_or_complain(&path, &mut code).await else { continue };
        if options.has('n') || options.has('b') {
            loop {
                let line = out.next_line(&input).await?;
                if line.is_empty() {
                    break;
                }
                if options.has('n') || line != b"\n" {
                    count += 1;
                    out.put(format!("{count:6}\t").as_bytes()).await?;
                }
                out.put(&line).await?;
            }
            continue;
        }
        out.flush().await?;
        loop {
            let piece = match input.read().await {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => piece,
                Err(error) => {
                    process.complain(format!("{path}: {}", why(&error))).await;
                    code = 1;
                    break;
                }
            };
            process.stdout.write(&piece).await?;
        }
    }
    out.flush().await?;
    Ok(code)
}

pub async fn head(process: &Process) -> Ended {
    let options = Options::of(&counted(process), "n:c:qv", &[("lines", 'n'), ("bytes", 'c')])?;
    let paths = operands(&options);
    let all_but = |text: &str| text.strip_prefix('-').map(number).transpose();
    let drop_lines = options.value('n').map(all_but).transpose()?.flatten();
    let lines = match options.value('n').filter(|_| drop_lines.is_none()) {
        Some(text) => number(text)?,
        None => 10,
    };
    let bytes = options.number('c')?;
    let (mut code, mut out) = (0, process.out());
    for (at, path) in paths.iter().enumerate() {
        let Some(input) = process.open_or_complain(path, &mut code).await else { continue };
        if (paths.len() > 1 && !options.has('q')) || options.has('v') {
            out.line(&format!("{}==> {path} <==", if at > 0 { "\n" } else { "" })).await?;
        }
        if let Some(mut left) = bytes {
            while left > 0 {
                let piece = input.take(usize::try_from(left).unwrap_or(usize::MAX)).await?;
                if piece.is_empty() {
                    break;
                }
                left -= piece.len() as u64;
                out.put(&piece).await?;
            }
            continue;
        }
        if let Some(dropped) = drop_lines {
            let mut kept = std::collections::VecDeque::new();
            loop {
                let line = out.next_line(&input).await?;
                if line.is_empty() {
                    break;
                }
                kept.push_back(line);
                if kept.len() as u64 > dropped
                    && let Some(line) = kept.pop_front()
                {
                    out.put(&line).await?;
                }
            }
            continue;
        }
        for _ in 0..lines {
            let line = out.next_line(&input).await?;
            if line.is_empty() {
                break;
            }
            out.put(&line).await?;
        }
    }
    out.flush().await?;
    Ok(code)
}

pub async fn tail(process: &Process) -> Ended {
    let letters = "n:c:fFqvs:";
    let options = Options::of(&counted(process), letters, &[("lines", 'n'), ("bytes", 'c'), ("follow", 'f'), ("retry", 'F')])?;
    let paths = operands(&options);
    let bytes = options.value('c');
    let text = bytes.or(options.value('n')).unwrap_or("10");
    let from_start = text.starts_with('+');
    let count = usize::try_from(number(text.trim_start_matches(['+', '-']))?).unwrap_or(usize::MAX);
    let (mut code, mut out, mut followed) = (0, process.out(), Vec::new());
    let headings = (paths.len() > 1 && !options.has('q')) || options.has('v');
    for (at, path) in paths.iter().enumerate() {
        let Some(input) = process.open_or_complain(path, &mut code).await else {
            if options.has('F') {
                followed.push((path.clone(), 0));
            }
            continue;
        };
        if headings {
            out.line(&format!("{}==> {path} <==", if at > 0 { "\n" } else { "" })).await?;
        }
        let mut kept = std::collections::VecDeque::new();
        let (mut seen, mut held, mut read) = (0_usize, 0_usize, 0_u64);
        loop {
            let piece = if bytes.is_some() { input.read().await? } else { out.next_line(&input).await? };
            if piece.is_empty() {
                break;
            }
            read += piece.len() as u64;
            seen += 1;
            if from_start {
                if bytes.is_none() && seen >= count {
                    out.put(&piece).await?;
                } else if bytes.is_some() {
                    let skip = (count.saturating_sub(1)).saturating_sub(held).min(piece.len());
                    held += piece.len();
                    out.put(&piece[skip..]).await?;
                }
                continue;
            }
            held += piece.len();
            kept.push_back(piece);
            if bytes.is_none() {
                while kept.len() > count {
                    kept.pop_front();
                }
            } else {
                while kept.front().is_some_and(|first| held - first.len() >= count) {
                    held -= kept.pop_front().map_or(0, |first| first.len());
                }
            }
        }
        let skip = if bytes.is_some() && !from_start { held.saturating_sub(count) } else { 0 };
        for (number, piece) in kept.iter().enumerate() {
            out.put(if number == 0 { &piece[skip.min(piece.len())..] } else { piece }).await?;
        }
        followed.push((path.clone(), read));
    }
    out.flush().await?;
    if options.has('f') || options.has('F') {
        follow(process, followed).await?;
    }
    Ok(code)
}

/// Prints what is appended, for ever.
async fn follow(process: &Process, mut files: Vec<(String, u64)>) -> Result<(), std::io::Error> {
    if files.iter().all(|(path, _)| path == "-") {
        return Ok(());
    }
    loop {
        for (path, at) in &mut files {
            let Ok(mut file) = std::fs::File::open(process.path(path)) else { continue };
            if file.metadata()?.len() < *at {
                *at = 0;
            }
            file.seek(SeekFrom::Start(*at))?;
            let mut piece = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = file.read(&mut piece) {
                *at += count as u64;
                process.stdout.write(&piece[..count]).await?;
            }
        }
        super::time::nap(LOOK).await;
    }
}

pub async fn wc(process: &Process) -> Ended {
    let long = [("lines", 'l'), ("words", 'w'), ("bytes", 'c'), ("chars", 'm')];
    let options = Options::of(&process.args, "lwcmL", &long)?;
    let (mut code, mut total) = (0, [0_usize; 4]);
    let all = !['l', 'w', 'c', 'm', 'L'].iter().any(|flag| options.has(*flag));
    let paths = operands(&options);
    let mut out = process.out();
    let line = |counts: [usize; 4], name: &str| {
        let columns = [('l', 0), ('w', 1), ('m', 3), ('c', 2)];
        let shown = columns.into_iter().filter(|(flag, _)| options.has(*flag) || (all && *flag != 'm'));
        let shown: Vec<String> = shown.map(|(_, at)| counts[at].to_string()).collect();
        let text = match shown.as_slice() {
            [one] => one.clone(),
            several => several.iter().map(|count| format!("{count:>9}")).collect::<Vec<_>>().join(" "),
        };
        if name == "-" || name.is_empty() { text } else { format!("{text} {name}") }
    };
    for path in &paths {
        let Some(input) = process.open_or_complain(path, &mut code).await else { continue };
        let (mut counts, mut in_word) = ([0_usize; 4], false);
        loop {
            let piece = input.read().await?;
            if piece.is_empty() {
                break;
            }
            counts[2] += piece.len();
            for byte in piece {
                counts[0] += usize::from(byte == b'\n');
                counts[3] += usize::from(byte & 0xc0 != 0x80);
                let blank = byte.is_ascii_whitespace();
                counts[1] += usize::from(!blank && !in_word);
                in_word = !blank;
            }
        }
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
        out.line(&line(counts, if options.rest.is_empty() { "" } else { path })).await?;
    }
    if paths.len() > 1 {
        out.line(&line(total, "total")).await?;
    }
    out.flush().await?;
    Ok(code)
}

pub async fn tee(process: &Process) -> Ended {
    let options = Options::of(&process.args, "ai", &[("append", 'a')])?;
    let (mut code, mut files) = (0, Vec::new());
    for path in &options.rest {
        let mut open = std::fs::OpenOptions::new();
        open.create(true).write(true).append(options.has('a')).truncate(!options.has('a'));
        match open.open(process.path(path)) {
            Ok(file) => files.push(Output::file(file)),
            Err(error) => {
                process.complain(format!("{path}: {}", why(&error))).await;
                code = 1;
            }
        }
    }
    loop {
        let piece = process.stdin.read().await?;
        if piece.is_empty() {
            return Ok(code);
        }
        for file in &files {
            file.write(&piece).await?;
        }
        process.stdout.write(&piece).await?;
    }
}

pub async fn cmp(process: &Process) -> Ended {
    let options = Options::of(&process.args, "sl", &[])?;
    let [left, right] = options.rest.as_slice() else { return Err("two files are needed".to_owned().into()) };
    let (a, b) = (process.open(left)?.all().await?, process.open(right)?.all().await?);
    let differs = a.iter().zip(&b).position(|(a, b)| a != b);
    let words = match differs {
        Some(at) => {
            let line = a[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("{left} {right} differ: char {}, line {line}\n", at + 1)
        }
        None if a.len() != b.len() => format!("cmp: EOF on {}\n", if a.len() < b.len() { left } else { right }),
        None => return Ok(0),
    };
    if !options.has('s') {
        process.stdout.write(words.as_bytes()).await?;
    }
    Ok(1)
}

/// The unified form, with the whole of both files as one hunk.
pub async fn diff(process: &Process) -> Ended {
    let options = Options::of(&process.args, "uqwbNrU:", &[("brief", 'q'), ("unified", 'u')])?;
    let [left, right] = options.rest.as_slice() else { return Err("two files are needed".to_owned().into()) };
    let (a, b) = (process.open(left)?.all().await?, process.open(right)?.all().await?);
    if a == b {
        return Ok(0);
    }
    if options.has('q') {
        process.stdout.write(format!("Files {left} and {right} differ\n").as_bytes()).await?;
        return Ok(1);
    }
    let (a, b) = (String::from_utf8_lossy(&a).into_owned(), String::from_utf8_lossy(&b).into_owned());
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().collect(), b.lines().collect());
    let mut out = process.out();
    out.line(&format!("--- {left}\n+++ {right}\n@@ -1,{} +1,{} @@", a.len(), b.len())).await?;
    for line in differences(&a, &b) {
        out.line(&line).await?;
    }
    out.flush().await?;
    Ok(1)
}

fn differences(a: &[&str], b: &[&str]) -> Vec<String> {
    const CELLS_MAX: usize = 4 << 20;
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let mut lines: Vec<String> = a[..same].iter().map(|line| format!(" {line}")).collect();
    let (a, b) = (&a[same..], &b[same..]);
    if a.len().saturating_mul(b.len()) > CELLS_MAX {
        lines.extend(a.iter().map(|line| format!("-{line}")));
        lines.extend(b.iter().map(|line| format!("+{line}")));
        return lines;
    }
    let width = b.len() + 1;
    let mut common = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push(format!(" {}", a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            lines.push(format!("-{}", a[i]));
            i += 1;
        } else {
            lines.push(format!("+{}", b[j]));
            j += 1;
        }
    }
    lines
}
