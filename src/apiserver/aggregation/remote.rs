//! One API that somebody else serves.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::gateway::{Scheme, ServiceTarget, TargetPort, TlsOptions};

const HTTPS_PORT: u16 = 443;

/// A group and version, and who serves it.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// The APIService's name: `v1beta1.metrics.k8s.io`.
    pub name: String,
    pub group: String,
    pub version: String,
    pub group_priority: i64,
    pub version_priority: i64,
    pub target: ServiceTarget,
    pub available: bool,
    /// Its APIResourceList, once it was heard of.
    pub resources: Option<Value>,
    /// The path and hash of its OpenAPI document, if it has one.
    pub openapi: Option<String>,
}

impl Remote {
    /// What an APIService says; nothing for those that are served here.
    pub fn of(service: &Value) -> Option<Self> {
        let spec = service.get("spec")?;
        let place = spec.get("service").filter(|place| place.is_object())?;
        let text = |from: &Value, field: &str| from.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |field: &str| spec.get(field).and_then(Value::as_i64).unwrap_or_default();
        let port = place.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let (namespace, name) = (text(place, "namespace"), text(place, "name"));
        let bundle = spec.get("caBundle").and_then(Value::as_str).and_then(|bundle| STANDARD.decode(bundle).ok());
        let skip = spec.get("insecureSkipTLSVerify").and_then(Value::as_bool).unwrap_or(false);
        let options = TlsOptions {
            verify: !skip,
            ca_bundle: bundle.filter(|bundle| !bundle.is_empty()).map(Into::into),
            server_name: Some(format!("{name}.{namespace}.svc")),
            identity: None,
        };
        let (port, scheme) = (TargetPort::Number(port.unwrap_or(HTTPS_PORT)), Scheme::Https(options));
        Some(Self {
            name: text(service.get("metadata")?, "name"),
            group: text(spec, "group"),
            version: text(spec, "version"),
            group_priority: number("groupPriorityMinimum"),
            version_priority: number("versionPriority"),
            target: ServiceTarget { namespace, name, port, scheme },
            available: false,
            resources: None,
            openapi: None,
        })
    }

    /// The name that the other side answers to.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.target.name, self.target.namespace)
    }

    pub fn group_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Where it lists its resources.
    pub fn path(&self) -> String {
        if self.group.is_empty() { format!("/api/{}", self.version) } else { format!("/apis/{}", self.group_version()) }
    }

    /// The version as it stands in the aggregated document; what does not answer is stale.
    pub fn aggregated(&self) -> Value {
        let freshness = if self.available { "Current" } else { "Stale" };
        let mut version = json!({ "version": self.version, "freshness": freshness });
        if let Some(list) = &self.resources {
            version["resources"] = Value::Array(aggregated(list, &self.group, &self.version));
        }
        version
    }
}

/// Resources of a plain list in the form of the aggregated document.
fn aggregated(list: &Value, group: &str, version: &str) -> Vec<Value> {
    let entries = || list.get("resources").and_then(Value::as_array).into_iter().flatten();
    let name = |entry: &Value| entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let response_kind = |entry: &Value| {
        let text = |field: &str, other: &str| {
            let found = entry.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
            found.unwrap_or(other).to_owned()
        };
        json!({ "group": text("group", group), "version": text("version", version), "kind": text("kind", "") })
    };
    let mut resources = Vec::new();
    for entry in entries().filter(|entry| !name(entry).contains('/')) {
        let own = name(entry);
        let namespaced = entry.get("namespaced").and_then(Value::as_bool).unwrap_or(false);
        let mut resource = Map::new();
        resource.insert("resource".to_owned(), json!(own));
        resource.insert("responseKind".to_owned(), response_kind(entry));
        resource.insert("scope".to_owned(), json!(if namespaced { "Namespaced" } else { "Cluster" }));
        resource.insert("singularResource".to_owned(), entry.get("singularName").cloned().unwrap_or(json!("")));
        for field in ["verbs", "shortNames", "categories"] {
            if let Some(value) = entry.get(field) {
                resource.insert(field.to_owned(), value.clone());
            }
        }
        let below = format!("{own}/");
        let subresources: Vec<Value> = entries()
            .filter_map(|sub| {
                let name = name(sub).strip_prefix(&below)?.to_owned();
                Some(json!({ "subresource": name, "responseKind": response_kind(sub), "verbs": sub.get("verbs") }))
            })
            .collect();
        if !subresources.is_empty() {
            resource.insert("subresources".to_owned(), Value::Array(subresources));
        }
        resources.push(Value::Object(resource));
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_service_says_who_serves() {
        let service = json!({
            "metadata": { "name": "v1.x.io" },
            "spec": {
                "group": "x.io", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 15,
                "service": { "namespace": "n", "name": "s" }, "insecureSkipTLSVerify": true,
            },
        });
        let remote = Remote::of(&service).unwrap();
        assert_eq!((remote.host().as_str(), remote.path().as_str()), ("s.n.svc", "/apis/x.io/v1"));
        assert_eq!(remote.target.port, TargetPort::Number(443));
        assert!(Remote::of(&json!({ "metadata": {}, "spec": { "group": "apps", "version": "v1" } })).is_none());
    }

    #[test]
    fn plain_lists_are_shown_aggregated() {
        let list = json!({ "resources": [
            { "name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get"] },
            { "name": "things/status", "kind": "Thing", "verbs": ["get", "update"] },
        ] });
        let found = aggregated(&list, "x.io", "v1");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["scope"], "Namespaced");
        assert_eq!(found[0]["subresources"][0]["subresource"], "status");
        assert_eq!(found[0]["responseKind"], json!({ "group": "x.io", "version": "v1", "kind": "Thing" }));
    }
}
