//! A pod's task between an API that writes down what it is told and a sandbox whose containers do as the test says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use bytes::Bytes;
use client::events::Recorder;
use client::informers::Informer;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use images::ImageStore;
use k8s_openapi::api::core::v1::Service;
use network::PodNetwork;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::logs::{LogOf, LogOptions, Logs};
use crate::sandbox::{ContainerSpec, Exit, ExitReason, Form, PrepareError, Sandbox, StartError, Stats, Stream};
use crate::volumes::{Allowed, Surface, Volumes};

/// What the API was told: method, path, body.
type Told = Arc<watch::Sender<Vec<(Method, String, Value)>>>;

fn api(told: &Told) -> client::Client {
    let told = told.clone();
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let told = told.clone();
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            told.send_modify(|told| told.push((parts.method, parts.uri.path().to_owned(), body)));
            let answer = json!({ "metadata": { "name": "web", "namespace": "default", "resourceVersion": "5" }, "involvedObject": {} });
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer.to_string()))))
        }
    });
    client::in_process(service, "default")
}

#[derive(Default)]
struct Scripted {
    started: Mutex<Vec<Arc<Puppet>>>,
}

struct Puppet {
    spec: ContainerSpec,
    exit: watch::Sender<Option<Exit>>,
    stopped: Mutex<Vec<Duration>>,
}

impl Puppet {
    /// How long it was given each time that it was stopped, in seconds.
    fn stopped(&self) -> Vec<u64> {
        self.stopped.lock().iter().map(|grace| (grace.as_secs_f64() + 0.5) as u64).collect()
    }

    fn end(&self, code: i32) {
        let now = SystemTime::now();
        let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
        let exit = Exit { code, reason, message: String::new(), started: now, finished: now };
        self.exit.send_replace(Some(exit));
    }
}

impl Container for Puppet {
    fn exit(&self) -> BoxFuture<'static, Exit> {
        let mut exit = self.exit.subscribe();
        async move { exit.wait_for(Option::is_some).await.unwrap().clone().unwrap() }.boxed()
    }
    fn stop(&self, grace: Duration) -> BoxFuture<'static, ()> {
        self.stopped.lock().push(grace);
        self.end(0);
        futures::future::ready(()).boxed()
    }
    fn stats(&self) -> Stats {
        Stats::default()
    }
}

#[async_trait::async_trait]
impl Sandbox for Scripted {
    async fn prepare(&self, _image: &images::Resolved, _form: Form, _namespace: &str) -> Result<(), PrepareError> {
        Ok(())
    }
    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let puppet = Arc::new(Puppet { spec, exit: watch::Sender::new(None), stopped: Mutex::default() });
        self.started.lock().push(puppet.clone());
        Ok(puppet)
    }
}

