//! Tests of discovery.

use std::sync::Arc;

use super::*;
use crate::kind::{Plain, Scale, Scope, Subresource};

pub(crate) fn row(group: &str, version: &str, kind: &str, plural: &str) -> Kind {
    Kind {
        group: group.into(),
        version: version.into(),
        kind: kind.into(),
        plural: plural.into(),
        singular: kind.to_lowercase(),
        short_names: Vec::new(),
        categories: vec!["all".into()],
        scope: Scope::Namespaced,
        status: true,
        scale: None,
        verbs: ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
            .map(Into::into)
            .into(),
        extra_subresources: Vec::new(),
        columns: Vec::new(),
        strategic: true,
        form: None,
        custom: None,
        behaviour: Arc::new(Plain),
    }
}

pub(crate) fn kinds() -> KindSet {
    let mut pod = row("", "v1", "Pod", "pods");
    pod.short_names = vec!["po".into()];
    let sub = |name: &str, kind: &str, group: &str, version: &str, verb: &str| Subresource {
        name: name.into(),
        kind: kind.into(),
        group: group.into(),
        version: version.into(),
        verbs: vec![verb.into()],
    };
    pod.extra_subresources =
        vec![sub("log", "Pod", "", "", "get"), sub("eviction", "Eviction", "policy", "v1", "create")];
    let mut namespace = row("", "v1", "Namespace", "namespaces");
    namespace.scope = Scope::Cluster;
    let mut deployment = row("apps", "v1", "Deployment", "deployments");
    deployment.scale = Some(Scale {
        spec_replicas: "/spec/replicas".into(),
        status_replicas: "/status/replicas".into(),
        selector: None,
    });
    let rows = [
        pod,
        namespace,
        deployment,
        row("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
        row("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
        row("example.com", "v1", "Widget", "widgets"),
    ];
    KindSet::new(rows.map(Arc::new))
}

#[test]
fn groups_name_their_preferred_version() {
    let list = groups(&kinds());
    let names: Vec<_> = list["groups"].as_array().unwrap().iter().map(|group| group["name"].clone()).collect();
    assert_eq!(names, ["apps", "autoscaling", "example.com"]);
    let one = group(&kinds(), "autoscaling").unwrap();
    assert_eq!(one["preferredVersion"], json!({"groupVersion": "autoscaling/v2", "version": "v2"}));
    assert_eq!(one["versions"][1]["version"], "v1");
    assert_eq!(one["kind"], "APIGroup");
    assert!(group(&kinds(), "nothing").is_none() && group(&kinds(), "").is_none());
    assert_eq!(core_versions("127.0.0.1:6443")["versions"], json!(["v1"]));
}

#[test]
fn versions_are_ordered_as_kubernetes_orders_them() {
    let rows = ["v1alpha1", "foo", "v2", "v1", "v10", "v1beta2", "v1beta1"]
        .map(|version| Arc::new(row("g", version, "K", "ks")));
    assert_eq!(versions(&KindSet::new(rows), "g"), ["v10", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
}

#[test]
fn resources_come_with_their_subresources() {
    let list = resources(&kinds(), "", "v1").unwrap();
    let names: Vec<_> = list["resources"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["namespaces", "namespaces/status", "pods", "pods/eviction", "pods/log", "pods/status"]);
    assert_eq!(
        list["resources"][3],
        json!({"name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1",
            "kind": "Eviction", "verbs": ["create"]})
    );
    let pods = &list["resources"][2];
    assert_eq!(pods["shortNames"], json!(["po"]));
    assert_eq!(pods["storageVersionHash"], "xPOwRZ+Yhw8=");
    assert_eq!(list["groupVersion"], "v1");
    let scale = &resources(&kinds(), "apps", "v1").unwrap()["resources"][1];
    assert_eq!(
        (&scale["name"], &scale["group"], &scale["kind"]),
        (&json!("deployments/scale"), &json!("autoscaling"), &json!("Scale"))
    );
    assert!(resources(&kinds(), "apps", "v2").is_none());
}

#[test]
fn the_aggregated_document_says_all_at_once() {
    let core = aggregated(&kinds(), true, Aggregated::V2);
    assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2");
    assert_eq!(core["items"].as_array().unwrap().len(), 1);
    let pod = &core["items"][0]["versions"][0]["resources"][1];
    assert_eq!(
        (&pod["resource"], &pod["scope"], &pod["responseKind"]),
        (&json!("pods"), &json!("Namespaced"), &json!({"group": "", "version": "v1", "kind": "Pod"}))
    );
    assert_eq!(pod["subresources"][0]["responseKind"], json!({"group": "policy", "version": "v1", "kind": "Eviction"}));
    let rest = aggregated(&kinds(), false, Aggregated::V2Beta1);
    assert_eq!(rest["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    assert_eq!(rest["items"][1]["metadata"]["name"], "autoscaling");
    assert_eq!(rest["items"][1]["versions"][0]["version"], "v2");
}
