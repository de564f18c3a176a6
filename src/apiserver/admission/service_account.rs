//! A pod acts as a service account: `default` unless it names another, which has to be there. Its containers find the
//! account's token, the cluster's CA and their namespace under one path, unless pod or account do not want that.

use std::time::Duration;

use api::{Status, meta};
use async_trait::async_trait;
use objects::{Admission, Reader, Review};
use serde_json::{Value, json};

use super::{forbidden, is_new, list, text};

pub(super) struct ServiceAccount(pub Reader);

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME: &str = "kube-api-access-";
/// A little more than the hour that is asked for, as a mark of tokens that were mounted without being asked for.
const TOKEN_SECONDS: i64 = 3607;
const DEFAULT: &str = "default";
/// How long a pod waits for the account that every namespace gets a moment after it was made.
const PATIENCE: Duration = Duration::from_secs(2);
const MIRROR: &str = "kubernetes.io/config.mirror";

impl ServiceAccount {
    async fn account(&self, namespace: &str, name: &str) -> Option<Value> {
        let find = || self.0.get("", "serviceaccounts", Some(namespace), name).map(|account| account.value());
        if let Some(found) = find() {
            return Some(found);
        }
        if name == DEFAULT {
            return self.0.wait("", "serviceaccounts", PATIENCE, find).await;
        }
        self.0.catch_up().await;
        find()
    }
}

#[async_trait]
impl Admission for ServiceAccount {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        if !is_new(review, "", "pods") || !review.object["spec"].is_object() {
            return Ok(());
        }
        if meta::annotation(&review.object, MIRROR).is_some() {
            return Ok(());
        }
        let spec = &mut review.object["spec"];
        let named = ["/serviceAccountName", "/serviceAccount"].map(|field| text(spec, field));
        let name = named.into_iter().find(|name| !name.is_empty()).unwrap_or(DEFAULT).to_owned();
        // The old field follows the new one.
        for key in ["serviceAccountName", "serviceAccount"] {
            spec[key] = json!(name);
        }
        let namespace = review.namespace.unwrap_or_default();
        let Some(account) = self.account(namespace, &name).await else {
            let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
            return Err(forbidden(review.kind, review.name, &why));
        };
        let spec = &mut review.object["spec"];
        if list(spec, "/imagePullSecrets").is_empty() && !list(&account, "/imagePullSecrets").is_empty() {
            spec["imagePullSecrets"] = account["imagePullSecrets"].clone();
        }
        if wants_token(spec, &account) {
            mount_token(spec);
        }
        Ok(())
    }
}

/// The pod's word counts before the account's.
fn wants_token(spec: &Value, account: &Value) -> bool {
    let said = |object: &Value| object.get("automountServiceAccountToken").and_then(Value::as_bool);
    said(spec).or_else(|| said(account)).unwrap_or(true)
}

/// Mounts the token wherever nothing is mounted in its place.
fn mount_token(spec: &mut Value) {
    let held = list(spec, "/volumes").iter().map(|volume| text(volume, "/name")).find(|name| name.starts_with(VOLUME));
    let (is_there, volume) = match held {
        Some(name) => (true, name.to_owned()),
        None => (false, meta::generate_name(VOLUME, rand::random())),
    };
    let mut mounted = false;
    for field in ["initContainers", "containers"] {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            if list(container, "/volumeMounts").iter().any(|mount| text(mount, "/mountPath") == MOUNT_PATH) {
                continue;
            }
            push(container, "volumeMounts", json!({ "name": volume, "readOnly": true, "mountPath": MOUNT_PATH }));
            mounted = true;
        }
    }
    if mounted && !is_there {
        push(spec, "volumes", token_volume(&volume));
    }
}

fn push(object: &mut Value, field: &str, item: Value) {
    if let Some(items) = object.get_mut(field).and_then(Value::as_array_mut) {
        items.push(item);
    } else if object.is_object() {
        object[field] = json!([item]);
    }
}

fn token_volume(name: &str) -> Value {
    let namespace =
        json!({ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } });
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": TOKEN_SECONDS, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [namespace] } },
            ],
        },
    })
}
