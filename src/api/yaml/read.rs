//! Reading: a stream is cut at its `---` lines as kubectl cuts it, then each document is parsed.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options};

use super::{Document, YamlError};

/// Deeper nesting than any Kubernetes object has, and little enough for a stack of 2 MiB: the parser takes 16 KiB a level
/// when it is not optimised.
const DEPTH_MAX: usize = 64;

/// All documents of a stream; empty ones are left out. A repeated key is an error.
pub fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let mut out = Vec::new();
    for (line, chunk) in chunks(text) {
        if is_empty(chunk) {
            continue;
        }
        let value = read(chunk, DuplicateKeyPolicy::Error).map_err(|error| error.moved(line - 1))?;
        if !value.is_null() {
            out.push(Document { value, line });
        }
    }
    Ok(out)
}

/// One document; an empty text is null.
pub fn parse(text: &str) -> Result<Value, YamlError> {
    let mut documents = documents(text)?;
    if let Some(second) = documents.get(1) {
        let message = "more than one document where one is expected".to_owned();
        return Err(YamlError { message, line: second.line, column: 1 });
    }
    Ok(documents.pop().map_or(Value::Null, |document| document.value))
}

/// As [`parse`], where the last of repeated keys wins; the first repetition is told.
pub(crate) fn parse_lenient(text: &str) -> Result<(Value, Option<YamlError>), YamlError> {
    match parse(text) {
        Ok(value) => Ok((value, None)),
        Err(error) => match chunks(text).find(|(_, chunk)| !is_empty(chunk)) {
            Some((line, chunk)) => {
                let value = read(chunk, DuplicateKeyPolicy::LastWins).map_err(|error| error.moved(line - 1))?;
                Ok((value, Some(error)))
            }
            None => Err(error),
        },
    }
}

fn is_empty(chunk: &str) -> bool {
    chunk.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with('%'))
}

/// The texts between `---` lines with the number of their first line. What follows `---` on its line belongs to the text.
fn chunks(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out = Vec::new();
    let (mut start, mut first, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            out.push((first, text.get(start..at).unwrap_or_default()));
            (start, first) = (at + 3, number + 1);
        }
        at += line.len();
    }
    out.push((first, text.get(start..).unwrap_or_default()));
    out.into_iter()
}

fn read(chunk: &str, duplicates: DuplicateKeyPolicy) -> Result<Value, YamlError> {
    let mut options = Options::default();
    options.legacy_octal_numbers = true;
    options.duplicate_keys = duplicates;
    options.with_snippet = false;
    if let Some(budget) = options.budget.as_mut() {
        budget.max_depth = DEPTH_MAX;
        budget.flow_nesting_limit = DEPTH_MAX as _;
    }
    options.alias_limits.max_total_replayed_events = 100_000;
    serde_saphyr::from_str_with_options(chunk, options).map_err(|error| explain(chunk, &error))
}

fn explain(chunk: &str, error: &serde_saphyr::Error) -> YamlError {
    let location = error.location();
    let line = location.as_ref().map_or(0, |at| usize::try_from(at.line()).unwrap_or(0));
    let column = location.as_ref().map_or(0, |at| usize::try_from(at.column()).unwrap_or(0));
    // A tab is the usual cause of what the parser then stumbles over, mostly one line later.
    let tab = chunk.lines().enumerate().find_map(|(number, text)| {
        let indent = text.len() - text.trim_start().len();
        let at = text.get(..indent)?.find('\t')?;
        (!text.trim().is_empty() && (line == 0 || number <= line)).then_some((number + 1, at + 1))
    });
    if let Some((line, column)) = tab {
        let message = "a tab is used for indentation; use spaces".to_owned();
        return YamlError { message, line, column };
    }
    let whole = error.without_snippet().to_string();
    YamlError { message: message(&whole), line, column }
}

/// The parser's words without the place, which stands in front of ours.
fn message(whole: &str) -> String {
    let cut = whole.find(" at line ").or_else(|| whole.find(" (line ")).unwrap_or(whole.len());
    let first = whole.get(..cut).unwrap_or(whole);
    let first = first.strip_prefix("error: ").unwrap_or(first).trim();
    if first.contains("recursion limit") || first.contains("depth") {
        return format!("nested more than {DEPTH_MAX} levels deep");
    }
    // What follows is for who calls the parser, not for who wrote the file.
    first.split(", set ").next().unwrap_or(first).to_owned()
}

impl YamlError {
    fn moved(mut self, lines: usize) -> Self {
        if self.line > 0 {
            self.line += lines;
        }
        self
    }
}
