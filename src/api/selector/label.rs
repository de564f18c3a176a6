//! Label selectors, from their text and from `metav1.LabelSelector`.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::SelectorError;
use super::lexer::{Token, tokens};
use crate::FieldError;
use crate::meta::{Labels, validate_labels};
use crate::names::{label_value_errors, qualified_name_errors};

/// How a requirement relates a label to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How its value relates to `values`.
    pub operator: Operator,
    /// Sorted, without duplicates.
    pub values: Vec<String>,
}

/// Conditions that must all hold. The default holds for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Requirement {
    fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, SelectorError> {
        check_key(key)?;
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) {
            for value in &values {
                if value.parse::<i64>().is_err() {
                    let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                    return Err(SelectorError(format!("values[0]: Invalid value: {value:?}: {detail}")));
                }
            }
        }
        values.sort();
        values.dedup();
        for (at, value) in values.iter().enumerate() {
            let wrong = label_value_errors(value);
            if !wrong.is_empty() {
                let detail = wrong.join("; ");
                return Err(SelectorError(format!("values[{at}][{key}]: Invalid value: {value:?}: {detail}")));
            }
        }
        Ok(Self { key: key.to_owned(), operator, values })
    }

    /// Whether an object with these labels is meant; `label` answers the value of a key.
    pub fn matches_with<'a>(&self, label: &impl Fn(&str) -> Option<&'a str>) -> bool {
        let found = label(&self.key);
        let listed = |value: &str| self.values.iter().any(|wanted| wanted == value);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => found.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !found.is_some_and(listed),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let number = found.and_then(|value| value.parse::<i64>().ok());
                let bound = self.values.first().and_then(|value| value.parse::<i64>().ok());
                match (number, bound) {
                    (Some(number), Some(bound)) if self.operator == Operator::GreaterThan => number > bound,
                    (Some(number), Some(bound)) => number < bound,
                    _ => false,
                }
            }
        }
    }
}

fn check_key(key: &str) -> Result<(), SelectorError> {
    let wrong = qualified_name_errors(key);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(SelectorError(format!("key: Invalid value: {key:?}: {}", wrong.join("; "))))
}

impl LabelSelector {
    /// The selector that no object matches (a LabelSelector that is absent).
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Exactly these labels, with `=`.
    pub fn from_map<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut requirements: Vec<Requirement> = labels
            .into_iter()
            .map(|(key, value)| Requirement {
                key: key.to_owned(),
                operator: Operator::Equals,
                values: vec![value.to_owned()],
            })
            .collect();
        requirements.sort_by(|left, right| left.key.cmp(&right.key));
        Self { requirements, nothing: false }
    }

    /// A plain map of labels as in `Service.spec.selector`. An absent one matches nothing.
    pub fn from_plain_json(map: Option<&Value>) -> Self {
        match map.and_then(Value::as_object) {
            None => Self::nothing(),
            Some(map) => {
                Self::from_map(map.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())))
            }
        }
    }

    /// `metav1.LabelSelector`: absent matches nothing, empty matches everything.
    pub fn from_json(selector: Option<&Value>) -> Result<Self, SelectorError> {
        let Some(selector) = selector.filter(|selector| !selector.is_null()) else { return Ok(Self::nothing()) };
        let mut made = match selector.get("matchLabels").filter(|labels| !labels.is_null()) {
            Some(labels) => Self::from_plain_json(Some(labels)),
            None => Self::default(),
        };
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
            };
            let values = expression.get("values").and_then(Value::as_array);
            let values = values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            made.requirements.push(Requirement::new(text("key"), operator, values)?);
        }
        made.requirements.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(made)
    }

    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_with(|key| labels.get(key))
    }

    /// Whether the object is meant.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches_with(|key| crate::meta::label(object, key))
    }

    /// Whether a map of labels, as JSON, is meant.
    pub fn matches_json(&self, labels: Option<&Value>) -> bool {
        self.matches_with(|key| labels?.get(key)?.as_str())
    }

    /// Whether it holds where `label` answers the value of a key.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches_with(&label))
    }

    /// Whether every object matches.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// The conditions, for those who have an index.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The value that `key` must have, when exactly one will do.
    pub fn exact(&self, key: &str) -> Option<&str> {
        let exact = [Operator::Equals, Operator::DoubleEquals, Operator::In];
        let found = self.requirements.iter().find(|requirement| requirement.key == key)?;
        match found.values.as_slice() {
            [value] if exact.contains(&found.operator) => Some(value),
            _ => None,
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, operator, values } = self;
        let list = values.join(",");
        match operator {
            Operator::Exists => write!(out, "{key}"),
            Operator::DoesNotExist => write!(out, "!{key}"),
            Operator::In => write!(out, "{key} in ({list})"),
            Operator::NotIn => write!(out, "{key} notin ({list})"),
            Operator::Equals => write!(out, "{key}={list}"),
            Operator::DoubleEquals => write!(out, "{key}=={list}"),
            Operator::NotEquals => write!(out, "{key}!={list}"),
            Operator::GreaterThan => write!(out, "{key}>{list}"),
            Operator::LessThan => write!(out, "{key}<{list}"),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            if at > 0 {
                out.write_str(",")?;
            }
            requirement.fmt(out)?;
        }
        Ok(())
    }
}

