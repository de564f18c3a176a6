//! Pulling from a registry over the network.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;

use super::{Credential, PullError};
use crate::manifest::{ACCEPTED, Descriptor, Look, Manifest, choose, look};
use crate::store::blocking;
use crate::{Digest, ImageStore, Reference};

/// The largest layer that is pulled.
pub(crate) const BLOB_BYTES_MAX: u64 = 512 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Fetches manifest and layers, checks their digests, and keeps them. Returns the digest of the manifest that the
/// reference names.
pub(super) async fn pull(
    store: &ImageStore,
    image: &Reference,
    credential: Option<&Credential>,
) -> Result<Digest, PullError> {
    let session = Session::new(image, credential)?;
    let (bytes, digest) = session.manifest(image).await?;
    let content = |why| PullError::Content { image: image.to_string(), why };
    keep(store, image, bytes.clone(), &digest).await?;
    let (config, layers) = match Manifest::parse(&bytes).map_err(content)? {
        Manifest::Image { config, layers } => (config, layers),
        Manifest::Index(manifests) => {
            let chosen = choose(&manifests).map_err(content)?.digest.clone();
            let inner = Reference { tag: None, digest: Some(chosen.clone()), ..image.clone() };
            let (bytes, digest) = session.manifest(&inner).await?;
            keep(store, image, bytes.clone(), &digest).await?;
            match Manifest::parse(&bytes).map_err(content)? {
                Manifest::Image { config, layers } => (config, layers),
                Manifest::Index(_) => (None, Vec::new()),
            }
        }
    };
    let wanted: Vec<&Descriptor> = match look(config.as_ref(), &layers).map_err(content)? {
        Look::Layer(layer) => vec![layer],
        Look::Inside(layers) => layers.iter().collect(),
    };
    for layer in wanted {
        let (seeker, sought) = (store.clone(), layer.digest.clone());
        if !blocking(move || seeker.has(&sought)).await {
            let bytes = session.blob(image, layer).await?;
            keep(store, image, bytes, &layer.digest).await?;
        }
    }
    let (store, name, manifest) = (store.clone(), image.to_string(), digest.clone());
    blocking(move || store.change(|index| index.pulled.insert(name, manifest)))
        .await
        .map_err(|error| PullError::store(image, error))?;
    Ok(digest)
}

async fn keep(store: &ImageStore, image: &Reference, bytes: Bytes, expected: &Digest) -> Result<(), PullError> {
    let store = store.clone();
    let found = blocking(move || store.put(&bytes)).await.map_err(|error| PullError::store(image, error))?;
    if found == *expected {
        return Ok(());
    }
    let why = format!("the registry sent content with digest {found} for {expected}");
    Err(PullError::Registry { image: image.to_string(), why })
}

/// One pull's conversation. A client of its own for each, since clients keep the tokens that they were given, and those
/// must not serve a pod that has no credentials.
struct Session {
    client: oci_client::Client,
    auth: RegistryAuth,
}

impl Session {
    fn new(image: &Reference, credential: Option<&Credential>) -> Result<Self, PullError> {
        // The HTTP client panics without a provider; whoever installed one first wins.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let protocol = if is_loopback(&image.registry) { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("coracle/", env!("CARGO_PKG_VERSION")),
            platform_resolver: None,
            ..ClientConfig::default()
        };
        let client = oci_client::Client::try_from(config)
            .map_err(|error| PullError::Registry { image: image.to_string(), why: error.to_string() })?;
        let auth = credential.map_or(RegistryAuth::Anonymous, |credential| {
            RegistryAuth::Basic(credential.username.clone(), credential.password.clone())
        });
        Ok(Self { client, auth })
    }

    async fn manifest(&self, image: &Reference) -> Result<(Bytes, Digest), PullError> {
        let (bytes, _) = self
            .client
            .pull_manifest_raw(&foreign(image), &self.auth, ACCEPTED)
            .await
            .map_err(|error| explain(image, &error))?;
        let digest = Digest::of(&bytes);
        match &image.digest {
            Some(expected) if *expected != digest => Err(PullError::Registry {
                image: image.to_string(),
                why: format!("the registry sent a manifest with digest {digest}"),
            }),
            _ => Ok((bytes, digest)),
        }
    }

    async fn blob(&self, image: &Reference, layer: &Descriptor) -> Result<Bytes, PullError> {
        let too_large = |size| PullError::TooLarge { image: image.to_string(), blob: layer.digest.clone(), size };
        if layer.size > BLOB_BYTES_MAX {
            return Err(too_large(layer.size));
        }
        let failed = |error: &OciDistributionError| explain(image, error);
        let descriptor = oci_client::manifest::OciDescriptor {
            media_type: layer.media_type.clone(),
            digest: layer.digest.to_string(),
            size: i64::try_from(layer.size).unwrap_or(i64::MAX),
            ..Default::default()
        };
        let mut stream =
            self.client.pull_blob_stream(&foreign(image), &descriptor).await.map_err(|error| failed(&error))?.stream;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| failed(&error.into()))?);
            if bytes.len() as u64 > BLOB_BYTES_MAX {
                return Err(too_large(bytes.len() as u64));
            }
        }
        Ok(bytes.freeze())
    }
}

fn foreign(image: &Reference) -> oci_client::Reference {
    let (registry, repository) = (image.registry.clone(), image.repository.clone());
    match (&image.digest, &image.tag) {
        (Some(digest), _) => oci_client::Reference::with_digest(registry, repository, digest.to_string()),
        (None, tag) => {
            oci_client::Reference::with_tag(registry, repository, tag.clone().unwrap_or_else(|| "latest".to_owned()))
        }
    }
}

/// Registries on this machine are spoken to without TLS, as Docker does.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => registry.split_once(':').map_or(registry, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn explain(image: &Reference, error: &OciDistributionError) -> PullError {
    let name = image.to_string();
    let unauthorized = || PullError::Unauthorized { image: name.clone(), registry: image.registry.clone() };
    let not_found = || PullError::NotFound { image: name.clone(), hint: format!(" at {}", image.registry) };
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) | OciDistributionError::ServerError { code: 404, .. } => {
            not_found()
        }
        OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::ServerError { code: 401 | 403, .. } => unauthorized(),
        OciDistributionError::RegistryError { envelope, .. } => {
            match envelope.errors.first().map(|first| &first.code) {
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::BlobUnknown
                    | OciErrorCode::NotFound,
                ) => not_found(),
                Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => unauthorized(),
                _ => PullError::Registry { image: name, why: base::report(error) },
            }
        }
        _ => PullError::Registry { image: name, why: base::report(error) },
    }
}