struct Stage {
    told: Told,
    sandbox: Arc<Scripted>,
    context: Arc<Context>,
    wanted: watch::Sender<Wanted>,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Stage {
    #[allow(clippy::disallowed_methods, reason = "the test joins the task")]
    async fn new(spec: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let told: Told = Arc::default();
        let (client, tasks) = (api(&told), base::Tasks::new());
        let images = ImageStore::open(&dir.path().join("images")).unwrap();
        images.push("hello", "v1", wat::parse_str("(component)").unwrap().into()).await.unwrap();
        let services = Informer::<Service>::empty();
        services.replace([]);
        let namespaces = Informer::<client::informers::Metadata>::empty();
        let metadata = kube::core::ObjectMeta { name: Some("default".to_owned()), ..Default::default() };
        namespaces.replace([client::informers::Metadata { types: None, metadata, _phantom: std::marker::PhantomData }]);
        let sandbox = Arc::new(Scripted::default());
        let events = Recorder::new(client.clone(), &tasks, "kubelet", None);
        let logs = Logs::open_folder(dir.path().join("logs")).unwrap();
        let (volumes, _) = Volumes::open(Surface {
            node: "node".to_owned(),
            folder: dir.path().to_owned(),
            client: client.clone(),
            events: events.clone(),
            images: images.clone(),
            host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            allocatable: BTreeMap::new(),
            allowed: Allowed::new(Vec::new()),
            logs: logs.clone(),
            persistent: client::informers::Informer::empty(),
            tasks: tasks.clone(),
        })
        .unwrap();
        let context = Arc::new(Context {
            on_ready: None,
            client: client.clone(),
            sandbox: sandbox.clone(),
            images,
            network: PodNetwork::new(network::Config::default()),
            logs,
            presence: crate::present::Presence::default(),
            events,
            services,
            namespaces,
            volumes,
            host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            allocatable: BTreeMap::new(),
            figures: crate::figures::Figures::default(),
            tasks,
        });
        let (wanted, receiver) =
            watch::channel(Wanted { pod: pod(&spec, false), gone: false, shutdown: None, eviction: None });
        let task = tokio::spawn(run(context.clone(), receiver));
        Self { told, sandbox, context, wanted, task, _dir: dir }
    }

    /// Waits until the API was told something that fits, and gives it back.
    async fn told(&self, fits: impl Fn(&Method, &str, &Value) -> bool) -> Value {
        let mut told = self.told.subscribe();
        let seen = told.wait_for(|told| told.iter().any(|(method, path, body)| fits(method, path, body)));
        let seen = tokio::time::timeout(Duration::from_secs(10), seen).await.expect("nothing fits").unwrap();
        seen.iter().find(|(method, path, body)| fits(method, path, body)).unwrap().2.clone()
    }

    async fn told_status(&self, fits: impl Fn(&Value) -> bool) -> Value {
        self.told(|method, path, body| {
            method == Method::PATCH && path.ends_with("/web/status") && fits(&body["status"])
        })
        .await["status"]
            .clone()
    }

    fn puppet(&self, number: usize) -> Arc<Puppet> {
        self.sandbox.started.lock()[number].clone()
    }

    fn of(&self) -> LogOf {
        LogOf { namespace: "default".into(), pod: "web".into(), uid: "u1".into(), container: "app".into() }
    }
}

fn pod(spec: &Value, deleted: bool) -> Arc<Pod> {
    let mut metadata = json!({ "name": "web", "namespace": "default", "uid": "u1", "generation": 1 });
    if deleted {
        metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        metadata["deletionGracePeriodSeconds"] = json!(7);
    }
    Arc::new(serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap())
}

fn spec() -> Value {
    json!({ "containers": [{
        "name": "app",
        "image": "coracle.local/hello:v1",
        "args": ["--name=$(NAME)"],
        "env": [{ "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
        "livenessProbe": { "tcpSocket": { "port": 80 }, "failureThreshold": 100 },
    }] })
}

#[tokio::test]
async fn a_pod_runs_restarts_and_goes_when_it_is_deleted() {
    let stage = Stage::new(spec()).await;
    let status = stage.told_status(|status| status["phase"] == "Running").await;
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    assert_eq!(status["podIP"], stage.puppet(0).spec.address.to_string());
    assert_eq!(stage.puppet(0).spec.args, ["hello", "--name=web"]);

    stage.puppet(0).spec.output.write(Stream::Stdout, b"last words");
    stage.puppet(0).end(3);
    let status = stage
        .told_status(|status| status["containerStatuses"][0]["restartCount"] == 1 && status["phase"] == "Running")
        .await;
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 3);
    let options = LogOptions { previous: true, ..LogOptions::default() };
    let mut log = stage.context.logs.open(&stage.of(), options).await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap(), "last words\n");

    stage.wanted.send_modify(|wanted| wanted.pod = pod(&spec(), true));
    let delete = stage.told(|method, path, _| method == Method::DELETE && path.ends_with("/pods/web")).await;
    assert_eq!((&delete["gracePeriodSeconds"], &delete["preconditions"]["uid"]), (&json!(0), &json!("u1")));
    assert_eq!(stage.puppet(1).stopped(), [7]);
    stage.told_status(|status| status["phase"] == "Succeeded").await;
    let Stage { wanted, task, context, .. } = stage;
    wanted.send_modify(|wanted| wanted.gone = true);
    task.await.unwrap();
    assert_eq!(context.logs.address("u1"), None);
}

#[tokio::test]
async fn a_pod_that_somebody_else_calls_unready_is_said_to_be_ready_again() {
    let stage = Stage::new(spec()).await;
    stage.told_status(|status| status["containerStatuses"][0]["ready"] == true).await;
    let ready = |at: u32, ready: &str| {
        let mut pod = pod(&spec(), false).as_ref().clone();
        pod.metadata.resource_version = Some(at.to_string());
        let conditions = json!([{ "type": "Ready", "status": ready }]);
        pod.status = Some(serde_json::from_value(json!({ "phase": "Running", "conditions": conditions })).unwrap());
        Arc::new(pod)
    };
    let count = || stage.told.borrow().iter().filter(|(method, ..)| *method == Method::PATCH).count();
    let before = count();
    // What is older than its own word is nothing new; what is newer is answered.
    stage.wanted.send_modify(|wanted| wanted.pod = ready(3, "False"));
    tokio::task::yield_now().await;
    assert_eq!(count(), before);
    stage.wanted.send_modify(|wanted| wanted.pod = ready(8, "False"));
    let mut told = stage.told.subscribe();
    told.wait_for(|told| told.iter().filter(|(method, ..)| *method == Method::PATCH).count() > before).await.unwrap();
    let told = stage.told.borrow().last().unwrap().2["status"]["conditions"].clone();
    assert!(told.as_array().unwrap().iter().any(|row| row["type"] == "Ready" && row["status"] == "True"), "{told}");
}

#[tokio::test]
async fn a_node_that_stops_leaves_the_object_as_it_is() {
    let stage = Stage::new(spec()).await;
    stage.told_status(|status| status["phase"] == "Running").await;
    let (ended, mut all_ended) = mpsc::channel(1);
    let grace = Duration::from_secs(3);
    stage.wanted.send_modify(|wanted| wanted.shutdown = Some((grace, ended)));
    let before = stage.told.borrow().iter().filter(|(method, ..)| *method == Method::PATCH).count();
    let puppet = stage.puppet(0);
    stage.task.await.unwrap();
    drop(stage.wanted);
    assert_eq!(all_ended.recv().await, None);
    assert_eq!(puppet.stopped(), [grace.as_secs()]);
    let told = stage.told.borrow();
    assert!(told.iter().all(|(method, ..)| *method != Method::DELETE));
    assert_eq!(
        told.iter().filter(|(method, path, _)| *method == Method::PATCH && path.ends_with("/status")).count(),
        before
    );
}

#[tokio::test]
async fn a_pod_without_image_says_so_and_goes_when_it_is_deleted() {
    let missing = || json!({ "containers": [{ "name": "app", "image": "coracle.local/none:v1" }] });
    let stage = Stage::new(missing()).await;
    let status = stage
        .told_status(|status| status["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImagePull")
        .await;
    let message = status["containerStatuses"][0]["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.contains("coracle push FILE.wasm none:v1"), "{message}");
    // A pod that never started goes at once.
    stage.wanted.send_modify(|wanted| wanted.pod = pod(&missing(), true));
    stage.told(|method, path, _| method == Method::DELETE && path.ends_with("/pods/web")).await;
}
