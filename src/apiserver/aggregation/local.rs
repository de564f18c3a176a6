//! The APIServices of what is served here: one for each group and version. Pure.

use std::collections::BTreeMap;

use api::KindSet;
use serde_json::{Value, json};

/// Says who keeps an APIService: `onstart` for what is built in, `true` for what comes and goes.
pub(super) const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// The group of the APIServices themselves is not among them, as in Kubernetes.
const OWN_GROUP: &str = "apiregistration.k8s.io";
/// What custom resources get.
const CUSTOM: (i64, i64) = (1000, 100);

/// Kubernetes' own order of groups: what of several that offer a resource is taken first.
const GROUPS: [(&str, i64); 21] = [
    ("", 18000),
    ("apps", 17800),
    ("events.k8s.io", 17750),
    ("authentication.k8s.io", 17700),
    ("authorization.k8s.io", 17600),
    ("autoscaling", 17500),
    ("batch", 17400),
    ("certificates.k8s.io", 17300),
    ("networking.k8s.io", 17200),
    ("policy", 17100),
    ("rbac.authorization.k8s.io", 17000),
    ("storage.k8s.io", 16800),
    ("apiextensions.k8s.io", 16700),
    ("admissionregistration.k8s.io", 16700),
    ("scheduling.k8s.io", 16600),
    ("coordination.k8s.io", 16500),
    ("node.k8s.io", 16300),
    ("discovery.k8s.io", 16200),
    ("flowcontrol.apiserver.k8s.io", 16100),
    ("internal.apiserver.k8s.io", 16000),
    ("resource.k8s.io", 15900),
];

fn priorities(group: &str, version: &str) -> (i64, i64) {
    let Some((_, priority)) = GROUPS.iter().find(|(name, _)| *name == group) else { return CUSTOM };
    let version_priority = match (group, version) {
        ("", _) => 1,
        ("autoscaling", "v2") => 30,
        ("flowcontrol.apiserver.k8s.io", _) => 21,
        (_, version) if version.contains("beta") => 9,
        (_, version) if version.contains("alpha") => 1,
        _ => 15,
    };
    (*priority, version_priority)
}

/// The APIServices that ought to be there, by name. The groups that are `left_out` are left to whoever wants to serve it instead.
pub(super) fn wanted(kinds: &KindSet, left_out: &[&str]) -> BTreeMap<String, Value> {
    let mut wanted = BTreeMap::new();
    for kind in kinds.iter().filter(|kind| kind.group != OWN_GROUP && !left_out.contains(&kind.group.as_str())) {
        let name = format!("{}.{}", kind.version, kind.group);
        wanted.entry(name).or_insert_with_key(|name| {
            let (group, version) = priorities(&kind.group, &kind.version);
            let managed = if (group, version) == CUSTOM { "true" } else { "onstart" };
            json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": { "name": name, "labels": { AUTOMANAGED: managed } },
                "spec": {
                    "group": kind.group, "version": kind.version,
                    "groupPriorityMinimum": group, "versionPriority": version,
                },
            })
        });
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_and_version_has_one() {
        let wanted = wanted(&KindSet::new(api::kinds::builtin()), &["metrics.k8s.io"]);
        assert_eq!(
            wanted["v1."]["spec"],
            json!({ "group": "", "version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1 })
        );
        assert_eq!(wanted["v1.apps"]["metadata"]["labels"][AUTOMANAGED], "onstart");
        assert!(wanted.keys().all(|name| !name.ends_with(OWN_GROUP)));
        assert_eq!(priorities("example.com", "v1"), CUSTOM);
    }
}
