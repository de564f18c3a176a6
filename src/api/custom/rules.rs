//! `x-kubernetes-validations`: what must hold, as expressions over an object and what it was before.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::node::{Node, counterpart};
use crate::FieldError;
use crate::cel::{self, Budget, EvalError, ObjectType, Program, Scope, Type};

/// The largest request: nothing in it can be longer.
const REQUEST_BYTES: u64 = 3 << 20;
/// How long a message may be that an expression gives.
const MESSAGE_MAX: usize = 5 << 10;

/// One rule.
#[derive(Debug, Default)]
pub(crate) struct Rule {
    pub source: String,
    pub message: String,
    pub message_expression: String,
    pub reason: String,
    pub field_path: String,
    pub optional_old: bool,
    /// Set by [`compile`].
    pub program: Option<Result<Program, String>>,
    /// Set by [`compile`], where there is an expression.
    pub message_program: Option<Result<Program, String>>,
}

impl Rule {
    pub fn read(rule: &Value) -> Self {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            source: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old: rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false),
            ..Self::default()
        }
    }

    fn uses_old(&self) -> bool {
        matches!(&self.program, Some(Ok(program)) if program.uses("oldSelf"))
    }

    /// How the rule is named in messages.
    fn shown(&self) -> &str {
        if self.message.is_empty() { self.source.trim() } else { self.message.trim() }
    }

    fn compile(&mut self, seen_as: &Type) {
        let old = if self.optional_old { Type::Optional(Arc::new(seen_as.clone())) } else { seen_as.clone() };
        let variables = [("self", seen_as.clone()), ("oldSelf", old)];
        let compiled = |source: &str, wanted: Type| {
            Program::compile_typed(source, &variables, wanted).map_err(|error| error.to_string())
        };
        if !self.source.trim().is_empty() {
            self.program = Some(compiled(&self.source, Type::Bool));
        }
        if !self.message_expression.trim().is_empty() {
            self.message_program = Some(compiled(&self.message_expression, Type::text()));
        }
    }
}

/// Compiles the rules of a schema. `whole`: it is a resource's, which has apiVersion, kind and metadata.
pub(crate) fn compile(node: &mut Node, whole: bool) {
    if !node.ruled {
        return;
    }
    compile_below(node, &mut String::from("object"), whole);
}

fn compile_below(node: &mut Node, name: &mut String, whole: bool) {
    if !node.ruled {
        return;
    }
    if !node.rules.is_empty() {
        let seen_as = type_of(node, name, whole).unwrap_or(Type::Dyn);
        node.rules.iter_mut().for_each(|rule| rule.compile(&seen_as));
        node.seen_as = Some(seen_as);
    }
    let length = name.len();
    let mut go = |inner: &mut Node, step: &str| {
        name.push('.');
        name.push_str(step);
        compile_below(inner, name, inner.embedded);
        name.truncate(length);
    };
    node.properties.iter_mut().for_each(|(step, inner)| go(inner, step));
    node.items.iter_mut().for_each(|inner| go(inner, "@idx"));
    node.additional.iter_mut().for_each(|inner| go(inner, "@elem"));
}

/// The type of a schema's values; nothing for those that rules cannot see.
fn type_of(node: &Node, name: &str, whole: bool) -> Option<Type> {
    if node.int_or_string {
        return Some(Type::Dyn);
    }
    Some(match node.r#type.as_str() {
        "boolean" => Type::Bool,
        "integer" => Type::Int,
        "number" => Type::Double,
        "string" => match node.format.as_str() {
            "byte" => Type::Bytes,
            "duration" => Type::Duration,
            "date" | "date-time" => Type::Timestamp,
            _ => Type::String(text_length(node)),
        },
        "array" => {
            let items = node.items.as_deref()?;
            let of = type_of(items, &format!("{name}.@idx"), items.embedded)?;
            Type::List(Arc::new(of), entries_most(node.bounds.max_items, items))
        }
        "object" => match &node.additional {
            Some(values) => {
                let of = type_of(values, &format!("{name}.@elem"), values.embedded)?;
                let most = entries_most(node.bounds.max_properties, values);
                Type::Map(Arc::new(Type::text()), Arc::new(of), most)
            }
            None => object_type(node, name, whole),
        },
        _ => return None,
    })
}

