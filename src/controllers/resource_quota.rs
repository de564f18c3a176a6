//! Counts what namespaces with a ResourceQuota hold, and writes it into the quota's status.
//!
//! *Owns*: `status.hard` and `status.used`. The API server adds to `used` in the transaction of every write that uses
//! something; this controller takes away what is gone and puts right what was missed.
//!
//! *Guarantees*: a figure is only written over one that it was counted after: the write names the quota's revision, and
//! the caches that were counted have everything up to that revision. Where that is not known, the server is asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use api::quota::{self, Amounts};
use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Queue, Reconcile, RunError};
use client::informers::{Informer, Informers, Key, Metadata};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Resource;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::owners::is_deleting;
use crate::pods::is_finished;
use crate::{Rig, kinds};

mod counts;
mod memo;

use counts::Counted;
use memo::Memo;

/// When what has come is looked at, in case it was let in before there was a quota to count it.
const SETTLED: Duration = Duration::from_millis(500);
/// How long to wait for a cache that is behind, and how often before the server is asked.
const MOMENT: Duration = Duration::from_millis(10);
const PATIENCE: u32 = 4;
/// How often everything is counted without a reason.
const RESYNC: Duration = Duration::from_secs(300);

pub(crate) fn start(rig: Rig) {
    let quotas = rig.informers.of::<ResourceQuota>();
    let pods = Tracked::new(rig.informers.of::<Pod>(), "pods");
    let services = Tracked::new(rig.informers.of::<Service>(), "services");
    let claims = Tracked::new(rig.informers.of::<PersistentVolumeClaim>(), "persistentvolumeclaims");
    // What a write adds to a quota's status needs no second look.
    let controller = Controller::new("resource_quota", &rig.metrics).workers(4).watch(&quotas, |change| {
        let spec = |quota: Option<&Arc<ResourceQuota>>| quota.map(|quota| quota.spec.clone());
        let differs = spec(change.old.as_ref()) != spec(change.new.as_ref());
        differs.then(|| change.key.clone()).into_iter().collect()
    });
    let controller = pods.wake(controller, &quotas, |old, new| {
        is_finished(old) != is_finished(new)
            || is_deleting(&old.metadata) != is_deleting(&new.metadata)
            || old.spec != new.spec
    });
    let controller = services.wake(controller, &quotas, |old, new| old.spec != new.spec);
    let controller = claims.wake(controller, &quotas, |old, new| old.spec != new.spec || old.status != new.status);
    let queue = controller.queue();
    let quotas = Quotas {
        others: Others { informers: rig.informers, queue, quotas: quotas.clone(), known: Mutex::default() },
        client: rig.client,
        quotas,
        pods,
        services,
        claims,
        written: Mutex::default(),
        waited: Mutex::default(),
    };
    controller.start(&rig.tasks, quotas);
}

/// The quotas of a namespace.
fn quotas_of(quotas: &Informer<ResourceQuota>, namespace: &str) -> Vec<Key> {
    if quotas.is_empty() {
        return Vec::new();
    }
    quotas.in_namespace(namespace).iter().map(|quota| Key::of(quota.as_ref())).collect()
}

/// A kind whose objects are looked into.
struct Tracked<K> {
    informer: Informer<K>,
    plural: &'static str,
    memo: Memo,
}

impl<K> Tracked<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static,
{
    fn new(informer: Informer<K>, plural: &'static str) -> Self {
        Self { informer, plural, memo: Memo::default() }
    }

    /// Counts again when an object goes, or changes as `matters` says. What comes was counted by whoever let it in, and is
    /// looked at a little later, all at once.
    fn wake(
        &self,
        controller: Controller,
        quotas: &Informer<ResourceQuota>,
        matters: impl Fn(&K, &K) -> bool + Send + Sync + 'static,
    ) -> Controller {
        let (quotas, queue) = (quotas.clone(), controller.queue());
        controller.watch(&self.informer, move |change| {
            let keys = quotas_of(&quotas, &change.key.namespace);
            match (&change.old, &change.new) {
                (None, Some(_)) => keys.into_iter().for_each(|key| queue.add_after(key, SETTLED)),
                (Some(old), Some(new)) if keys.is_empty() || !matters(old, new) => {}
                _ => return keys,
            }
            Vec::new()
        })
    }

