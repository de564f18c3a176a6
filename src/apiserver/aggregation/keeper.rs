//! Keeps APIServices and the registry as they ought to be: wakes when something that matters changes, and from time to
//! time to see whether those that others serve still answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{Kind, UserInfo, meta};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use objects::{DeleteOptions, ListOptions, Sub, WatchEvent, WatchOptions, WriteOptions};
use serde_json::{Value, json};

use super::Remote;
use super::local::{AUTOMANAGED, wanted};
use super::probe::{Finding, probe};
use crate::custom_metrics;
use crate::metrics_api;
use crate::server::Inner;

/// How often a good one is asked again, and the most that a bad one waits.
const AGAIN: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// After a watch ended, and where a kind is being established.
const SOON: Duration = Duration::from_millis(250);

/// What has changed.
enum Touch {
    ApiService,
    /// `namespace/name` of a Service.
    Service(String),
    Kinds,
    /// A watch ended.
    Ended,
}

pub(super) async fn run(inner: Arc<Inner>) {
    let kinds = inner.objects.kinds();
    let Some(kind) = kinds.by_resource("apiregistration.k8s.io", "v1", "apiservices").cloned() else {
        return std::future::pending().await;
    };
    loop {
        let keeper = Keeper {
            inner: Arc::clone(&inner),
            kind: Arc::clone(&kind),
            due: HashMap::new(),
            failures: HashMap::new(),
            checking: HashSet::new(),
            checks: FuturesUnordered::new(),
        };
        keeper.keep().await;
        tokio::time::sleep(SOON).await;
    }
}

struct Keeper {
    inner: Arc<Inner>,
    kind: Arc<Kind>,
    /// When each is to be looked at again.
    due: HashMap<String, Instant>,
    failures: HashMap<String, u32>,
    checking: HashSet<String>,
    checks: FuturesUnordered<BoxFuture<'static, (String, Finding)>>,
}

