//! What is wrong with the expressions of webhook configurations and admission policies. Everything else about them is
//! checked by their kinds.

use serde_json::Value;

use super::environment::{Environment, Purpose};
use crate::FieldError;
use crate::cel::{Program, Type};

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Faults of one object's expressions.
struct Check<'e> {
    environment: &'e Environment,
    faults: Vec<FieldError>,
}

impl Check<'_> {
    /// Compiles one expression; those that are not there are somebody else's fault.
    fn one(&mut self, path: String, expression: &str, expected: Type) -> Option<Program> {
        if expression.trim().is_empty() {
            return None;
        }
        match self.environment.compile(expression, expected) {
            Ok(program) => Some(program),
            Err(error) => {
                let error = error.to_string();
                let detail = if error.starts_with("ERROR") { format!("compilation failed: {error}") } else { error };
                self.faults.push(FieldError::invalid(path, &expression.into(), &detail));
                None
            }
        }
    }

    fn conditions(&mut self, path: &str, conditions: &[Value]) {
        for (index, condition) in conditions.iter().enumerate() {
            self.one(format!("{path}[{index}].expression"), text(condition, "expression"), Type::Bool);
        }
    }
}

/// The faults of a list of match conditions at `path`.
pub fn match_conditions(path: &str, conditions: Option<&Value>, purpose: Purpose) -> Vec<FieldError> {
    let environment = Environment::new(purpose);
    let mut check = Check { environment: &environment, faults: Vec::new() };
    check.conditions(path, conditions.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default());
    check.faults
}

/// The faults in the expressions of a ValidatingWebhookConfiguration or MutatingWebhookConfiguration.
pub fn webhooks(configuration: &Value) -> Vec<FieldError> {
    let webhooks = list(configuration, "/webhooks").iter().enumerate();
    let faults = webhooks.flat_map(|(index, webhook)| {
        let path = format!("webhooks[{index}].matchConditions");
        match_conditions(&path, webhook.get("matchConditions"), Purpose::Webhook)
    });
    faults.collect()
}

/// The environment of a policy, with the variables that can be compiled, and the faults of those that cannot.
fn variables(policy: &Value) -> (Environment, Vec<FieldError>) {
    let params = policy.pointer("/spec/paramKind").is_some_and(Value::is_object);
    let mut environment = Environment::new(Purpose::Policy { params });
    let mut faults = Vec::new();
    for (index, variable) in list(policy, "/spec/variables").iter().enumerate() {
        let mut check = Check { environment: &environment, faults: Vec::new() };
        let path = format!("spec.variables[{index}].expression");
        let program = check.one(path, text(variable, "expression"), Type::Dyn);
        faults.append(&mut check.faults);
        let kind = program.map_or(Type::Dyn, |program| program.result().clone());
        environment.add(text(variable, "name"), &kind);
    }
    (environment, faults)
}

/// The faults in the expressions of a ValidatingAdmissionPolicy.
pub fn validating_policy(policy: &Value) -> Vec<FieldError> {
    let (environment, mut faults) = variables(policy);
    let mut check = Check { environment: &environment, faults: Vec::new() };
    check.conditions("spec.matchConditions", list(policy, "/spec/matchConditions"));
    for (index, validation) in list(policy, "/spec/validations").iter().enumerate() {
        let path = |field: &str| format!("spec.validations[{index}].{field}");
        check.one(path("expression"), text(validation, "expression"), Type::Bool);
        check.one(path("messageExpression"), text(validation, "messageExpression"), Type::text());
    }
    for (index, annotation) in list(policy, "/spec/auditAnnotations").iter().enumerate() {
        let path = format!("spec.auditAnnotations[{index}].valueExpression");
        let expression = text(annotation, "valueExpression");
        if let Some(program) = check.one(path.clone(), expression, Type::Dyn)
            && !matches!(program.result(), Type::Dyn | Type::Null | Type::String(_))
        {
            let detail = "must evaluate to one of [string null_type]";
            check.faults.push(FieldError::invalid(path, &expression.into(), detail));
        }
    }
    faults.append(&mut check.faults);
    faults
}

/// The faults in the expressions of a MutatingAdmissionPolicy.
pub fn mutating_policy(policy: &Value) -> Vec<FieldError> {
    let (environment, mut faults) = variables(policy);
    let mut check = Check { environment: &environment, faults: Vec::new() };
    check.conditions("spec.matchConditions", list(policy, "/spec/matchConditions"));
    for (index, mutation) in list(policy, "/spec/mutations").iter().enumerate() {
        for (field, wanted) in [("applyConfiguration", "Object"), ("jsonPatch", "list(JSONPatch)")] {
            let Some(change) = mutation.get(field) else { continue };
            let path = format!("spec.mutations[{index}].{field}.expression");
            let expression = text(change, "expression");
            let Some(program) = check.one(path.clone(), expression, Type::Dyn) else { continue };
            let fits = match (field, program.result()) {
                ("jsonPatch", Type::Dyn) => true,
                ("applyConfiguration", Type::Object(object)) => object.name == "Object",
                ("jsonPatch", Type::List(of, _)) => match &**of {
                    Type::Object(object) => object.name == "JSONPatch",
                    other => matches!(other, Type::Dyn),
                },
                _ => false,
            };
            if !fits {
                let detail = format!("must evaluate to {wanted}");
                check.faults.push(FieldError::invalid(path, &expression.into(), &detail));
            }
        }
    }
    faults.append(&mut check.faults);
    faults
}
