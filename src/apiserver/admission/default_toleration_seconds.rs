//! Pods stay for five minutes on a node that is lost, unless they say otherwise.

use api::Status;
use async_trait::async_trait;
use objects::{Admission, Review};
use serde_json::{Value, json};

use super::{new_pod, text};

pub(super) struct DefaultTolerationSeconds;

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
    let key = text(toleration, "/key");
    matches!(text(toleration, "/effect"), "" | "NoExecute") && (key == taint || key.is_empty())
}
