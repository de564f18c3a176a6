//! Calls: the few functions that are common or need care are here, the rest is the library's.

use std::sync::Arc;

use kube_cel::cel::Value;

use super::ast::{Binary, Expr};
use super::eval::{Evaluator, Outcome, arithmetic};
use super::value::{TypeName, as_optional, name_of, optional, shown, weight};
use super::{EvalError, authority, library};

impl<'a> Evaluator<'a, '_> {
    pub(crate) fn call(&mut self, function: &str, target: Option<&'a Expr>, args: &'a [Expr]) -> Outcome {
        self.budget.pay(1)?;
        let space = target.and_then(Expr::dotted).filter(|space| self.is_space(space));
        let (function, target) = match (space, target) {
            (Some(space), _) => (format!("{space}.{function}"), None),
            (None, Some(target)) => (function.to_owned(), Some(self.eval(target)?)),
            (None, None) => (function.to_owned(), None),
        };
        // These look at their argument only when they need it.
        if let (Some(inner), Some(whole)) = (target.as_ref().and_then(as_optional), &target)
            && let [arg] = args
        {
            match (function.as_str(), inner) {
                ("or", Some(_)) => return Ok(whole.clone()),
                ("orValue", Some(inner)) => return Ok(inner.clone()),
                ("or" | "orValue", None) => return self.eval(arg),
                _ => {}
            }
        }
        let args = args.iter().map(|arg| self.eval(arg)).collect::<Result<Vec<_>, _>>()?;
        if let Some(target) = &target
            && let Some(answer) = authority::method(&function, target, &args, self.scope.authority)
        {
            self.budget.pay(if function == "check" { 350_000 } else { 1 })?;
            return Ok(answer);
        }
        self.apply(&function, target, args)
    }

    /// Whether `space` is the first part of a function's name and no value.
    fn is_space(&self, space: &str) -> bool {
        let root = space.split('.').next().unwrap_or(space);
        !self.locals.iter().any(|(local, _)| *local == root)
            && self.scope.get(root).is_none()
            && !self.scope.composes(root)
    }

    fn apply(&mut self, function: &str, target: Option<Value>, args: Vec<Value>) -> Outcome {
        if let Some(answer) = self.own(function, target.as_ref(), &args)? {
            return Ok(answer);
        }
        self.pay_ahead(function, target.as_ref(), &args)?;
        let limit = self.budget.left().saturating_add(1);
        let parts = target.iter().chain(&args);
        let cost = parts.fold(0u64, |sum, part| sum.saturating_add(weight(part, limit)));
        self.budget.pay(cost)?;
        let out = library::call(function, target, &args).map_err(EvalError::new)?;
        self.pay_for(&out)?;
        Ok(out)
    }

    /// The answer of a function that is done here.
    fn own(&mut self, function: &str, target: Option<&Value>, args: &[Value]) -> Result<Option<Value>, EvalError> {
        let answer = match (function, target, args) {
            ("size", Some(of), []) | ("size", None, [of]) => size(of)?,
            ("startsWith", Some(Value::String(whole)), [Value::String(part)]) => {
                self.budget.pay(part.len() as u64 / 10)?;
                Value::Bool(whole.starts_with(part.as_str()))
            }
            ("endsWith", Some(Value::String(whole)), [Value::String(part)]) => {
                self.budget.pay(part.len() as u64 / 10)?;
                Value::Bool(whole.ends_with(part.as_str()))
            }
            ("contains", Some(Value::String(whole)), [Value::String(part)]) => {
                self.budget.pay((whole.len() as u64 / 10).saturating_mul(1 + part.len() as u64 / 10))?;
                Value::Bool(whole.contains(part.as_str()))
            }
            ("matches", Some(Value::String(text)), [Value::String(pattern)])
            | ("matches", None, [Value::String(text), Value::String(pattern)]) => {
                self.pay_for_match(text, pattern)?;
                Value::Bool(self.pattern(pattern)?.is_match(text))
            }
            ("sum", Some(Value::List(entries)), []) if !entries.is_empty() => {
                self.budget.pay(entries.len() as u64)?;
                let mut entries = entries.iter().cloned();
                let first = entries.next().unwrap_or(Value::Int(0));
                entries.try_fold(first, |sum, next| arithmetic(Binary::Add, sum, next))?
            }
            ("dyn", None, [value]) => value.clone(),
            ("type", None, [value]) => Value::Opaque(Arc::new(TypeName(name_of(value)))),
            ("optional.none", None, []) => optional(None),
            ("optional.of", None, [value]) => optional(Some(value.clone())),
            ("optional.ofNonZeroValue", None, [value]) => {
                optional(Some(value).filter(|value| !value.is_zero()).cloned())
            }
            ("hasValue", Some(value), []) if as_optional(value).is_some() => {
                Value::Bool(as_optional(value).flatten().is_some())
            }
            ("value", Some(value), []) if as_optional(value).is_some() => {
                let inner = as_optional(value).flatten().cloned();
                inner.ok_or_else(|| EvalError::new("optional.none() dereference".to_owned()))?
            }
            ("isQuantity", None, [Value::String(text)]) => Value::Bool(is_quantity(text)),
            ("quantity", None, [Value::String(text)]) if !is_quantity(text) => {
                return Err(EvalError::new(QUANTITY.to_owned()));
            }
            (_, None, [value]) => return convert(function, value).transpose(),
            _ => return Ok(None),
        };
        Ok(Some(answer))
    }

    /// Pays for what the library's functions cost beyond the length of what they are given.
    fn pay_ahead(&mut self, function: &str, target: Option<&Value>, args: &[Value]) -> Result<(), EvalError> {
        let limit = self.budget.left().saturating_add(1);
        let weigh = |value: &Value| weight(value, limit);
        match (function, target, args) {
            ("find" | "findAll", Some(Value::String(text)), [Value::String(pattern), ..]) => {
                self.pay_for_match(text, pattern)?;
                self.pattern(pattern).map(drop)
            }
            ("replace", Some(Value::String(text)), [Value::String(from), Value::String(to), ..]) => {
                let times = (text.len() / from.len().max(1)) as u64 + 1;
                self.budget.pay((text.len() as u64).saturating_add(times.saturating_mul(to.len() as u64)) / 10)
            }
            ("lists.range", None, [Value::Int(count)]) => self.budget.pay(u64::try_from(*count).unwrap_or(0)),
            ("join", Some(Value::List(entries)), [Value::String(between)]) => {
                self.budget.pay((entries.len() as u64).saturating_mul(1 + between.len() as u64 / 10))
            }
            ("sets.contains" | "sets.equivalent" | "sets.intersects", None, [left, right]) => {
                self.budget.pay(weigh(left).saturating_mul(weigh(right)))
            }
            ("distinct", Some(whole), _) => self.budget.pay(weigh(whole).saturating_mul(weigh(whole)) / 4),
            ("format", Some(Value::String(text)), _) => check_precision(text),
            _ => Ok(()),
        }
    }

    fn pay_for_match(&mut self, text: &str, pattern: &str) -> Result<(), EvalError> {
        self.budget.pay((1 + text.len() as u64 / 10).saturating_mul(1 + pattern.len() as u64 / 4))
    }

    fn pattern(&mut self, pattern: &str) -> Result<regex::Regex, EvalError> {
        self.budget.pay(10)?;
        crate::re2::compile(pattern).map_err(|error| EvalError::new(format!("error parsing regexp: {error}")))
    }
}

