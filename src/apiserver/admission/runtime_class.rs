//! A pod that names a RuntimeClass takes over what the class says of overhead and of nodes.

use api::{Quantity, Status};
use async_trait::async_trait;
use objects::{Admission, Reader, Review};
use serde_json::{Value, json};

use super::{forbidden, is_new, list, text};

pub(super) struct RuntimeClass(pub Reader);

fn is_set(value: Option<&Value>) -> bool {
    value.and_then(Value::as_object).is_some_and(|map| !map.is_empty())
}

/// Whether two maps of quantities say the same.
fn same(left: &Value, right: &Value) -> bool {
    let read = |value: &Value| api::quota::amounts(Some(value)).into_iter().collect::<Vec<(String, Quantity)>>();
    read(left) == read(right)
}

impl RuntimeClass {
    async fn class(&self, name: &str) -> Option<Value> {
        let find = || self.0.get("node.k8s.io", "runtimeclasses", None, name).map(|class| class.value());
        if let Some(found) = find() {
            return Some(found);
        }
        self.0.catch_up().await;
        find()
    }
}

/// What the class adds to the pod, or why both do not go together.
fn merge(spec: &mut Value, class: &Value) -> Result<(), String> {
    if let Some(overhead) = class.pointer("/overhead/podFixed") {
        if is_set(spec.get("overhead")) && !same(&spec["overhead"], overhead) {
            return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned());
        }
        spec["overhead"] = overhead.clone();
    } else if is_set(spec.get("overhead")) {
        return Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".to_owned());
    }
    let wanted = class.pointer("/scheduling/nodeSelector").and_then(Value::as_object);
    for (key, value) in wanted.into_iter().flatten() {
        if !spec["nodeSelector"].is_object() {
            spec["nodeSelector"] = json!({});
        }
        match spec["nodeSelector"].get(key) {
            Some(other) if other != value => {
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    value.as_str().unwrap_or_default(),
                    other.as_str().unwrap_or_default()
                ));
            }
            _ => spec["nodeSelector"][key] = value.clone(),
        }
    }
    for toleration in list(class, "/scheduling/tolerations") {
        if !spec["tolerations"].is_array() {
            spec["tolerations"] = json!([]);
        }
        if let Some(all) = spec["tolerations"].as_array_mut().filter(|all| !all.contains(toleration)) {
            all.push(toleration.clone());
        }
    }
    Ok(())
}

#[async_trait]
impl Admission for RuntimeClass {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        if !is_new(review, "", "pods") || !review.object["spec"].is_object() {
            return Ok(());
        }
        let name = text(&review.object, "/spec/runtimeClassName").to_owned();
        if name.is_empty() {
            if is_set(review.object.pointer("/spec/overhead")) {
                let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
                return Err(forbidden(review.kind, review.name, why));
            }
            return Ok(());
        }
        let Some(class) = self.class(&name).await else {
            let why = format!("pod rejected: RuntimeClass {name:?} not found");
            return Err(forbidden(review.kind, review.name, &why));
        };
        let merged = merge(&mut review.object["spec"], &class);
        merged.map_err(|why| forbidden(review.kind, review.name, &why))
    }
}
