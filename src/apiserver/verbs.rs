//! The verbs, the same for every kind.

pub(crate) mod body;
mod listing;
mod options;
mod remove;
mod show;
mod watch;
mod write;

use std::sync::Arc;

use api::{Kind, Status};
use objects::Sub;

use crate::path::Resource;
use crate::reply::Reply;
use crate::server::Call;
use crate::{aggregation, component_statuses, custom_metrics, metrics_api, reviews, subresources};

pub(crate) use options::{delete_options, list_options, write_options};
pub(crate) use show::{include, shown};
pub(crate) use write::check_names;

/// The kind and the object that a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub kind: Arc<Kind>,
    /// `None` for kinds at the cluster scope, and for all namespaces.
    pub namespace: Option<String>,
    /// `None` for the collection.
    pub name: Option<String>,
}

impl Target {
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Finds the kind and checks that the path fits its scope.
    fn find(call: &Call, resource: &Resource) -> Result<Self, Status> {
        let found = call.kinds.by_resource(&resource.group, &resource.version, &resource.plural);
        let kind = found.cloned().ok_or_else(Status::no_such_path)?;
        let name = resource.name.clone();
        // A Namespace's path holds its name where other paths hold the namespace.
        let namespace =
            resource.namespace.clone().filter(|_| resource.plural != "namespaces" || !resource.group.is_empty());
        if namespace.is_some() && !kind.namespaced() {
            return Err(Status::no_such_path());
        }
        if kind.namespaced() && namespace.is_none() && name.is_some() {
            return Err(Status::no_such_path());
        }
        if kind.namespaced() && namespace.is_none() && !matches!(call.asked.verb, "list" | "watch") {
            return Err(Status::method_not_allowed());
        }
        Ok(Self { kind, namespace, name })
    }
}

pub(crate) async fn answer(call: Call) -> Result<Reply, Status> {
    let resource = call.asked.resource.clone().unwrap_or_default();
    if let Some(remote) = call.server.aggregation.find(&resource.group, &resource.version) {
        return aggregation::forward(call, &remote).await;
    }
    if resource.group == metrics_api::GROUP {
        return metrics_api::answer(call).await;
    }
    if resource.group == custom_metrics::GROUP {
        return custom_metrics::answer(call).await;
    }
    if let Some(review) = reviews::find(&resource) {
        return reviews::answer(call, review).await;
    }
    let target = Target::find(&call, &resource)?;
    let kind = Arc::clone(&target.kind);
    let deprecated = kind.behaviour.deprecation().or_else(|| api::kinds::deprecated::warning(&kind));
    let reply = about(call, target, &resource).await?;
    Ok(reply.with_warnings(deprecated.map(str::to_owned).into_iter().collect()))
}

/// Answers a request about a kind of the table.
async fn about(call: Call, target: Target, resource: &Resource) -> Result<Reply, Status> {
    if component_statuses::is_about(&target) && resource.subresource.is_none() {
        return component_statuses::answer(&call, &target);
    }
    if target.kind.plural == "bindings" && target.kind.group.is_empty() && call.asked.verb == "create" {
        let namespace = target.namespace.unwrap_or_default();
        return subresources::bindings(call, namespace).await;
    }
    match resource.subresource() {
        "" if !resource.rest.is_empty() => Err(Status::no_such_path()),
        "" => plain(call, target).await,
        "status" if target.kind.status => stored(call, target, Sub::Status).await,
        "scale" if target.kind.scale.is_some() => subresources::scale(call, target).await,
        other => {
            let other = other.to_owned();
            subresources::answer(call, target, &other).await
        }
    }
}

async fn plain(call: Call, target: Target) -> Result<Reply, Status> {
    let verb = call.asked.verb;
    if !target.kind.verbs.is_empty() && !target.kind.verbs.iter().any(|allowed| allowed == verb) {
        if target.kind.custom.is_some() {
            let message = format!("{verb} not allowed while custom resource definition is terminating");
            return Err(Status::new(405, "MethodNotAllowed", message));
        }
        return Err(Status::method_not_allowed());
    }
    match (verb, target.name.is_some()) {
        ("get", true) => show::get(&call, &target).await,
        ("list", false) => listing::list(&call, &target).await,
        ("watch", _) => watch::watch(&call, &target).await,
        ("create", false) => write::create(call, target).await,
        ("update", true) => write::update(call, target, Sub::None).await,
        ("patch", true) => write::patch(call, target, Sub::None).await,
        ("delete", true) => remove::delete(call, target).await,
        ("deletecollection", false) => remove::delete_collection(call, target).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// A subresource that shows and changes a part of the stored object, in the object's own form.
pub(crate) async fn stored(call: Call, target: Target, sub: Sub) -> Result<Reply, Status> {
    match call.asked.verb {
        "get" => show::get(&call, &target).await,
        "update" => write::update(call, target, sub).await,
        "patch" => write::patch(call, target, sub).await,
        _ => Err(Status::method_not_allowed()),
    }
}
