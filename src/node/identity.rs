//! Whom a container's security context says that it runs as.
//!
//! A component has no user: nothing that it can reach asks for one. What asks all the same, `id` in a script, is told what the
//! spec says, and a spec that contradicts itself does not start.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod};

/// Numbers of the user and of the groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    user: i64,
    group: i64,
    others: BTreeSet<i64>,
}

impl Identity {
    /// What the container's own context does not say is its pod's to say; nobody else is root.
    pub fn of(pod: &Pod, container: &Container) -> Self {
        let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let own = container.security_context.as_ref();
        let user = own.and_then(|own| own.run_as_user).or(of_pod.and_then(|pod| pod.run_as_user));
        let group = own.and_then(|own| own.run_as_group).or(of_pod.and_then(|pod| pod.run_as_group));
        let others = of_pod.and_then(|pod| pod.supplemental_groups.clone()).unwrap_or_default();
        let volumes = of_pod.and_then(|pod| pod.fs_group);
        Self { user: user.unwrap_or(0), group: group.unwrap_or(0), others: others.into_iter().chain(volumes).collect() }
    }

    /// `/proc/self/status`, as far as it tells of this.
    pub fn status(&self) -> String {
        let Self { user, group, others } = self;
        let groups: String = others.iter().map(|group| format!("{group} ")).collect();
        format!(
            "Pid:\t1\nUid:\t{user}\t{user}\t{user}\t{user}\nGid:\t{group}\t{group}\t{group}\t{group}\n\
             Groups:\t{groups}\n"
        )
    }
}

/// Why the container must not start, if its user is root by its own spec and must not be. `name` is the pod's, as messages
/// have it. Who says nothing of users runs: there is no image here that would.
pub(crate) fn contradiction(pod: &Pod, container: &Container, name: &str) -> Option<String> {
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let not_root = own.and_then(|own| own.run_as_non_root).or(of_pod.and_then(|pod| pod.run_as_non_root));
    let user = own.and_then(|own| own.run_as_user).or(of_pod.and_then(|pod| pod.run_as_user));
    (not_root == Some(true) && user == Some(0))
        .then(|| format!("container's runAsUser breaks non-root policy (pod: {name:?}, container: {})", container.name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn given(pod: Value, own: Value) -> (Pod, Container) {
        let pod = json!({ "spec": { "containers": [], "securityContext": pod } });
        let container = json!({ "name": "app", "securityContext": own });
        (serde_json::from_value(pod).unwrap(), serde_json::from_value(container).unwrap())
    }

    #[test]
    fn the_containers_word_counts_before_its_pods() {
        let pod = json!({ "runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000, "supplementalGroups": [4000] });
        let (pod, container) = given(pod, json!({ "runAsUser": 7 }));
        let status = Identity::of(&pod, &container).status();
        assert!(status.contains("Uid:\t7\t") && status.contains("Gid:\t3000\t"), "{status}");
        assert!(status.ends_with("Groups:\t2000 4000 \n"), "{status}");
    }

    #[test]
    fn only_who_is_root_and_must_not_be_is_refused() {
        for (pod, own, wanted) in [
            (json!({}), json!({ "runAsNonRoot": true }), false),
            (json!({}), json!({ "runAsNonRoot": true, "runAsUser": 5 }), false),
            (json!({ "runAsNonRoot": true }), json!({ "runAsUser": 0 }), true),
            (json!({ "runAsNonRoot": true, "runAsUser": 0 }), json!({ "runAsNonRoot": false }), false),
        ] {
            let (pod, container) = given(pod, own);
            assert_eq!(contradiction(&pod, &container, "web_default(u1)").is_some(), wanted, "{container:?}");
        }
        let (pod, container) = given(json!({ "runAsNonRoot": true }), json!({ "runAsUser": 0 }));
        assert_eq!(
            contradiction(&pod, &container, "web_default(u1)").unwrap(),
            "container's runAsUser breaks non-root policy (pod: \"web_default(u1)\", container: app)"
        );
    }
}
