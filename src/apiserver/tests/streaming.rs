//! Exec, attach, watches and proxies over connections that change what they speak, with a real WebSocket client.

use std::sync::Arc;

use api::Status;
use async_trait::async_trait;
use axum::body::Body;
use futures::{FutureExt, SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::harness::{Cluster, admin, cluster_with, pod};
use crate::gateway::{
    ExecEnd, ExecInput, ExecOptions, ExecOutput, ExecSession, PodTarget, ServiceTarget, ServiceTransport, TargetPort,
};
use crate::{Config, ContainerAddress, LogOptions, LogStream, NodeGateway};

/// Runs `cat` (says its input back), `false` (says `no` to stderr, ends with 3) and nothing else.
#[derive(Default)]
struct Programs {
    /// What runs.
    running: Mutex<JoinSet<()>>,
}

#[async_trait]
impl NodeGateway for Programs {
    async fn logs(&self, _: &ContainerAddress, _: &LogOptions) -> Result<LogStream, Status> {
        Ok(futures::stream::iter([Ok(bytes::Bytes::from_static(b"a line\n"))]).boxed())
    }

    fn has(&self, node: &str) -> bool {
        node == "here"
    }

    async fn exec(&self, _: &ContainerAddress, options: &ExecOptions) -> Result<ExecSession, Status> {
        let (input, mut heard) = tokio::io::duplex(1024);
        let (mut out, stdout) = tokio::io::duplex(1024);
        let (mut error, stderr) = tokio::io::duplex(1024);
        let program = options.command.first().cloned().unwrap_or_default();
        let (told, end) = tokio::sync::oneshot::channel();
        match program.as_str() {
            "cat" => drop(self.running.lock().spawn(async move {
                let _ = tokio::io::copy(&mut heard, &mut out).await;
                drop((out, error));
                let _ = told.send(0);
            })),
            "false" => drop(self.running.lock().spawn(async move {
                let _ = error.write_all(b"no").await;
                drop((out, error));
                let _ = told.send(3);
            })),
            other => return Err(Status::bad_request(format!("exec: {other:?}: executable file not found"))),
        }
        Ok(ExecSession {
            stdin: options.stdin.then(|| Box::pin(input) as ExecInput),
            stdout: options.stdout.then(|| Box::pin(stdout) as ExecOutput),
            stderr: options.stderr.then(|| Box::pin(stderr) as ExecOutput),
            resize: None,
            end: end.map(|code| Ok(ExecEnd::Exited(code.unwrap_or(-1)))).boxed(),
        })
    }
}

/// Says back what it was asked: method, path, host, and what it was asked with.
struct Mirror;

#[async_trait]
impl ServiceTransport for Mirror {
    async fn call(&self, target: &ServiceTarget, request: Request<Body>) -> Result<Response<Body>, Status> {
        if target.name == "none" {
            return Err(Status::unavailable("no endpoints available for service \"none\""));
        }
        let place = match &target.port {
            TargetPort::Number(number) => number.to_string(),
            TargetPort::Name(name) => name.clone(),
        };
        Ok(mirrored(&format!("{}:{place}", target.name), request).await)
    }

    async fn call_pod(&self, target: &PodTarget, request: Request<Body>) -> Result<Response<Body>, Status> {
        Ok(mirrored(&format!("{}:{}", target.ip, target.port), request).await)
    }
}

async fn mirrored(place: &str, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let headers: Vec<String> = parts.headers.keys().map(|name| name.as_str().to_owned()).collect();
    let said = json!({
        "place": place, "method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    let mut response = Response::new(Body::from(said.to_string()));
    response.headers_mut().insert("access-control-allow-origin", "*".parse().unwrap());
    if parts.uri.path() == "/moved" {
        *response.status_mut() = http::StatusCode::FOUND;
        response.headers_mut().insert("location", "/there".parse().unwrap());
    }
    response
}

async fn house() -> Cluster {
    let cluster = cluster_with(Config { node_gateway: Arc::new(Programs::default()), ..Config::default() }).await;
    cluster.server.set_transport(Arc::new(Mirror));
    let mut object = pod("p");
    object["spec"]["nodeName"] = json!("here");
    object["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 8080 }]);
    cluster.post("/api/v1/namespaces/default/pods", &object).await;
    let status = json!({ "status": {
        "phase": "Running", "podIP": "10.128.0.7",
        "containerStatuses": [{ "name": "main", "image": "x", "imageID": "x", "ready": true, "restartCount": 0,
            "state": { "running": {} } }],
    } });
    let headers = [("content-type", "application/merge-patch+json")];
    let path = "/api/v1/namespaces/default/pods/p/status";
    let answer = cluster.ask("PATCH", path, &headers, status.to_string()).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    cluster
}

type Socket = WebSocketStream<DuplexStream>;

/// A connection to the server, as the administrator's.
fn connect(cluster: &Cluster) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let service = TowerToHyperService::new(cluster.server.in_process(admin()));
    cluster.tasks.job("connection", async move {
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            hyper::service::Service::call(&service, request)
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), service)
            .with_upgrades()
            .await;
    });
    near
}

async fn open(cluster: &Cluster, path: &str, protocol: &str) -> Result<Socket, String> {
    let mut request = format!("ws://localhost{path}").into_client_request().unwrap();
    if !protocol.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    match tokio_tungstenite::client_async(request, connect(cluster)).await {
        Ok((socket, response)) => {
            let chosen = response.headers().get("sec-websocket-protocol").map_or("", |value| value.to_str().unwrap());
            assert_eq!(chosen, protocol);
            Ok(socket)
        }
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            let status: Value = serde_json::from_slice(&body).unwrap_or_default();
            Err(format!("{} {}", response.status().as_u16(), status["message"].as_str().unwrap_or_default()))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Everything that is said until the end: channel by channel, and the code of the goodbye.
async fn heard(socket: &mut Socket) -> ([String; 4], Option<u16>) {
    let mut channels: [String; 4] = Default::default();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(data) => {
                let (channel, data) = data.split_first().unwrap();
                channels[usize::from(*channel)].push_str(&String::from_utf8_lossy(data));
            }
            Message::Close(frame) => return (channels, frame.map(|frame| frame.code.into())),
            _ => {}
        }
    }
    (channels, None)
}

const EXEC: &str = "/api/v1/namespaces/default/pods/p/exec";

#[tokio::test]
async fn a_program_reads_writes_and_ends() {
    let cluster = house().await;
    let path = format!("{EXEC}?command=cat&stdin=true&stdout=true");
    let mut socket = open(&cluster, &path, "v5.channel.k8s.io").await.unwrap();
    for message in [&b"\0hello "[..], b"\0world", b"\xff\0"] {
        socket.send(Message::binary(message.to_vec())).await.unwrap();
    }
    let ([_, out, _, verdict], code) = heard(&mut socket).await;
    assert_eq!((out.as_str(), code), ("hello world", Some(1000)));
    assert_eq!(serde_json::from_str::<Value>(&verdict).unwrap()["status"], "Success");
}

#[tokio::test]
async fn a_program_that_fails_tells_its_code() {
    let cluster = house().await;
    let path = format!("{EXEC}?command=false&stdout=true&stderr=true");
    let mut socket = open(&cluster, &path, "v4.channel.k8s.io").await.unwrap();
    let ([_, _, errors, verdict], _) = heard(&mut socket).await;
    assert_eq!(errors, "no");
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    assert_eq!(verdict["reason"], "NonZeroExitCode");
    assert_eq!(verdict["details"]["causes"], json!([{ "reason": "ExitCode", "message": "3" }]));

    let path = format!("{EXEC}?command=vi&stdout=true");
    let mut socket = open(&cluster, &path, "v5.channel.k8s.io").await.unwrap();
    let ([_, _, _, verdict], _) = heard(&mut socket).await;
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    assert_eq!(verdict["reason"], "InternalError", "{verdict}");
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_before() {
    let cluster = house().await;
    for (path, protocol, wanted) in [
        (
            format!("{EXEC}?command=cat"),
            "v5.channel.k8s.io",
            "400 you must specify at least 1 of stdin, stdout, stderr",
        ),
        (format!("{EXEC}?container=x&stdout=1"), "v5.channel.k8s.io", "400 container x is not valid for pod p"),
        ("/api/v1/namespaces/default/pods/q/exec?stdout=1".to_owned(), "v5.channel.k8s.io", "404 pods \"q\" not found"),
        (format!("{EXEC}?stdout=1"), "v9.channel.k8s.io", "400 none of the WebSocket protocols"),
    ] {
        let refused = open(&cluster, &path, protocol).await.map(drop).unwrap_err();
        assert!(refused.starts_with(wanted), "{path}: {refused}");
    }
    let answer = cluster.ask("POST", &format!("{EXEC}?stdout=1"), &[], "").await;
    assert_eq!(answer.refusal(), "400 BadRequest Upgrade request required");
    assert_eq!(cluster.ask("DELETE", EXEC, &[], "").await.code, 405);
}

/// Lets everybody look.
struct Looking;

#[async_trait]
impl crate::Authorizer for Looking {
    async fn authorize(&self, request: &api::AccessRequest) -> crate::Decision {
        if request.verb == "get" {
            crate::Decision::Allow(String::new())
        } else {
            crate::Decision::NoOpinion("may only look".to_owned())
        }
    }
}

#[tokio::test]
async fn whoever_may_only_look_is_not_connected() {
    let cluster = cluster_with(Config::default()).await;
    let objects = cluster.server.objects().clone();
    let looking = crate::ApiServer::new(objects, Config { authorizer: Arc::new(Looking), ..Config::default() });
    let cluster = Cluster { server: looking, ..cluster };
    for path in [EXEC.to_owned(), EXEC.replace("exec", "attach"), EXEC.replace("exec", "portforward")] {
        let refused = open(&cluster, &path, "").await.map(drop).unwrap_err();
        assert_eq!(refused, "403 pods \"p\" is forbidden: may only look");
    }
}

#[tokio::test]
async fn a_watch_over_a_websocket_is_a_message_an_event() {
    let cluster = house().await;
    let mut socket = open(&cluster, "/api/v1/namespaces/default/pods?watch=true", "").await.unwrap();
    cluster.post("/api/v1/namespaces/default/pods", &pod("second")).await;
    for wanted in ["p", "second"] {
        let message = socket.next().await.unwrap().unwrap();
        let event: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        assert_eq!(event["type"], "ADDED");
        assert_eq!(event["object"]["metadata"]["name"], wanted);
    }
}

#[tokio::test]
async fn requests_are_carried_to_pods_and_services() {
    let cluster = house().await;
    let pods = "/api/v1/namespaces/default/pods";
    let services = "/api/v1/namespaces/default/services";
    for (method, path, place, uri) in [
        ("GET", format!("{pods}/p/proxy/a/b/?c=d"), "10.128.0.7:8080", "/a/b/?c=d"),
        ("POST", format!("{pods}/p:81/proxy/x"), "10.128.0.7:81", "/x"),
        ("OPTIONS", format!("{services}/web:http/proxy/a%2Fb"), "web:http", "/a%2Fb"),
        ("DELETE", format!("{services}/https:web:443/proxy/"), "web:443", "/"),
        ("PATCH", format!("{services}/web/proxy/x"), "web:", "/x"),
    ] {
        let answer = cluster.ask(method, &path, &[("authorization", "Bearer x"), ("te", "x")], "sent").await;
        let said = answer.json();
        assert_eq!(
            (&said["method"], &said["place"], &said["uri"]),
            (&json!(method), &json!(place), &json!(uri)),
            "{path}"
        );
        assert_eq!(said["body"], "sent");
        let headers = said["headers"].to_string();
        assert!(
            !headers.contains("authorization") && !headers.contains("\"te\"") && headers.contains("x-forwarded-uri")
        );
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    let answer = cluster.get(&format!("{services}/web:80/proxy?a=b")).await;
    assert_eq!(
        (answer.code, answer.header("location")),
        (301, "/api/v1/namespaces/default/services/web:80/proxy/?a=b")
    );
    let answer = cluster.ask("GET", &format!("{services}/web:80/proxy/moved"), &[("host", "h:1")], "").await;
    assert_eq!(answer.header("location"), "https://h:1/api/v1/namespaces/default/services/web:80/proxy/there");
    let answer = cluster.get(&format!("{services}/none:80/proxy/")).await;
    assert_eq!(answer.refusal(), "503 ServiceUnavailable no endpoints available for service \"none\"");
    let answer = cluster.get(&format!("{pods}/q/proxy/")).await;
    assert_eq!(answer.refusal(), "404 NotFound pods \"q\" not found");
    let answer = cluster.get(&format!("{pods}/ftp:p:1/proxy/")).await;
    assert_eq!(answer.refusal(), "400 BadRequest invalid pod request \"ftp:p:1\"");
}

#[tokio::test]
async fn a_node_answers_on_its_own_port() {
    let cluster = house().await;
    for name in ["here", "there"] {
        cluster.post("/api/v1/nodes", &json!({ "metadata": { "name": name } })).await;
    }
    assert_eq!(cluster.get("/api/v1/nodes/here/proxy/healthz").await.text(), "ok");
    let pods = cluster.get("/api/v1/nodes/here:10250/proxy/pods").await.json();
    assert_eq!((&pods["kind"], &pods["items"][0]["metadata"]["name"]), (&json!("PodList"), &json!("p")));
    assert_eq!(cluster.get("/api/v1/nodes/here/proxy/containerLogs/default/p/main").await.text(), "a line\n");
    assert_eq!(cluster.get("/api/v1/nodes/here/proxy/nonsense").await.code, 404);
    let away = cluster.get("/api/v1/nodes/there/proxy/healthz").await.refusal();
    assert!(away.starts_with("503 ServiceUnavailable error trying to reach service: "), "{away}");
    assert_eq!(
        cluster.get("/api/v1/nodes/none/proxy/healthz").await.refusal(),
        "404 NotFound nodes \"none\" not found"
    );
}
