//! One mutation of one policy, carried out on an object.

use api::admission::apply_configuration;
use api::cel::Budget;
use api::{Kind, patch};
use objects::Review;
use serde_json::{Map, Value};

use super::super::expressions::Subject;
use super::super::settling::settle;
use super::configured::{Mutation, Policy};

/// The object as the mutation wants it, as it is stored. `object` is how expressions saw it.
///
/// # Errors
/// Why it cannot be carried out.
pub(super) async fn carry_out(
    mutation: &Mutation,
    policy: &Policy,
    subject: &Subject<'_>,
    param: Option<&Value>,
    (review, kind): (&Review<'_>, &Kind),
) -> Result<Value, String> {
    let evaluate = |scope: &api::cel::Scope<'_>| mutation.expression.evaluate(scope, &mut Budget::default());
    let wanted = subject.evaluate(param, &policy.variables, evaluate).await.map_err(|fault| fault.to_string())?;
    let mut object = subject.object.clone();
    if mutation.json_patch {
        let operations = operations(wanted)?;
        if !operations_apply(&mut object, &operations)? {
            return Ok(review.object.clone());
        }
    } else {
        if !wanted.is_object() {
            return Err("unsupported return type from ApplyConfiguration expression".to_owned());
        }
        let definition = kind.definition().filter(|_| review.is_whole());
        apply_configuration(&mut object, &wanted, definition).map_err(|why| format!("error applying patch: {why}"))?;
    }
    if review.is_whole() { settle(review, kind, object).await } else { Ok(object) }
}

/// The operations of a JSON patch, without what is empty in them.
fn operations(wanted: Value) -> Result<Vec<Value>, String> {
    let Value::Array(entries) = wanted else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".to_owned());
    };
    let mut operations = Vec::with_capacity(entries.len());
    for entry in entries {
        let Value::Object(fields) = entry else {
            return Err("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch".to_owned());
        };
        let kept = |(name, value): &(String, Value)| name == "value" || value.as_str() != Some("");
        operations.push(Value::Object(fields.into_iter().filter(kept).collect::<Map<_, _>>()));
    }
    Ok(operations)
}

/// Applies them one by one. A test that does not hold leaves the object alone: answers whether the rest was applied.
fn operations_apply(object: &mut Value, operations: &[Value]) -> Result<bool, String> {
    let was = object.clone();
    for operation in operations {
        let test = operation.get("op").and_then(Value::as_str) == Some("test");
        match patch::json(object, &Value::Array(vec![operation.clone()])) {
            Ok(()) => {}
            Err(_) if test => {
                *object = was;
                return Ok(false);
            }
            Err(status) => return Err(format!("JSONPath: {}", status.message)),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_test_that_fails_leaves_the_object_alone() {
        let mut object = json!({ "a": 1 });
        let patch = |operations: Value| super::operations(operations).unwrap();
        let both =
            patch(json!([{ "op": "add", "path": "/b", "value": 2 }, { "op": "test", "path": "/a", "value": 2 }]));
        assert_eq!(operations_apply(&mut object, &both), Ok(false));
        assert_eq!(object, json!({ "a": 1 }));
        let add = patch(json!([{ "op": "add", "path": "/b", "value": "", "from": "" }]));
        assert_eq!(operations_apply(&mut object, &add), Ok(true));
        assert_eq!(object, json!({ "a": 1, "b": "" }));
        assert!(operations_apply(&mut object, &patch(json!([{ "op": "remove", "path": "/x" }]))).is_err());
    }
}
