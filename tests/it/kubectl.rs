//! The real kubectl against a whole cluster, line by line as people type them.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::{TestCluster, eventually, get};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::process::text;
use crate::support::{root, serves, service_of, tool, with_samples};

/// How long a line of a program that goes on may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// kubectl with the administrator's kubeconfig and a home of its own.
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: TempDir,
    started: Instant,
}

impl Kubectl {
    pub fn of(cluster: &TestCluster) -> Option<Self> {
        let kubeconfig = cluster.cluster().kubeconfig().unwrap().to_owned();
        Some(Self {
            program: tool("kubectl")?,
            kubeconfig,
            home: tempfile::tempdir().unwrap(),
            started: Instant::now(),
        })
    }

    /// A line as a shell would take it apart, with quotes.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words(line)).current_dir(root()).kill_on_drop(true).stdin(Stdio::null());
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.home.path()).env("USERPROFILE", self.home.path());
        command
    }

    pub async fn run(&self, line: &str) -> Output {
        eprintln!("{:>7.3?} kubectl {line}", self.started.elapsed());
        let output = tokio::time::timeout(2 * PATIENCE, self.command(line).output()).await;
        output.unwrap_or_else(|_| panic!("kubectl {line} does not end")).unwrap()
    }

    /// What a line that succeeds prints.
    pub async fn told(&self, line: &str) -> String {
        let output = self.run(line).await;
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "kubectl {line}\n{out}{error}");
        out
    }

    /// What a line that fails complains about.
    pub async fn refused(&self, line: &str) -> String {
        let output = self.run(line).await;
        assert!(!output.status.success(), "kubectl {line}\n{}", text(&output.stdout));
        text(&output.stderr)
    }

    /// Runs each line and looks for each of its words in what it prints.
    pub async fn table(&self, rows: &[(&str, &[&str])]) {
        for (line, wanted) in rows {
            let found = self.told(line).await;
            for wanted in *wanted {
                assert!(found.contains(wanted), "kubectl {line}: no {wanted:?} in\n{found}");
            }
        }
    }

    /// Repeats a line until it prints what is wanted.
    pub async fn until(&self, line: &str, wanted: &str) {
        eventually(&format!("kubectl {line} prints {wanted:?}"), async || {
            text(&self.run(line).await.stdout).contains(wanted).then_some(())
        })
        .await;
    }

    /// A line that goes on.
    pub fn start(&self, line: &str) -> Running {
        let mut child = self.command(line).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines, line: line.to_owned() }
    }

    /// Writes a file that lines can name.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

pub struct Running {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
    line: String,
}

