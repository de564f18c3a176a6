//! Server-side apply, as kube-rs and kubectl ask for it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testkit::TestCluster;

use crate::kubectl::Kubectl;

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": data})
}

fn managers(object: &impl kube::ResourceExt) -> Vec<(String, String, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    object
        .managed_fields()
        .iter()
        .map(|one| (text(&one.manager), text(&one.operation), text(&one.subresource)))
        .collect()
}

fn entry(manager: &str, operation: &str, subresource: &str) -> (String, String, String) {
    (manager.to_owned(), operation.to_owned(), subresource.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_rs_shares_an_object_between_managers() {
    let cluster = TestCluster::start().await;
    let maps = Api::<ConfigMap>::default_namespaced(cluster.client());
    let apply = async |manager: &str, force: bool, data: Value| {
        let params = PatchParams { force, ..PatchParams::apply(manager) };
        maps.patch("shared", &params, &Patch::Apply(map(data))).await
    };
    let made = apply("one", false, json!({"a": "1", "b": "1"})).await.unwrap();
    assert_eq!(managers(&made), [entry("one", "Apply", "")]);
    let again = apply("one", false, json!({"a": "1", "b": "1"})).await.unwrap();
    assert_eq!(again.metadata.resource_version, made.metadata.resource_version);
    let Err(kube::Error::Api(refused)) = apply("two", false, json!({"a": "2", "c": "2"})).await else {
        panic!("a conflict is an error")
    };
    assert_eq!((refused.code, &*refused.reason), (409, "Conflict"));
    assert_eq!(refused.message, "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    let causes = &refused.details.as_ref().unwrap().causes;
    assert_eq!((&*causes[0].reason, &*causes[0].field), ("FieldManagerConflict", ".data.a"));
    apply("two", true, json!({"a": "2", "c": "2"})).await.unwrap();
    let left = apply("one", false, json!({})).await.unwrap();
    assert_eq!(json!(left.data), json!({"a": "2", "c": "2"}), "what only one wished for is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_writer_of_a_deployment_has_its_own_fields() {
    let cluster = TestCluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.told("create deployment web --image=none.invalid/x --replicas=0").await;
    kubectl.told("scale deployment web --replicas=1").await;
    kubectl.told("set image deployment/web x=none.invalid/y").await;
    kubectl
        .told("patch deployment web --subresource=status --type=merge -p '{\"status\":{\"collisionCount\":7}}'")
        .await;
    let deployments = Api::<Deployment>::default_namespaced(cluster.client());
    let found = deployments.get("web").await.unwrap();
    let all = managers(&found);
    for wanted in [
        entry("kubectl-create", "Update", ""),
        entry("kubectl", "Update", "scale"),
        entry("kubectl-set", "Update", ""),
        entry("kubectl-patch", "Update", "status"),
        entry("kube-controller-manager", "Update", "status"),
    ] {
        assert!(all.contains(&wanted), "{wanted:?} in {all:?}");
    }
    let shown = kubectl.told("get deployment web -o yaml").await;
    assert!(!shown.contains("managedFields"));
    let shown = kubectl.told("get deployment web -o yaml --show-managed-fields").await;
    assert!(shown.contains("f:replicas: {}"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_goes_from_its_own_apply_to_the_servers() {
    let cluster = TestCluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.yaml");
    let write = |port: u16, app: &str| {
        let ports = json!([{"name": "http", "port": 80}, {"name": format!("p{port}"), "port": port}]);
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"selector": {"app": app}, "ports": ports}});
        std::fs::write(&file, service.to_string()).unwrap();
    };
    let path = file.display();
    let ports = "get service s -o jsonpath={.spec.ports[*].port}";
    write(81, "one");
    kubectl.told(&format!("apply -f {path}")).await;
    write(82, "one");
    let done = kubectl.told(&format!("apply --server-side -f {path}")).await;
    assert_eq!(done, "service/s serverside-applied\n");
    assert_eq!(kubectl.told(ports).await, "80 82");
    let last = "get service s -o jsonpath={.metadata.annotations}";
    assert!(kubectl.told(last).await.contains("\\\"port\\\":82"), "the way back stays open");
    write(83, "two");
    let refused = kubectl.refused(&format!("apply --server-side --field-manager=other -f {path}")).await;
    assert!(refused.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .spec.selector"), "{refused}");
    kubectl.told(&format!("apply --server-side --field-manager=other --force-conflicts -f {path}")).await;
    assert_eq!(kubectl.told(ports).await, "80 82 83", "each wishes for its own port");
    write(84, "two");
    kubectl.told(&format!("apply -f {path}")).await;
    assert!(kubectl.told(ports).await.contains("84"));
}
