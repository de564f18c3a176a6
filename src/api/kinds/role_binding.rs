//! RoleBinding and ClusterRoleBinding: who has a role.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column, wide};
use super::checks::{Faults, invalid_each};
use super::fields::{default_text, get, items_mut, list, object_at, text, text_at};
use super::role::GROUP;
use super::row::{RowBuilder, row};
use crate::names::{dns_subdomain_errors, path_segment_errors};
use crate::{Behaviour, FieldError, Kind, Scope};

/// The row of RoleBinding.
pub fn kind() -> Kind {
    stored("RoleBinding", "rolebindings", Scope::Namespaced).build()
}

/// The row of ClusterRoleBinding.
pub fn cluster_kind() -> Kind {
    stored("ClusterRoleBinding", "clusterrolebindings", Scope::Cluster).build()
}

fn stored(kind: &str, plural: &str, scope: Scope) -> RowBuilder {
    row(GROUP, "v1", kind, plural, scope)
        .columns(vec![
            name_column(),
            column("Role", "RoleRef can reference a Role or a ClusterRole.", |object, _| {
                json!(format!("{}/{}", text_at(object, "/roleRef/kind"), text_at(object, "/roleRef/name")))
            }),
            age_column(),
            wide(column("Users", "Users in the binding", |object, _| json!(subjects(object, "User")))),
            wide(column("Groups", "Groups in the binding", |object, _| json!(subjects(object, "Group")))),
            wide(column("ServiceAccounts", "ServiceAccounts in the binding", |object, _| {
                json!(subjects(object, "ServiceAccount"))
            })),
        ])
        .behaviour(Binding { namespaced: scope == Scope::Namespaced })
}

fn subjects(object: &Value, kind: &str) -> String {
    let of_kind = list(object, "subjects").iter().filter(|subject| text(subject, "kind") == kind);
    let shown: Vec<String> = of_kind
        .map(|subject| match kind {
            "ServiceAccount" => format!("{}/{}", text(subject, "namespace"), text(subject, "name")),
            _ => text(subject, "name").to_owned(),
        })
        .collect();
    shown.join(", ")
}

struct Binding {
    namespaced: bool,
}

impl Behaviour for Binding {
    fn default(&self, object: &mut Value) {
        if let Some(role) = object_at(object, "roleRef") {
            default_text(role, "apiGroup", GROUP);
        }
        for subject in items_mut(object, "subjects") {
            if ["User", "Group"].contains(&text(subject, "kind")) {
                default_text(subject, "apiGroup", GROUP);
            }
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let role = get(object, "roleRef").unwrap_or(&empty);
        role_faults(&mut faults, role, self.namespaced);
        for (at, subject) in list(object, "subjects").iter().enumerate() {
            subject_faults(&mut faults, subject, self.namespaced, &format!("subjects[{at}]"));
        }
        let fields = ["apiGroup", "kind", "name"];
        if let Some(was) = old.map(|old| get(old, "roleRef").unwrap_or(&empty))
            && fields.iter().any(|field| text(role, field) != text(was, field))
        {
            // Kubernetes shows its internal type here, whose fields have no JSON names.
            let shown =
                json!({ "APIGroup": text(role, "apiGroup"), "Kind": text(role, "kind"), "Name": text(role, "name") });
            faults.push(FieldError::invalid("roleRef", &shown, "cannot change roleRef"));
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

fn role_faults(faults: &mut Faults, role: &Value, namespaced: bool) {
    let group = text(role, "apiGroup");
    if group != GROUP {
        faults.push(FieldError::not_supported("roleRef.apiGroup", &json!(group), &[GROUP]));
    }
    let allowed: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    let kind = text(role, "kind");
    if !allowed.contains(&kind) {
        faults.push(FieldError::not_supported("roleRef.kind", &json!(kind), allowed));
    }
    super::checks::required_name(faults, "roleRef.name", text(role, "name"), path_segment_errors);
}

fn subject_faults(faults: &mut Faults, subject: &Value, namespaced: bool, path: &str) {
    let name = text(subject, "name");
    if name.is_empty() {
        faults.push(FieldError::required(format!("{path}.name"), ""));
    }
    let group = text(subject, "apiGroup");
    let wrong_group = |wanted: &str| FieldError::not_supported(format!("{path}.apiGroup"), &json!(group), &[wanted]);
    match text(subject, "kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                invalid_each(faults, &format!("{path}.name"), name, dns_subdomain_errors(name));
            }
            if !group.is_empty() {
                faults.push(wrong_group(""));
            }
            if !namespaced && text(subject, "namespace").is_empty() {
                faults.push(FieldError::required(format!("{path}.namespace"), ""));
            }
        }
        "User" | "Group" if group != GROUP => faults.push(wrong_group(GROUP)),
        "User" | "Group" => {}
        other => {
            let kinds = ["ServiceAccount", "User", "Group"];
            faults.push(FieldError::not_supported(format!("{path}.kind"), &json!(other), &kinds));
        }
    }
}