fn object_type(node: &Node, name: &str, whole: bool) -> Type {
    let mut fields = BTreeMap::new();
    for (field, inner) in &node.properties {
        if cel::escape(field).is_some()
            && let Some(of) = type_of(inner, &format!("{name}.{field}"), inner.embedded)
        {
            fields.insert(field.clone(), of);
        }
    }
    if whole || node.embedded {
        let text = Type::String(317);
        let meta = [("name", text.clone()), ("generateName", text.clone())];
        let meta = meta.map(|(name, of)| (name.to_owned(), of)).into_iter().collect();
        let meta = Type::Object(Arc::new(ObjectType { name: format!("{name}.metadata"), fields: meta }));
        for (field, of) in [("apiVersion", text.clone()), ("kind", text), ("metadata", meta)] {
            fields.insert(field.to_owned(), of);
        }
    }
    Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields }))
}

fn text_length(node: &Node) -> u64 {
    if let Some(max) = node.bounds.max_length {
        return max;
    }
    let choices = node.choices.iter().filter_map(|choice| Some(choice.as_str()?.len() as u64)).max();
    choices.unwrap_or(REQUEST_BYTES - 2)
}

fn entries_most(said: Option<u64>, of: &Node) -> u64 {
    said.unwrap_or((REQUEST_BYTES - 2) / (1 + shortest(of)))
}

/// The fewest bytes that a value can have in a request.
fn shortest(node: &Node) -> u64 {
    match node.r#type.as_str() {
        "boolean" => 4,
        "integer" | "number" => 1,
        "object" => {
            let needed =
                node.properties.iter().filter(|(name, inner)| inner.default.is_none() && node.required.contains(name));
            2 + needed.map(|(name, inner)| name.len() as u64 + 4 + shortest(inner)).sum::<u64>()
        }
        _ => 2,
    }
}

/// What rules say of an object.
pub(crate) fn faults(node: &Node, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    if !node.ruled {
        return Vec::new();
    }
    let mut walk = Walk { path: String::new(), faults: Vec::new(), budget: Budget::default(), over: false };
    walk.check(node, value, old);
    walk.faults
}

struct Walk {
    path: String,
    faults: Vec<FieldError>,
    budget: Budget,
    /// The budget is used up: nothing more is asked.
    over: bool,
}

impl Walk {
    fn check(&mut self, node: &Node, value: &Value, old: Option<&Value>) {
        if self.over || !node.ruled || value.is_null() {
            return;
        }
        self.rules(node, node, value, old);
        for condition in node.all_of.iter().filter(|condition| !condition.rules.is_empty()) {
            self.rules(condition, node, value, old);
        }
        match value {
            Value::Array(entries) => {
                let Some(items) = node.items.as_deref().filter(|items| items.ruled) else { return };
                for (at, entry) in entries.iter().enumerate() {
                    let was = counterpart(node, old, entry);
                    self.within(&format!("[{at}]"), |walk| walk.check(items, entry, was));
                }
            }
            Value::Object(fields) => {
                let old = old.filter(|_| node.map_type != "atomic");
                for (name, inner) in fields {
                    let was = old.and_then(|old| old.get(name));
                    if let Some(schema) = node.properties.get(name) {
                        let step = if self.path.is_empty() { name.clone() } else { format!(".{name}") };
                        self.within(&step, |walk| walk.check(schema, inner, was));
                    } else if let Some(schema) = &node.additional {
                        self.within(&format!("[{name}]"), |walk| walk.check(schema, inner, was));
                    }
                }
            }
            _ => {}
        }
    }

    fn within(&mut self, step: &str, check: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        check(self);
        self.path.truncate(length);
    }

