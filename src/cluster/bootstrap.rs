//! What every cluster has from the start: its namespaces, the `kubernetes` Service, the default roles, and the
//! ConfigMaps that clients look for.
//!
//! # Adding objects
//!
//! A file under `bootstrap/` with a function that answers whole objects (apiVersion, kind, metadata, …), and one row in
//! [`SETS`]. They are made where they are missing and left alone where they are there; all of them at once, so that a start
//! costs about as much as one write.

mod config_maps;
mod flowcontrol;
mod kubernetes;
mod priority_classes;
mod rbac;
mod service_range;
mod storage;

use std::net::SocketAddr;
use std::sync::Arc;

use api::{Kind, Status, UserInfo, meta};
use futures::future::try_join_all;
use objects::{Object, Objects, Sub, WriteOptions};
use serde_json::{Value, json};

/// Kubernetes' own namespaces.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// What the objects are made of.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where the API answers on the pod network.
    pub endpoint: SocketAddr,
    /// `https://127.0.0.1:6443`
    pub server_url: String,
    /// The authority that signs the server's and the clients' certificates, in PEM.
    pub ca_certificate: String,
    /// The authority that signs the certificates of those who speak for others (aggregated APIs), in PEM.
    pub front_proxy_ca: String,
}

/// Objects that are made where they are missing.
const SETS: &[fn(&Facts) -> Vec<Value>] =
    &[config_maps::objects, flowcontrol::objects, service_range::objects, priority_classes::objects, storage::objects];

/// Makes what is missing.
///
/// # Errors
/// The first refusal.
pub async fn run(objects: &Objects, user: UserInfo, facts: &Facts) -> Result<(), Status> {
    let options = WriteOptions::by(user);
    let namespaces: Vec<Value> = NAMESPACES
        .iter()
        .map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
        .collect();
    try_join_all(namespaces.iter().map(|namespace| ensure(objects, namespace, &options))).await?;
    let roles = rbac::objects();
    let roles = try_join_all(roles.iter().map(|object| rbac::reconcile(objects, object, &options)));
    let set: Vec<Value> = SETS.iter().flat_map(|set| set(facts)).collect();
    let set = try_join_all(set.iter().map(|object| ensure(objects, object, &options)));
    let current = config_maps::current(facts);
    let current = try_join_all(current.iter().map(|map| renew(objects, map, &["data"], &options)));
    tokio::try_join!(roles, set, current, kubernetes::ensure(objects, facts.endpoint, &options)).map(drop)
}

/// Creates an object unless it is there.
async fn ensure(objects: &Objects, wanted: &Value, options: &WriteOptions) -> Result<(), Status> {
    match find(objects, wanted) {
        Some(_) => Ok(()),
        None => create(objects, wanted, options).await,
    }
}

/// Creates an object, or brings `fields` of the one that is there to what they should be.
async fn renew(objects: &Objects, wanted: &Value, fields: &[&str], options: &WriteOptions) -> Result<(), Status> {
    let (Some(there), Some(kind)) = (find(objects, wanted), kind(objects, wanted)) else {
        return create(objects, wanted, options).await;
    };
    let there = there.value();
    let mut renewed = there.clone();
    for field in fields {
        renewed[*field] = wanted[*field].clone();
    }
    if renewed == there {
        return Ok(());
    }
    let (namespace, name) = (namespace(wanted), meta::name(wanted));
    objects.update(&kind, namespace, name, Sub::None, renewed, options).await.map(drop)
}

async fn create(objects: &Objects, wanted: &Value, options: &WriteOptions) -> Result<(), Status> {
    // A kind that is not served has no objects.
    let Some(kind) = kind(objects, wanted) else { return Ok(()) };
    let made = match objects.create(&kind, namespace(wanted), wanted.clone(), options).await {
        Err(status) if status.reason != "AlreadyExists" => return Err(status),
        Err(_) => return Ok(()),
        Ok(made) => made,
    };
    // What is made begins without a status: that is written by those who know.
    let Some(status) = wanted.get("status").filter(|_| kind.status) else { return Ok(()) };
    let mut told = made.value();
    told["status"] = status.clone();
    let (space, name) = (namespace(wanted), meta::name(wanted));
    objects.update(&kind, space, name, Sub::Status, told, options).await.map(drop)
}

fn kind(objects: &Objects, object: &Value) -> Option<Arc<Kind>> {
    let api_version = object["apiVersion"].as_str()?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    objects.kinds().by_kind(group, version, object["kind"].as_str()?).cloned()
}

fn namespace(object: &Value) -> Option<&str> {
    Some(meta::namespace(object)).filter(|namespace| !namespace.is_empty())
}

fn find(objects: &Objects, wanted: &Value) -> Option<Arc<Object>> {
    let kind = kind(objects, wanted)?;
    objects.shelf(&kind.group, &kind.plural).get(namespace(wanted), meta::name(wanted))
}