    /// Whether the cache has everything that was written before the quota.
    fn has_all(&self, quota: &Seen) -> bool {
        quota.is_ours || quota.patience == 0 || self.informer.revision() >= quota.revision || !self.is_named(quota)
    }

    fn is_named(&self, quota: &Seen) -> bool {
        quota.hard.keys().any(|name| quota::concerns("", self.plural, name))
    }

    /// What all objects of the namespace use of what the quota names, as of the quota's revision or later.
    async fn used(&self, client: &Client, key: &Key, quota: &Seen) -> Result<Amounts, kube::Error> {
        let names: BTreeSet<String> =
            quota.hard.keys().filter(|name| quota::concerns("", self.plural, name)).cloned().collect();
        let mut sum: Amounts = names.iter().map(|name| (name.clone(), api::Quantity::ZERO)).collect();
        if names.is_empty() {
            return Ok(sum);
        }
        let is_current = quota.is_ours || self.informer.revision() >= quota.revision;
        let objects: Vec<Arc<K>> = if is_current {
            self.informer.in_namespace(&key.namespace)
        } else {
            let api = Api::<K>::namespaced(client.clone(), &key.namespace);
            api.list(&ListParams::default()).await?.items.into_iter().map(Arc::new).collect()
        };
        self.memo.each(&key.namespace, &objects, self.plural, |value, used| {
            if quota::applies(&quota.spec, "", self.plural, value) {
                quota::add(&mut sum, &quota::only(used, &names));
            }
        });
        Ok(sum)
    }
}

/// A quota as it was read.
struct Seen {
    revision: u64,
    /// Nobody has written it since this controller did.
    is_ours: bool,
    spec: Value,
    hard: Amounts,
    /// How often the caches may still be waited for.
    patience: u32,
}

/// Kinds of which only the number matters: they are watched from the first quota on that counts them.
struct Others {
    informers: Informers,
    queue: Queue<Key>,
    quotas: Informer<ResourceQuota>,
    known: Mutex<HashMap<Counted, ApiResource>>,
}

impl Others {
    /// How the server names a kind, or `None` when it has no such kind.
    async fn resource(&self, client: &Client, counted: &Counted) -> Result<Option<ApiResource>, kube::Error> {
        if let Some(known) = self.known.lock().get(counted) {
            return Ok(Some(known.clone()));
        }
        let all = kinds::discover(client).await?;
        let is_it = |resource: &ApiResource| resource.group == counted.group && resource.plural == counted.plural;
        let Some(kind) = all.into_iter().find(|kind| kind.namespaced && is_it(&kind.resource)) else { return Ok(None) };
        let is_new = self.known.lock().insert(counted.clone(), kind.resource.clone()).is_none();
        if is_new && kind.watchable {
            let informer: Informer<Metadata> = self.informers.metadata(&kind.resource);
            let (quotas, queue) = (self.quotas.clone(), self.queue.clone());
            informer.on_change_while(move |change| {
                if queue.is_closed() {
                    return false;
                }
                for key in quotas_of(&quotas, &change.key.namespace) {
                    match (&change.old, &change.new) {
                        (_, None) => queue.add(key),
                        (None, Some(_)) => queue.add_after(key, SETTLED),
                        _ => {}
                    }
                }
                true
            });
        }
        Ok(Some(kind.resource))
    }