impl Keeper {
    /// Ends when a watch does.
    async fn keep(mut self) {
        let mut touches = self.touches().await;
        self.settle_kinds().await;
        self.refresh(true).await;
        let mut kinds_due: Option<Instant> = None;
        loop {
            self.begin_checks();
            let wake = self.due.values().copied().chain(kinds_due).min();
            let timer = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                touched = touches.next() => match touched {
                    Some(Touch::ApiService) => self.refresh(false).await,
                    Some(Touch::Service(key)) => self.touch_service(&key),
                    Some(Touch::Kinds) => {
                        self.settle_kinds().await;
                        kinds_due = Some(Instant::now() + SOON);
                    }
                    Some(Touch::Ended) | None => return,
                },
                Some((name, finding)) = self.checks.next() => self.checked(&name, finding).await,
                () = timer => {
                    if kinds_due.is_some_and(|at| at <= Instant::now()) {
                        kinds_due = None;
                        self.settle_kinds().await;
                    }
                }
            }
        }
    }

    async fn touches(&mut self) -> SelectAll<BoxStream<'static, Touch>> {
        let mut all = SelectAll::new();
        let own = Arc::clone(&self.kind);
        all.push(self.watch(&own, |_| Some(Touch::ApiService)).await);
        let kinds = self.inner.objects.kinds();
        let key = |object: &Value, name: &str| format!("{}/{name}", meta::namespace(object));
        if let Some(kind) = kinds.by_resource("", "v1", "services") {
            all.push(self.watch(kind, move |object| Some(Touch::Service(key(object, meta::name(object))))).await);
        }
        if let Some(kind) = kinds.by_resource("discovery.k8s.io", "v1", "endpointslices") {
            let of = move |object: &Value| {
                let name = object.pointer("/metadata/labels/kubernetes.io~1service-name")?.as_str()?;
                Some(Touch::Service(key(object, name)))
            };
            all.push(self.watch(kind, of).await);
        }
        if let Some(kind) = kinds.by_resource("apiextensions.k8s.io", "v1", "customresourcedefinitions") {
            all.push(self.watch(kind, |_| Some(Touch::Kinds)).await);
        }
        all
    }

    /// The changes of a kind from now on; the last is that there are no more.
    async fn watch(
        &mut self,
        kind: &Kind,
        touch: impl Fn(&Value) -> Option<Touch> + Send + 'static,
    ) -> BoxStream<'static, Touch> {
        let options = WatchOptions { timeout: Some(Duration::from_secs(24 * 3600)), ..WatchOptions::default() };
        let Ok(watch) = self.inner.objects.watch(kind, None, &options).await else {
            return futures::stream::iter([Touch::Ended]).boxed();
        };
        // An object is only read where somebody waits for such a change.
        let inner = Arc::clone(&self.inner);
        let service = kind.plural != self.kind.plural && kind.plural != "customresourcedefinitions";
        let touched = watch.filter_map(move |event| {
            let found = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                    if service && inner.aggregation.all().is_empty() { None } else { touch(&object.value()) }
                }
                WatchEvent::Error(_) => Some(Touch::Ended),
                WatchEvent::Bookmark { .. } => None,
            };
            futures::future::ready(found)
        });
        touched.chain(futures::stream::iter([Touch::Ended])).boxed()
    }

    /// Makes, renews and removes the APIServices of what is served here.
    async fn settle_kinds(&mut self) {
        let kinds = self.inner.documents.kinds(&self.inner.objects.kinds());
        let wanted = wanted(&kinds, &[metrics_api::GROUP, custom_metrics::GROUP]);
        let Ok(list) = self.inner.objects.list(&self.kind, None, &ListOptions::default()).await else { return };
        let present: HashMap<String, Value> =
            list.items.iter().map(|item| item.value()).map(|item| (meta::name(&item).to_owned(), item)).collect();
        for (name, service) in &wanted {
            let outcome = match present.get(name) {
                None => {
                    let options = self.writes();
                    self.inner.objects.create(&self.kind, None, service.clone(), &options).await.map(drop)
                }
                Some(held) if held["spec"]["service"].is_null() => Ok(()),
                // Somebody else serves it although it is served here.
                Some(held) if held.pointer("/metadata/labels").and_then(|labels| labels.get(AUTOMANAGED)).is_none() => {
                    Ok(())
                }
                Some(_) => {
                    let spec = service["spec"].clone();
                    let change = move |held: &mut Value| {
                        held["spec"] = spec.clone();
                        Ok(())
                    };
                    self.inner.objects.edit(&self.kind, None, name, Sub::None, change, &self.writes()).await.map(drop)
                }
            };
            if let Err(status) = outcome {
                tracing::debug!(%name, why = status.message, "cannot keep an APIService");
            }
        }
        for (name, held) in present {
            let managed = held.pointer("/metadata/labels").and_then(|labels| labels.get(AUTOMANAGED)).is_some();
            if managed && !wanted.contains_key(&name) {
                let options = DeleteOptions { user: user(), ..DeleteOptions::default() };
                let _ = self.inner.objects.delete(&self.kind, None, &name, &options).await;
            }
        }
    }

    /// Reads the APIServices anew.
    async fn refresh(&mut self, all: bool) {
        let Ok(list) = self.inner.objects.list(&self.kind, None, &ListOptions::default()).await else { return };
        let known = self.inner.aggregation.all();
        let served = self.inner.objects.kinds();
        let mut remotes = Vec::new();
        for item in &list.items {
            let service = item.value();
            let Some(mut remote) = Remote::of(&service) else {
                self.tell(meta::name(&service), true, "Local", "Local APIServices are always available").await;
                continue;
            };
            // What is served here stays here.
            if served.iter().any(|kind| kind.group == remote.group && kind.version == remote.version) {
                continue;
            }
            let before = known.iter().find(|known| known.name == remote.name);
            let same = before.is_some_and(|before| format!("{:?}", before.target) == format!("{:?}", remote.target));
            if let Some(before) = before {
                remote.available = before.available;
                remote.resources.clone_from(&before.resources);
                remote.openapi.clone_from(&before.openapi);
            }
            if all || !same {
                self.due.insert(remote.name.clone(), Instant::now());
            }
            remotes.push(Arc::new(remote));
        }
        self.due.retain(|name, _| remotes.iter().any(|remote| remote.name == *name));
        self.inner.aggregation.set(remotes);
    }

    fn touch_service(&mut self, key: &str) {
        for remote in self.inner.aggregation.all().iter() {
            if format!("{}/{}", remote.target.namespace, remote.target.name) == key {
                self.due.insert(remote.name.clone(), Instant::now());
            }
        }
    }

    fn begin_checks(&mut self) {
        let now = Instant::now();
        for remote in self.inner.aggregation.all().iter() {
            let is_due = self.due.get(&remote.name).is_some_and(|at| *at <= now);
            if !is_due || !self.checking.insert(remote.name.clone()) {
                continue;
            }
            self.due.remove(&remote.name);
            let (inner, remote) = (Arc::clone(&self.inner), Arc::clone(remote));
            let check = async move {
                let transport = inner.transport.read().clone();
                let finding = probe(&inner.objects, &*transport, &remote).await;
                (remote.name.clone(), finding)
            };
            self.checks.push(check.boxed());
        }
        // One that is being checked and is due again waits for the end of the check.
        let checking = &self.checking;
        let later = now + RETRY_FIRST;
        self.due
            .iter_mut()
            .filter(|(name, at)| checking.contains(*name) && **at <= now)
            .for_each(|(_, at)| *at = later);
    }

    async fn checked(&mut self, name: &str, finding: Finding) {
        self.checking.remove(name);
        let failures = self.failures.entry(name.to_owned()).or_default();
        *failures = if finding.available { 0 } else { failures.saturating_add(1) };
        let wait =
            if finding.available { AGAIN } else { AGAIN.min(RETRY_FIRST * 2u32.saturating_pow((*failures).min(10))) };
        self.due.entry(name.to_owned()).or_insert_with(|| Instant::now() + wait);
        let known = self.inner.aggregation.all();
        let Some(remote) = known.iter().find(|remote| remote.name == name) else {
            self.due.remove(name);
            return;
        };
        let mut remote = Remote::clone(remote);
        remote.available = finding.available;
        if finding.available {
            remote.resources = finding.resources;
            remote.openapi = finding.openapi;
        }
        self.inner.aggregation.put(remote);
        self.tell(name, finding.available, finding.reason, &finding.message).await;
    }

    /// Writes the condition, when it is another one.
    async fn tell(&mut self, name: &str, available: bool, reason: &str, message: &str) {
        let status = if available { "True" } else { "False" };
        let change = |service: &mut Value| {
            set_condition(service, status, reason, message);
            Ok(())
        };
        let found = self.inner.objects.get(&self.kind, None, name, &objects::Revisions::default()).await;
        let Ok(mut now) = found.map(|found| found.value()) else { return };
        let before = now["status"].clone();
        set_condition(&mut now, status, reason, message);
        if now["status"] == before {
            return;
        }
        let written = self.inner.objects.edit(&self.kind, None, name, Sub::Status, change, &self.writes()).await;
        if let Err(status) = written {
            tracing::debug!(%name, why = status.message, "cannot write an APIService's condition");
        }
    }

    fn writes(&self) -> WriteOptions {
        WriteOptions { field_manager: "kube-apiserver".to_owned(), ..WriteOptions::by(user()) }
    }
}

