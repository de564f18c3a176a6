//! Gives each ClusterRole that asks for it the rules of the ClusterRoles that it selects.
//!
//! *Guarantee*: the rules are those of the selected roles, in the order of their names, each once; whatever else is written
//! there goes.

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{Selector, SelectorExt};

use crate::Rig;
use crate::owners::is_deleting;

pub(crate) fn start(rig: Rig) {
    let roles = rig.informers.of::<ClusterRole>();
    let all = roles.clone();
    let controller = Controller::new("cluster_role_aggregation", &rig.metrics).workers(1).watch(&roles, move |_| {
        // Any role may be selected by any other.
        let gathering = all.list().into_iter().filter(|role| role.aggregation_rule.is_some());
        gathering.map(|role| Key::of(&*role)).collect()
    });
    controller.start(&rig.tasks, Aggregation { client: rig.client, roles });
}

struct Aggregation {
    client: Client,
    roles: Informer<ClusterRole>,
}

/// The rules that a role gathers, or nothing when it gathers none.
fn gathered(role: &ClusterRole, all: &[&ClusterRole]) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.as_deref().unwrap_or_default();
    let mut sorted = all.to_vec();
    sorted.sort_by_key(|other| other.name_any());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        let Some(selector) = read(selector) else { continue };
        for other in sorted.iter().filter(|other| other.name_any() != role.name_any()) {
            if !selector.matches(other.labels()) {
                continue;
            }
            for rule in other.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Some(rules)
}

fn read(selector: &LabelSelector) -> Option<Selector> {
    Selector::try_from(selector.clone()).ok()
}

#[async_trait]
impl Reconcile for Aggregation {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(role) = self.roles.at(key).filter(|role| !is_deleting(&role.metadata)) else { return Ok(Next::Done) };
        let all = self.roles.list();
        let all: Vec<&ClusterRole> = all.iter().map(|role| &**role).collect();
        let Some(rules) = gathered(&role, &all) else { return Ok(Next::Done) };
        if role.rules.as_deref().unwrap_or_default() == rules {
            return Ok(Next::Done);
        }
        let patch = serde_json::json!({
            "metadata": { "resourceVersion": role.metadata.resource_version },
            "rules": rules,
        });
        let api = Api::<ClusterRole>::all(self.client.clone());
        match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if client::is_not_found(&error) => Ok(Next::Done),
            other => Ok(other.map(|_| Next::Done)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn role(name: &str, label: &str, rules: &[&str], gathers: Option<&str>) -> ClusterRole {
        let rules: Vec<Value> = rules
            .iter()
            .map(|resource| json!({ "verbs": ["get"], "apiGroups": [""], "resources": [resource] }))
            .collect();
        let mut value = json!({ "metadata": { "name": name, "labels": { label: "true" } }, "rules": rules });
        if let Some(label) = gathers {
            value["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": { label: "true" } }] });
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_role_gathers_what_it_selects_each_rule_once() {
        let all = [
            role("b", "x", &["pods", "secrets"], None),
            role("a", "x", &["services", "pods"], None),
            role("c", "y", &["nodes"], None),
            role("all", "x", &["left over"], Some("x")),
        ];
        let references: Vec<&ClusterRole> = all.iter().collect();
        let rules = gathered(&all[3], &references).unwrap();
        let resources: Vec<&str> = rules.iter().map(|rule| rule.resources.as_ref().unwrap()[0].as_str()).collect();
        assert_eq!(resources, ["services", "pods", "secrets"]);
        assert!(gathered(&all[0], &references).is_none());
    }
}
