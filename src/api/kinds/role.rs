//! Role and ClusterRole: what may be done, in one namespace or in all.

use serde_json::{Value, json};

use super::cells::created_at_column;
use super::checks::Faults;
use super::fields::{get, list};
use super::row::{RowBuilder, row};
use crate::names::path_segment_errors;
use crate::selector::validate_label_selector;
use crate::table::name_column;
use crate::{Behaviour, FieldError, Kind, Scope};

/// The group of all four kinds of access rules.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// The row of Role.
pub fn kind() -> Kind {
    stored("Role", "roles", Scope::Namespaced).build()
}

/// The row of ClusterRole.
pub fn cluster_kind() -> Kind {
    stored("ClusterRole", "clusterroles", Scope::Cluster).build()
}

fn stored(kind: &str, plural: &str, scope: Scope) -> RowBuilder {
    row(GROUP, "v1", kind, plural, scope)
        .columns(vec![name_column(), created_at_column()])
        .behaviour(Role { namespaced: scope == Scope::Namespaced })
}

struct Role {
    namespaced: bool,
}

impl Behaviour for Role {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        for (at, rule) in list(object, "rules").iter().enumerate() {
            rule_faults(&mut faults, rule, self.namespaced, &format!("rules[{at}]"));
        }
        if let Some(aggregation) = get(object, "aggregationRule").filter(|_| !self.namespaced) {
            aggregation_faults(&mut faults, aggregation);
        }
        faults
    }
    fn validate_name(&self, name: &str) -> Vec<String> {
        path_segment_errors(name)
    }
    fn has_generation(&self) -> bool {
        false
    }
}

fn rule_faults(faults: &mut Faults, rule: &Value, namespaced: bool, path: &str) {
    let none = |field: &str| list(rule, field).is_empty();
    if none("verbs") {
        faults.push(FieldError::required(format!("{path}.verbs"), "verbs must contain at least one value"));
    }
    if !none("nonResourceURLs") {
        let at = format!("{path}.nonResourceURLs");
        let urls = json!(list(rule, "nonResourceURLs"));
        if namespaced {
            let detail = "namespaced rules cannot apply to non-resource URLs";
            faults.push(FieldError::invalid(at.as_str(), &urls, detail));
        }
        if !none("apiGroups") || !none("resources") || !none("resourceNames") {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            faults.push(FieldError::invalid(at, &urls, detail));
        }
        return;
    }
    if none("apiGroups") {
        let detail = "resource rules must supply at least one api group";
        faults.push(FieldError::required(format!("{path}.apiGroups"), detail));
    }
    if none("resources") {
        let detail = "resource rules must supply at least one resource";
        faults.push(FieldError::required(format!("{path}.resources"), detail));
    }
}

fn aggregation_faults(faults: &mut Faults, aggregation: &Value) {
    let path = "aggregationRule.clusterRoleSelectors";
    let selectors = list(aggregation, "clusterRoleSelectors");
    if selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        faults.push(FieldError::required(path, detail));
    }
    for (at, selector) in selectors.iter().enumerate() {
        faults.extend(validate_label_selector(selector, &format!("{path}[{at}]")));
    }
}
