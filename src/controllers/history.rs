//! The templates that a StatefulSet or a DaemonSet has had: ControllerRevisions, which `kubectl rollout history` and
//! `undo` read.

use std::sync::Arc;

use client::Client;
use client::informers::Informer;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::Resource;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Selector;
use serde_json::{Value, json};

use crate::claims;
use crate::owners::{controlled_by, name, namespace};
use crate::suffix;

/// The label that pods carry of their revision.
pub(crate) const HASH_LABEL: &str = "controller-revision-hash";

/// What an owner with revisions says about them.
pub(crate) struct Wanted<'a> {
    pub template: &'a PodTemplateSpec,
    pub selector: &'a LabelSelector,
    pub limit: usize,
    pub collisions: i32,
}

/// The revisions of one owner.
pub(crate) struct History {
    /// In the order of their numbers.
    pub all: Vec<Arc<ControllerRevision>>,
    /// The one that the owner's template has.
    pub update: ControllerRevision,
    /// How many names were taken by strangers.
    pub collisions: i32,
}

/// What came of looking after the revisions.
pub(crate) enum Kept {
    /// They are as they should be.
    History(Box<History>),
    /// Something was written; the watch brings the owner back.
    Wrote,
}

/// What is kept of a template: a patch that brings it back.
pub(crate) fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
    }
    template["$patch"] = json!("replace");
    json!({ "spec": { "template": template } })
}

/// The template of a revision.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

fn hash(data: &Value, collisions: i32) -> String {
    let mut text = data.to_string().into_bytes();
    if collisions > 0 {
        text.extend_from_slice(&collisions.to_le_bytes());
    }
    suffix::hash(&text).to_string().bytes().map(|digit| suffix::letter(usize::from(digit))).collect()
}

/// The hash in a revision's name, as DaemonSets label their pods.
pub(crate) fn hash_of(revision: &ControllerRevision) -> &str {
    let label = revision.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL));
    label.map_or_else(|| name(&revision.metadata).rsplit('-').next().unwrap_or_default(), String::as_str)
}

/// Whether two templates are the same once both are read as objects.
fn is_same(revision: &ControllerRevision, data: &Value) -> bool {
    revision.data.as_ref().is_some_and(|kept| kept.0 == *data)
}

/// Makes the revision of the owner's template the newest, and adopts those that nobody owns.
pub(crate) async fn keep<O>(
    client: &Client,
    owner: &O,
    wanted: Wanted<'_>,
    revisions: &Informer<ControllerRevision>,
) -> Result<Kept, kube::Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let everything = Selector::default();
    let selector = claims::selector(wanted.selector).unwrap_or(everything);
    let claims = claims::claims(owner.meta(), &selector, revisions);
    if !claims.settled() {
        claims.settle(client, &controlled_by(owner)).await?;
        return Ok(Kept::Wrote);
    }
    let mut all = claims.owned;
    all.sort_by_key(|revision| (revision.revision, revision.metadata.creation_timestamp.clone()));
    let data = data(wanted.template);
    let newest = all.last().map_or(0, |revision| revision.revision);
    let api = Api::<ControllerRevision>::namespaced(client.clone(), namespace(owner.meta()));
    let found = all.iter().rev().find(|revision| is_same(revision, &data));
    if let Some(found) = found {
        if found.revision == newest {
            let update = found.as_ref().clone();
            return Ok(Kept::History(Box::new(History { all, update, collisions: wanted.collisions })));
        }
        // Going back makes an old revision the newest one.
        let patch = Patch::Merge(json!({ "revision": newest + 1 }));
        api.patch(name(&found.metadata), &PatchParams::default(), &patch).await?;
        return Ok(Kept::Wrote);
    }
    let mut collisions = wanted.collisions;
    loop {
        let revision = new_revision(owner, &wanted, &data, newest + 1, collisions);
        match api.create(&PostParams::default(), &revision).await {
            Ok(update) => {
                all.push(Arc::new(update.clone()));
                return Ok(Kept::History(Box::new(History { all, update, collisions })));
            }
            Err(error) if client::is_taken(&error) => {
                let there = api.get(name(&revision.metadata)).await?;
                let uid = owner.meta().uid.as_deref();
                let ours = there.metadata.owner_references.iter().flatten().any(|own| Some(own.uid.as_str()) == uid);
                if ours && is_same(&there, &data) {
                    return Ok(Kept::History(Box::new(History { all, update: there, collisions })));
                }
                collisions += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn new_revision<O: Resource<DynamicType = ()>>(
    owner: &O,
    wanted: &Wanted<'_>,
    data: &Value,
    number: i64,
    collisions: i32,
) -> ControllerRevision {
    let hash = hash(data, collisions);
    let mut labels = wanted.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    labels.insert("controller.kubernetes.io/hash".to_owned(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name(owner.meta()))),
            namespace: owner.meta().namespace.clone(),
            labels: Some(labels),
            annotations: owner.meta().annotations.clone(),
            owner_references: Some(vec![controlled_by(owner)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data.clone())),
        revision: number,
    }
}

/// Deletes the oldest revisions that no pod and no status names any more.
pub(crate) async fn truncate(
    client: &Client,
    history: &History,
    limit: usize,
    in_use: impl Fn(&ControllerRevision) -> bool,
) -> Result<(), kube::Error> {
    let idle = |revision: &&Arc<ControllerRevision>| {
        revision.metadata.name != history.update.metadata.name && !in_use(revision)
    };
    let idle: Vec<_> = history.all.iter().filter(idle).collect();
    for revision in idle.iter().take(idle.len().saturating_sub(limit)) {
        let api = Api::<ControllerRevision>::namespaced(client.clone(), namespace(&revision.metadata));
        match api.delete(name(&revision.metadata), &DeleteParams::default()).await {
            Err(error) if client::is_not_found(&error) => {}
            other => drop(other?),
        }
    }
    Ok(())
}
