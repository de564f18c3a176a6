//! Go's regular expressions, as schemas and rules are written in, in the words of the `regex` crate.
//!
//! Both are the same language in nearly everything. They differ in `\d`, `\s`, `\w` (ASCII only in Go) and inside of
//! brackets, where Go knows neither nesting nor set operations.

use regex::Regex;

/// Bytes that a compiled pattern may take.
const COMPILED_MAX: usize = 1 << 20;

/// Compiles a pattern as Go would read it. The error is a sentence.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let builder =
        |pattern: &str| regex::RegexBuilder::new(pattern).size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX).build();
    builder(&translated(pattern)).map_err(|error| error.to_string())
}

fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    // Whether a bracket is open, and whether its first entry is still to come.
    let (mut inside, mut first) = (false, false);
    while let Some(next) = rest.next() {
        let was_first = std::mem::replace(&mut first, false);
        match next {
            '\\' => {
                let Some(escaped) = rest.next() else {
                    out.push('\\');
                    break;
                };
                out.push_str(&escape(escaped, inside));
            }
            '[' if !inside => {
                (inside, first) = (true, true);
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            // `[[:alpha:]]` is the same in both, any other bracket stands for itself.
            '[' if rest.peek() == Some(&':') => {
                out.push('[');
                for letter in rest.by_ref() {
                    out.push(letter);
                    if letter == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            ']' if inside && was_first => out.push_str("\\]"),
            ']' if inside => {
                inside = false;
                out.push(']');
            }
            '&' | '~' if inside => {
                out.push('\\');
                out.push(next);
            }
            // Two of them are a range that begins or ends with one, never a difference.
            '-' if inside && rest.peek() == Some(&'-') => {
                if !was_first {
                    out.push('-');
                    rest.next();
                }
                out.push_str("\\-");
            }
            other => out.push(other),
        }
    }
    out
}

/// An escape; the classes are those of ASCII.
fn escape(letter: char, inside: bool) -> String {
    const CLASSES: [(char, &str); 3] = [('d', "0-9"), ('s', "\\t\\n\\x0C\\r "), ('w', "0-9A-Za-z_")];
    for (name, class) in CLASSES {
        if letter == name {
            return if inside { class.to_owned() } else { format!("[{class}]") };
        }
        if letter == name.to_ascii_uppercase() {
            return format!("[^{class}]");
        }
    }
    match letter {
        'b' | 'B' => format!("(?-u:\\{letter})"),
        // Letters that stand for themselves in Go may mean something here; marks never do.
        other if other.is_ascii_punctuation() && other != '<' && other != '>' => format!("\\{other}"),
        '<' | '>' => letter.to_string(),
        other => format!("\\{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let table = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^[\w-]+$", "a-b_1", true),
            (r"^[^[:space:]]+$", "ab", true),
            (r"^[a[]+$", "a[a", true),
            (r"^[]a]+$", "]a", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[!--]+$", "#", true),
            (r"^a\/b\-c\_d$", "a/b-c_d", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^[^\s]+$", "a b", false),
            (r"^[-A-Za-z0-9/._~!$&'()*+,;=:@]+$", "a&b", true),
            (r"^(?i)ABC$", "abc", true),
            (r"^\S+\W\D$", "ab.c", true),
        ];
        for (pattern, text, wanted) in table {
            let compiled = compile(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert_eq!(compiled.is_match(text), wanted, "{pattern} {text}");
        }
        assert!(compile("(").is_err());
        assert!(compile("((a{1,999}){1,999}){1,999}").is_err());
    }
}
