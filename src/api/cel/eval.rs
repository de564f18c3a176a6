//! Evaluates a tree. Every step is paid for out of a budget, so that every expression ends.

use std::cmp::Ordering;
use std::sync::Arc;

use kube_cel::cel::Value;

use super::ast::{Binary, Expr, Node};
use super::calls;
use super::value::{as_optional, key, key_of, optional, weight};
use super::{Budget, EvalError, Scope, authority};

pub(crate) type Outcome = Result<Value, EvalError>;

pub(crate) struct Evaluator<'a, 'b> {
    pub scope: &'a Scope<'a>,
    pub budget: &'b mut Budget,
    /// What macros have bound, the innermost last.
    pub locals: Vec<(&'a str, Value)>,
}

impl<'a> Evaluator<'a, '_> {
    pub fn eval(&mut self, expr: &'a Expr) -> Outcome {
        match &expr.node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Ident(name) => self.variable(name),
            Node::Select { of, field, optional } => self.select(of, field, *optional),
            Node::Has { of, field } => self.has(of, field),
            Node::Index { of, at, optional } => self.index(of, at, *optional),
            Node::List(entries) => self.list(entries),
            Node::Map(entries) => self.map(entries),
            Node::Struct(name, fields) => self.construct(name, fields),
            Node::Call { function, target, args } => self.call(function, target.as_deref(), args),
            Node::And(terms) => self.logic(terms, false),
            Node::Or(terms) => self.logic(terms, true),
            Node::Not(of) => self.not(of),
            Node::Negate(of) => self.negate(of),
            Node::Conditional(parts) => self.conditional(parts),
            Node::Binary(operator, sides) => self.binary(*operator, sides),
            Node::Fold(fold) => self.fold(fold),
            Node::Bind { name, value, body } => self.bind(name, value, body),
        }
    }

    /// Pays for what `value` weighs.
    pub fn pay_for(&mut self, value: &Value) -> Result<(), EvalError> {
        let weight = weight(value, self.budget.left().saturating_add(1));
        self.budget.pay(weight)
    }

    fn variable(&mut self, name: &str) -> Outcome {
        self.budget.pay(1)?;
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| *local == name) {
            return Ok(value.clone());
        }
        self.scope
            .get(name)
            .or_else(|| calls::type_called(name))
            .ok_or_else(|| EvalError::new(format!("no such attribute(s): {name}")))
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|(local, _)| *local == name)
    }

    fn select(&mut self, of: &'a Expr, field: &str, wanted: bool) -> Outcome {
        if let Node::Ident(name) = &of.node
            && !self.is_local(name)
            && let Some(found) = self.scope.composed(name, field, self.budget)
        {
            return found;
        }
        let of = self.eval(of)?;
        self.budget.pay(1)?;
        if let Some(found) = authority::select(&of, field, self.scope.authority) {
            return Ok(found);
        }
        match as_optional(&of) {
            Some(None) => Ok(optional(None)),
            Some(Some(inner)) => Ok(optional(find(inner, field)?)),
            None if wanted => Ok(optional(find(&of, field)?)),
            None => find(&of, field)?.ok_or_else(|| EvalError::new(format!("no such key: {field}"))),
        }
    }

    fn has(&mut self, of: &'a Expr, field: &str) -> Outcome {
        if let Node::Ident(name) = &of.node
            && !self.is_local(name)
            && self.scope.composes(name)
        {
            return Ok(Value::Bool(self.scope.composed(name, field, self.budget).is_some()));
        }
        let of = self.eval(of)?;
        self.budget.pay(1)?;
        Ok(Value::Bool(match as_optional(&of) {
            Some(None) => false,
            Some(Some(inner)) => find(inner, field)?.is_some(),
            None => find(&of, field)?.is_some(),
        }))
    }

    fn index(&mut self, of: &'a Expr, at: &'a Expr, wanted: bool) -> Outcome {
        let of = self.eval(of)?;
        let at = self.eval(at)?;
        self.budget.pay(1)?;
        match as_optional(&of) {
            Some(None) => Ok(optional(None)),
            Some(Some(inner)) => Ok(optional(entry(inner, &at).ok())),
            None if wanted => Ok(optional(entry(&of, &at).ok())),
            None => entry(&of, &at),
        }
    }

    fn list(&mut self, entries: &'a [(bool, Expr)]) -> Outcome {
        let mut out = Vec::with_capacity(entries.len());
        self.budget.pay(10)?;
        for (optional, entry) in entries {
            let value = self.eval(entry)?;
            self.pay_for(&value)?;
            match as_optional(&value).filter(|_| *optional) {
                Some(inner) => out.extend(inner.cloned()),
                None => out.push(value),
            }
        }
        Ok(Value::List(Arc::new(out)))
    }

    fn map(&mut self, entries: &'a [(bool, Expr, Expr)]) -> Outcome {
        let mut out = std::collections::HashMap::with_capacity(entries.len());
        self.budget.pay(30)?;
        for (optional, name, value) in entries {
            let name = self.eval(name)?;
            let name = key_of(&name).ok_or_else(EvalError::no_such_overload)?;
            let value = self.eval(value)?;
            self.pay_for(&value)?;
            let kept = match as_optional(&value).filter(|_| *optional) {
                Some(inner) => inner.cloned(),
                None => Some(value),
            };
            if let Some(value) = kept
                && out.insert(name.clone(), value).is_some()
            {
                return Err(EvalError::new("Failed with repeated key".to_owned()));
            }
        }
        Ok(out.into())
    }

    fn construct(&mut self, _name: &str, fields: &'a [(bool, String, Expr)]) -> Outcome {
        let mut out = Vec::with_capacity(fields.len());
        self.budget.pay(40)?;
        for (optional, name, value) in fields {
            let value = self.eval(value)?;
            self.pay_for(&value)?;
            match as_optional(&value).filter(|_| *optional) {
                Some(inner) => out.extend(inner.cloned().map(|value| (key(name), value))),
                None => out.push((key(name), value)),
            }
        }
        Ok(out.into_iter().collect::<std::collections::HashMap<_, _>>().into())
    }

    /// `&&` and `||`: one side that decides outweighs an error on the other.
    fn logic(&mut self, terms: &'a [Expr], decides: bool) -> Outcome {
        let mut failed = None;
        for term in terms {
            match self.eval(term) {
                Ok(Value::Bool(flag)) if flag == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failed = failed.or(Some(EvalError::no_such_overload())),
                Err(error) if error.over_budget => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Value::Bool(!decides)), Err)
    }

    fn not(&mut self, of: &'a Expr) -> Outcome {
        self.budget.pay(1)?;
        match self.eval(of)? {
            Value::Bool(flag) => Ok(Value::Bool(!flag)),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn negate(&mut self, of: &'a Expr) -> Outcome {
        self.budget.pay(1)?;
        match self.eval(of)? {
            Value::Int(number) => {
                number.checked_neg().map(Value::Int).ok_or_else(|| EvalError::new("integer overflow".to_owned()))
            }
            Value::Float(number) => Ok(Value::Float(-number)),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn conditional(&mut self, parts: &'a [Expr; 3]) -> Outcome {
        let [condition, then, otherwise] = parts;
        match self.eval(condition)? {
            Value::Bool(true) => self.eval(then),
            Value::Bool(false) => self.eval(otherwise),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn bind(&mut self, name: &'a str, value: &'a Expr, body: &'a Expr) -> Outcome {
        let value = self.eval(value)?;
        self.locals.push((name, value));
        let out = self.eval(body);
        self.locals.pop();
        out
    }

    fn binary(&mut self, operator: Binary, sides: &'a [Expr; 2]) -> Outcome {
        let [left, right] = sides;
        let left = self.eval(left)?;
        let right = self.eval(right)?;
        self.budget.pay(1)?;
        let order = |left: &Value, right: &Value| compare(left, right).ok_or_else(EvalError::no_such_overload);
        Ok(match operator {
            Binary::Equal | Binary::NotEqual => {
                let limit = self.budget.left().saturating_add(1);
                self.budget.pay(weight(&left, limit).min(weight(&right, limit)))?;
                Value::Bool((left == right) == (operator == Binary::Equal))
            }
            Binary::Less => Value::Bool(order(&left, &right)? == Some(Ordering::Less)),
            Binary::LessEqual => Value::Bool(order(&left, &right)?.is_some_and(Ordering::is_le)),
            Binary::Greater => Value::Bool(order(&left, &right)? == Some(Ordering::Greater)),
            Binary::GreaterEqual => Value::Bool(order(&left, &right)?.is_some_and(Ordering::is_ge)),
            Binary::In => self.contains(&right, &left)?,
            _ => {
                // Two lists or two texts put together are new memory.
                if matches!(operator, Binary::Add) {
                    self.budget.pay(length(&left).saturating_add(length(&right)) / 10)?;
                }
                arithmetic(operator, left, right)?
            }
        })
    }

    fn contains(&mut self, whole: &Value, part: &Value) -> Outcome {
        match whole {
            Value::List(entries) => {
                let limit = self.budget.left().saturating_add(1);
                self.budget.pay((entries.len() as u64).saturating_mul(weight(part, limit)))?;
                Ok(Value::Bool(entries.contains(part)))
            }
            Value::Map(map) => Ok(Value::Bool(key_of(part).is_some_and(|key| map.map.contains_key(&key)))),
            _ => Err(EvalError::no_such_overload()),
        }
    }
}

fn length(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(entries) => entries.len() as u64,
        _ => 0,
    }
}

/// `None` for values that cannot be compared, `Some(None)` for numbers that are not numbers.
pub(crate) fn compare(left: &Value, right: &Value) -> Option<Option<Ordering>> {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => Some(left.partial_cmp(right)),
        (Value::Bytes(left), Value::Bytes(right)) => Some(Some(left.cmp(right))),
        (Value::Null, _) | (_, Value::Null) => None,
        _ => left.partial_cmp(right).map(Some),
    }
}

/// A field of a map. Names that CEL cannot write are escaped in CRD rules: `__namespace__`, `a__dot__b`.
fn find(of: &Value, field: &str) -> Result<Option<Value>, EvalError> {
    let Value::Map(map) = of else { return Err(EvalError::no_such_overload()) };
    let found = map
        .map
        .get(&key(field))
        .or_else(|| if field.contains("__") { map.map.get(&key(&super::names::unescape(field))) } else { None });
    Ok(found.cloned())
}

fn entry(of: &Value, at: &Value) -> Outcome {
    match of {
        Value::Map(map) => {
            let missing = || EvalError::new(format!("no such key: {}", super::value::shown(at)));
            key_of(at).and_then(|key| map.map.get(&key)).cloned().ok_or_else(missing)
        }
        Value::List(entries) => {
            let at = match at {
                Value::Int(at) => *at,
                Value::UInt(at) => i64::try_from(*at).unwrap_or(i64::MAX),
                Value::Float(at) if at.fract() == 0.0 => *at as i64,
                _ => return Err(EvalError::no_such_overload()),
            };
            let found = usize::try_from(at).ok().and_then(|at| entries.get(at));
            found.cloned().ok_or_else(|| EvalError::new(format!("index out of bounds: {at}")))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(crate) fn arithmetic(operator: Binary, left: Value, right: Value) -> Outcome {
    let (zero, overflow) = match operator {
        Binary::Modulo => ("modulus by zero", "integer overflow"),
        _ => ("division by zero", "integer overflow"),
    };
    let whole = |value: Option<Value>| value.ok_or_else(|| EvalError::new(overflow.to_owned()));
    match (operator, left, right) {
        (Binary::Divide | Binary::Modulo, Value::Int(_), Value::Int(0))
        | (Binary::Divide | Binary::Modulo, Value::UInt(_), Value::UInt(0)) => Err(EvalError::new(zero.to_owned())),
        (Binary::Add, Value::Int(a), Value::Int(b)) => whole(a.checked_add(b).map(Value::Int)),
        (Binary::Subtract, Value::Int(a), Value::Int(b)) => whole(a.checked_sub(b).map(Value::Int)),
        (Binary::Multiply, Value::Int(a), Value::Int(b)) => whole(a.checked_mul(b).map(Value::Int)),
        (Binary::Divide, Value::Int(a), Value::Int(b)) => whole(a.checked_div(b).map(Value::Int)),
        (Binary::Modulo, Value::Int(a), Value::Int(b)) => whole(a.checked_rem(b).map(Value::Int)),
        (Binary::Add, Value::UInt(a), Value::UInt(b)) => whole(a.checked_add(b).map(Value::UInt)),
        (Binary::Subtract, Value::UInt(a), Value::UInt(b)) => whole(a.checked_sub(b).map(Value::UInt)),
        (Binary::Multiply, Value::UInt(a), Value::UInt(b)) => whole(a.checked_mul(b).map(Value::UInt)),
        (Binary::Divide, Value::UInt(a), Value::UInt(b)) => whole(a.checked_div(b).map(Value::UInt)),
        (Binary::Modulo, Value::UInt(a), Value::UInt(b)) => whole(a.checked_rem(b).map(Value::UInt)),
        (Binary::Add, Value::Float(a), Value::Float(b)) => Ok(Value::Float(a + b)),
        (Binary::Subtract, Value::Float(a), Value::Float(b)) => Ok(Value::Float(a - b)),
        (Binary::Multiply, Value::Float(a), Value::Float(b)) => Ok(Value::Float(a * b)),
        (Binary::Divide, Value::Float(a), Value::Float(b)) => Ok(Value::Float(a / b)),
        (Binary::Add, Value::Bytes(a), Value::Bytes(b)) => {
            Ok(Value::Bytes(Arc::new([a.as_slice(), b.as_slice()].concat())))
        }
        (
            Binary::Add,
            a @ (Value::String(_) | Value::List(_) | Value::Duration(_) | Value::Timestamp(_)),
            b @ (Value::String(_) | Value::List(_) | Value::Duration(_) | Value::Timestamp(_)),
        ) => (a + b).map_err(|_| EvalError::no_such_overload()),
        (
            Binary::Subtract,
            a @ (Value::Duration(_) | Value::Timestamp(_)),
            b @ (Value::Duration(_) | Value::Timestamp(_)),
        ) => (a - b).map_err(|_| EvalError::no_such_overload()),
        _ => Err(EvalError::no_such_overload()),
    }
}
