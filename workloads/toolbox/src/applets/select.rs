//! `cut`, `fold`, `nl`, `paste`, `rev`, `tac`.

use super::lines::{Lines, operands};
use crate::process::{Ended, Options, Process};

/// `1,3-5,7-` as ranges that count from one.
fn ranges(text: &str) -> Result<Vec<(usize, usize)>, String> {
    let invalid = || format!("invalid field list '{text}'");
    let number = |text: &str, otherwise: usize| {
        if text.is_empty() { Ok(otherwise) } else { text.parse().map_err(|_| invalid()) }
    };
    text.split(',')
        .map(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high) = (number(low, 1)?, number(high, usize::MAX)?);
            if low == 0 || high < low || part == "-" || part.is_empty() { Err(invalid()) } else { Ok((low, high)) }
        })
        .collect()
}

pub async fn cut(process: &Process) -> Ended {
    let options = Options::of(&process.args, "f:d:c:b:sn", &[("fields", 'f'), ("delimiter", 'd'), ("characters", 'c')])?;
    let chars = options.value('c').or(options.value('b'));
    let list = options.value('f').or(chars).ok_or("expected a list of bytes, characters, or fields")?;
    let wanted = ranges(list)?;
    let is_wanted = |number: usize| wanted.iter().any(|(low, high)| (*low..=*high).contains(&number));
    let delimiter = options.value('d').unwrap_or("\t").to_owned();
    let (mut out, mut lines) = (process.out(), Lines::of(process, &options));
    while let Some(text) = lines.next_text(&mut out).await? {
        if chars.is_some() {
            let kept: String = text.chars().enumerate().filter(|(at, _)| is_wanted(at + 1)).map(|(_, c)| c).collect();
            out.line(&kept).await?;
        } else if text.contains(&delimiter) {
            let fields = text.split(&delimiter).enumerate().filter(|(at, _)| is_wanted(at + 1));
            out.line(&fields.map(|(_, field)| field).collect::<Vec<_>>().join(&delimiter)).await?;
        } else if !options.has('s') {
            out.line(&text).await?;
        }
    }
    out.flush().await?;
    Ok(0)
}

pub async fn fold(process: &Process) -> Ended {
    let options = Options::of(&process.args, "w:sb", &[("width", 'w')])?;
    let width = usize::try_from(options.number('w')?.unwrap_or(80)).unwrap_or(80).max(1);
    let (mut out, mut lines) = (process.out(), Lines::of(process, &options));
    while let Some(text) = lines.next_text(&mut out).await? {
        let mut rest: Vec<char> = text.chars().collect();
        while rest.len() > width {
            let blank = rest[..width].iter().rposition(|c| *c == ' ').filter(|_| options.has('s'));
            let cut = blank.map_or(width, |at| at + 1);
            let tail = rest.split_off(cut);
            out.line(&rest.iter().collect::<String>()).await?;
            rest = tail;
        }
        out.line(&rest.iter().collect::<String>()).await?;
    }
    out.flush().await?;
    Ok(0)
}

pub async fn nl(process: &Process) -> Ended {
    let options = Options::of(&process.args, "b:w:s:v:", &[])?;
    let all = options.value('b') == Some("a");
    let mut number = options.number('v')?.unwrap_or(1);
    let width = usize::try_from(options.number('w')?.unwrap_or(6)).unwrap_or(6);
    let separator = options.value('s').unwrap_or("\t").to_owned();
    let (mut out, mut lines) = (process.out(), Lines::of(process, &options));
    while let Some(line) = lines.next(&mut out).await? {
        if all || line != b"\n" {
            out.put(format!("{number:width$}{separator}").as_bytes()).await?;
            number += 1;
        } else {
            out.put(" ".repeat(width + separator.len()).as_bytes()).await?;
        }
        out.put(&line).await?;
    }
    out.flush().await?;
    Ok(0)
}

pub async fn paste(process: &Process) -> Ended {
    let options = Options::of(&process.args, "d:s", &[("delimiters", 'd'), ("serial", 's')])?;
    let delimiter = options.value('d').unwrap_or("\t").to_owned();
    let (delimiter, _) = super::print::unescape(&delimiter, false);
    let mut inputs = Vec::new();
    for path in operands(&options) {
        inputs.push(process.open(&path)?);
    }
    let mut out = process.out();
    if options.has('s') {
        for input in inputs {
            let text = String::from_utf8_lossy(&input.all().await?).into_owned();
            out.line(&text.lines().collect::<Vec<_>>().join(&String::from_utf8_lossy(&delimiter))).await?;
        }
        out.flush().await?;
        return Ok(0);
    }
    loop {
        let (mut row, mut any) = (Vec::new(), false);
        for (number, input) in inputs.iter().enumerate() {
            let line = out.next_line(input).await?;
            any |= !line.is_empty();
            if number > 0 {
                row.extend_from_slice(&delimiter);
            }
            row.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(&line));
        }
        if !any {
            break;
        }
        row.push(b'\n');
        out.put(&row).await?;
    }
    out.flush().await?;
    Ok(0)
}

pub async fn rev(process: &Process) -> Ended {
    let options = Options::of(&process.args, "", &[])?;
    let (mut out, mut lines) = (process.out(), Lines::of(process, &options));
    while let Some(text) = lines.next_text(&mut out).await? {
        out.line(&text.chars().rev().collect::<String>()).await?;
    }
    out.flush().await?;
    Ok(0)
}

pub async fn tac(process: &Process) -> Ended {
    let options = Options::of(&process.args, "", &[])?;
    let mut out = process.out();
    for path in operands(&options) {
        let bytes = process.open(&path)?.all().await?;
        let text = String::from_utf8_lossy(&bytes);
        for line in text.lines().rev() {
            out.line(line).await?;
        }
    }
    out.flush().await?;
    Ok(0)
}
