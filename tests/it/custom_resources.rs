//! Kinds that users bring: with the real kubectl, and as an operator's client library sees them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::json;
use testkit::{TestCluster, eventually};
use tokio::process::Command;

use crate::process::text;
use crate::support::tool;

const CRON_TABS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: crontabs.stable.example.com }
spec:
  group: stable.example.com
  scope: Namespaced
  names: { plural: crontabs, kind: CronTab, shortNames: [ct], categories: [all] }
  versions:
    - name: v1
      served: true
      storage: true
      subresources:
        status: {}
        scale: { specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas }
      selectableFields: [{ jsonPath: .spec.image }]
      additionalPrinterColumns:
        - { name: Spec, type: string, jsonPath: .spec.cronSpec }
        - { name: Replicas, type: integer, jsonPath: .spec.replicas }
      schema:
        openAPIV3Schema:
          type: object
          description: A CronTab runs something again and again.
          properties:
            spec:
              type: object
              required: [cronSpec]
              x-kubernetes-validations: [{ rule: "self.replicas <= 10", message: "replicas must be at most 10" }]
              properties:
                cronSpec: { type: string, description: "When it runs.", pattern: "^[0-9* /]+$" }
                image: { type: string, default: busybox }
                replicas: { type: integer, minimum: 1, default: 1 }
            status:
              type: object
              properties: { replicas: { type: integer } }
"#;

const MINE: &str = r#"
apiVersion: stable.example.com/v1
kind: CronTab
metadata: { name: mine }
spec: { cronSpec: "* * * * */5", replicas: 3 }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_works_with_a_kind_of_its_user() {
    let Some(program) = tool("kubectl") else { return };
    let cluster = TestCluster::start().await;
    let kubeconfig = cluster.cluster().kubeconfig().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    file("crd.yaml", CRON_TABS);
    file("mine.yaml", MINE);
    file("large.yaml", &MINE.replace("replicas: 3", "replicas: 30"));
    file("typed.yaml", &MINE.replace("replicas: 3", "replicas: many"));
    file("mistyped.yaml", &MINE.replace("replicas: 3", "replicaz: 3").replace("mine", "other"));
    file("wrong.yaml", &CRON_TABS.replace("self.replicas <=", "self.nothing <=").replace("crontabs", "crontubs"));
    let kubectl = async |line: &str| {
        let mut command = Command::new(&program);
        command
            .args(line.split(' '))
            .current_dir(folder.path())
            .env("KUBECONFIG", &kubeconfig)
            .env("HOME", folder.path());
        let output = command.output().await.unwrap();
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    };
    let said = async |line: &str, wanted: &str| {
        let found = kubectl(line).await;
        assert!(found.contains(wanted), "{line}: {found}");
    };
    said("create -f crd.yaml", "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com created")
        .await;
    said("wait --for=condition=Established crd/crontabs.stable.example.com --timeout=20s", "condition met").await;
    said("get crd", "crontabs.stable.example.com   20").await;
    said("apply -f mine.yaml", "crontab.stable.example.com/mine created").await;
    said("apply -f mine.yaml", "crontab.stable.example.com/mine unchanged").await;
    let shown = kubectl("get ct").await;
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(words, ["NAME", "SPEC", "REPLICAS", "mine", "*", "*", "*", "*", "*/5", "3"], "{shown}");
    said("get all", "crontab.stable.example.com/mine").await;
    said("get ct --field-selector spec.image=busybox -o name", "crontab.stable.example.com/mine").await;
    said("explain crontab", "A CronTab runs something again and again.").await;
    said("explain crontab.spec.cronSpec", "When it runs.").await;
    said(
        "apply -f large.yaml",
        "The CronTab \"mine\" is invalid: spec: Invalid value: \"object\": replicas must be at most 10",
    )
    .await;
    said(
        "apply -f typed.yaml",
        "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
    )
    .await;
    said("apply -f mistyped.yaml", "strict decoding error: unknown field \"spec.replicaz\"").await;
    said("create -f wrong.yaml", "undefined field 'nothing'").await;
    said("scale ct mine --replicas=5", "crontab.stable.example.com/mine scaled").await;
    said("get ct mine -o jsonpath={.spec.replicas}/{.metadata.generation}", "5/2").await;
    said("patch ct mine --type=merge --subresource=status -p {\"status\":{\"replicas\":5}}", "patched").await;
    said("apply --server-side --force-conflicts -f mine.yaml", "crontab.stable.example.com/mine serverside-applied")
        .await;
    said("get ct mine -o jsonpath={.spec.replicas}/{.status.replicas}", "3/5").await;
    said("delete -f crd.yaml", "\"crontabs.stable.example.com\" deleted").await;
    said("get crd", "No resources found").await;
    said("get ct", "the server").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_its_kind_as_soon_as_it_is_established() {
    let cluster = TestCluster::start().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client());
    let name = "gadgets.example.com";
    let definition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": name },
        "spec": {
            "group": "example.com", "scope": "Cluster", "names": { "plural": "gadgets", "kind": "Gadget" },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": { "type": "object", "properties": { "parts": { "type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"], "items": { "type": "object", "required": ["name"], "properties": {
                            "name": { "type": "string" }, "count": { "type": "integer" } } } } } },
                    "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                } } },
            }],
        },
    }))
    .unwrap();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let established = await_condition(definitions.clone(), name, conditions::is_crd_established());
    tokio::time::timeout(std::time::Duration::from_secs(20), established).await.unwrap().unwrap();
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Gadget"), "gadgets");
    let gadgets: Api<DynamicObject> = Api::all_with(cluster.client(), &resource);
    // Two owners of one list, each with its entries.
    for (owner, part) in [("one", "wheel"), ("two", "door")] {
        let wish = json!({
            "apiVersion": "example.com/v1", "kind": "Gadget", "metadata": { "name": "g" }, "spec": { "parts": [{ "name": part, "count": 1 }] },
        });
        gadgets.patch("g", &PatchParams::apply(owner), &Patch::Apply(&wish)).await.unwrap();
    }
    let merged = gadgets.get("g").await.unwrap();
    assert_eq!(merged.data["spec"]["parts"], json!([{ "name": "wheel", "count": 1 }, { "name": "door", "count": 1 }]));
    let status = json!({ "status": { "ready": true } });
    let ready = gadgets.patch_status("g", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    assert_eq!(ready.data["status"]["ready"], true);
    assert_eq!(gadgets.list(&ListParams::default()).await.unwrap().items.len(), 1);
    definitions.delete(name, &DeleteParams::default()).await.unwrap();
    let uid =
        definitions.get_opt(name).await.unwrap().and_then(|definition| definition.metadata.uid).unwrap_or_default();
    let gone = await_condition(definitions, name, conditions::is_deleted(&uid));
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.unwrap().unwrap();
    eventually("its objects are not served any more", async || {
        gadgets.list(&ListParams::default()).await.is_err().then_some(())
    })
    .await;
    cluster.stop().await;
}
