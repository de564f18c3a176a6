//! What the expressions of a validating policy say about one request with one parameter. Nothing here waits.

use api::cel::{Budget, Scope};
use serde_json::Value;

use super::super::expressions::Fault;
use super::configured::{Policy, Validation};

/// Messages of expressions are not longer than this.
const MESSAGE_BYTES: usize = 5 * 1024;
/// Values for the audit log are cut here.
const ANNOTATION_BYTES: usize = 10 * 1024;

/// A validation that does not let the request through.
#[derive(Clone, Debug)]
pub(super) struct Denial {
    /// Which of the policy's validations it was.
    pub index: usize,
    pub message: String,
    /// `Invalid` where it has none.
    pub reason: Option<String>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub denials: Vec<Denial>,
    /// Notes for the audit log: keys and values.
    pub annotations: Vec<(String, String)>,
    /// Notes that could not be made: they refuse the request whatever the binding's actions are.
    pub annotation_faults: Vec<String>,
}

impl Verdict {
    fn fault(policy: &Policy, why: String) -> Self {
        let denial = Denial { index: 0, message: why, reason: None };
        let denials = if policy.fails_open { Vec::new() } else { vec![denial] };
        Self { denials, ..Self::default() }
    }
}

/// Evaluates everything that the policy has.
pub(super) fn of(policy: &Policy, scope: &Scope<'_>) -> Verdict {
    match policy.conditions.hold_in(scope) {
        Ok(true) => {}
        Ok(false) => return Verdict::default(),
        Err(why) => return Verdict::fault(policy, why),
    }
    let mut verdict = Verdict::default();
    let mut budget = Budget::default();
    for (index, validation) in policy.validations.iter().enumerate() {
        match validation.expression.evaluate(scope, &mut budget) {
            Ok(Value::Bool(true)) => {}
            Ok(_) => {
                let message = message(validation, scope, &mut budget);
                verdict.denials.push(Denial { index, message, reason: validation.reason.clone() });
            }
            Err(Fault::Budget) => return Verdict::fault(policy, Fault::Budget.to_string()),
            Err(_) if policy.fails_open => {}
            Err(fault) => verdict.denials.push(Denial { index, message: fault.to_string(), reason: None }),
        }
    }
    annotate(policy, scope, &mut verdict);
    verdict
}

/// What is told of a validation that failed.
fn message(validation: &Validation, scope: &Scope<'_>, budget: &mut Budget) -> String {
    let told = validation.message_expression.as_ref().and_then(|expression| {
        let value = expression.evaluate(scope, budget).ok()?;
        let text = value.as_str()?.trim().to_owned();
        (!text.is_empty() && text.len() <= MESSAGE_BYTES && !text.contains('\n')).then_some(text)
    });
    match told {
        Some(told) => told,
        None if !validation.message.is_empty() => validation.message.clone(),
        None => format!("failed expression: {}", validation.expression.source.trim()),
    }
}

fn annotate(policy: &Policy, scope: &Scope<'_>, verdict: &mut Verdict) {
    let mut budget = Budget::default();
    for (key, expression) in &policy.annotations {
        match expression.evaluate(scope, &mut budget) {
            Ok(Value::String(text)) if text.trim().is_empty() => {}
            Ok(Value::Null) => {}
            Ok(Value::String(text)) => {
                let mut text = text.trim().to_owned();
                let mut end = text.len().min(ANNOTATION_BYTES);
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                text.truncate(end);
                verdict.annotations.push((key.clone(), text));
            }
            Ok(other) => verdict.annotation_faults.push(format!(
                "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                expression.source,
                type_of(&other)
            )),
            Err(_) if policy.fails_open => {}
            Err(fault) => verdict.annotation_faults.push(fault.to_string()),
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null_type",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "double",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}
