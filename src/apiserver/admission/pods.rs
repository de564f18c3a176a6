//! What a new pod is given by the cluster.

use api::{Status, meta};
use async_trait::async_trait;
use objects::{Admission, Operation, Review, Sub};
use serde_json::{Map, Value, json};

use super::forbidden;

/// The spec of a pod that is being made, or `None`.
fn new_pod<'a>(review: &'a mut Review<'_>) -> Option<&'a mut Map<String, Value>> {
    let is_new = review.operation == Operation::Create && review.sub == Sub::None;
    if !is_new || !review.kind.group.is_empty() || review.kind.plural != "pods" {
        return None;
    }
    review.object.get_mut("spec")?.as_object_mut()
}

fn text<'a>(spec: &'a Map<String, Value>, key: &str) -> &'a str {
    spec.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A pod that names no service account has `default`. Whether it is there is not asked: it may come a moment later.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceAccount;

#[async_trait]
impl Admission for ServiceAccount {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        let Some(spec) = new_pod(review) else { return Ok(()) };
        let named = [text(spec, "serviceAccountName"), text(spec, "serviceAccount")];
        let name = named.into_iter().find(|name| !name.is_empty()).unwrap_or("default").to_owned();
        // The old field follows the new one.
        for key in ["serviceAccountName", "serviceAccount"] {
            spec.insert(key.to_owned(), json!(name));
        }
        Ok(())
    }
}

/// Pods have a number for their priority, from the name of its class.
#[derive(Clone, Copy, Debug, Default)]
pub struct Priority;

/// The classes that every cluster has.
const CLASSES: [(&str, i64); 2] = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

#[async_trait]
impl Admission for Priority {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        let Some(spec) = new_pod(review) else { return Ok(()) };
        let class = text(spec, "priorityClassName").to_owned();
        let number = match CLASSES.iter().find(|(name, _)| *name == class) {
            Some((_, number)) => *number,
            None if class.is_empty() => 0,
            None => {
                let why = format!("no PriorityClass with name {class} was found");
                let name = meta::name(&review.object).to_owned();
                return Err(forbidden(review.kind, &name, &why));
            }
        };
        let said = spec.get("priority").and_then(Value::as_i64);
        if said.is_some_and(|said| said != number) {
            let why = "the integer value of priority must not be provided in pod spec; \
                       priority admission controller computed a different value from the given PriorityClass name";
            let name = meta::name(&review.object).to_owned();
            return Err(forbidden(review.kind, &name, why));
        }
        spec.insert("priority".to_owned(), json!(number));
        spec.entry("preemptionPolicy").or_insert_with(|| json!("PreemptLowerPriority"));
        Ok(())
    }
}

/// Pods stay for five minutes on a node that is lost, unless they say otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultTolerationSeconds;

const SECONDS: i64 = 300;

#[async_trait]
impl Admission for DefaultTolerationSeconds {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        let Some(spec) = new_pod(review) else { return Ok(()) };
        let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
        let Some(tolerations) = tolerations.as_array_mut() else { return Ok(()) };
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            if !tolerations.iter().any(|toleration| tolerates(toleration, key)) {
                tolerations.push(json!({
                    "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS,
                }));
            }
        }
        Ok(())
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let field = |key: &str| toleration.get(key).and_then(Value::as_str).unwrap_or_default();
    matches!(field("effect"), "" | "NoExecute") && (field("key") == taint || field("key").is_empty())
}
