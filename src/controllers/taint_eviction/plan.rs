//! Who is to go when. Pure; time is told.

use std::collections::HashMap;
use std::time::Duration;

use client::informers::Key;
use client::placement::taints::covers;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use tokio::time::Instant;

use crate::owners::is_deleting;
use crate::pods::is_finished;

/// What is to be done about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    /// It stays for so long, unless its node is well before.
    Wait(Duration),
    Goes,
    /// It was to go, and may stay now.
    IsLetOff,
}

/// How long a pod may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    ForEver,
    /// From when its node got the taints.
    For(Duration),
}

/// The pods that are to go, by uid, and since when.
#[derive(Debug, Default)]
pub(super) struct Book(HashMap<Key, (Option<String>, Instant)>);

pub(super) fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// The taints of a node for which pods leave it.
pub(super) fn driving_out(node: &Node) -> impl Iterator<Item = &Taint> {
    node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).filter(|taint| taint.effect == "NoExecute")
}

pub(super) fn stay(pod: &Pod, node: &Node) -> Stay {
    let tolerations = || pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let mut shortest: Option<i64> = None;
    for taint in driving_out(node) {
        let Some(used) = tolerations().find(|toleration| covers(toleration, taint)) else {
            return Stay::For(Duration::ZERO);
        };
        if let Some(seconds) = used.toleration_seconds {
            shortest = Some(shortest.map_or(seconds, |shortest| shortest.min(seconds)));
        }
    }
    shortest.map_or(Stay::ForEver, |seconds| Stay::For(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
}

impl Book {
    /// Looks at a pod on its node.
    pub fn look(&mut self, key: &Key, pod: Option<&Pod>, node: Option<&Node>, now: Instant) -> Verdict {
        let pod = pod.filter(|pod| !is_deleting(&pod.metadata) && !is_finished(pod));
        let (Some(pod), Some(node)) = (pod, node) else {
            self.forget(key);
            return Verdict::Stays;
        };
        let uid = &pod.metadata.uid;
        let Stay::For(wait) = stay(pod, node) else {
            let was_to_go = self.0.remove(key).is_some_and(|(known, _)| known == *uid);
            return if was_to_go { Verdict::IsLetOff } else { Verdict::Stays };
        };
        let entry = self.0.entry(key.clone()).or_insert_with(|| (uid.clone(), now));
        if entry.0 != *uid {
            *entry = (uid.clone(), now);
        }
        match wait.checked_sub(now.duration_since(entry.1)).filter(|rest| !rest.is_zero()) {
            Some(rest) => Verdict::Wait(rest),
            None => Verdict::Goes,
        }
    }

    /// The pod is gone, or on its way.
    pub fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}
