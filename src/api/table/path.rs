//! The part of kubectl's JSONPath that columns are written in: `.spec.a['b.c'][0].d`, `[*]`,
//! `.status.conditions[?(@.type=="Ready")].status`.

use std::str::FromStr;

use serde_json::Value;

/// A path into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a JSONPath that columns may use at {0:?}: write it like .spec.containers[0].image")]
pub struct JsonPathError(String);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter { field: JsonPath, compare: Compare, wanted: Value },
    Exists(JsonPath),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Equal,
    NotEqual,
}

impl JsonPath {
    /// Everything that the path leads to, in order.
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![object];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.follow(value)).collect();
        }
        found
    }
}

impl Step {
    fn follow<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::All, Value::Object(map)) => map.values().collect(),
            (Self::All, Value::Array(list)) => list.iter().collect(),
            (Self::Index(at), Value::Array(list)) => {
                let at = if *at < 0 { list.len() as i64 + at } else { *at };
                usize::try_from(at).ok().and_then(|at| list.get(at)).into_iter().collect()
            }
            (Self::Exists(path), Value::Array(list)) => {
                list.iter().filter(|item| !path.find(item).is_empty()).collect()
            }
            (Self::Filter { field, compare, wanted }, Value::Array(list)) => {
                let holds = |item: &Value| match (field.find(item).first(), compare) {
                    (Some(found), Compare::Equal) => *found == wanted,
                    (Some(found), Compare::NotEqual) => *found != wanted,
                    (None, _) => false,
                };
                list.iter().filter(|item| holds(item)).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl FromStr for JsonPath {
    type Err = JsonPathError;

    fn from_str(text: &str) -> Result<Self, JsonPathError> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text).trim();
        let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let wrong = || JsonPathError(rest.to_owned());
            let (step, length) = if rest.starts_with('[') {
                let end = closing(rest).ok_or_else(wrong)?;
                (bracket(&rest[1..end]).ok_or_else(wrong)?, end + 1)
            } else if let Some(after) = rest.strip_prefix('.') {
                if after.starts_with('[') {
                    rest = after;
                    continue;
                }
                let (name, length) = plain_name(after).ok_or_else(wrong)?;
                (name, length + 1)
            } else if steps.is_empty() {
                plain_name(rest).ok_or_else(wrong)?
            } else {
                return Err(wrong());
            };
            steps.push(step);
            rest = &rest[length..];
        }
        Ok(Self(steps))
    }
}

/// A name up to the next unescaped `.` or `[`, with `\.` for a dot.
fn plain_name(text: &str) -> Option<(Step, usize)> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    let mut end = text.len();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.push(letters.next()?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            plain => name.push(plain),
        }
    }
    match name.as_str() {
        "" => None,
        "*" => Some((Step::All, end)),
        _ => Some((Step::Field(name), end)),
    }
}

/// Where the bracket that `text` begins with is closed; quotes and inner brackets are passed over.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'[') => depth += 1,
            (None, b']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn bracket(inside: &str) -> Option<Step> {
    let inside = inside.trim();
    if inside == "*" {
        return Some(Step::All);
    }
    if let Some(name) = quoted(inside) {
        return Some(Step::Field(name.to_owned()));
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        let signs = [("==", Compare::Equal), ("!=", Compare::NotEqual)];
        let found = signs.into_iter().find_map(|(sign, compare)| Some((filter.split_once(sign)?, compare)));
        let Some(((field, wanted), compare)) = found else { return Some(Step::Exists(filter.trim().parse().ok()?)) };
        let wanted = wanted.trim();
        let wanted = match quoted(wanted) {
            Some(text) => Value::String(text.to_owned()),
            None => serde_json::from_str(wanted).ok()?,
        };
        return Some(Step::Filter { field: field.trim().parse().ok()?, compare, wanted });
    }
    inside.parse().ok().map(Step::Index)
}

fn quoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|mark| text.strip_prefix(mark)?.strip_suffix(mark))
}
