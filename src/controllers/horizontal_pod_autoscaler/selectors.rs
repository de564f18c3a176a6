//! Whose pods are whose: what each autoscaler's target last said of its pods.

use std::collections::HashMap;
use std::sync::Arc;

use client::informers::Key;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

/// The selectors of all autoscalers that have been looked at.
#[derive(Default)]
pub(super) struct Selectors {
    by_scaler: Mutex<HashMap<Key, api::LabelSelector>>,
}

pub(super) fn selects(selector: &api::LabelSelector, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    selector.matches_with(|label| labels?.get(label).map(String::as_str))
}

impl Selectors {
    pub fn put(&self, scaler: &Key, selector: api::LabelSelector) {
        let mut all = self.by_scaler.lock();
        match all.get_mut(scaler) {
            Some(known) if *known == selector => {}
            Some(known) => *known = selector,
            None => drop(all.insert(scaler.clone(), selector)),
        }
    }

    pub fn forget(&self, scaler: &Key) {
        self.by_scaler.lock().remove(scaler);
    }

    /// The autoscalers of a namespace that any of these pods belongs to, in order.
    pub fn of(&self, namespace: &str, pods: &[Arc<Pod>]) -> Vec<Key> {
        let all = self.by_scaler.lock();
        let here = all.iter().filter(|(scaler, _)| scaler.namespace == namespace);
        let mut found: Vec<Key> = here
            .filter(|(_, selector)| pods.iter().any(|pod| selects(selector, pod)))
            .map(|(scaler, _)| scaler.clone())
            .collect();
        found.sort();
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(labels: serde_json::Value) -> Arc<Pod> {
        Arc::new(serde_json::from_value(json!({ "metadata": { "labels": labels } })).expect("a pod"))
    }

    #[test]
    fn pods_that_two_targets_select_belong_to_both_autoscalers() {
        let selectors = Selectors::default();
        for (namespace, name, selector) in
            [("default", "one", "pod=a"), ("default", "other", "pod2=b"), ("elsewhere", "third", "pod=a")]
        {
            selectors.put(&Key::new(namespace, name), selector.parse().expect("a selector"));
        }
        let of =
            |pods: &[Arc<Pod>]| selectors.of("default", pods).iter().map(Key::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(of(&[pod(json!({ "pod": "a" }))]), "default/one");
        let shared = [pod(json!({ "pod": "a" })), pod(json!({ "pod": "a", "pod2": "b" }))];
        assert_eq!(of(&shared), "default/one default/other");
        assert_eq!(of(&[]), "");
        selectors.forget(&Key::new("default", "other"));
        assert_eq!(of(&shared), "default/one");
    }
}