    async fn number(&self, client: &Client, namespace: &str, counted: &Counted) -> Result<i64, kube::Error> {
        let Some(resource) = self.resource(client, counted).await? else { return Ok(0) };
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        let first = match api.list_metadata(&ListParams::default().limit(1)).await {
            Err(error) if client::is_not_found(&error) => {
                // The kind has been removed, and may come back as another one.
                self.known.lock().remove(counted);
                return Ok(0);
            }
            other => other?,
        };
        let more = first.metadata.continue_.as_deref().is_some_and(|token| !token.is_empty());
        match first.metadata.remaining_item_count {
            Some(rest) => Ok(rest + number(first.items.len())),
            None if !more => Ok(number(first.items.len())),
            None => Ok(number(api.list_metadata(&ListParams::default()).await?.items.len())),
        }
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

struct Quotas {
    client: Client,
    quotas: Informer<ResourceQuota>,
    pods: Tracked<Pod>,
    services: Tracked<Service>,
    claims: Tracked<PersistentVolumeClaim>,
    others: Others,
    /// The revision that each quota had after this controller's last write.
    written: Mutex<HashMap<Key, u64>>,
    /// How often in a row a quota has waited for the caches.
    waited: Mutex<HashMap<Key, u32>>,
}

#[async_trait]
impl Reconcile for Quotas {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(quota) = self.quotas.at(key) else {
            self.written.lock().remove(key);
            self.waited.lock().remove(key);
            if self.quotas.in_namespace(&key.namespace).is_empty() {
                self.pods.memo.forget(&key.namespace);
                self.services.memo.forget(&key.namespace);
                self.claims.memo.forget(&key.namespace);
            }
            return Ok(Next::Done);
        };
        let seen = self.seen(key, &quota);
        if !(self.pods.has_all(&seen) && self.services.has_all(&seen) && self.claims.has_all(&seen)) {
            // Most often the cache of one kind is only a moment behind that of another.
            return Ok(Next::After(MOMENT));
        }
        self.waited.lock().remove(key);
        let mut used: Amounts = seen.hard.keys().map(|name| (name.clone(), api::Quantity::ZERO)).collect();
        used.extend(self.pods.used(&self.client, key, &seen).await?);
        used.extend(self.services.used(&self.client, key, &seen).await?);
        used.extend(self.claims.used(&self.client, key, &seen).await?);
        for (counted, names) in counts::counted(&seen.hard) {
            let applies = quota::applies(&seen.spec, &counted.group, &counted.plural, &Value::Null);
            let count = if applies { self.others.number(&self.client, &key.namespace, &counted).await? } else { 0 };
            let count = api::Quantity::from_units(count, api::quantity::Format::Decimal);
            used.extend(names.into_iter().map(|name| (name, count)));
        }
        self.publish(key, &quota, &seen.hard, &used).await?;
        Ok(Next::After(RESYNC))
    }
}

impl Quotas {
    fn seen(&self, key: &Key, quota: &ResourceQuota) -> Seen {
        let revision =
            quota.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
        let is_ours = self.written.lock().get(key) == Some(&revision);
        let spec = serde_json::to_value(&quota.spec).unwrap_or_default();
        let hard = quota::amounts(spec.get("hard"));
        let mut waited = self.waited.lock();
        let waited = waited.entry(key.clone()).or_default();
        *waited += 1;
        Seen { revision, is_ours, spec, hard, patience: PATIENCE.saturating_sub(*waited) }
    }

    async fn publish(
        &self,
        key: &Key,
        quota: &ResourceQuota,
        hard: &Amounts,
        used: &Amounts,
    ) -> Result<(), kube::Error> {
        let status = quota.status.as_ref();
        let read = |map: Option<&BTreeMap<String, Quantity>>| -> Amounts {
            let each = map.into_iter().flatten();
            each.filter_map(|(name, text)| Some((name.clone(), text.0.parse().ok()?))).collect()
        };
        let is_same = read(status.and_then(|status| status.hard.as_ref())) == *hard
            && read(status.and_then(|status| status.used.as_ref())) == *used;
        if is_same {
            return Ok(());
        }
        let write = |amounts: &Amounts| {
            let each = amounts.iter().map(|(name, amount)| (name.clone(), Quantity(amount.to_string())));
            Some(each.collect::<BTreeMap<_, _>>())
        };
        let mut wanted = quota.clone();
        wanted.status = Some(ResourceQuotaStatus { hard: write(hard), used: write(used) });
        let api = Api::<ResourceQuota>::namespaced(self.client.clone(), &key.namespace);
        match api.replace_status(&key.name, &PostParams::default(), &wanted).await {
            Err(error) if client::is_not_found(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(written) => {
                let revision = written.metadata.resource_version.and_then(|text| text.parse().ok());
                if let Some(revision) = revision {
                    self.written.lock().insert(key.clone(), revision);
                }
                Ok(())
            }
        }
    }
}
