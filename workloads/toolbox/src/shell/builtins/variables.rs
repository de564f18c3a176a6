//! `export`, `readonly`, `local`, `unset` and `set`.

use super::{quoted, say};
use crate::shell::{Flow, Ran, Shell};

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && text.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

pub async fn declare(shell: &mut Shell, kind: &str, words: &[String]) -> Ran {
    let (mut operands, mut removed) = (Vec::new(), false);
    let mut exported = kind == "export";
    for word in &words[1..] {
        match word.as_str() {
            "-n" => removed = true,
            "-x" => exported = true,
            option if option.starts_with('-') => {}
            _ => operands.push(word),
        }
    }
    if operands.is_empty() {
        let shown = shell.variables.iter().filter(|(_, variable)| match kind {
            "export" => variable.exported,
            "readonly" => variable.read_only,
            _ => false,
        });
        let line = |(name, variable): (&String, &crate::shell::Variable)| match &variable.value {
            Some(value) => format!("{kind} {name}={}\n", quoted(value)),
            None => format!("{kind} {name}\n"),
        };
        let text: String = shown.map(line).collect();
        return say(shell, &text).await;
    }
    for operand in operands {
        let (name, value) = operand.split_once('=').map_or((operand.as_str(), None), |(name, value)| (name, Some(value)));
        if !is_name(name) {
            return Err(shell.fatal(&format!("{kind}: {name}: bad variable name"), 2).await);
        }
        if matches!(kind, "local" | "declare") {
            let before = shell.variables.get(name).cloned();
            match shell.hidden.last_mut() {
                Some(hidden) => hidden.push((name.to_owned(), before)),
                None if kind == "local" => return Err(shell.fatal("local: not in a function", 2).await),
                None => {}
            }
            if value.is_none() && kind == "local" {
                shell.variables.remove(name);
            }
        }
        if let Some(value) = value {
            shell.assign(name, value.to_owned()).await?;
        }
        if kind == "local" && value.is_none() {
            continue;
        }
        let variable = shell.variables.entry(name.to_owned()).or_default();
        variable.exported = (variable.exported || exported) && !removed;
        variable.read_only |= kind == "readonly";
    }
    Ok(0)
}

pub async fn unset(shell: &mut Shell, words: &[String]) -> Ran {
    let mut functions = false;
    for word in &words[1..] {
        match word.as_str() {
            "-f" => functions = true,
            "-v" => functions = false,
            name if functions => drop(shell.functions.remove(name)),
            name => {
                if shell.variables.get(name).is_some_and(|variable| variable.read_only) {
                    return Err(shell.fatal(&format!("unset: {name}: is read only"), 2).await);
                }
                if shell.variables.remove(name).is_none() {
                    shell.functions.remove(name);
                }
            }
        }
    }
    Ok(0)
}

pub async fn set(shell: &mut Shell, words: &[String]) -> Ran {
    if words.len() == 1 {
        let line = |(name, variable): (&String, &crate::shell::Variable)| {
            Some(format!("{name}={}\n", quoted(variable.value.as_deref()?)))
        };
        let text: String = shell.variables.iter().filter_map(line).collect();
        return say(shell, &text).await;
    }
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--" => {
                shell.args = rest.cloned().collect();
                return Ok(0);
            }
            "-" => {}
            "-o" | "+o" => {
                let Some(name) = rest.next() else { return Ok(0) };
                if !shell.options.set_by_name(name, word == "-o") {
                    return Err(illegal(shell, name).await);
                }
            }
            option if option.len() > 1 && option.starts_with(['-', '+']) => {
                for letter in option[1..].chars() {
                    let on = option.starts_with('-');
                    let done = if letter == 'o' {
                        let name = rest.next().cloned().unwrap_or_default();
                        shell.options.set_by_name(&name, on)
                    } else {
                        shell.options.set(letter, on)
                    };
                    if !done {
                        return Err(illegal(shell, option).await);
                    }
                }
            }
            first => {
                shell.args = std::iter::once(first.to_owned()).chain(rest.cloned()).collect();
                return Ok(0);
            }
        }
    }
    Ok(0)
}

async fn illegal(shell: &mut Shell, option: &str) -> Flow {
    shell.fatal(&format!("set: illegal option {option}"), 2).await
}