    fn rules(&mut self, ruled: &Node, node: &Node, value: &Value, old: Option<&Value>) {
        let Some(seen_as) = &node.seen_as.as_ref().or(ruled.seen_as.as_ref()) else { return };
        let old = old.filter(|old| !old.is_null());
        let mut plain = Scope::new().bind_typed("self", value, seen_as);
        if let Some(old) = old {
            plain = plain.bind_typed("oldSelf", old, seen_as);
        }
        let needs_optional = ruled.rules.iter().any(|rule| rule.optional_old);
        let optional = needs_optional
            .then(|| Scope::new().bind_typed("self", value, seen_as).bind_optional("oldSelf", old, seen_as));
        let unchanged = old == Some(value);
        for rule in &ruled.rules {
            let scope = optional.as_ref().filter(|_| rule.optional_old).unwrap_or(&plain);
            if self.over || (rule.uses_old() && old.is_none() && !rule.optional_old) {
                continue;
            }
            // What was wrong before and did not change is left alone.
            if unchanged && !rule.uses_old() {
                continue;
            }
            self.rule(rule, node, scope);
        }
    }

    fn at(&self, rule: &Rule) -> String {
        let path = format!("{}{}", self.path, rule.field_path);
        let path = path.trim_start_matches('.');
        if path.is_empty() { "<nil>".to_owned() } else { path.to_owned() }
    }

    fn rule(&mut self, rule: &Rule, node: &Node, scope: &Scope<'_>) {
        let here = if self.path.is_empty() { "<nil>".to_owned() } else { self.path.clone() };
        let shown = json!(node.r#type);
        let invalid = |detail: String| FieldError::invalid(here.clone(), &shown, &detail);
        let program = match &rule.program {
            Some(Ok(program)) => program,
            Some(Err(error)) => return self.faults.push(invalid(format!("rule compile error: {error}"))),
            None => return,
        };
        if self.budget.remaining() == 0 {
            self.over = true;
            self.faults.push(invalid(EXHAUSTED.to_owned()));
            return;
        }
        match program.evaluate(scope, &mut self.budget) {
            Ok(Value::Bool(true)) => {}
            Ok(_) => {
                let detail = self.message(rule, scope);
                let fault = fault(rule, self.at(rule), &shown, &detail);
                self.faults.push(fault);
            }
            Err(error) => {
                self.over = error.over_budget;
                self.faults.push(invalid(unanswered(rule, &error)));
            }
        }
    }

    fn message(&mut self, rule: &Rule, scope: &Scope<'_>) -> String {
        if let Some(Ok(program)) = &rule.message_program
            && let Ok(Value::String(text)) = program.evaluate(scope, &mut self.budget)
        {
            let text = text.trim();
            if !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n') {
                return text.to_owned();
            }
        }
        if rule.message.is_empty() { format!("failed rule: {}", rule.shown()) } else { rule.shown().to_owned() }
    }
}

const EXHAUSTED: &str = "validation failed due to running out of cost budget, no further validation rules will be run";

fn unanswered(rule: &Rule, error: &EvalError) -> String {
    let shown = rule.shown();
    if error.over_budget {
        return format!(
            "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
        );
    }
    if error.to_string().starts_with("no such overload") {
        return format!(
            "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
        );
    }
    format!("{error} evaluating rule: {shown}")
}

fn fault(rule: &Rule, path: String, value: &Value, detail: &str) -> FieldError {
    match rule.reason.as_str() {
        "FieldValueForbidden" => FieldError::forbidden(path, detail),
        "FieldValueRequired" => FieldError::required(path, detail),
        "FieldValueDuplicate" => FieldError::duplicate(path, value),
        _ => FieldError::invalid(path, value, detail),
    }
}

/// How often a schema's values can occur in one object.
pub(crate) fn times_below(node: &Node, times: u64) -> u64 {
    let most = match (&node.items, &node.additional) {
        (Some(items), _) => entries_most(node.bounds.max_items, items),
        (_, Some(values)) => entries_most(node.bounds.max_properties, values),
        _ => 1,
    };
    times.saturating_mul(most)
}
