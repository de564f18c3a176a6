//! `sh -e`, `set -x`, `set -o pipefail`.

use super::Settings;

impl Settings {
    fn by_letter(&mut self, letter: char) -> Option<&mut bool> {
        Some(match letter {
            'e' => &mut self.exit_on_error,
            'x' => &mut self.trace,
            'u' => &mut self.no_unset,
            'f' => &mut self.no_patterns,
            'v' => &mut self.verbose,
            'n' => &mut self.no_run,
            'a' => &mut self.all_exported,
            'C' => &mut self.no_clobber,
            _ => return None,
        })
    }

    pub fn set(&mut self, letter: char, on: bool) -> bool {
        match self.by_letter(letter) {
            Some(option) => {
                *option = on;
                true
            }
            // Known, and without meaning here.
            None => matches!(letter, 'b' | 'h' | 'm'),
        }
    }

    pub fn set_by_name(&mut self, name: &str, on: bool) -> bool {
        let letter = match name {
            "pipefail" => {
                self.pipefail = on;
                return true;
            }
            "errexit" => 'e',
            "xtrace" => 'x',
            "nounset" => 'u',
            "noglob" => 'f',
            "verbose" => 'v',
            "noexec" => 'n',
            "allexport" => 'a',
            "noclobber" => 'C',
            _ => return false,
        };
        self.set(letter, on)
    }

    pub fn letters(mut self, interactive: bool) -> String {
        let mut text: String = "exufvnaC".chars().filter(|c| self.by_letter(*c).is_some_and(|option| *option)).collect();
        if interactive {
            text.push('i');
        }
        text
    }
}

#[derive(Default)]
pub struct Arguments {
    pub settings: Settings,
    /// `-c`
    pub command: bool,
    /// `-s`
    pub stdin: bool,
    /// `-i`
    pub interactive: bool,
}

/// The options of `sh`, and what follows them.
pub fn arguments(args: &[String]) -> Result<(Arguments, Vec<String>), String> {
    let mut found = Arguments::default();
    let mut rest = args.iter().skip(1).peekable();
    while let Some(arg) = rest.next_if(|arg| arg.len() > 1 && arg.starts_with(['-', '+'])) {
        if arg == "--" {
            break;
        }
        if matches!(arg.as_str(), "--login" | "--norc" | "--noprofile" | "--posix") {
            continue;
        }
        let on = arg.starts_with('-');
        for letter in arg[1..].chars() {
            match letter {
                'c' => found.command = true,
                's' => found.stdin = true,
                'i' => found.interactive = true,
                'l' => {}
                'o' => {
                    let name = rest.next().ok_or("-o requires an argument")?;
                    if !found.settings.set_by_name(name, on) {
                        return Err(format!("illegal option -o {name}"));
                    }
                }
                letter if found.settings.set(letter, on) => {}
                letter => return Err(format!("illegal option -{letter}")),
            }
        }
    }
    Ok((found, rest.cloned().collect()))
}
