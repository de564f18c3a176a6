//! Checks names and types before anything is evaluated.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube_cel::cel::Value;

use super::ast::{Binary, Expr, Fold, Node, Shape};
use super::lexer::Fault;
use super::types::{ObjectType, Type};
use super::{calls, cost, names, signatures};

/// What is found out.
pub(crate) struct Checked {
    pub r#type: Type,
    pub cost: u64,
    pub faults: Vec<Fault>,
}

/// How many faults are told.
const FAULTS_MAX: usize = 20;

pub(crate) fn check(expr: &Expr, variables: &[(&str, Type)]) -> Checked {
    let known = variables.iter().map(|(name, r#type)| ((*name).to_owned(), r#type.clone())).collect();
    let mut checker = Checker { known, faults: Vec::new() };
    let (r#type, cost) = checker.infer(expr);
    checker.faults.sort_by_key(|(at, _)| *at);
    checker.faults.truncate(FAULTS_MAX);
    Checked { r#type, cost, faults: checker.faults }
}

struct Checker {
    known: Vec<(String, Type)>,
    faults: Vec<Fault>,
}

/// A type and what it costs to get there.
type Inferred = (Type, u64);

impl Checker {
    fn fault(&mut self, at: usize, sentence: String) -> Type {
        self.faults.push((at, sentence));
        Type::Dyn
    }

    fn mismatch(&mut self, at: usize, name: &str, target: Option<&Type>, args: &[Type]) -> Type {
        let listed = |types: &[Type]| types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
        let applied = match target {
            Some(target) => format!("{target}.({})", listed(args)),
            None => format!("({})", listed(args)),
        };
        self.fault(at, format!("found no matching overload for '{name}' applied to '{applied}'"))
    }

    fn lookup(&self, name: &str) -> Option<&Type> {
        self.known.iter().rev().find(|(known, _)| known == name).map(|(_, r#type)| r#type)
    }

    fn infer(&mut self, expr: &Expr) -> Inferred {
        match &expr.node {
            Node::Literal(value) => (literal(value), 0),
            Node::Ident(name) => (self.ident(expr.at, name), 1),
            Node::Select { of, field, optional } => {
                let (of, spent) = self.infer(of);
                let found = self.field(expr.at, &of, field);
                let wrap = *optional || matches!(of, Type::Optional(_));
                (if wrap { Type::Optional(found.into()) } else { found }, spent + 1)
            }
            Node::Has { of, field } => {
                let (of, spent) = self.infer(of);
                self.field(expr.at, &of, field);
                (Type::Bool, spent + 1)
            }
            Node::Index { of, at, optional } => self.index(expr.at, of, at, *optional),
            Node::List(entries) => self.list(entries),
            Node::Map(entries) => self.map(entries),
            Node::Struct(name, fields) => self.construct(expr.at, name, fields),
            Node::Call { function, target, args } => self.call(expr.at, function, target.as_deref(), args),
            Node::And(terms) => self.logic(expr.at, "_&&_", terms),
            Node::Or(terms) => self.logic(expr.at, "_||_", terms),
            Node::Not(of) => {
                let (of, spent) = self.infer(of);
                if !of.fits(&Type::Bool) {
                    self.mismatch(expr.at, "!_", None, &[of]);
                }
                (Type::Bool, spent + 1)
            }
            Node::Negate(of) => {
                let (of, spent) = self.infer(of);
                if !matches!(of, Type::Int | Type::Double | Type::Dyn) {
                    self.mismatch(expr.at, "-_", None, std::slice::from_ref(&of));
                }
                (of, spent + 1)
            }
            Node::Conditional(parts) => self.conditional(expr.at, parts),
            Node::Binary(operator, sides) => self.binary(expr.at, *operator, sides),
            Node::Fold(fold) => self.fold(expr.at, fold),
            Node::Bind { name, value, body } => {
                let (value, spent) = self.infer(value);
                self.known.push((name.clone(), value));
                let (body, more) = self.infer(body);
                self.known.pop();
                (body, spent.saturating_add(more))
            }
        }
    }

    /// `Object{…}` and what lies in one, and `JSONPatch{…}`: the objects that mutating policies make.
    fn construct(&mut self, at: usize, name: &str, fields: &[(bool, String, Expr)]) -> Inferred {
        let mut spent = 40u64;
        let mut inferred = BTreeMap::new();
        for (_, field, value) in fields {
            let (found, more) = self.infer(value);
            spent = spent.saturating_add(more);
            inferred.insert(field.clone(), found);
        }
        if name == "JSONPatch" {
            let known = ["op", "path", "from", "value"];
            if let Some((_, field, _)) = fields.iter().find(|(_, field, _)| !known.contains(&field.as_str())) {
                return (self.fault(at, format!("undefined field '{field}'")), spent);
            }
            inferred = ["op", "path", "from"].map(|field| (field.to_owned(), Type::text())).into();
            inferred.insert("value".to_owned(), Type::Dyn);
        } else if name != "Object" && !name.starts_with("Object.") {
            return (self.fault(at, format!("undeclared reference to '{name}' (in container '')")), spent);
        }
        (Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields: inferred })), spent)
    }

    fn ident(&mut self, at: usize, name: &str) -> Type {
        match self.lookup(name) {
            Some(known) => known.clone(),
            None if calls::type_called(name).is_some() => Type::Type,
            None => self.fault(at, format!("undeclared reference to '{name}' (in container '')")),
        }
    }

    fn field(&mut self, at: usize, of: &Type, field: &str) -> Type {
        match of {
            Type::Optional(of) => self.field(at, &of.clone(), field),
            Type::Dyn => Type::Dyn,
            Type::Map(_, value, _) => value.as_ref().clone(),
            Type::Opaque("kubernetes.authorization.Authorizer") if field == "requestResource" => {
                Type::Opaque("kubernetes.authorization.ResourceCheck")
            }
            Type::Object(object) => {
                let found = object.fields.get(&names::unescape(field)).or_else(|| object.fields.get(field));
                match found {
                    Some(found) => found.clone(),
                    None => self.fault(at, format!("undefined field '{field}'")),
                }
            }
            other => {
                let other = other.to_string();
                self.fault(at, format!("type '{other}' does not support field selection"))
            }
        }
    }

    fn index(&mut self, place: usize, of: &Expr, at: &Expr, optional: bool) -> Inferred {
        let (of, spent) = self.infer(of);
        let (at, more) = self.infer(at);
        let inner = if let Type::Optional(inner) = &of { inner.as_ref().clone() } else { of.clone() };
        let found = match (&inner, &at) {
            (Type::Dyn, _) => Type::Dyn,
            (Type::List(entry, _), Type::Int | Type::Dyn) => entry.as_ref().clone(),
            (Type::Map(key, value, _), at) if key.fits(at) => value.as_ref().clone(),
            _ => self.mismatch(place, "_[_]", None, &[of.clone(), at]),
        };
        let wrap = optional || matches!(of, Type::Optional(_));
        (if wrap { Type::Optional(found.into()) } else { found }, spent.saturating_add(more).saturating_add(1))
    }

    fn list(&mut self, entries: &[(bool, Expr)]) -> Inferred {
        let (mut joined, mut spent) = (None::<Type>, 10u64);
        for (optional, entry) in entries {
            let (entry, more) = self.infer(entry);
            let entry = match entry {
                Type::Optional(of) if *optional => of.as_ref().clone(),
                entry => entry,
            };
            spent = spent.saturating_add(more);
            joined = Some(joined.map_or_else(|| entry.clone(), |joined| joined.join(&entry)));
        }
        (Type::List(Arc::new(joined.unwrap_or(Type::Dyn)), entries.len() as u64), spent)
    }

    fn map(&mut self, entries: &[(bool, Expr, Expr)]) -> Inferred {
        let (mut joined, mut spent) = (None::<(Type, Type)>, 30u64);
        for (optional, key, value) in entries {
            let (key, more) = self.infer(key);
            let (value, most) = self.infer(value);
            let value = match value {
                Type::Optional(of) if *optional => of.as_ref().clone(),
                value => value,
            };
            spent = spent.saturating_add(more).saturating_add(most);
            joined = Some(match joined {
                None => (key, value),
                Some((keys, values)) => (keys.join(&key), values.join(&value)),
            });
        }
        let (key, value) = joined.unwrap_or((Type::Dyn, Type::Dyn));
        (Type::Map(key.into(), value.into(), entries.len() as u64), spent)
    }

    fn logic(&mut self, at: usize, name: &str, terms: &[Expr]) -> Inferred {
        let mut spent = 0u64;
        let mut types = Vec::new();
        for term in terms {
            let (term, more) = self.infer(term);
            spent = spent.saturating_add(more);
            types.push(term);
        }
        if types.iter().any(|term| !term.fits(&Type::Bool)) {
            types.truncate(2);
            self.mismatch(at, name, None, &types);
        }
        (Type::Bool, spent)
    }

    fn conditional(&mut self, at: usize, parts: &[Expr; 3]) -> Inferred {
        let [condition, then, otherwise] = parts.each_ref().map(|part| self.infer(part));
        if !condition.0.fits(&Type::Bool) || !then.0.fits(&otherwise.0) {
            let types = [condition.0, then.0, otherwise.0];
            return (self.mismatch(at, "_?_:_", None, &types), 0);
        }
        (then.0.join(&otherwise.0), condition.1.saturating_add(then.1.max(otherwise.1)))
    }

    fn binary(&mut self, at: usize, operator: Binary, sides: &[Expr; 2]) -> Inferred {
        let [(left, a), (right, b)] = sides.each_ref().map(|side| self.infer(side));
        let spent = a.saturating_add(b);
        let (result, more) = match operator {
            Binary::Equal | Binary::NotEqual if left.fits(&right) => (Some(Type::Bool), cost::compare(&left, &right)),
            Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
                (ordered(&left, &right).then_some(Type::Bool), cost::compare(&left, &right))
            }
            Binary::In => match &right {
                Type::List(of, _) if of.fits(&left) => (Some(Type::Bool), cost::bounded(&right)),
                Type::Map(key, ..) if key.fits(&left) => (Some(Type::Bool), 1),
                Type::Dyn | Type::Object(_) => (Some(Type::Bool), cost::bounded(&right)),
                _ => (None, 0),
            },
            Binary::Equal | Binary::NotEqual => (None, 0),
            _ => (calculated(operator, &left, &right), cost::compare(&left, &right)),
        };
        match result {
            Some(result) => (result, spent.saturating_add(more)),
            None => (self.mismatch(at, operator.name(), None, &[left, right]), spent),
        }
    }

    fn fold(&mut self, at: usize, fold: &Fold) -> Inferred {
        let (range, spent) = self.infer(&fold.range);
        let two = fold.second.is_some();
        let optional = matches!(fold.shape, Shape::OptMap | Shape::OptFlatMap);
        let (first, second) = match &range {
            Type::Optional(of) if optional => (of.as_ref().clone(), Type::Dyn),
            Type::List(of, _) if !optional && two => (Type::Int, of.as_ref().clone()),
            Type::List(of, _) if !optional => (of.as_ref().clone(), Type::Dyn),
            Type::Map(key, value, _) if !optional => (key.as_ref().clone(), value.as_ref().clone()),
            Type::Object(_) if !optional => (Type::text(), Type::Dyn),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            other => {
                let sentence = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                (self.fault(at, sentence), Type::Dyn)
            }
        };
        self.known.push((fold.first.clone(), first.clone()));
        let depth = self.known.len();
        self.known.extend(fold.second.clone().map(|name| (name, second)));
        let mut step = 2u64;
        if let Some(filter) = &fold.filter {
            step = step.saturating_add(self.flag(filter));
        }
        let (body, more) = self.infer(&fold.body);
        step = step.saturating_add(more);
        if matches!(fold.shape, Shape::All | Shape::Exists | Shape::ExistsOne | Shape::Filter)
            && !body.fits(&Type::Bool)
        {
            let name = if fold.shape == Shape::Exists { "_||_" } else { "_&&_" };
            self.mismatch(fold.body.at, name, None, &[Type::Bool, body.clone()]);
        }
        self.known.truncate(depth - 1);
        let times = if optional { 1 } else { cost::bounded(&range) };
        let spent = spent.saturating_add(times.saturating_mul(step));
        let result = match fold.shape {
            Shape::All | Shape::Exists | Shape::ExistsOne => Type::Bool,
            Shape::Filter | Shape::SortBy => Type::List(first.into(), times),
            Shape::Map => Type::List(body.into(), times),
            Shape::OptMap => Type::Optional(body.into()),
            Shape::OptFlatMap => body,
            Shape::TransformMap => Type::Map(first.into(), body.into(), times),
            Shape::TransformMapEntry => Type::Dyn,
        };
        (result, spent)
    }

    fn flag(&mut self, expr: &Expr) -> u64 {
        let (found, spent) = self.infer(expr);
        if !found.fits(&Type::Bool) {
            self.mismatch(expr.at, "_?_:_", None, &[found]);
        }
        spent
    }

    fn call(&mut self, at: usize, function: &str, target: Option<&Expr>, args: &[Expr]) -> Inferred {
        let space = target.and_then(Expr::dotted).filter(|space| {
            let root = space.split('.').next().unwrap_or(space);
            self.lookup(root).is_none() && signatures::overloads(&format!("{space}.{function}")).is_some()
        });
        let (name, target) = match (space, target) {
            (Some(space), _) => (format!("{space}.{function}"), None),
            (None, Some(target)) => (function.to_owned(), Some(self.infer(target))),
            (None, None) => (function.to_owned(), None),
        };
        let mut spent = target.as_ref().map_or(0, |(_, spent)| *spent);
        let target = target.map(|(target, _)| target);
        let mut types = Vec::new();
        for arg in args {
            let (arg, more) = self.infer(arg);
            spent = spent.saturating_add(more);
            types.push(arg);
        }
        let Some(overloads) = signatures::overloads(&name) else {
            return (self.fault(at, format!("undeclared reference to '{name}' (in container '')")), spent);
        };
        let results: Vec<Type> =
            overloads.iter().filter_map(|overload| overload.apply(target.as_ref(), &types)).collect();
        let Some(first) = results.first() else {
            return (self.mismatch(at, &name, target.as_ref(), &types), spent);
        };
        let result = results.iter().skip(1).fold(first.clone(), |joined, next| joined.join(next));
        let spent = spent.saturating_add(cost::call(&name, target.as_ref(), &types));
        (cost::sized(&name, result, target.as_ref(), &types), spent)
    }
}

fn literal(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::UInt(_) => Type::Uint,
        Value::Float(_) => Type::Double,
        Value::String(text) => Type::String(text.chars().count() as u64),
        Value::Bytes(_) => Type::Bytes,
        _ => Type::Dyn,
    }
}

fn is_number(of: &Type) -> bool {
    matches!(of, Type::Int | Type::Uint | Type::Double)
}

fn ordered(left: &Type, right: &Type) -> bool {
    let can = |of: &Type| {
        is_number(of)
            || matches!(of, Type::Dyn | Type::Bool | Type::String(_) | Type::Bytes | Type::Timestamp | Type::Duration)
    };
    can(left) && can(right) && (left.fits(right) || (is_number(left) && is_number(right)))
}

fn calculated(operator: Binary, left: &Type, right: &Type) -> Option<Type> {
    match (operator, left, right) {
        (_, Type::Dyn, Type::Dyn) => Some(Type::Dyn),
        (Binary::Add, Type::String(a), Type::String(b)) => Some(Type::String(a.saturating_add(*b))),
        (Binary::Add, Type::Bytes, Type::Bytes) => Some(Type::Bytes),
        (Binary::Add, Type::List(a, m), Type::List(b, n)) if a.fits(b) => {
            Some(Type::List(Arc::new(a.join(b)), m.saturating_add(*n)))
        }
        (Binary::Add, Type::Timestamp, Type::Duration) | (Binary::Add, Type::Duration, Type::Timestamp) => {
            Some(Type::Timestamp)
        }
        (Binary::Add | Binary::Subtract, Type::Duration, Type::Duration) => Some(Type::Duration),
        (Binary::Subtract, Type::Timestamp, Type::Timestamp) => Some(Type::Duration),
        (Binary::Subtract, Type::Timestamp, Type::Duration) => Some(Type::Timestamp),
        (Binary::Modulo, Type::Double, _) | (Binary::Modulo, _, Type::Double) => None,
        (_, Type::Dyn, other) | (_, other, Type::Dyn)
            if is_number(other)
                || matches!(
                    (operator, other),
                    (Binary::Add, Type::String(_) | Type::List(..) | Type::Bytes)
                        | (Binary::Add | Binary::Subtract, Type::Duration | Type::Timestamp)
                ) =>
        {
            Some(match other {
                Type::Duration | Type::Timestamp => Type::Dyn,
                other => other.clone(),
            })
        }
        (_, a, b) if is_number(a) && std::mem::discriminant(a) == std::mem::discriminant(b) => Some(a.clone()),
        _ => None,
    }
}
