//! The policies and bindings that are in force at this moment, compiled once a change.

use std::collections::HashMap;
use std::sync::Arc;

use api::Status;
use api::admission::{Environment, Purpose};
use api::cel::{Program, Type};
use objects::{Object, Objects, Shelf};
use parking_lot::Mutex;
use serde_json::Value;

use super::super::expressions::{Conditions, Expression};
use super::super::matching::Matcher;
use super::GROUP;

/// `paramKind`
#[derive(Clone, Debug)]
pub(super) struct ParamKind {
    pub api_version: String,
    pub kind: String,
}

impl ParamKind {
    pub fn of(policy: &Value) -> Option<Self> {
        let kind = policy.pointer("/spec/paramKind").filter(|kind| kind.is_object())?;
        let text = |field: &str| kind.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self { api_version: text("apiVersion"), kind: text("kind") })
    }

    pub fn group_version(&self) -> (&str, &str) {
        self.api_version.split_once('/').unwrap_or(("", &self.api_version))
    }
}

/// One entry of `validations`.
pub(super) struct Validation {
    pub expression: Expression,
    pub message: String,
    pub message_expression: Option<Expression>,
    pub reason: Option<String>,
}

/// One entry of `mutations`.
pub(super) struct Mutation {
    pub expression: Expression,
    /// Whether it gives a JSON patch, and not an apply configuration.
    pub json_patch: bool,
}

/// A binding of a policy.
pub(super) struct Binding {
    pub name: String,
    pub matcher: Result<Matcher, Status>,
    pub param_ref: Option<Value>,
    pub actions: Vec<String>,
}

/// A policy with its bindings.
pub(super) struct Policy {
    pub name: String,
    pub matcher: Result<Matcher, Status>,
    pub conditions: Conditions,
    pub variables: Vec<(String, Program)>,
    pub fails_open: bool,
    pub param_kind: Option<ParamKind>,
    pub validations: Vec<Validation>,
    /// Keys and what gives their values.
    pub annotations: Vec<(String, Expression)>,
    pub mutations: Vec<Mutation>,
    pub reinvoked: bool,
    pub bindings: Vec<Binding>,
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

impl Policy {
    fn read(object: &Object, bindings: Vec<Binding>) -> Self {
        let value = object.value();
        let spec = value.get("spec").unwrap_or(&Value::Null);
        let param_kind = ParamKind::of(&value);
        let mut environment = Environment::new(Purpose::Policy { params: param_kind.is_some() });
        let mut variables = Vec::new();
        for variable in list(spec, "variables") {
            let expression = Expression::new(&environment, text(variable, "expression"), Type::Dyn);
            environment.add(text(variable, "name"), &expression.result());
            if let Some(program) = expression.program() {
                variables.push((text(variable, "name").to_owned(), program.clone()));
            }
        }
        let fails_open = text(spec, "failurePolicy") == "Ignore";
        Self {
            name: object.meta.name.to_string(),
            matcher: Matcher::of_policy(spec.get("matchConstraints")),
            conditions: Conditions::read(spec.get("matchConditions"), &environment, fails_open),
            fails_open,
            param_kind,
            validations: list(spec, "validations").iter().map(|one| Validation::read(one, &environment)).collect(),
            annotations: annotations(spec, &environment),
            mutations: list(spec, "mutations").iter().filter_map(|one| Mutation::read(one, &environment)).collect(),
            reinvoked: text(spec, "reinvocationPolicy") == "IfNeeded",
            variables,
            bindings,
        }
    }
}

fn annotations(spec: &Value, environment: &Environment) -> Vec<(String, Expression)> {
    let annotations = list(spec, "auditAnnotations").iter();
    let read = |one: &Value| {
        (text(one, "key").to_owned(), Expression::new(environment, text(one, "valueExpression"), Type::Dyn))
    };
    annotations.map(read).collect()
}

impl Validation {
    fn read(validation: &Value, environment: &Environment) -> Self {
        let message = text(validation, "messageExpression");
        Self {
            expression: Expression::new(environment, text(validation, "expression"), Type::Bool),
            message: text(validation, "message").trim().to_owned(),
            message_expression: (!message.is_empty()).then(|| Expression::new(environment, message, Type::text())),
            reason: validation.get("reason").and_then(Value::as_str).map(str::to_owned),
        }
    }
}

impl Mutation {
    fn read(mutation: &Value, environment: &Environment) -> Option<Self> {
        let json_patch = text(mutation, "patchType") == "JSONPatch";
        let change = mutation.get(if json_patch { "jsonPatch" } else { "applyConfiguration" })?;
        Some(Self { expression: Expression::new(environment, text(change, "expression"), Type::Dyn), json_patch })
    }
}

impl Binding {
    fn read(object: &Object) -> (String, Self) {
        let value = object.value();
        let spec = value.get("spec").unwrap_or(&Value::Null);
        let actions = list(spec, "validationActions").iter().filter_map(Value::as_str).map(str::to_owned);
        let binding = Self {
            name: object.meta.name.to_string(),
            matcher: Matcher::of_policy(spec.get("matchResources")),
            param_ref: spec.get("paramRef").filter(|reference| reference.is_object()).cloned(),
            actions: actions.collect(),
        };
        (text(spec, "policyName").to_owned(), binding)
    }
}

/// Of what policies were read: the latest changes to policies and to bindings.
type Revisions = (u64, u64);

/// All policies of one kind.
pub(super) struct Configured {
    policies: Shelf,
    bindings: Shelf,
    read: Mutex<(Revisions, Arc<Vec<Policy>>)>,
}

impl Configured {
    pub fn new(objects: &Objects, policies: &str, bindings: &str) -> Self {
        let shelf = |plural: &str| objects.shelf(GROUP, plural);
        Self { policies: shelf(policies), bindings: shelf(bindings), read: Mutex::default() }
    }

    /// Those that are bound at this moment, by name.
    pub fn now(&self) -> Arc<Vec<Policy>> {
        let changed = (self.policies.last_change().0, self.bindings.last_change().0);
        let mut read = self.read.lock();
        if read.0 != changed {
            *read = (changed, Arc::new(self.compile()));
        }
        read.1.clone()
    }

    fn compile(&self) -> Vec<Policy> {
        let mut bound: HashMap<String, Vec<Binding>> = HashMap::new();
        for binding in self.bindings.all().0.iter().filter_map(|moved| moved.object.as_deref()) {
            let (policy, binding) = Binding::read(binding);
            bound.entry(policy).or_default().push(binding);
        }
        let (policies, _) = self.policies.all();
        let policies = policies.iter().filter_map(|moved| moved.object.as_deref());
        policies.filter_map(|policy| Some(Policy::read(policy, bound.remove(&*policy.meta.name)?))).collect()
    }
}