impl Running {
    /// The next line that holds `wanted`.
    pub async fn until(&mut self, wanted: &str) -> String {
        let found = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(wanted) {
                    return Some(line);
                }
            }
            None
        };
        let found = tokio::time::timeout(PATIENCE, found).await.ok().flatten();
        found.unwrap_or_else(|| panic!("kubectl {}: no line with {wanted:?}", self.line))
    }

    pub async fn end(mut self) {
        self.child.kill().await.unwrap();
    }
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            other => word.push(other),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_is_applied_read_and_deleted() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let all = "get nodes,pods,deploy,rs,svc,endpointslices,ingress -o wide";
    kubectl
        .table(&[
            (
                "apply -f manifests/hello.yaml",
                &["deployment.apps/hello created", "service/hello created", "ingress.networking.k8s.io/hello created"],
            ),
            ("rollout status deploy/hello --timeout=60s", &["successfully rolled out"]),
            (
                all,
                &[
                    "INTERNAL-IP",
                    "KERNEL-VERSION",
                    "Ready",
                    "NOMINATED NODE",
                    "1/1",
                    "Running",
                    "2/2",
                    "UP-TO-DATE",
                    "coracle.local/hello",
                    "app=hello",
                    "CLUSTER-IP",
                    "ADDRESSTYPE",
                    "IPv4",
                    "hello.localhost",
                    "pod-template-hash",
                ],
            ),
            ("get all", &["pod/hello-", "service/hello", "deployment.apps/hello", "replicaset.apps/hello-"]),
            ("get deploy hello -o jsonpath={.spec.replicas}", &["2"]),
            ("get pods -o name", &["pod/hello-"]),
            ("get pods -A --show-labels", &["NAMESPACE", "app=hello"]),
            ("get pods --sort-by=.metadata.name", &["hello-"]),
            ("get pods --field-selector=status.phase=Running -l app=hello", &["hello-"]),
            (
                "get deploy hello -o yaml",
                &["kind: Deployment", "terminationGracePeriodSeconds: 30", "dnsPolicy: ClusterFirst"],
            ),
            ("get pods -o custom-columns=NAME:.metadata.name,IP:.status.podIP", &["NAME", "hello-", "10."]),
            ("get ns", &["default", "kube-system", "kube-public", "kube-node-lease", "Active"]),
            ("get svc", &["kubernetes", "443/TCP", "80/TCP"]),
            ("get events", &["Scheduled", "Started", "ScalingReplicaSet", "pod/hello-"]),
            ("logs deploy/hello", &[]),
            (
                "describe deploy hello",
                &["RollingUpdateStrategy:", "25% max unavailable", "NewReplicaSet:", "ScalingReplicaSet"],
            ),
            (
                "describe pods -l app=hello",
                &["Successfully assigned", "Pulled", "Created", "Started", "Node:", "QoS Class:", "Readiness:"],
            ),
            ("describe svc hello", &["Endpoints:", "TargetPort:"]),
            ("describe ingress hello", &["hello.localhost", "hello:http"]),
            ("describe nodes", &["kubernetes.io/arch=wasm32", "Capacity:", "Allocated resources:", "coracle.dev/fuel"]),
            ("get --raw /readyz", &["ok"]),
            ("version", &["Server Version: v1.36"]),
            ("cluster-info", &["is running at"]),
            ("api-versions", &["apps/v1", "networking.k8s.io/v1", "discovery.k8s.io/v1"]),
            ("api-resources", &["deploy", "endpointslices", "ing", "cm", "true", "Ingress"]),
            ("api-resources --namespaced=false -o wide", &["nodes", "namespaces", "ingressclasses", "create,delete"]),
            ("explain deployment.spec.strategy", &["GROUP:", "rollingUpdate", "<RollingUpdateDeployment>"]),
            ("explain pod --recursive", &["containers", "livenessProbe"]),
            ("auth can-i create deployments", &["yes"]),
            ("auth can-i '*' '*' --all-namespaces", &["yes"]),
            ("auth whoami", &["system:masters"]),
            ("apply -f manifests/hello.yaml", &["deployment.apps/hello unchanged", "service/hello unchanged"]),
            ("delete -f manifests/hello.yaml", &["deployment.apps \"hello\" deleted", "service \"hello\" deleted"]),
        ])
        .await;
    kubectl.until("get pods --ignore-not-found -o name", "").await;
    let error = kubectl.refused("get deploy hello").await;
    assert!(error.contains("Error from server (NotFound): deployments.apps \"hello\" not found"), "{error}");
    let error = kubectl.refused("get nonsense").await;
    assert!(error.contains("doesn't have a resource type \"nonsense\""), "{error}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_rolls_forward_and_back() {
    let cluster = with_samples(&["hello", "echo"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl
        .table(&[
            ("apply -f manifests/hello.yaml", &["created"]),
            ("wait --for=condition=Available deploy/hello --timeout=60s", &["condition met"]),
            ("scale deploy/hello --replicas=4", &["deployment.apps/hello scaled"]),
            ("rollout status deploy/hello --timeout=60s", &["successfully rolled out"]),
            ("scale --current-replicas=4 --replicas=2 deploy/hello", &["scaled"]),
            ("set image deploy/hello hello=coracle.local/echo", &["deployment.apps/hello image updated"]),
            ("rollout status deploy/hello --timeout=60s", &["successfully rolled out"]),
        ])
        .await;
    let seen = serves(&cluster, "hello.localhost", "/rolled").await;
    assert!(seen.contains("/rolled"), "{seen}");
    kubectl
        .table(&[
            ("rollout history deploy/hello", &["REVISION", "1", "2"]),
            ("rollout history deploy/hello --revision=1", &["coracle.local/hello"]),
            ("rollout undo deploy/hello", &["rolled back"]),
            ("rollout status deploy/hello --timeout=60s", &["successfully rolled out"]),
            ("get deploy hello -o jsonpath={.spec.template.spec.containers[0].image}", &["coracle.local/hello"]),
            ("rollout history deploy/hello", &["3"]),
            ("set env deploy/hello GREETING=Ahoy", &["env updated"]),
            ("rollout status deploy/hello --timeout=60s", &["successfully rolled out"]),
            ("rollout pause deploy/hello", &["paused"]),
            ("set env deploy/hello GREETING=Later", &["env updated"]),
            ("rollout resume deploy/hello", &["resumed"]),
            ("rollout status deploy/hello --timeout=60s", &["successfully rolled out"]),
            ("rollout restart deploy/hello", &["restarted"]),
            ("rollout status deploy/hello --timeout=60s", &["successfully rolled out"]),
            ("set resources deploy/hello --limits=memory=32Mi", &["resource requirements updated"]),
        ])
        .await;
    let text = serves(&cluster, "hello.localhost", "/").await;
    assert!(text.starts_with("Later\n"), "{text}");
    cluster.stop().await;
}

/// These go in protobuf from kubectl 1.32 on.
#[tokio::test(flavor = "multi_thread")]
async fn objects_are_made_from_the_command_line() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let literal = kubectl.file("file.txt", "from a file");
    let rows: Vec<(String, &[&str])> = vec![
        ("create namespace team".into(), &["namespace/team created"]),
        (
            format!("create configmap settings --from-literal=a=b --from-file=file={literal} -n team"),
            &["configmap/settings created"],
        ),
        ("get cm settings -n team -o jsonpath={.data.a}-{.data.file}".into(), &["b-from a file"]),
        ("create secret generic key --from-literal=password=hunter2 -n team".into(), &["secret/key created"]),
        ("get secret key -n team -o jsonpath={.data.password}".into(), &["aHVudGVyMg=="]),
        ("describe secret key -n team".into(), &["password:  7 bytes"]),
        ("create serviceaccount robot -n team".into(), &["serviceaccount/robot created"]),
        (
            "create deployment web --image=coracle.local/hello --replicas=2 --port=80".into(),
            &["deployment.apps/web created"],
        ),
        ("get deploy web -o jsonpath={.spec.replicas}".into(), &["2"]),
        ("create deployment none --image=coracle.local/hello --replicas=0".into(), &["created"]),
        ("get deploy none -o jsonpath={.spec.replicas}".into(), &["0"]),
        ("expose deploy web --port=80".into(), &["service/web exposed"]),
        ("create service clusterip other --tcp=5000:80".into(), &["service/other created"]),
        ("create ingress web --rule=web.localhost/*=web:80".into(), &["ingress.networking.k8s.io/web created"]),
        ("run alone --image=coracle.local/hello --restart=Never".into(), &["pod/alone created"]),
        ("wait --for=condition=Ready pod/alone --timeout=60s".into(), &["condition met"]),
        ("rollout status deploy/web --timeout=60s".into(), &["successfully rolled out"]),
        ("delete pod alone --now".into(), &["deleted"]),
        ("delete ns team".into(), &["namespace \"team\" deleted"]),
    ];
    for (line, wanted) in &rows {
        kubectl.table(&[(line.as_str(), wanted)]).await;
    }
    serves(&cluster, "web.localhost", "/").await;
    let error = kubectl.refused("create configmap settings -n team --from-literal=a=b").await;
    assert!(error.contains("namespaces \"team\" not found"), "{error}");
    let error = kubectl.refused("create deployment web --image=x").await;
    assert!(error.contains("deployments.apps \"web\" already exists"), "{error}");
    let error = kubectl.refused("create configmap Wrong_Name").await;
    assert!(error.contains("RFC 1123"), "{error}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_changed_from_the_command_line() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let strategic =
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"hello","env":[{"name":"ADDED","value":"1"}]}]}}}}"#;
    let json = r#"[{"op":"replace","path":"/spec/replicas","value":1}]"#;
    let merge = r#"{"metadata":{"annotations":{"b":"c"}}}"#;
    let edited = kubectl.file(
        "hello.yaml",
        &std::fs::read_to_string("manifests/hello.yaml").unwrap().replace("replicas: 2", "replicas: 3"),
    );
    kubectl
        .table(&[
            ("apply -f manifests/hello.yaml", &["created"]),
            ("label deploy hello tier=front", &["labeled"]),
            ("label deploy hello tier=back --overwrite", &["labeled"]),
            ("get deploy -l tier=back -o name", &["deployment.apps/hello"]),
            ("label deploy hello tier-", &["unlabeled"]),
            ("annotate deploy hello note='two words'", &["annotated"]),
            ("get deploy hello -o jsonpath={.metadata.annotations.note}", &["two words"]),
            (&format!("patch deploy hello -p '{strategic}'"), &["patched"]),
            (
                "get deploy hello -o jsonpath={.spec.template.spec.containers[0].env[*].name}",
                &["ADDED", "GREETING", "POD_NAME"],
            ),
            (&format!("patch deploy hello --type=json -p '{json}'"), &["patched"]),
            (&format!("patch deploy hello --type=merge -p '{merge}'"), &["patched"]),
            ("get deploy hello -o jsonpath={.spec.replicas}{.metadata.annotations.b}", &["1c"]),
            (&format!("apply -f {edited}"), &["deployment.apps/hello configured"]),
            ("get deploy hello -o jsonpath={.spec.replicas}", &["3"]),
            (&format!("replace -f {edited}"), &["replaced"]),
            (
                "apply --server-side --force-conflicts -f manifests/hello.yaml",
                &["deployment.apps/hello serverside-applied"],
            ),
            ("get deploy hello -o jsonpath={.spec.replicas}", &["2"]),
            ("apply -f manifests/hello.yaml --dry-run=server", &["(server dry run)"]),
            ("cordon -l kubernetes.io/arch=wasm32", &["cordoned"]),
            ("get nodes", &["SchedulingDisabled"]),
            ("uncordon -l kubernetes.io/arch=wasm32", &["uncordoned"]),
        ])
        .await;
    let diff = kubectl.run(&format!("diff -f {edited}")).await;
    assert_eq!(diff.status.code(), Some(1), "{}", text(&diff.stderr));
    assert!(text(&diff.stdout).contains("+  replicas: 3"), "{}", text(&diff.stdout));
    let wrong = kubectl.file(
        "wrong.yaml",
        &std::fs::read_to_string("manifests/hello.yaml").unwrap().replace("replicas:", "replicaz:"),
    );
    let error = kubectl.refused(&format!("apply -f {wrong}")).await;
    assert!(error.contains("unknown field \"spec.replicaz\""), "{error}");
    let error = kubectl
        .refused("patch deploy hello --type=merge -p '{\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}}}}'")
        .await;
    assert!(error.contains("field is immutable"), "{error}");
    cluster.stop().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_edited() {
    use std::os::unix::fs::PermissionsExt;
    let cluster = with_samples(&[]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let editor =
        kubectl.file("editor.sh", "#!/bin/sh\nsed 's/before/after/' \"$1\" > \"$1.new\" && cat \"$1.new\" > \"$1\"\n");
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    kubectl.told("create configmap draft --from-literal=text=before").await;
    let output = kubectl.command("edit cm draft").env("KUBE_EDITOR", &editor).output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    kubectl.table(&[("get cm draft -o jsonpath={.data.text}", &["after"])]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_logs_are_followed() {
    let cluster = with_samples(&["hello", "echo"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let echo = kubectl.file("echo.yaml", &service_of("echo", "echo", ""));
    let mut watch = kubectl.start("get deploy -w");
    kubectl.told(&format!("apply -f {echo}")).await;
    watch.until("1/1").await;
    kubectl.told("scale deploy/echo --replicas=2").await;
    watch.until("2/2").await;
    watch.end().await;
    let mut events = kubectl.start("get pods -w --output-watch-events");
    events.until("ADDED").await;

    serves(&cluster, "echo.localhost", "/early").await;
    kubectl.told("scale deploy/echo --replicas=1").await;
    events.until("DELETED").await;
    events.end().await;
    kubectl.told("rollout status deploy/echo --timeout=60s").await;
    kubectl.until("get pods -l app=echo --no-headers", "Running").await;
    let mut logs = kubectl.start("logs -f deploy/echo --timestamps");
    for _ in 0..5 {
        serves(&cluster, "echo.localhost", "/late").await;
    }
    let line = logs.until("GET ").await;
    assert!(line.starts_with("20") && line.contains("Z GET "), "{line}");
    logs.end().await;
    kubectl
        .table(&[
            ("logs -l app=echo --tail=1", &["GET "]),
            ("logs deploy/echo --since=1h", &["/late"]),
            ("logs deploy/echo -c echo --tail=2 --prefix", &["[pod/echo-"]),
            ("events --for deploy/echo", &["ScalingReplicaSet"]),
        ])
        .await;
    let error = kubectl.refused("logs deploy/echo -c other").await;
    assert!(error.contains("container other is not valid for pod echo-"), "{error}");
    let error = kubectl.refused("logs deploy/echo --previous").await;
    assert!(error.contains("previous terminated container \"echo\""), "{error}");
    let listed = kubectl.told("exec deploy/echo -- ls /etc").await;
    assert!(listed.contains("hosts") && listed.contains("resolv.conf"), "{listed}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_port_leads_into_a_pod() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.told("apply -f manifests/hello.yaml").await;
    kubectl.told("rollout status deploy/hello --timeout=60s").await;
    for target in ["deploy/hello :80", "svc/hello :http"] {
        let mut forward = kubectl.start(&format!("port-forward {target}"));
        let line = forward.until("Forwarding from 127.0.0.1:").await;
        let address = line.split_whitespace().nth(2).unwrap().parse().unwrap();
        for _ in 0..3 {
            let answer = get(address, "localhost", "/").await;
            assert!(answer.text.contains("pod: hello-"), "{target}: {}", answer.text);
        }
        forward.end().await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_drained() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.told("apply -f manifests/hello.yaml").await;
    kubectl.told("rollout status deploy/hello --timeout=60s").await;
    let node = kubectl.told("get nodes -o jsonpath={.items[0].metadata.name}").await;
    let told = kubectl.told(&format!("drain {node} --timeout=60s")).await;
    assert!(told.contains("drained"), "{told}");
    // Their successors have nowhere to go.
    kubectl.until("get pods", "Pending").await;
    kubectl.until("get events", "FailedScheduling").await;
    let events = kubectl.told("get events --field-selector reason=FailedScheduling").await;
    assert!(events.contains("0/1 nodes are available: 1 node(s) were unschedulable"), "{events}");
    kubectl.told(&format!("uncordon {node}")).await;
    kubectl.told("rollout status deploy/hello --timeout=60s").await;
    cluster.stop().await;
}
