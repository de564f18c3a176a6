//! `read` and `getopts`: what comes in, into variables.

use std::time::Duration;

use crate::io::Input;
use crate::process::Options;
use crate::shell::{Ran, Shell};

pub async fn read(shell: &mut Shell, words: &[String]) -> Ran {
    let options = match Options::of(words, "+rp:t:n:d:u:s", &[]) {
        Ok(options) => options,
        Err(why) => {
            shell.complain(&format!("read: {why}")).await;
            return Ok(2);
        }
    };
    if let Some(prompt) = options.value('p') {
        let _ = shell.files.error().write(prompt.as_bytes()).await;
    }
    let descriptor = options.value('u').and_then(|text| text.parse().ok()).unwrap_or(0);
    let input = shell.files.reader(descriptor).unwrap_or_else(Input::nothing);
    let limit = options.value('n').and_then(|text| text.parse().ok());
    let end = options.value('d').map_or(b'\n', |text| text.bytes().next().unwrap_or(0));
    let reading = one(&input, end, limit, options.has('r'));
    let read = match options.value('t').and_then(|text| text.parse::<f64>().ok()) {
        None => Some(reading.await),
        Some(seconds) => crate::applets::within(Duration::from_secs_f64(seconds.max(0.0)), reading).await,
    };
    let Some((text, ended)) = read else { return Ok(142) };
    let names = if options.rest.is_empty() { vec!["REPLY".to_owned()] } else { options.rest.clone() };
    let separators = shell.get("IFS").unwrap_or_else(|| " \t\n".to_owned());
    let values = split(&text, &separators, names.len());
    for (number, name) in names.iter().enumerate() {
        shell.assign(name, values.get(number).cloned().unwrap_or_default()).await?;
    }
    Ok(i32::from(!ended))
}

/// Characters, and whether a backslash stood in front of them; and whether the line had an end.
async fn one(input: &Input, end: u8, limit: Option<usize>, raw: bool) -> (Vec<(char, bool)>, bool) {
    let mut marked = Vec::new();
    loop {
        let mut bytes = match limit {
            Some(limit) => input.take(limit).await,
            None => input.until(end).await,
        }
        .unwrap_or_default();
        let mut ended = limit.is_some() && !bytes.is_empty();
        if bytes.last() == Some(&end) {
            bytes.pop();
            ended = true;
        }
        let text = String::from_utf8_lossy(&bytes);
        if raw {
            marked.extend(text.chars().map(|c| (c, false)));
            return (marked, ended);
        }
        let mut chars = text.chars();
        let mut goes_on = false;
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some(next) => marked.push((next, true)),
                    None => goes_on = ended,
                },
                c => marked.push((c, false)),
            }
        }
        if !goes_on {
            return (marked, ended);
        }
    }
}

/// At most `count` fields; the last one takes the rest.
fn split(text: &[(char, bool)], separators: &str, count: usize) -> Vec<String> {
    let is_separator = |(c, escaped): &(char, bool)| !escaped && separators.contains(*c);
    let is_blank = |marked: &(char, bool)| is_separator(marked) && marked.0.is_whitespace();
    let (mut fields, mut at) = (Vec::new(), 0);
    let skip = |mut at: usize| {
        while text.get(at).is_some_and(is_blank) {
            at += 1;
        }
        at
    };
    at = skip(at);
    while at < text.len() {
        if fields.len() + 1 == count {
            let mut end = text.len();
            while end > at && is_blank(&text[end - 1]) {
                end -= 1;
            }
            fields.push(text[at..end].iter().map(|(c, _)| *c).collect());
            break;
        }
        let end = text[at..].iter().position(is_separator).map_or(text.len(), |by| at + by);
        fields.push(text[at..end].iter().map(|(c, _)| *c).collect());
        at = skip(end);
        if text.get(at).is_some_and(|marked| is_separator(marked) && !is_blank(marked)) {
            at = skip(at + 1);
        }
    }
    fields
}

pub async fn getopts(shell: &mut Shell, words: &[String]) -> Ran {
    let [_, letters, name, operands @ ..] = words else {
        shell.complain("getopts: usage: getopts optstring var [arg...]").await;
        return Ok(2);
    };
    let args = if operands.is_empty() { shell.args.clone() } else { operands.to_vec() };
    // `OPTIND` counts words; how far we are within one stands behind a dot.
    let position = shell.get("OPTIND").unwrap_or_else(|| "1".to_owned());
    let (index, offset) = position.split_once('.').unwrap_or((&position, "1"));
    let (mut index, mut offset) = (index.parse::<usize>().unwrap_or(1).max(1), offset.parse::<usize>().unwrap_or(1));
    let (silent, letters) = letters.strip_prefix(':').map_or((false, letters.as_str()), |rest| (true, rest));
    let word = args.get(index - 1).filter(|word| word.len() > 1 && word.starts_with('-')).cloned();
    let Some(word) = word else {
        shell.assign(name, "?".to_owned()).await?;
        return Ok(1);
    };
    if word == "--" {
        shell.assign("OPTIND", (index + 1).to_string()).await?;
        shell.assign(name, "?".to_owned()).await?;
        return Ok(1);
    }
    let letter = word.chars().nth(offset).unwrap_or('?');
    offset += 1;
    let last = offset >= word.chars().count();
    let (mut found, mut value) = (letter.to_string(), None);
    if !letters.contains(letter) || letter == ':' {
        found = "?".to_owned();
        if silent {
            value = Some(letter.to_string());
        } else {
            shell.complain(&format!("illegal option -- {letter}")).await;
        }
    } else if letters.contains(&format!("{letter}:")) {
        value = if last {
            index += 1;
            args.get(index - 1).cloned()
        } else {
            Some(word.chars().skip(offset).collect())
        };
        if value.is_none() {
            found = if silent { ":".to_owned() } else { "?".to_owned() };
            value = silent.then(|| letter.to_string());
            if !silent {
                shell.complain(&format!("option requires an argument -- {letter}")).await;
            }
        }
        let position = (index + 1).to_string();
        shell.assign("OPTIND", position).await?;
        shell.assign("OPTARG", value.unwrap_or_default()).await?;
        shell.assign(name, found).await?;
        return Ok(0);
    }
    let position = if last { (index + 1).to_string() } else { format!("{index}.{offset}") };
    shell.assign("OPTIND", position).await?;
    match value {
        Some(value) => shell.assign("OPTARG", value).await?,
        None => drop(shell.variables.remove("OPTARG")),
    }
    shell.assign(name, found).await?;
    Ok(0)
}
