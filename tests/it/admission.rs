//! Admission that is configured in the cluster: a policy through the real kubectl, and a component that guards the cluster
//! it runs in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use testkit::{TestCluster, eventually};
use tokio::process::Command;

use crate::process::text;
use crate::support::{apply_text, raw, read, tool, with_samples};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1";

async fn post(cluster: &TestCluster, path: &str, object: &Value) -> (StatusCode, Value) {
    raw(cluster, Method::POST, path, "application/json", object.to_string()).await
}

async fn made(cluster: &TestCluster, path: &str, object: &Value) -> Value {
    let (status, answer) = post(cluster, path, object).await;
    assert_eq!(status, StatusCode::CREATED, "{path}: {answer}");
    answer
}

const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: replicas.example.com }
spec:
  failurePolicy: Fail
  paramKind: { apiVersion: v1, kind: ConfigMap }
  matchConstraints:
    resourceRules:
      - { apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments, deployments/scale] }
  variables:
    - { name: most, expression: "int(params.data.most)" }
  validations:
    - expression: "object.spec.replicas <= variables.most"
      messageExpression: "'at most ' + string(variables.most) + ' replicas'"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: replicas-everywhere }
spec:
  policyName: replicas.example.com
  validationActions: [Deny]
  paramRef: { name: limits, namespace: default, parameterNotFoundAction: Deny }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_is_told_what_a_policy_has_against_an_object() {
    let Some(program) = tool("kubectl") else { return };
    let cluster = TestCluster::start().await;
    let kubeconfig = cluster.cluster().kubeconfig().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), POLICY).unwrap();
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
    kubectl("create configmap limits --from-literal=most=2").await;
    let applied = kubectl("apply -f policy.yaml").await;
    assert!(
        applied.contains("validatingadmissionpolicy.admissionregistration.k8s.io/replicas.example.com created"),
        "{applied}"
    );
    assert!(kubectl("apply -f policy.yaml").await.contains("replicas-everywhere unchanged"));
    let refused = kubectl("create deployment d --image=coracle.local/hello --replicas=3").await;
    let denied = "ValidatingAdmissionPolicy 'replicas.example.com' with binding 'replicas-everywhere' denied request: at most 2 replicas";
    assert!(refused.contains(denied), "{refused}");
    let created = kubectl("create deployment d --image=coracle.local/hello --replicas=2").await;
    assert!(created.contains("deployment.apps/d created"), "{created}");
    let scaled = kubectl("scale deployment d --replicas=5").await;
    assert!(scaled.contains(denied), "{scaled}");
    let listed = kubectl("get validatingadmissionpolicies").await;
    assert!(listed.contains("replicas.example.com") && listed.contains("v1/ConfigMap"), "{listed}");
    cluster.stop().await;
}

/// A certificate authority, and a certificate of its for one name: all PEM, the key last.
fn certificates(name: &str) -> (String, String, String) {
    let own = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&own).unwrap().pem();
    let issuer = Issuer::new(authority, own);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    (root, leaf.pem(), key.serialize_pem())
}

const GATEKEEPER: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: gatekeeper }
spec:
  selector: { matchLabels: { app: gatekeeper } }
  template:
    metadata: { labels: { app: gatekeeper } }
    spec:
      containers:
        - name: gatekeeper
          image: coracle.local/gatekeeper
          imagePullPolicy: IfNotPresent
          ports: [{ name: http, containerPort: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: gatekeeper, annotations: { coracle.dev/tls-secret: gatekeeper-certificate } }
spec:
  selector: { app: gatekeeper }
  ports: [{ port: 443, targetPort: http }]
"#;

fn webhook(path: &str, root: &str) -> Value {
    json!({
        "name": "gatekeeper.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "service": { "namespace": "default", "name": "gatekeeper", "path": path }, "caBundle": STANDARD.encode(root),
        },
        "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"] }],
        "objectSelector": { "matchExpressions": [{ "key": "guarded", "operator": "Exists" }] },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_guards_the_cluster_that_it_runs_in() {
    let cluster = with_samples(&["gatekeeper"]).await;
    let (root, leaf, key) = certificates("gatekeeper.default.svc");
    let secret = json!({
        "metadata": { "name": "gatekeeper-certificate" }, "type": "kubernetes.io/tls",
        "data": { "tls.crt": STANDARD.encode(leaf), "tls.key": STANDARD.encode(key) },
    });
    made(&cluster, "/api/v1/namespaces/default/secrets", &secret).await;
    apply_text(&cluster, GATEKEEPER).await.unwrap();
    eventually("the gatekeeper is there", async || {
        let deployment = read(&cluster, "/apis/apps/v1/namespaces/default/deployments/gatekeeper").await?;
        (deployment["status"]["availableReplicas"] == 1).then_some(())
    })
    .await;
    for (kind, path) in [("mutating", "/mutate"), ("validating", "/validate")] {
        let configuration = json!({ "metadata": { "name": "gatekeeper" }, "webhooks": [webhook(path, &root)] });
        made(&cluster, &format!("{HOOKS}/{kind}webhookconfigurations"), &configuration).await;
    }
    let object = |name: &str, labels: Value| json!({ "metadata": { "name": name, "labels": labels } });
    let seen = eventually("the gatekeeper answers", async || {
        let (status, answer) = post(&cluster, CONFIG_MAPS, &object("a", json!({ "guarded": "" }))).await;
        (status == StatusCode::CREATED).then_some(answer)
    })
    .await;
    assert_eq!(seen["metadata"]["labels"]["seen-by"], "gatekeeper");
    let (status, refused) = post(&cluster, CONFIG_MAPS, &object("b", json!({ "guarded": "", "forbidden": "" }))).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.starts_with("admission webhook \"gatekeeper.example.com\" denied the request: the gatekeeper lets"),
        "{message}"
    );
    made(&cluster, CONFIG_MAPS, &object("unguarded", json!({ "forbidden": "" }))).await;

    // Who trusts somebody else is not fooled.
    let (other, ..) = certificates("gatekeeper.default.svc");
    let path = format!("{HOOKS}/validatingwebhookconfigurations/gatekeeper");
    let patch =
        json!([{ "op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": STANDARD.encode(other) }]);
    let patched = raw(&cluster, Method::PATCH, &path, "application/json-patch+json", patch.to_string()).await;
    assert_eq!(patched.0, StatusCode::OK, "{}", patched.1);
    let (status, refused) = post(&cluster, CONFIG_MAPS, &object("c", json!({ "guarded": "" }))).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{refused}");
    let wanted = "failed calling webhook \"gatekeeper.example.com\": failed to call webhook: Post \"https://gatekeeper.default.svc:443/validate?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert!(refused["message"].as_str().unwrap().ends_with(wanted), "{refused}");
    cluster.stop().await;
}
