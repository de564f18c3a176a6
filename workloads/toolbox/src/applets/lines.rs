//! What many applets do: go through the operands, one file after the other, line by line.

use crate::io::{Input, Out};
use crate::process::{Fail, Options, Process};

/// The operands, or standard input when there are none.
pub fn operands(options: &Options) -> Vec<String> {
    if options.rest.is_empty() { vec!["-".to_owned()] } else { options.rest.clone() }
}

/// The lines of every operand.
pub struct Lines<'a> {
    process: &'a Process,
    paths: std::vec::IntoIter<String>,
    open: Option<Input>,
}

impl<'a> Lines<'a> {
    pub fn of(process: &'a Process, options: &Options) -> Self {
        Self { process, paths: operands(options).into_iter(), open: None }
    }

    /// The next line with its line break, as far as it has one; nothing after the last. What `out` holds goes out before
    /// anybody waits.
    pub async fn next(&mut self, out: &mut Out) -> Result<Option<Vec<u8>>, Fail> {
        loop {
            if let Some(input) = &self.open {
                let line = out.next_line(input).await?;
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                self.open = None;
            }
            let Some(path) = self.paths.next() else { return Ok(None) };
            self.open = Some(self.process.open(&path)?);
        }
    }

    /// The same as text, without the line break.
    pub async fn next_text(&mut self, out: &mut Out) -> Result<Option<String>, Fail> {
        let line = self.next(out).await?;
        Ok(line.map(|line| String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned()))
    }
}
