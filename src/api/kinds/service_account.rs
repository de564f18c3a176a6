//! ServiceAccount: who a pod is.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::fields::list;
use super::row::row;
use crate::{Behaviour, Kind, Scope, meta};

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "ServiceAccount", "serviceaccounts", Scope::Namespaced)
        .short(&["sa"])
        .subresource("token", "authentication.k8s.io/v1", "TokenRequest", &["create"])
        .columns(vec![
            name_column(),
            column("Secrets", "The number of secrets that pods of this account may use.", |object, _| {
                json!(list(object, "secrets").len())
            }),
            age_column(),
        ])
        .behaviour(ServiceAccount)
        .build()
}

struct ServiceAccount;

impl Behaviour for ServiceAccount {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn warnings(&self, object: &Value) -> Vec<String> {
        const ENFORCED: &str = "kubernetes.io/enforce-mountable-secrets";
        let rule = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
        let said = meta::annotation(object, ENFORCED).is_some();
        said.then(|| format!("metadata.annotations[{ENFORCED}]: {rule}")).into_iter().collect()
    }
    fn warnings_on_update(&self, object: &Value, old: &Value) -> Vec<String> {
        if self.warnings(old).is_empty() { self.warnings(object) } else { Vec::new() }
    }
    fn has_generation(&self) -> bool {
        false
    }
}
