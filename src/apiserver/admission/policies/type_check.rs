//! The status of ValidatingAdmissionPolicies: expressions are read once more with the types of the kinds that the policy is
//! about, and what does not fit is told. It changes nothing about what the policy does.

use std::sync::Arc;

use api::admission::{Environment, Purpose, type_of};
use api::cel::Type;
use api::{Kind, KindSet, Status, meta};
use objects::{Object, Objects, Sub, WriteOptions};
use serde_json::{Value, json};

use super::super::matching::Rule;
use super::GROUP;
use super::configured::ParamKind;

const PLURAL: &str = "validatingadmissionpolicies";
/// More kinds than this are not looked at.
const KINDS_MAX: usize = 10;

/// Keeps the status of all policies, for as long as somebody waits for it.
pub async fn keep_status(objects: Objects, options: WriteOptions) {
    let shelf = objects.shelf(GROUP, PLURAL);
    let mut news = shelf.news();
    loop {
        news.mark_unchanged();
        for policy in shelf.all().0.into_iter().filter_map(|moved| moved.object) {
            if let Err(status) = settle(&objects, &policy, &options).await {
                tracing::debug!(policy = %policy.meta.name, %status, "the status of a policy was not written");
            }
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

async fn settle(objects: &Objects, policy: &Object, options: &WriteOptions) -> Result<(), Status> {
    let value = policy.value();
    let generation = meta::generation(&value);
    if value.pointer("/status/observedGeneration").and_then(Value::as_i64) == Some(generation) {
        return Ok(());
    }
    let kinds = objects.kinds();
    let Some(kind) = kinds.by_resource(GROUP, "v1", PLURAL) else { return Ok(()) };
    let warnings = warnings(&value, &kinds);
    let change = move |policy: &mut Value| {
        if meta::generation(policy) == generation {
            policy["status"]["observedGeneration"] = json!(generation);
            let checking = if warnings.is_empty() { json!({}) } else { json!({ "expressionWarnings": warnings }) };
            policy["status"]["typeChecking"] = checking;
        }
        Ok(())
    };
    match objects.edit(kind, None, &policy.meta.name, Sub::Status, change, options).await {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}

/// `expressionWarnings` of a policy.
fn warnings(policy: &Value, kinds: &KindSet) -> Vec<Value> {
    let about = kinds_of(policy, kinds);
    let params = ParamKind::of(policy);
    let params_type = params.as_ref().map(|params| {
        let (group, version) = params.group_version();
        let kind = kinds.by_kind(group, version, &params.kind);
        kind.and_then(|kind| kind.definition()).map_or(Type::Dyn, type_of)
    });
    let purpose = Purpose::Policy { params: params.is_some() };
    let environments: Vec<(String, Environment)> =
        about.iter().map(|kind| (gvk(kind), environment(policy, purpose, kind, params_type.as_ref()))).collect();
    let mut found = Vec::new();
    for (index, validation) in list(policy, "/spec/validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let source = text(validation, field);
            if source.is_empty() {
                continue;
            }
            let told: Vec<String> = environments
                .iter()
                .filter_map(|(kind, environment)| {
                    environment.compile(source, Type::Dyn).err().map(|error| format!("{kind}: {error}\n"))
                })
                .collect();
            if !told.is_empty() {
                let field = format!("spec.validations[{index}].{field}");
                found.push(json!({ "fieldRef": field, "warning": told.join("\n") }));
            }
        }
    }
    found
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn gvk(kind: &Kind) -> String {
    let slash = if kind.group.is_empty() { "/" } else { "" };
    format!("{slash}{}, Kind={}", kind.api_version(), kind.kind)
}

fn environment(policy: &Value, purpose: Purpose, kind: &Kind, params: Option<&Type>) -> Environment {
    let object = kind.definition().map_or(Type::Dyn, type_of);
    let mut environment = Environment::new(purpose).typed("object", &object).typed("oldObject", &object);
    if let Some(params) = params {
        environment = environment.typed("params", params);
    }
    for variable in list(policy, "/spec/variables") {
        let program = environment.compile(text(variable, "expression"), Type::Dyn);
        let kind = program.map_or(Type::Dyn, |program| program.result().clone());
        environment.add(text(variable, "name"), &kind);
    }
    environment
}

/// The kinds that the policy names, in order.
fn kinds_of(policy: &Value, kinds: &KindSet) -> Vec<Arc<Kind>> {
    let rules = Rule::list(policy.pointer("/spec/matchConstraints/resourceRules"));
    let mut found: Vec<Arc<Kind>> = Vec::new();
    for rule in &rules {
        let Some((groups, versions, resources)) = rule.named() else { continue };
        for kind in kinds.iter() {
            let named = groups.contains(&kind.group.as_str())
                && versions.contains(&kind.version.as_str())
                && resources.contains(&kind.plural.as_str());
            let known = found.iter().any(|other| Arc::ptr_eq(other, kind));
            if named && !known && found.len() < KINDS_MAX {
                found.push(kind.clone());
            }
        }
    }
    let key = |kind: &Kind| (kind.group.clone(), kind.version.clone(), kind.kind.clone());
    found.sort_by_key(|kind| key(kind));
    found
}
