//! Evaluates the macros that go over lists and maps.

use std::sync::Arc;

use kube_cel::cel::Value;
use kube_cel::cel::objects::Key;

use super::EvalError;
use super::ast::{Expr, Fold, Shape};
use super::eval::{Evaluator, Outcome, compare};
use super::value::{as_optional, key_of, optional};

impl<'a> Evaluator<'a, '_> {
    pub(crate) fn fold(&mut self, fold: &'a Fold) -> Outcome {
        let range = self.eval(&fold.range)?;
        self.budget.pay(1)?;
        if matches!(fold.shape, Shape::OptMap | Shape::OptFlatMap) {
            return self.fold_optional(fold, &range);
        }
        let steps = steps(&range, fold.second.is_some())?;
        let depth = self.locals.len();
        let out = self.fold_steps(fold, steps, matches!(range, Value::Map(_)));
        self.locals.truncate(depth);
        out
    }

    fn fold_optional(&mut self, fold: &'a Fold, range: &Value) -> Outcome {
        let Some(inner) = as_optional(range) else { return Err(EvalError::no_such_overload()) };
        let Some(inner) = inner else { return Ok(optional(None)) };
        self.locals.push((&fold.first, inner.clone()));
        let out = self.eval(&fold.body);
        self.locals.pop();
        if fold.shape == Shape::OptMap { out.map(|value| optional(Some(value))) } else { out }
    }

    fn fold_steps(&mut self, fold: &'a Fold, steps: Vec<(Value, Option<Value>)>, of_map: bool) -> Outcome {
        let depth = self.locals.len();
        let (mut kept, mut sorted, mut mapped) = (Vec::new(), Vec::new(), Vec::new());
        let (mut found, mut failed) = (0u64, None);
        for (first, second) in steps {
            self.budget.pay(1)?;
            self.locals.truncate(depth);
            let key = first.clone();
            self.locals.push((&fold.first, first));
            if let (Some(name), Some(value)) = (&fold.second, second) {
                self.locals.push((name, value));
            }
            if let Some(filter) = &fold.filter
                && !self.flag(filter)?
            {
                continue;
            }
            match fold.shape {
                Shape::All | Shape::Exists => match self.flag(&fold.body) {
                    Ok(flag) if flag == (fold.shape == Shape::Exists) => return Ok(Value::Bool(flag)),
                    Ok(_) => {}
                    Err(error) if error.over_budget => return Err(error),
                    Err(error) => failed = failed.or(Some(error)),
                },
                Shape::ExistsOne => found += u64::from(self.flag(&fold.body)?),
                Shape::Filter => {
                    if self.flag(&fold.body)? {
                        kept.push(key);
                    }
                }
                Shape::SortBy => sorted.push((self.eval(&fold.body)?, key)),
                Shape::TransformMap => mapped.push((key, self.paid(&fold.body)?)),
                Shape::TransformMapEntry => {
                    let entry = self.paid(&fold.body)?;
                    let Value::Map(entry) = entry else { return Err(EvalError::no_such_overload()) };
                    mapped.extend(entry.map.iter().map(|(key, value)| (Value::from(key), value.clone())));
                }
                _ => kept.push(self.paid(&fold.body)?),
            }
        }
        match fold.shape {
            Shape::All | Shape::Exists => failed.map_or(Ok(Value::Bool(fold.shape == Shape::All)), Err),
            Shape::ExistsOne => Ok(Value::Bool(found == 1)),
            Shape::SortBy => sorted_values(sorted),
            Shape::TransformMap | Shape::TransformMapEntry => map_of(mapped),
            Shape::Filter if of_map => Ok(Value::List(Arc::new(kept))),
            _ => Ok(Value::List(Arc::new(kept))),
        }
    }

    fn paid(&mut self, body: &'a Expr) -> Outcome {
        let value = self.eval(body)?;
        self.pay_for(&value)?;
        Ok(value)
    }

    fn flag(&mut self, expr: &'a Expr) -> Result<bool, EvalError> {
        match self.eval(expr)? {
            Value::Bool(flag) => Ok(flag),
            _ => Err(EvalError::no_such_overload()),
        }
    }
}

/// What the variables are, step by step: the entry, or index and entry, or key, or key and value.
fn steps(range: &Value, two: bool) -> Result<Vec<(Value, Option<Value>)>, EvalError> {
    match range {
        Value::List(entries) if two => {
            let numbered = entries.iter().enumerate();
            Ok(numbered.map(|(at, entry)| (Value::Int(at as i64), Some(entry.clone()))).collect())
        }
        Value::List(entries) => Ok(entries.iter().map(|entry| (entry.clone(), None)).collect()),
        Value::Map(map) => {
            // In an order that is the same every time.
            let mut entries: Vec<(&Key, &Value)> = map.map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            Ok(entries.into_iter().map(|(key, value)| (Value::from(key), two.then(|| value.clone()))).collect())
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn sorted_values(mut keyed: Vec<(Value, Value)>) -> Outcome {
    let comparable = keyed.windows(2).all(|pair| match pair {
        [(left, _), (right, _)] => compare(left, right).is_some(),
        _ => true,
    });
    if !comparable {
        return Err(EvalError::no_such_overload());
    }
    keyed.sort_by(|(left, _), (right, _)| compare(left, right).flatten().unwrap_or(std::cmp::Ordering::Equal));
    Ok(Value::List(Arc::new(keyed.into_iter().map(|(_, value)| value).collect())))
}

fn map_of(entries: Vec<(Value, Value)>) -> Outcome {
    let mut out = std::collections::HashMap::new();
    for (key, value) in entries {
        let key = key_of(&key).ok_or_else(EvalError::no_such_overload)?;
        if out.insert(key, value).is_some() {
            return Err(EvalError::new("insert failed: key already exists".to_owned()));
        }
    }
    Ok(out.into())
}
