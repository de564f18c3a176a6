//! Which controllers there are and which of them run.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::Rig;

/// One controller.
pub struct Entry {
    /// Its name, as kube-controller-manager's `--controllers` has it.
    pub name: &'static str,
    /// Its short name, which works as well.
    pub alias: &'static str,
    /// The user that it acts as: the service account's name in `kube-system`.
    pub identity: &'static str,
    start: fn(Rig),
}

impl Entry {
    pub(crate) fn start(&self, rig: Rig) {
        (self.start)(rig);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn entry(name: &'static str, alias: &'static str, identity: &'static str, start: fn(Rig)) -> Entry {
    Entry { name, alias, identity, start }
}

/// Every controller, in the order in which they start.
pub const ALL: &[Entry] = &[
    entry("deployment-controller", "deployment", "deployment-controller", crate::deployment::start),
    // Beyond Kubernetes.
    entry("canary-controller", "canary", "canary-controller", crate::canary::start),
    entry("replicaset-controller", "replicaset", "replicaset-controller", crate::replica_set::start),
    entry(
        "replicationcontroller-controller",
        "replicationcontroller",
        "replication-controller",
        crate::replica_set::start_replication,
    ),
    entry("daemonset-controller", "daemonset", "daemon-set-controller", crate::daemon_set::start),
    entry("statefulset-controller", "statefulset", "statefulset-controller", crate::stateful_set::start),
    entry(
        "horizontal-pod-autoscaler-controller",
        "horizontalpodautoscaling",
        "horizontal-pod-autoscaler",
        crate::horizontal_pod_autoscaler::start,
    ),
    entry("cronjob-controller", "cronjob", "cronjob-controller", crate::cron_job::start),
    entry("job-controller", "job", "job-controller", crate::job::start),
    entry("endpointslice-controller", "endpointslice", "endpointslice-controller", crate::endpoint_slice::start),
    entry("endpoints-controller", "endpoint", "endpoint-controller", crate::endpoints::start),
    entry("namespace-controller", "namespace", "namespace-controller", crate::namespace::start),
    entry(
        "garbage-collector-controller",
        "garbagecollector",
        "generic-garbage-collector",
        crate::garbage_collector::start,
    ),
    entry("serviceaccount-controller", "serviceaccount", "service-account-controller", crate::service_account::start),
    entry(
        "root-ca-certificate-publisher-controller",
        "root-ca-cert-publisher",
        "root-ca-cert-publisher",
        crate::root_ca::start,
    ),
    entry(
        "clusterrole-aggregation-controller",
        "clusterrole-aggregation",
        "clusterrole-aggregation-controller",
        crate::cluster_role_aggregation::start,
    ),
    entry(
        "certificatesigningrequest-approving-controller",
        "csrapproving",
        "certificate-controller",
        crate::certificates::start_approver,
    ),
    entry(
        "certificatesigningrequest-signing-controller",
        "csrsigning",
        "certificate-controller",
        crate::certificates::start_signer,
    ),
    entry(
        "certificatesigningrequest-cleaner-controller",
        "csrcleaner",
        "certificate-controller",
        crate::certificates::start_cleaner,
    ),
    entry(
        "serviceaccount-token-controller",
        "serviceaccount-token",
        "service-account-token-controller",
        crate::account_tokens::start,
    ),
    entry("pod-garbage-collector-controller", "podgc", "pod-garbage-collector", crate::pod_gc::start),
    entry("resourcequota-controller", "resourcequota", "resourcequota-controller", crate::resource_quota::start),
    entry("disruption-controller", "disruption", "disruption-controller", crate::disruption::start),
    entry(
        "persistentvolume-binder-controller",
        "persistentvolume-binder",
        "persistent-volume-binder",
        crate::persistent_volume::start,
    ),
    entry(
        "persistentvolume-expander-controller",
        "persistentvolume-expander",
        "expand-controller",
        crate::volume_expander::start,
    ),
    entry(
        "ephemeral-volume-controller",
        "ephemeral-volume",
        "ephemeral-volume-controller",
        crate::ephemeral_volume::start,
    ),
    // Kubernetes has none of its own: clusters bring one.
    entry("local-path-provisioner-controller", "local-path", "local-path-provisioner", crate::local_path::start),
    entry(
        "endpointslice-mirroring-controller",
        "endpointslicemirroring",
        "endpointslicemirroring-controller",
        crate::endpoint_slice_mirroring::start,
    ),
    entry("service-cidr-controller", "servicecidr", "service-cidrs-controller", crate::service_cidrs::start),
    // In Kubernetes a part of the API server.
    entry("flowschema-controller", "flowschema", "flow-schema-controller", crate::flow_schemas::start),
    entry("node-lifecycle-controller", "nodelifecycle", "node-controller", crate::node_lifecycle::start),
    entry("taint-eviction-controller", "taint-eviction", "node-controller", crate::taint_eviction::start),
    entry("ttl-controller", "ttl", "ttl-controller", crate::ttl::start),
    entry(
        "persistentvolumeclaim-protection-controller",
        "pvc-protection",
        "pvc-protection-controller",
        crate::storage_protection::start_claims,
    ),
    entry(
        "persistentvolume-protection-controller",
        "pv-protection",
        "pv-protection-controller",
        crate::storage_protection::start_volumes,
    ),
    entry(
        "ttl-after-finished-controller",
        "ttl-after-finished",
        "ttl-after-finished-controller",
        crate::ttl_after_finished::start,
    ),
    entry("token-cleaner-controller", "tokencleaner", "token-cleaner", crate::token_cleaner::start),
    entry("bootstrap-signer-controller", "bootstrapsigner", "bootstrap-signer", crate::bootstrap_signer::start),
];

/// A name that no controller has.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("there is no controller {name:?}; the controllers are {}", names())]
pub struct SelectionError {
    name: String,
}

fn names() -> String {
    ALL.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

/// Which controllers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    on: BTreeSet<&'static str>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { on: ALL.iter().map(|entry| entry.name).collect() }
    }
}

impl Selection {
    /// Reads kube-controller-manager's `--controllers`: `*` is all, `NAME` switches one on, `-NAME` off. A list that
    /// only switches off means all others.
    ///
    /// # Errors
    /// A name that no controller has.
    pub fn parse(text: &str) -> Result<Self, SelectionError> {
        let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        let all = words.iter().all(|word| word.starts_with('-')) || words.contains(&"*");
        let mut on = if all { Self::default().on } else { BTreeSet::new() };
        for word in words.iter().filter(|word| **word != "*") {
            let name = word.strip_prefix('-').unwrap_or(word);
            let entry = ALL
                .iter()
                .find(|entry| entry.name == name || entry.alias == name)
                .ok_or_else(|| SelectionError { name: name.to_owned() })?;
            if word.starts_with('-') {
                on.remove(entry.name)
            } else {
                on.insert(entry.name)
            };
        }
        Ok(Self { on })
    }

    /// The controllers that run.
    pub fn entries(&self) -> impl Iterator<Item = &'static Entry> {
        ALL.iter().filter(|entry| self.on.contains(entry.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aliases(text: &str) -> String {
        match Selection::parse(text) {
            Ok(selection) => selection.entries().map(|entry| entry.alias).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_list_of_controllers_is_read_as_kubernetes_reads_it() {
        let all = aliases("");
        assert_eq!(aliases("*"), all);
        assert_eq!(aliases("-deployment"), all.replace("deployment ", ""));
        assert_eq!(aliases("*,-deployment-controller"), all.replace("deployment ", ""));
        assert_eq!(aliases("namespace, replicaset"), "replicaset namespace");
        assert!(
            aliases("-deploy")
                .starts_with("there is no controller \"deploy\"; the controllers are deployment-controller, ")
        );
    }
}
