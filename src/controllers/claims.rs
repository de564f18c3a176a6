//! Which objects belong to an owner with a selector: those it controls and selects; orphans that it selects are to be
//! adopted, and what it controls and no longer selects is to be released.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use client::Client;
use client::informers::{Change, Informer, Key};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::api::{Api, Patch, PatchParams};
use kube::core::{Selector, SelectorExt};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::owners::{controller_of, is_deleting, name, namespace};

const ORPHANS: &str = "orphans by namespace";

/// What an owner has and what it should take or give.
#[derive(Debug)]
pub(crate) struct Claims<K> {
    pub owned: Vec<Arc<K>>,
    pub adopt: Vec<Arc<K>>,
    pub release: Vec<Arc<K>>,
}

/// Lets [`claims`] find the objects that nobody controls.
pub(crate) fn index_orphans<K: Resource + Send + Sync + 'static>(informer: &Informer<K>) {
    informer.add_index(ORPHANS, |object: &K| match controller_of(object.meta()) {
        Some(_) => Vec::new(),
        None => vec![namespace(object.meta()).to_owned()],
    });
}

/// Reads a selector; one that selects everything or cannot be read selects nothing here.
pub(crate) fn selector(selector: &LabelSelector) -> Option<Selector> {
    Selector::try_from(selector.clone()).ok().filter(|selector| !selector.selects_all())
}

/// Sorts the objects around `owner`. The informer must have been given to [`index_orphans`].
pub(crate) fn claims<K: Resource + Send + Sync + 'static>(
    owner: &ObjectMeta,
    selector: &Selector,
    informer: &Informer<K>,
) -> Claims<K> {
    let uid = owner.uid.as_deref().unwrap_or_default();
    let (owned, strangers): (Vec<_>, Vec<_>) = informer
        .owned_by(uid)
        .into_iter()
        .filter(|object| controller_of(object.meta()).is_some_and(|controller| controller.uid == uid))
        .partition(|object| selector.matches(object.labels()));
    let mut claims = Claims { owned, adopt: Vec::new(), release: Vec::new() };
    if !is_deleting(owner) {
        claims.release = strangers.into_iter().filter(|object| !is_deleting(object.meta())).collect();
        claims.adopt = informer
            .indexed(ORPHANS, namespace(owner))
            .into_iter()
            .filter(|object| !is_deleting(object.meta()) && selector.matches(object.labels()))
            .collect();
    }
    claims
}

/// The owners in the same namespace that would adopt the object of this change, if it is an orphan.
pub(crate) fn would_adopt<K: Resource, O: Resource + Send + Sync + 'static>(
    change: &Change<K>,
    owners: &Informer<O>,
    selects: impl Fn(&O, &BTreeMap<String, String>) -> bool,
) -> Vec<Key> {
    let Some(object) = change.new.as_ref().filter(|object| controller_of(object.meta()).is_none()) else {
        return Vec::new();
    };
    let Some(labels) = object.meta().labels.as_ref() else { return Vec::new() };
    owners
        .in_namespace(&change.key.namespace)
        .iter()
        .filter(|owner| selects(owner, labels))
        .map(|owner| Key::of(owner.as_ref()))
        .collect()
}

impl<K> Claims<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    /// Whether everything is where it belongs.
    pub fn settled(&self) -> bool {
        self.adopt.is_empty() && self.release.is_empty()
    }

    /// Writes the adoptions and releases. The watch shows them, and brings the owner back.
    pub async fn settle(&self, client: &Client, owner: &OwnerReference) -> Result<(), kube::Error> {
        self.settle_held(client, owner, None).await
    }

    /// As [`settle`](Self::settle), for an owner who holds what it owns by a finalizer.
    pub async fn settle_held(
        &self,
        client: &Client,
        owner: &OwnerReference,
        finalizer: Option<&str>,
    ) -> Result<(), kube::Error> {
        for (object, adopts) in
            self.adopt.iter().map(|object| (object, true)).chain(self.release.iter().map(|object| (object, false)))
        {
            let mut references = object.meta().owner_references.clone().unwrap_or_default();
            let mut holds = object.meta().finalizers.clone().unwrap_or_default();
            references.retain(|reference| reference.uid != owner.uid);
            holds.retain(|hold| Some(hold.as_str()) != finalizer);
            if adopts {
                references.push(owner.clone());
                holds.extend(finalizer.map(str::to_owned));
            }
            let holds = finalizer.is_some().then_some(holds.as_slice());
            set_owners(client, object.as_ref(), &references, holds).await?;
        }
        Ok(())
    }
}

async fn set_owners<K>(
    client: &Client,
    object: &K,
    references: &[OwnerReference],
    finalizers: Option<&[String]>,
) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let meta = object.meta();
    let mut patch = serde_json::json!({"metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "ownerReferences": references,
    }});
    if let Some(finalizers) = finalizers {
        patch["metadata"]["finalizers"] = serde_json::json!(finalizers);
    }
    let api = Api::<K>::namespaced(client.clone(), namespace(meta));
    match api.patch(name(meta), &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(error) if client::is_not_found(&error) => Ok(()),
        other => other.map(drop),
    }
}
