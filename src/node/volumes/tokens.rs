//! The tokens of projected volumes: asked for when a container starts, and again before they end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use base::backoff::Backoff;
use base::files::write_volatile;
use client::Client;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Container, Pod, ServiceAccount, ServiceAccountTokenProjection, Volume};
use kube::Api;
use kube::api::PostParams;

use super::inside;

const HOUR: i64 = 3600;
/// No token is kept longer, however long it would be good for.
const OLDEST: Duration = Duration::from_secs(24 * 3600);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Which token a file holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Want {
    audience: Option<String>,
    seconds: i64,
}

impl Want {
    /// What a volume asks for.
    pub fn of(source: &ServiceAccountTokenProjection) -> Self {
        let audience = source.audience.clone().filter(|audience| !audience.is_empty());
        Self { audience, seconds: source.expiration_seconds.unwrap_or(HOUR) }
    }
}

/// A token, and when to ask for the next.
#[derive(Clone)]
pub(crate) struct Issued {
    pub token: String,
    good_for: Duration,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Issued(…, {:?})", self.good_for)
    }
}

impl Issued {
    /// A fifth before it ends.
    fn next(&self) -> Duration {
        (self.good_for / 5 * 4).min(OLDEST)
    }
}

/// The volumes that a container mounts.
fn mounted<'a>(pod: &'a Pod, container: &'a Container) -> impl Iterator<Item = &'a Volume> {
    let named: BTreeSet<&str> = container.volume_mounts.iter().flatten().map(|mount| mount.name.as_str()).collect();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter(move |volume| named.contains(volume.name.as_str()))
}

fn projections(volume: &Volume) -> impl Iterator<Item = &ServiceAccountTokenProjection> {
    let parts = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    parts.filter_map(|part| part.service_account_token.as_ref())
}

/// Every token that the mounted volumes of a container hold.
pub(crate) fn wanted(pod: &Pod, container: &Container) -> BTreeSet<Want> {
    mounted(pod, container).flat_map(projections).map(Want::of).collect()
}

/// Asks for a token of the pod's ServiceAccount, good as long as the pod is there.
pub(crate) async fn issue(client: &Client, pod: &Pod, want: &Want) -> Result<Issued, kube::Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(want.audience.iter().cloned().collect()),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
            expiration_seconds: Some(want.seconds),
        }),
        ..TokenRequest::default()
    };
    let api = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let answer = api.create_token_request(account, &PostParams::default(), &request).await?;
    let status = answer.status.unwrap_or_default();
    let left = status.expiration_timestamp.map(|at| at.0.duration_since(Timestamp::now())).unwrap_or_default();
    Ok(Issued { token: status.token.unwrap_or_default(), good_for: Duration::try_from(left).unwrap_or_default() })
}

/// A file that holds a token.
struct File {
    path: PathBuf,
    want: Want,
    holds: Issued,
}

/// Renews the tokens in the volumes of a container, which lie in `folder`, until they are gone or somebody else renews
/// them: whoever starts the container again.
pub(crate) fn keep_fresh(
    client: &Client,
    pod: &Arc<Pod>,
    container: &Container,
    folder: &Path,
    holds: &std::collections::BTreeMap<Want, Issued>,
    shutdown: Shutdown,
) -> impl Iterator<Item = impl Future<Output = ()> + Send + 'static> {
    let mut files = Vec::new();
    for volume in mounted(pod, container) {
        for source in projections(volume) {
            let want = Want::of(source);
            let path = inside(&folder.join(&volume.name), &source.path);
            if let (Some(path), Some(issued)) = (path, holds.get(&want)) {
                files.push(File { path, want, holds: issued.clone() });
            }
        }
    }
    let (client, pod) = (client.clone(), Arc::clone(pod));
    files.into_iter().map(move |file| renew(client.clone(), Arc::clone(&pod), file, shutdown.clone()))
}

async fn renew(client: Client, pod: Arc<Pod>, mut file: File, shutdown: Shutdown) {
    let mut retry = Backoff::new(RETRY_FIRST, RETRY_MAX);
    let mut wait = file.holds.next();
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
        let path = file.path.clone();
        let there = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        if !there.is_ok_and(|text| text.is_ok_and(|text| text == file.holds.token)) {
            return;
        }
        let issued = match issue(&client, &pod, &file.want).await {
            Ok(issued) => issued,
            Err(error) => {
                tracing::warn!(%error, "cannot renew a token");
                wait = retry.fail();
                continue;
            }
        };
        retry = Backoff::new(RETRY_FIRST, RETRY_MAX);
        wait = issued.next();
        let (path, token) = (file.path.clone(), issued.token.clone());
        let written = tokio::task::spawn_blocking(move || write_volatile(&path, token.as_bytes())).await;
        match written {
            Ok(Ok(())) => file.holds = issued,
            // The folder went meanwhile.
            _ => return,
        }
    }
}
