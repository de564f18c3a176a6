//! LimitRanges: what containers get that say nothing about resources, and what containers, pods and claims may ask for.

use api::quota::{Amounts, Side, amounts, pod_amounts};
use api::{Quantity, Status, meta};
use async_trait::async_trait;
use objects::{Admission, Operation, Reader, Review, Sub};
use serde_json::{Value, json};

use super::{forbidden_for, is_new, list, text};

pub(super) struct LimitRanger(pub Reader);

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

impl LimitRanger {
    fn ranges(&self, review: &Review<'_>) -> Vec<Value> {
        let Some(namespace) = review.namespace else { return Vec::new() };
        self.0.list("", "limitranges", Some(namespace)).iter().map(|range| range.value()).collect()
    }
}

#[async_trait]
impl Admission for LimitRanger {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        if is_new(review, "", "pods") {
            for range in self.ranges(review) {
                fill_in(&mut review.object, &range);
            }
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        let writes = matches!(review.operation, Operation::Create | Operation::Update);
        let resizes = review.sub == Sub::Named("resize");
        if !writes || meta::is_being_deleted(&review.object) {
            return Ok(());
        }
        // A pod's containers do not change but by a resize.
        let checked = if review.is("", "pods") {
            review.operation == Operation::Create && review.sub == Sub::None || resizes
        } else {
            review.is("", "persistentvolumeclaims") && review.sub == Sub::None
        };
        if !checked {
            return Ok(());
        }
        let ranges = self.ranges(review);
        for range in &ranges {
            forbidden_for(review, &faults(&review.kind.plural, &review.object, range))?;
        }
        Ok(())
    }
}

/// Gives containers what they do not say, and notes it down.
fn fill_in(pod: &mut Value, range: &Value) {
    let mut wanted = [("limits", "default", Amounts::new()), ("requests", "defaultRequest", Amounts::new())];
    for item in list(range, "/spec/limits").iter().filter(|item| text(item, "/type") == "Container") {
        for (_, field, sum) in &mut wanted {
            sum.extend(amounts(item.get(*field)));
        }
    }
    let [(_, _, limits), (_, _, requests)] = wanted;
    let mut notes = Vec::new();
    for (field, word) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.pointer_mut(&format!("/spec/{field}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = text(container, "/name").to_owned();
            for (side, defaults) in [("requests", &requests), ("limits", &limits)] {
                let set = fill_in_side(container, side, defaults);
                if !set.is_empty() {
                    let what = side.trim_end_matches('s');
                    notes.push(format!("{} {what} for {word} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        let held = meta::metadata_mut(pod).entry("annotations").or_insert_with(|| json!({}));
        if let Some(held) = held.as_object_mut() {
            held.insert(ANNOTATION.to_owned(), json!(note));
        }
    }
}

fn fill_in_side(container: &mut Value, side: &str, defaults: &Amounts) -> Vec<String> {
    let has = |name: &str| container.pointer("/resources").and_then(|all| all.get(side)?.get(name)).is_some();
    let missing: Vec<(String, Quantity)> =
        defaults.iter().filter(|(name, _)| !has(name)).map(|(name, amount)| (name.clone(), *amount)).collect();
    if missing.is_empty() || !container.is_object() {
        return Vec::new();
    }
    for field in ["/resources".to_owned(), format!("/resources/{side}")] {
        if !container.pointer(&field).is_some_and(Value::is_object) {
            match field.as_str() {
                "/resources" => container["resources"] = json!({}),
                _ => container["resources"][side] = json!({}),
            }
        }
    }
    for (name, amount) in &missing {
        container["resources"][side][name] = json!(amount.to_string());
    }
    missing.into_iter().map(|(name, _)| name).collect()
}

/// What is wrong with an object by one LimitRange.
fn faults(plural: &str, object: &Value, range: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for item in list(range, "/spec/limits") {
        match (plural, text(item, "/type")) {
            ("pods", "Container") => {
                for field in ["/spec/containers", "/spec/initContainers"] {
                    for container in list(object, field) {
                        let side = |side: Side| amounts(container.pointer(&format!("/resources/{}", side.field())));
                        check(&mut found, item, &side(Side::Requests), &side(Side::Limits));
                    }
                }
            }
            ("pods", "Pod") => {
                let spec = object.get("spec").unwrap_or(&Value::Null);
                check(&mut found, item, &pod_amounts(spec, Side::Requests), &pod_amounts(spec, Side::Limits));
            }
            ("persistentvolumeclaims", "PersistentVolumeClaim") => {
                let requests = amounts(object.pointer("/spec/resources/requests"));
                for (name, least) in amounts(item.get("min")) {
                    found.extend(below(&name, "PersistentVolumeClaim", least, requests.get(&name), None));
                }
                for (name, most) in amounts(item.get("max")) {
                    found.extend(match requests.get(&name) {
                        None => Some(format!(
                            "maximum {name} usage per PersistentVolumeClaim is {most}.  No request is specified"
                        )),
                        Some(request) if *request > most => Some(format!(
                            "maximum {name} usage per PersistentVolumeClaim is {most}, but request is {request}"
                        )),
                        Some(_) => None,
                    });
                }
            }
            _ => {}
        }
    }
    found
}

fn check(found: &mut Vec<String>, item: &Value, requests: &Amounts, limits: &Amounts) {
    let of = text(item, "/type");
    for (name, least) in amounts(item.get("min")) {
        found.extend(below(&name, of, least, requests.get(&name), limits.get(&name)));
    }
    for (name, most) in amounts(item.get("max")) {
        found.extend(above(&name, of, most, requests.get(&name), limits.get(&name)));
    }
    for (name, most) in amounts(item.get("maxLimitRequestRatio")) {
        found.extend(apart(&name, of, most, requests.get(&name), limits.get(&name)));
    }
}

type Amount<'a> = Option<&'a Quantity>;

fn below(name: &str, of: &str, least: Quantity, request: Amount<'_>, limit: Amount<'_>) -> Option<String> {
    let start = format!("minimum {name} usage per {of} is {least}");
    match (request, limit) {
        (None, _) => Some(format!("{start}.  No request is specified")),
        (Some(request), _) if *request < least => Some(format!("{start}, but request is {request}")),
        (_, Some(limit)) if *limit < least => Some(format!("{start}, but limit is {limit}")),
        _ => None,
    }
}

fn above(name: &str, of: &str, most: Quantity, request: Amount<'_>, limit: Amount<'_>) -> Option<String> {
    let start = format!("maximum {name} usage per {of} is {most}");
    match (request, limit) {
        (_, None) => Some(format!("{start}.  No limit is specified")),
        (_, Some(limit)) if *limit > most => Some(format!("{start}, but limit is {limit}")),
        (Some(request), _) if *request > most => Some(format!("{start}, but request is {request}")),
        _ => None,
    }
}

fn apart(name: &str, of: &str, most: Quantity, request: Amount<'_>, limit: Amount<'_>) -> Option<String> {
    let start = format!("{name} max limit to request ratio per {of} is {most}, but");
    let Some(request) = request.filter(|request| !request.is_zero()) else {
        return Some(format!("{start} no request is specified or request is 0"));
    };
    let Some(limit) = limit.filter(|limit| !limit.is_zero()) else {
        return Some(format!("{start} no limit is specified or limit is 0"));
    };
    let ratio = limit.as_f64() / request.as_f64();
    (ratio > most.as_f64()).then(|| format!("{start} provided ratio is {ratio:.6}"))
}

#[cfg(test)]
mod tests;
