//! A volume with a token, beside an API whose tokens are good for a moment.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::events::Recorder;
use client::informers::Informer;
use http::{Request, Response};
use http_body_util::Full;
use images::ImageStore;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;
use crate::logs::Logs;
use crate::volumes::{Allowed, Surface};

const GOOD_FOR: SignedDuration = SignedDuration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers every request for a token with the next, and nothing else.
fn api() -> Client {
    let issued = Arc::new(AtomicU64::new(0));
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        if !request.uri().path().ends_with("/serviceaccounts/default/token") {
            let nothing = Response::builder().status(http::StatusCode::NOT_FOUND).body(Full::default());
            return std::future::ready(Ok::<_, Infallible>(nothing.unwrap()));
        }
        let number = issued.fetch_add(1, Ordering::Relaxed);
        let expires = (Timestamp::now() + GOOD_FOR).to_string();
        let answer = json!({
            "metadata": {}, "spec": { "audiences": ["me"] },
            "status": { "token": format!("token {number}"), "expirationTimestamp": expires },
        });
        std::future::ready(Ok(Response::new(Full::new(Bytes::from(answer.to_string())))))
    });
    client::in_process(service, "default")
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (client, tasks) = (api(), base::Tasks::new());
    let surface = Surface {
        node: "node".to_owned(),
        folder: dir.path().to_owned(),
        client: client.clone(),
        events: Recorder::new(client, &tasks, "kubelet", None),
        images: ImageStore::open(&dir.path().join("images")).unwrap(),
        host_ip: Ipv4Addr::LOCALHOST.into(),
        allocatable: std::collections::BTreeMap::new(),
        allowed: Allowed::new(Vec::new()),
        logs: Logs::open_folder(dir.path().join("logs")).unwrap(),
        persistent: client::informers::Informer::empty(),
        tasks: tasks.clone(),
    };
    let (volumes, _evictions) = Volumes::open(surface).unwrap();
    let projected = json!({ "sources": [{ "serviceAccountToken": { "path": "token", "expirationSeconds": 600 } }] });
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "u1" },
        "spec": {
            "containers": [{ "name": "main", "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }],
            "volumes": [{ "name": "v", "projected": projected }],
        },
    }))
    .unwrap();
    let pods = Informer::<Pod>::empty();
    pods.replace([pod.clone()]);
    volumes.follow(&pods);
    let pod = Arc::new(pod);
    let container = pod.spec.as_ref().unwrap().containers[0].clone();
    let mounts = volumes.mounts(&pod, &container, &[], Ipv4Addr::LOCALHOST.into()).await.unwrap();
    assert!(!mounts[0].host_dir.exists(), "nobody has looked yet");
    mounts[0].made_by.as_ref().unwrap().make().unwrap();
    // What is replaced while the way to it is followed is not found.
    let token = || std::fs::read_to_string(mounts[0].host_dir.join("token")).unwrap_or_default();
    assert_eq!(token(), "token 0");
    for wanted in ["token 1", "token 2"] {
        let came = async {
            while token() != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, came).await.is_ok(), "no {wanted}");
    }
    tasks.stop(PATIENCE).await;
}
