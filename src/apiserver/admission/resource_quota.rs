//! ResourceQuotas: what a namespace may hold in all.
//!
//! What a write uses is added to the status of every quota that it falls under by the write's own transaction. Whoever
//! writes at the same moment finds the quota changed and looks again, so that no two writes ever share the last place.
//! Writers in this process form a line ([`lane`]), so that they seldom have to. A namespace without a quota pays for none of
//! this.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use api::quota::{self, Amounts};
use api::{Kind, Status, meta};
use async_trait::async_trait;
use objects::{Admission, Along, Basis, Charge, Object, Operation, Rank, Reader, Review, Sub};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::forbidden;

mod lane;

use lane::Lane;

/// How long a write waits for a new quota to be counted for the first time, and for other writes that may leave room.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct ResourceQuota {
    reader: Reader,
    lanes: Mutex<HashMap<String, Weak<Lane>>>,
}

impl ResourceQuota {
    pub fn new(reader: Reader) -> Self {
        Self { reader, lanes: Mutex::default() }
    }

    fn lane(&self, namespace: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(namespace).and_then(Weak::upgrade) {
            return lane;
        }
        lanes.retain(|_, lane| lane.strong_count() > 0);
        let lane = Arc::new(Lane::default());
        lanes.insert(namespace.to_owned(), Arc::downgrade(&lane));
        lane
    }

    /// Every quota that the write uses something of, as it is to be.
    async fn charged(
        &self,
        lane: &Lane,
        review: &Review<'_>,
        namespace: &str,
    ) -> Result<Vec<(String, Value, Basis)>, String> {
        let mut charged = Vec::new();
        for quota in self.reader.list("", "resourcequotas", Some(namespace)) {
            let name = quota.meta.name.to_string();
            let (value, basis) = match lane.head(&name) {
                Some((value, stored)) => (value, Basis::Stored(stored)),
                None => {
                    let (quota, value) = self.counted(namespace, &quota).await;
                    (value, Basis::At(quota.revision))
                }
            };
            if let Some(value) = charge(review, &value)? {
                charged.push((name, value, basis));
            }
        }
        Ok(charged)
    }

    /// The quota once it has been counted, or as it is when nobody counts.
    async fn counted(&self, namespace: &str, quota: &Arc<Object>) -> (Arc<Object>, Value) {
        let value = quota.value();
        if is_counted(&value) {
            return (Arc::clone(quota), value);
        }
        let name = &quota.meta.name;
        let look = || {
            let found = self.reader.get("", "resourcequotas", Some(namespace), name);
            // One that is gone by now asks for nothing any more.
            let Some(found) = found else { return Some(None) };
            let value = found.value();
            is_counted(&value).then_some(Some((found, value)))
        };
        match self.reader.wait("", "resourcequotas", PATIENCE, look).await {
            Some(Some(found)) => found,
            Some(None) => (Arc::clone(quota), json!({})),
            None => (Arc::clone(quota), value),
        }
    }
}

/// Whether the status says how much there is of everything that is limited.
fn is_counted(quota: &Value) -> bool {
    let hard = quota.pointer("/spec/hard").and_then(Value::as_object);
    hard.into_iter().flatten().all(|(name, _)| {
        ["hard", "used"].iter().all(|side| quota.pointer("/status").and_then(|all| all.get(side)?.get(name)).is_some())
    })
}

#[async_trait]
impl Admission for ResourceQuota {
    fn rank(&self) -> Rank {
        Rank::Quota
    }

    fn charges(&self, kind: &Kind, namespace: Option<&str>, operation: Operation, sub: Sub) -> bool {
        let Some(namespace) = namespace else { return false };
        let grows = match operation {
            Operation::Create => sub == Sub::None,
            Operation::Update => match (kind.group.as_str(), kind.plural.as_str()) {
                ("", "services" | "persistentvolumeclaims") => sub == Sub::None,
                ("", "pods") => sub == Sub::Named("resize"),
                _ => false,
            },
            _ => false,
        };
        grows && quota::is_countable(&kind.group, &kind.plural) && self.reader.any("", "resourcequotas", namespace)
    }

    async fn charge(&self, review: &Review<'_>) -> Result<Option<Charge>, Status> {
        let Some(namespace) = review.namespace else { return Ok(None) };
        let lane = self.lane(namespace);
        let turn = Arc::clone(&lane.turn).lock_owned().await;
        let mut charged = self.charged(&lane, review, namespace).await;
        if charged.is_err() && lane.is_busy() {
            // What is on its way may not come about, and leave room.
            lane.settled(PATIENCE).await;
            charged = self.charged(&lane, review, namespace).await;
        }
        let charged = charged.map_err(|why| forbidden(review.kind, review.name, &why))?;
        if charged.is_empty() || review.dry_run {
            return Ok(None);
        }
        let (mut along, mut links) = (Vec::new(), Vec::new());
        for (name, value, basis) in charged {
            let next = Along::new(("", "resourcequotas"), (Some(namespace), &name), basis, &value);
            let link = lane.push(&name, value, next.stored());
            along.push(next);
            links.push((name, link));
        }
        let settle = move |has_happened| lane.settle(&links, has_happened);
        Ok(Some(Charge::new(along, turn, settle)))
    }
}

/// The quota with what the write uses added, `None` when it uses nothing of it, or why it would be too much.
fn charge(review: &Review<'_>, quota: &Value) -> Result<Option<Value>, String> {
    let (group, plural) = (review.kind.group.as_str(), review.kind.plural.as_str());
    let spec = quota.get("spec").unwrap_or(&Value::Null);
    let hard = quota::amounts(quota.pointer("/status/hard"));
    let names: BTreeSet<String> = hard.keys().filter(|name| quota::concerns(group, plural, name)).cloned().collect();
    if names.is_empty() || !quota::applies(spec, group, plural, &review.object) {
        return Ok(None);
    }
    let name = meta::name(quota);
    if (group, plural) == ("", "pods") {
        let pod = review.object.get("spec").unwrap_or(&Value::Null);
        if let Some(missing) = quota::unstated(pod, names.iter().map(String::as_str)) {
            return Err(format!("failed quota: {name}: must specify {missing}"));
        }
    }
    let mut wanted = quota::usage(group, plural, &review.object);
    if let Some(old) = review.old.filter(|old| quota::applies(spec, group, plural, old)) {
        wanted = quota::difference(&wanted, &quota::usage(group, plural, old));
    }
    let wanted: Amounts = quota::only(&wanted, &names).into_iter().filter(|(_, amount)| !amount.is_zero()).collect();
    if !wanted.values().any(|amount| !amount.is_negative()) {
        return Ok(None);
    }
    let used = quota::amounts(quota.pointer("/status/used"));
    let unknown: Vec<&str> = wanted.keys().filter(|name| !used.contains_key(*name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!("status unknown for quota: {name}, resources: {}", unknown.join(",")));
    }
    let mut then = used.clone();
    quota::add(&mut then, &wanted);
    let is_too_much =
        |name: &&String| wanted.get(*name).is_some_and(|more| !more.is_negative()) && then.get(*name) > hard.get(*name);
    let exceeded: BTreeSet<String> = wanted.keys().filter(is_too_much).cloned().collect();
    if !exceeded.is_empty() {
        let words = |amounts: &Amounts| quota::words(&quota::only(amounts, &exceeded));
        return Err(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            words(&wanted),
            words(&used),
            words(&hard)
        ));
    }
    let mut charged = quota.clone();
    charged["status"]["used"] = quota::to_json(&then);
    Ok(Some(charged))
}
