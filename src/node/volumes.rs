//! Volumes as folders of the host: empty ones, and files made of ConfigMaps, Secrets, tokens and the pod's own fields.
//!
//! ```text
//! FOLDER/UID/VOLUME/…      made when the first container that mounts it starts; gone with the pod
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use base::files::write_volatile;
use k8s_openapi::api::core::v1::{Container, DownwardAPIVolumeFile, KeyToPath, Volume};
use thiserror::Error;

use crate::environment::{EnvironmentError, Surroundings, field, resource};
use crate::sandbox::Mount;

pub(crate) mod tokens;

#[cfg(test)]
mod tests;

/// Why a volume cannot be mounted.
#[derive(Debug, Error)]
pub(crate) enum VolumeError {
    #[error("MountVolume.SetUp failed for volume {volume:?}: {why}")]
    Missing { volume: String, why: EnvironmentError },
    #[error(
        "volume {0:?} is of a kind that this node does not offer; it has emptyDir, configMap, secret, downwardAPI and projected"
    )]
    Unsupported(String),
    #[error("volume {volume:?}: the path {path:?} leads out of the volume")]
    Path { volume: String, path: String },
    #[error("MountVolume.SetUp failed for volume {volume:?}: {source}")]
    Io { volume: String, source: io::Error },
}

/// Makes the volumes that a container mounts, and says where they are. Blocks.
pub(crate) fn mounts(
    folder: &Path,
    container: &Container,
    around: &Surroundings<'_>,
) -> Result<Vec<Mount>, VolumeError> {
    let volumes = around.pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| VolumeError::Unsupported(mount.name.clone()))?;
        let mut host_dir = folder.join(&volume.name);
        let fixed = make(&host_dir, volume, container, around)?;
        if let Some(path) = mount.sub_path.as_deref().filter(|path| !path.is_empty()) {
            host_dir = inside(&host_dir, path).ok_or_else(|| outside(volume, path))?;
            if !fixed {
                std::fs::create_dir_all(&host_dir).map_err(|source| failed(volume, source))?;
            }
        }
        let read_only = fixed || mount.read_only == Some(true);
        mounts.push(Mount { host_dir, guest_path: mount.mount_path.clone(), read_only });
    }
    Ok(mounts)
}

fn failed(volume: &Volume, source: io::Error) -> VolumeError {
    VolumeError::Io { volume: volume.name.clone(), source }
}

fn outside(volume: &Volume, path: &str) -> VolumeError {
    VolumeError::Path { volume: volume.name.clone(), path: path.to_owned() }
}

/// Makes one volume. Returns whether its content is given, so that containers may only read it.
fn make(dir: &Path, volume: &Volume, container: &Container, around: &Surroundings<'_>) -> Result<bool, VolumeError> {
    if volume.empty_dir.is_some() {
        std::fs::create_dir_all(dir).map_err(|source| failed(volume, source))?;
        return Ok(false);
    }
    let files = content(volume, container, around)?;
    std::fs::create_dir_all(dir).map_err(|source| failed(volume, source))?;
    for (path, bytes) in files {
        let target = inside(dir, &path).ok_or_else(|| outside(volume, &path))?;
        write_volatile(&target, &bytes).map_err(|source| failed(volume, source))?;
    }
    Ok(true)
}

type Files = BTreeMap<String, Vec<u8>>;

fn content(volume: &Volume, container: &Container, around: &Surroundings<'_>) -> Result<Files, VolumeError> {
    let missing = |why| VolumeError::Missing { volume: volume.name.clone(), why };
    let downward = |items: &[DownwardAPIVolumeFile], files: &mut Files| -> Result<(), VolumeError> {
        for item in items {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(selector), _) => field(selector, around).map_err(missing)?,
                (None, Some(selector)) => resource(selector, container, around).map_err(missing)?,
                (None, None) => String::new(),
            };
            files.insert(item.path.clone(), value.into_bytes());
        }
        Ok(())
    };
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let keys = config_map(&source.name, source.optional, around).map_err(missing)?;
        files.extend(select(keys, source.items.as_deref()));
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.clone().unwrap_or_default();
        let keys = secret(&name, source.optional, around).map_err(missing)?;
        files.extend(select(keys, source.items.as_deref()));
    } else if let Some(source) = &volume.downward_api {
        downward(source.items.as_deref().unwrap_or_default(), &mut files)?;
    } else if let Some(projected) = &volume.projected {
        for part in projected.sources.iter().flatten() {
            if let Some(source) = &part.config_map {
                let keys = config_map(&source.name, source.optional, around).map_err(missing)?;
                files.extend(select(keys, source.items.as_deref()));
            }
            if let Some(source) = &part.secret {
                let keys = secret(&source.name, source.optional, around).map_err(missing)?;
                files.extend(select(keys, source.items.as_deref()));
            }
            if let Some(source) = &part.service_account_token {
                let issued = around.sources.tokens.get(&tokens::Want::of(source));
                files.extend(issued.map(|issued| (source.path.clone(), issued.token.clone().into_bytes())));
            }
            if let Some(source) = &part.downward_api {
                downward(source.items.as_deref().unwrap_or_default(), &mut files)?;
            }
        }
    } else {
        return Err(VolumeError::Unsupported(volume.name.clone()));
    }
    Ok(files)
}

fn config_map(name: &str, optional: Option<bool>, around: &Surroundings<'_>) -> Result<Files, EnvironmentError> {
    let Some(map) = around.sources.config_map(name) else {
        return if optional == Some(true) {
            Ok(Files::new())
        } else {
            Err(EnvironmentError::NoConfigMap(name.to_owned()))
        };
    };
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    Ok(text.chain(binary).collect())
}

fn secret(name: &str, optional: Option<bool>, around: &Surroundings<'_>) -> Result<Files, EnvironmentError> {
    match around.sources.secret(name) {
        Some(secret) => Ok(secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()),
        None if optional == Some(true) => Ok(Files::new()),
        None => Err(EnvironmentError::NoSecret(name.to_owned())),
    }
}

/// All keys under their own names, or those that are listed under the paths that the list gives.
fn select(mut keys: Files, items: Option<&[KeyToPath]>) -> Files {
    match items {
        None | Some([]) => keys,
        Some(items) => items.iter().filter_map(|item| Some((item.path.clone(), keys.remove(&item.key)?))).collect(),
    }
}

/// `path` below `dir`, unless it leads out of it.
fn inside(dir: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)).then(|| dir.join(path))
}
