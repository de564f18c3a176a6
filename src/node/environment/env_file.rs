//! Files of variables, as `fileKeyRef` reads them: a line `NAME='VALUE'` each, with values that may go over several lines,
//! and comments.

use std::collections::BTreeMap;

/// What a file says; of two values of one name the later counts.
///
/// # Errors
/// The line that is none of these.
pub(super) fn parsed(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut values = BTreeMap::new();
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = first.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            (rest, line) = (after, line + 1);
            continue;
        }
        let wrong = || format!("line {line} is not of the form NAME='VALUE'");
        let (name, value) = rest.split_once("='").ok_or_else(wrong)?;
        let name = name.trim_start();
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains(['=', '\'']) {
            return Err(wrong());
        }
        let (value, after) = value.split_once('\'').ok_or_else(wrong)?;
        let (tail, after) = after.split_once('\n').unwrap_or((after, ""));
        if !tail.trim().is_empty() {
            return Err(wrong());
        }
        values.insert(name.to_owned(), value.to_owned());
        line += value.matches('\n').count() + 1;
        rest = after;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_or_named() {
        let values = parsed("# one\n\n  A='x y'\nB=''\nC='two\nlines'  \nA='z'").unwrap();
        let rows: Vec<(&str, &str)> = values.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(rows, [("A", "z"), ("B", ""), ("C", "two\nlines")]);
        for (text, line) in [("A=x", 1), ("A='1'\nB='2'3", 2), ("A='open", 1), ("A='1\n2'\nA B='x'", 3)] {
            assert_eq!(parsed(text).unwrap_err(), format!("line {line} is not of the form NAME='VALUE'"), "{text}");
        }
    }
}