fn user() -> UserInfo {
    UserInfo::new("system:apiserver", [UserInfo::MASTERS])
}

fn set_condition(service: &mut Value, status: &str, reason: &str, message: &str) {
    let held = service.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let before = held.iter().find(|condition| condition["type"] == "Available");
    let same = before.filter(|before| before["status"] == status);
    let since = same.map(|before| before["lastTransitionTime"].clone()).filter(Value::is_string);
    let now = || json!(Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let condition = json!({
        "type": "Available", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since.unwrap_or_else(now),
    });
    let others = held.into_iter().filter(|condition| condition["type"] != "Available");
    let conditions: Vec<Value> = others.chain([condition]).collect();
    service["status"]["conditions"] = Value::Array(conditions);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_condition_is_that_of_its_last_change() {
        let old = "2020-01-01T00:00:00Z";
        let mut service = json!({ "status": { "conditions": [
            { "type": "Available", "status": "True", "reason": "Passed", "message": "", "lastTransitionTime": old },
        ] } });
        set_condition(&mut service, "True", "Passed", "all checks passed");
        assert_eq!(service["status"]["conditions"][0]["lastTransitionTime"], old);
        set_condition(&mut service, "False", "ServiceNotFound", "");
        assert_ne!(service["status"]["conditions"][0]["lastTransitionTime"], old);
        assert_eq!(service["status"]["conditions"].as_array().map(Vec::len), Some(1));
    }
}
