//! Makes volumes, each kind in its way.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use cap_std::fs::Dir;
use k8s_openapi::api::core::v1::{Pod, Volume};

use super::pending::Pending;
use super::{PodVolumes, VolumeError, Volumes, bound, content, host_path, image, refresh};
use crate::environment::Surroundings;
use crate::sources::{Names, Sources};

/// What containers may do with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Its files are given, and may be replaced at any time.
    Content,
    /// It may only be read.
    ReadOnly,
    /// It may be written.
    Writable,
}

/// A volume that is there.
#[derive(Clone)]
pub(super) struct Placed {
    pub dir: PathBuf,
    /// The directory itself, where its path runs through what others may change.
    pub opened: Option<Arc<Dir>>,
    /// Its files, which may not be written yet.
    pub pending: Option<Arc<Pending>>,
    /// The volume is this one file of the directory.
    pub file: Option<String>,
    pub access: Access,
    /// What is measured and held against what.
    pub counted: Counted,
}

/// Against what a volume's size counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Nothing: it belongs to somebody else.
    Nowhere,
    /// The pod's ephemeral storage.
    Ephemeral,
    /// The capacity of the claim of this name.
    Claim { name: String, capacity: Option<u64> },
}

impl Placed {
    /// One that counts against the pod's storage.
    pub fn own(dir: PathBuf, access: Access) -> Self {
        Self { dir, opened: None, pending: None, file: None, access, counted: Counted::Ephemeral }
    }
}

/// Makes `missing`, or says which cannot be made. Nothing of it is kept then.
pub(super) async fn all(
    volumes: &Volumes,
    pod: &Arc<Pod>,
    state: &PodVolumes,
    missing: &[&Volume],
    pod_ip: IpAddr,
) -> Result<Vec<(String, Placed)>, VolumeError> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let folder = volumes.folder(uid);
    let mut made = Vec::with_capacity(missing.len());
    let names = missing.iter().fold(Names::default(), |names, volume| names.and(Names::of_volume(volume)));
    let client = &volumes.0.surface.client;
    let sources = Sources::named(client, pod, names).await.map_err(|error| {
        let volume = missing.iter().find(|volume| content::is_content(volume)).unwrap_or(&missing[0]);
        VolumeError::set_up(&volume.name, error)
    })?;
    for volume in missing {
        let dir = folder.join(&volume.name);
        let placed = if content::is_content(volume) {
            let around = around(volumes, pod, pod_ip, &sources);
            let files = content::files(volume, &around).map_err(|why| VolumeError::set_up(&volume.name, why))?;
            let pending = Some(Pending::new(dir.clone(), files));
            Placed { pending, ..Placed::own(dir, Access::Content) }
        } else {
            one(volumes, pod, state, volume, dir).await?
        };
        made.push((volume.name.clone(), placed));
    }
    refresh::observe(volumes, pod, missing, &sources, pod_ip);
    Ok(made)
}

async fn one(
    volumes: &Volumes,
    pod: &Arc<Pod>,
    state: &PodVolumes,
    volume: &Volume,
    dir: PathBuf,
) -> Result<Placed, VolumeError> {
    let failed = |why: &dyn std::fmt::Display| VolumeError::set_up(&volume.name, why);
    if volume.empty_dir.is_some() {
        std::fs::create_dir_all(&dir).map_err(|error| failed(&error))?;
        return Ok(Placed::own(dir, Access::Writable));
    }
    if let Some(source) = &volume.host_path {
        let kind = source.type_.as_deref().unwrap_or_default();
        return host_path::open(&volumes.0.surface.allowed, &source.path, kind).map_err(|why| failed(&why));
    }
    if let Some(source) = &volume.persistent_volume_claim {
        let claim =
            bound::Wanted { name: source.claim_name.clone(), read_only: source.read_only == Some(true), own: false };
        return bound::open(volumes, pod, state, &volume.name, claim).await;
    }
    if volume.ephemeral.is_some() {
        let name = format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name);
        return bound::open(volumes, pod, state, &volume.name, bound::Wanted { name, read_only: false, own: true })
            .await;
    }
    if let Some(source) = &volume.image {
        return image::open(volumes, pod, source).await;
    }
    Err(failed(&UNSUPPORTED))
}

const UNSUPPORTED: &str = "this kind of volume is not offered; there are emptyDir, configMap, secret, downwardAPI, projected, hostPath, persistentVolumeClaim, ephemeral and image";

/// What a volume's files are made of. Services have no part in it.
pub(super) fn around<'a>(volumes: &'a Volumes, pod: &'a Pod, pod_ip: IpAddr, sources: &'a Sources) -> Surroundings<'a> {
    let surface = &volumes.0.surface;
    Surroundings { pod, pod_ip, host_ip: surface.host_ip, services: &[], sources, allocatable: &surface.allocatable }
}
