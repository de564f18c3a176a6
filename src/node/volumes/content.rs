//! Files made of ConfigMaps, Secrets, tokens and the pod's own fields.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection};

use crate::environment::{EnvironmentError, Surroundings, field, resource};
use crate::volumes::tokens;

const MODE: i32 = 0o644;

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct File {
    pub bytes: Vec<u8>,
    pub mode: u32,
}

/// The files of a volume by their paths in it.
pub(super) type Files = BTreeMap<String, File>;

/// Why a volume's files cannot be made, in Kubernetes' words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ContentError {
    #[error(transparent)]
    Missing(#[from] EnvironmentError),
    #[error("{0}references non-existent {1} key: {2}")]
    NoKey(&'static str, &'static str, String),
    #[error("{0} is not offered as a source of a projected volume")]
    Projection(&'static str),
}

/// Whether a volume's files are made here.
pub(super) fn is_content(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// Whether a volume's files follow the pod's own fields.
pub(super) fn is_downward(volume: &Volume) -> bool {
    let parts = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    volume.downward_api.is_some() || parts.into_iter().any(|part| part.downward_api.is_some())
}

/// The files of a volume.
pub(super) fn files(volume: &Volume, around: &Surroundings<'_>) -> Result<Files, ContentError> {
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let keys = config_map(&source.name, source.optional, around)?;
        let what = Keys { kind: "configmap ", key: "config", optional: source.optional == Some(true) };
        select(&mut files, keys, source.items.as_deref(), source.default_mode, what)?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.clone().unwrap_or_default();
        let keys = secret(&name, source.optional, around)?;
        let what = Keys { kind: "", key: "secret", optional: source.optional == Some(true) };
        select(&mut files, keys, source.items.as_deref(), source.default_mode, what)?;
    } else if let Some(source) = &volume.downward_api {
        downward(&mut files, source.items.as_deref(), source.default_mode, around)?;
    } else if let Some(projected) = &volume.projected {
        for part in projected.sources.iter().flatten() {
            project(&mut files, part, projected.default_mode, around)?;
        }
    }
    Ok(files)
}

fn project(
    files: &mut Files,
    part: &VolumeProjection,
    mode: Option<i32>,
    around: &Surroundings<'_>,
) -> Result<(), ContentError> {
    if let Some(source) = &part.config_map {
        let keys = config_map(&source.name, source.optional, around)?;
        let what = Keys { kind: "configmap ", key: "config", optional: source.optional == Some(true) };
        select(files, keys, source.items.as_deref(), mode, what)?;
    }
    if let Some(source) = &part.secret {
        let keys = secret(&source.name, source.optional, around)?;
        let what = Keys { kind: "", key: "secret", optional: source.optional == Some(true) };
        select(files, keys, source.items.as_deref(), mode, what)?;
    }
    if let Some(source) = &part.service_account_token
        && let Some(issued) = around.sources.tokens.get(&tokens::Want::of(source))
    {
        files.insert(source.path.clone(), file(issued.token.clone().into_bytes(), None, mode));
    }
    if let Some(source) = &part.downward_api {
        downward(files, source.items.as_deref(), mode, around)?;
    }
    match (&part.cluster_trust_bundle, &part.pod_certificate) {
        (Some(bundle), _) if bundle.optional != Some(true) => Err(ContentError::Projection("clusterTrustBundle")),
        (_, Some(_)) => Err(ContentError::Projection("podCertificate")),
        _ => Ok(()),
    }
}

fn file(bytes: Vec<u8>, own: Option<i32>, default: Option<i32>) -> File {
    let mode = own.or(default).unwrap_or(MODE);
    File { bytes, mode: u32::try_from(mode).unwrap_or(0) & 0o777 }
}

fn downward(
    files: &mut Files,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: Option<i32>,
    around: &Surroundings<'_>,
) -> Result<(), ContentError> {
    // A volume is no container: what it says of resources names one.
    let nobody = Container::default();
    for item in items.unwrap_or_default() {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => field(selector, around)?,
            (None, Some(selector)) => resource(selector, &nobody, around)?,
            (None, None) => String::new(),
        };
        files.insert(item.path.clone(), file(value.into_bytes(), item.mode, mode));
    }
    Ok(())
}

type Values = BTreeMap<String, Vec<u8>>;

fn config_map(name: &str, optional: Option<bool>, around: &Surroundings<'_>) -> Result<Values, ContentError> {
    let Some(map) = around.sources.config_map(name) else {
        return absent(optional, EnvironmentError::NoConfigMap(name.to_owned()));
    };
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    Ok(text.chain(binary).collect())
}

fn secret(name: &str, optional: Option<bool>, around: &Surroundings<'_>) -> Result<Values, ContentError> {
    match around.sources.secret(name) {
        Some(secret) => Ok(secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()),
        None => absent(optional, EnvironmentError::NoSecret(name.to_owned())),
    }
}

fn absent(optional: Option<bool>, why: EnvironmentError) -> Result<Values, ContentError> {
    if optional == Some(true) { Ok(Values::new()) } else { Err(why.into()) }
}

/// What a list of keys is of, as messages have it.
struct Keys {
    kind: &'static str,
    key: &'static str,
    optional: bool,
}

/// All keys under their own names, or those that are listed under the paths that the list gives.
fn select(
    files: &mut Files,
    keys: Values,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
    what: Keys,
) -> Result<(), ContentError> {
    let items = match items {
        None | Some([]) => {
            files.extend(keys.into_iter().map(|(key, bytes)| (key, file(bytes, None, mode))));
            return Ok(());
        }
        Some(items) => items,
    };
    for item in items {
        match keys.get(&item.key) {
            Some(bytes) => {
                files.insert(item.path.clone(), file(bytes.clone(), item.mode, mode));
            }
            None if what.optional => {}
            None => return Err(ContentError::NoKey(what.kind, what.key, item.key.clone())),
        }
    }
    Ok(())
}