impl FromStr for LabelSelector {
    type Err = SelectorError;

    /// `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>3`
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        let mut requirements = Vec::new();
        loop {
            match parser.peek() {
                Token::End => break,
                token if matches!(token, Token::Word(_)) || token.is("!") => {}
                token => {
                    let found = token.shown();
                    return Err(SelectorError(format!("found '{found}', expected: !, identifier, or 'end of string'")));
                }
            }
            let requirement = parser.requirement();
            requirements
                .push(requirement.map_err(|error| SelectorError(format!("unable to parse requirement: {error}")))?);
            match parser.next() {
                Token::End => break,
                token if token.is(",") => {
                    let after = parser.peek();
                    if !matches!(after, Token::Word(_)) && !after.is("!") {
                        return Err(SelectorError(format!(
                            "found '{}', expected: identifier after ','",
                            after.shown()
                        )));
                    }
                }
                token => {
                    return Err(SelectorError(format!("found '{}', expected: ',' or 'end of string'", token.shown())));
                }
            }
        }
        requirements.sort_by(|left: &Requirement, right| left.key.cmp(&right.key));
        Ok(Self { requirements, nothing: false })
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).cloned().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let absent = self.peek().is("!");
        if absent {
            self.next();
        }
        let Token::Word(key) = self.peek() else {
            return Err(SelectorError(format!("found '{}', expected: identifier", self.peek().shown())));
        };
        self.next();
        let wrong = qualified_name_errors(key);
        if !wrong.is_empty() {
            return Err(SelectorError(format!("<nil>: Invalid value: {key:?}: {}", wrong.join("; "))));
        }
        if absent {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if self.peek() == Token::End || self.peek().is(",") {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.list()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::new(key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        let token = self.next();
        match token.shown() {
            "in" => Ok(Operator::In),
            "notin" => Ok(Operator::NotIn),
            "=" => Ok(Operator::Equals),
            "==" => Ok(Operator::DoubleEquals),
            "!=" => Ok(Operator::NotEquals),
            ">" => Ok(Operator::GreaterThan),
            "<" => Ok(Operator::LessThan),
            found => Err(SelectorError(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt"))),
        }
    }

    fn exact_value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Token::Word(value) => {
                self.next();
                Ok(value.to_owned())
            }
            token if token == Token::End || token.is(",") => Ok(String::new()),
            token => Err(SelectorError(format!("found '{}', expected: identifier", token.shown()))),
        }
    }

    /// `(a,b)`; what stands between two commas may be empty.
    fn list(&mut self) -> Result<Vec<String>, SelectorError> {
        let open = self.next();
        if !open.is("(") {
            return Err(SelectorError(format!("found '{}' expected: '('", open.shown())));
        }
        let mut values = Vec::new();
        loop {
            let token = self.peek();
            match token {
                Token::Word(value) => {
                    values.push(value.to_owned());
                    self.next();
                }
                ref empty if empty.is(",") || empty.is(")") => values.push(String::new()),
                other => {
                    return Err(SelectorError(format!("found '{}', expected: ',', ')' or identifier", other.shown())));
                }
            }
            let after = self.next();
            if after.is(")") {
                return Ok(values);
            }
            if !after.is(",") {
                return Err(SelectorError(format!("found '{}', expected: ',' or ')'", after.shown())));
            }
        }
    }
}

/// What is wrong with a `metav1.LabelSelector` that stands at `path`.
pub fn validate_label_selector(selector: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = validate_labels(selector.get("matchLabels"), &format!("{path}.matchLabels"));
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for (at, expression) in expressions.into_iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{at}]");
        let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
        let values = expression.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        match text("operator") {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(format!("{path}.values"), detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(format!("{path}.values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let detail = "not a valid selector operator";
                errors.push(FieldError::invalid(format!("{path}.operator"), &json!(other), detail));
            }
        }
        let of_key = qualified_name_errors(text("key"));
        errors.extend(
            of_key.iter().map(|message| FieldError::invalid(format!("{path}.key"), &json!(text("key")), message)),
        );
        for (at, value) in values.iter().enumerate() {
            let of_value = label_value_errors(value.as_str().unwrap_or_default());
            errors.extend(
                of_value.iter().map(|message| FieldError::invalid(format!("{path}.values[{at}]"), value, message)),
            );
        }
    }
    errors
}