/// Whether the library can count with it: amounts of a thousand digits are none.
fn is_quantity(text: &str) -> bool {
    let exponent = text.rsplit_once(['e', 'E']).map_or(0, |(_, exponent)| exponent.len());
    text.len() <= 40 && exponent <= 3 && text.parse::<crate::Quantity>().is_ok()
}

const QUANTITY: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// A precision of a million digits would be a million digits.
fn check_precision(format: &str) -> Result<(), EvalError> {
    let too_long = format.split('%').skip(1).any(|part| {
        let digits = part.trim_start_matches('.').chars().take_while(char::is_ascii_digit).count();
        digits > 2
    });
    if too_long {
        Err(EvalError::new("could not parse formatting clause: precision too large".to_owned()))
    } else {
        Ok(())
    }
}

fn size(of: &Value) -> Outcome {
    let size = match of {
        Value::String(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(entries) => entries.len(),
        Value::Map(map) => map.map.len(),
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Int(size as i64))
}

/// The name of a type where a value is wanted: `type(x) == string`.
pub(crate) fn type_called(name: &str) -> Option<Value> {
    const TYPES: [&str; 11] =
        ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type", "optional_type"];
    TYPES.iter().find(|known| **known == name).map(|name| Value::Opaque(Arc::new(TypeName(name))))
}

/// Conversions between the plain types.
fn convert(function: &str, value: &Value) -> Option<Outcome> {
    let range = || EvalError::new("range error".to_owned());
    Some(match (function, value) {
        ("int", Value::Int(_)) | ("uint", Value::UInt(_)) | ("double", Value::Float(_)) | ("bool", Value::Bool(_)) => {
            Ok(value.clone())
        }
        ("int", Value::UInt(number)) => i64::try_from(*number).map(Value::Int).map_err(|_| range()),
        ("int", Value::Float(number)) if number.abs() < 9.223_372_036_854_775e18 => Ok(Value::Int(*number as i64)),
        ("int" | "uint", Value::Float(_)) if function == "int" => Err(range()),
        ("int", Value::String(text)) => text
            .parse()
            .map(Value::Int)
            .map_err(|_| EvalError::new(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))),
        ("uint", Value::Int(number)) => u64::try_from(*number).map(Value::UInt).map_err(|_| range()),
        ("uint", Value::Float(number)) if *number >= 0.0 && *number < 1.8e19 => Ok(Value::UInt(*number as u64)),
        ("uint", Value::Float(_)) => Err(range()),
        ("uint", Value::String(text)) => text
            .parse()
            .map(Value::UInt)
            .map_err(|_| EvalError::new(format!("strconv.ParseUint: parsing \"{text}\": invalid syntax"))),
        ("double", Value::Int(number)) => Ok(Value::Float(*number as f64)),
        ("double", Value::UInt(number)) => Ok(Value::Float(*number as f64)),
        ("double", Value::String(text)) => text
            .parse()
            .map(Value::Float)
            .map_err(|_| EvalError::new(format!("strconv.ParseFloat: parsing \"{text}\": invalid syntax"))),
        ("bool", Value::String(text)) => match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => Err(EvalError::new(format!("strconv.ParseBool: parsing \"{text}\": invalid syntax"))),
        },
        ("string", Value::String(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Bool(_)) => {
            Ok(Value::String(Arc::new(shown(value))))
        }
        ("string", Value::Bytes(bytes)) => match String::from_utf8(bytes.to_vec()) {
            Ok(text) => Ok(Value::String(Arc::new(text))),
            Err(_) => Err(EvalError::new("invalid UTF-8 in bytes, cannot convert to string".to_owned())),
        },
        ("string", Value::Duration(_) | Value::Timestamp(_)) => Ok(Value::String(Arc::new(shown(value)))),
        ("int", Value::Timestamp(time)) => Ok(Value::Int(time.timestamp())),
        ("int", Value::Duration(span)) => span.num_nanoseconds().map(Value::Int).ok_or_else(range),
        ("bytes", Value::String(text)) => Ok(Value::Bytes(Arc::new(text.as_bytes().to_vec()))),
        _ => return None,
    })
}
