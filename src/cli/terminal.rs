//! Writing for a person. A reader that went away (`| head`) is no error.

use std::io::Write;

/// Writes `text` and a line break to standard output.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    // Standard output that is closed has nobody to complain to.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

/// Writes bytes to standard output as they are. False when nobody reads any more.
pub fn raw(bytes: &[u8]) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).is_ok()
}

/// Writes `text` and a line break to standard error.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Columns two or three blanks apart, as kubectl aligns them. The last column is not padded.
pub fn columns(rows: &[Vec<String>]) -> String {
    columns_with(&widths(rows), rows)
}

/// How wide each column of `rows` is.
pub fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(at) {
                Some(widest) => *widest = (*widest).max(width),
                None => widths.push(width),
            }
        }
    }
    widths
}

/// The same with given widths, so that later rows stand under earlier ones.
pub fn columns_with(widths: &[usize], rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let width = widths.get(at).copied().unwrap_or(0);
            if at + 1 == row.len() {
                line.push_str(cell);
            } else {
                line.push_str(&format!("{cell:<width$}   "));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["NAME".into(), "READY".into()], vec!["hello-world".into(), "1/1".into()]];
        assert_eq!(columns(&rows), "NAME          READY\nhello-world   1/1\n");
    }
}
