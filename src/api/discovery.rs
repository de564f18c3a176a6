//! Discovery documents, made from a [`KindSet`].

use serde_json::Value;

use crate::kind::KindSet;

/// Which form of the aggregated document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregated {
    /// `apidiscovery.k8s.io/v2`
    V2,
    /// `apidiscovery.k8s.io/v2beta1`
    V2Beta1,
}

/// `GET /api`: APIVersions. `server_address` is what `serverAddressByClientCIDRs` names.
pub fn core_versions(_server_address: &str) -> Value {
    Value::Null
}

/// `GET /apis`: APIGroupList.
pub fn groups(_kinds: &KindSet) -> Value {
    Value::Null
}

/// `GET /apis/GROUP`: APIGroup.
pub fn group(_kinds: &KindSet, _group: &str) -> Option<Value> {
    None
}

/// `GET /api/v1` or `/apis/GROUP/VERSION`: APIResourceList.
pub fn resources(_kinds: &KindSet, _group: &str, _version: &str) -> Option<Value> {
    None
}

/// `GET /api` (`core`) or `/apis` aggregated: APIGroupDiscoveryList.
pub fn aggregated(_kinds: &KindSet, _core: bool, _form: Aggregated) -> Value {
    Value::Null
}
