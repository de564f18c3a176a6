//! The tokens of projected volumes: asked for when a volume is made, and again before they end.

use std::time::Duration;

use client::Client;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection, Volume};
use kube::Api;
use kube::api::PostParams;

const HOUR: i64 = 3600;
/// No token is kept longer, however long it would be good for.
const OLDEST: Duration = Duration::from_secs(24 * 3600);

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

/// A token, and how long it is good for.
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
    /// One that a volume holds already.
    fn held(token: String) -> Self {
        Self { token, good_for: Duration::ZERO }
    }

    /// After how long to ask for the next: a fifth before it ends.
    pub fn next(&self) -> Duration {
        (self.good_for / 5 * 4).min(OLDEST)
    }
}

/// The tokens that a volume asks for.
pub(crate) fn projections(volume: &Volume) -> impl Iterator<Item = &ServiceAccountTokenProjection> {
    let parts = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    parts.filter_map(|part| part.service_account_token.as_ref())
}

/// The tokens that a volume holds, as far as `read` finds them under their paths.
pub(crate) fn held(volume: &Volume, read: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<(Want, Issued)> {
    let held = |source: &ServiceAccountTokenProjection| {
        let token = String::from_utf8(read(&source.path)?).ok()?;
        Some((Want::of(source), Issued::held(token)))
    };
    projections(volume).filter_map(held).collect()
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
