//! Volumes as folders of the host, and what containers see of them.
//!
//! ```text
//! FOLDER/UID/VOLUME/…            made before the pod's first container starts; gone with the pod
//! FOLDER/UID/.views/CONTAINER/…  folders that hold the files which are mounted one by one
//! STORAGE/PV/…                   persistent volumes of the local provisioner; gone with the PersistentVolume
//! ```
//!
//! *Guarantees*: no path leaves a volume. Guests open everything relative to a directory that is open; what follows a path of the
//! pod's spec through a volume (`subPath`) does so the same way, and the directory that it found stays open for the container, so
//! that nobody can put another one in its place. Operators name the folders of the host that `hostPath` may reach.
//!
//! A guest sees directories. A mount whose path is a single file is a directory of its own, under the path that the file's parent
//! has, that holds the file as a hard link (a copy where it may only be read); or the file is linked into the volume that is
//! mounted there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::Tasks;
use base::files::private_folder;
use client::Client;
use client::events::Recorder;
use client::informers::{Informer, Key};
use images::ImageStore;
use k8s_openapi::api::core::v1::{Container, FileKeySelector, PersistentVolume, Pod, Volume};
use parking_lot::Mutex;
use thiserror::Error;

use crate::logs::Logs;
use crate::root::Root;
use crate::sandbox::Mount;

mod bound;
mod content;
mod evict;
mod host_path;
mod image;
mod payload;
mod pending;
mod place;
mod reclaim;
mod refresh;
pub(crate) mod tokens;
mod usage;
mod views;

#[cfg(test)]
mod tests;

pub(crate) use evict::Eviction;
pub(crate) use host_path::Allowed;
use place::Placed;

/// Why a volume cannot be mounted, as events have it.
#[derive(Debug, Error)]
pub(crate) enum VolumeError {
    #[error("MountVolume.SetUp failed for volume {volume:?} : {why}")]
    SetUp { volume: String, why: String },
    #[error("Unable to attach or mount volumes: unmounted volumes=[{volume}]: {why}")]
    Unready { volume: String, why: String },
    /// The image of a volume is not here; the reason is the container's.
    #[error("{message}")]
    Image { image: String, reason: &'static str, message: String },
    #[error("{0}")]
    View(String),
}

impl VolumeError {
    fn set_up(volume: &str, why: impl ToString) -> Self {
        Self::SetUp { volume: volume.to_owned(), why: why.to_string() }
    }

    /// Whether it is the container's mount that is wrong, and not the pod's volume.
    pub fn is_of_container(&self) -> bool {
        matches!(self, Self::View(_))
    }
}

/// What volumes are made of and where they lie.
pub(crate) struct Surface {
    /// The node's name.
    pub node: String,
    /// The node's folder.
    pub folder: PathBuf,
    pub client: Client,
    pub events: Recorder,
    pub images: ImageStore,
    pub host_ip: IpAddr,
    pub allocatable: std::collections::BTreeMap<String, String>,
    /// Folders of the host that pods may mount.
    pub allowed: Allowed,
    pub logs: Logs,
    pub persistent: Informer<PersistentVolume>,
    pub tasks: Tasks,
}

/// The volumes of every pod of the node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Volumes(Arc<Shared>);

struct Shared {
    surface: Surface,
    pods: Mutex<HashMap<String, Arc<PodVolumes>>>,
    refresh: refresh::Door,
    evictions: evict::Door,
    watched: Mutex<HashMap<String, Arc<usage::Watched>>>,
    known: OnceLock<Informer<Pod>>,
}

/// What is there of one pod's volumes.
#[derive(Default)]
struct PodVolumes {
    placed: tokio::sync::Mutex<HashMap<String, Placed>>,
    /// The claims that it uses, where others may not use them as well.
    alone: Mutex<HashSet<String>>,
}

impl Volumes {
    /// Volumes below the node's folder. Pods that pass a limit of theirs come out of the receiver.
    pub fn open(surface: Surface) -> io::Result<(Self, tokio::sync::mpsc::UnboundedReceiver<Eviction>)> {
        private_folder(&surface.folder.join("volumes"))?;
        private_folder(&surface.folder.join("storage"))?;
        let (refresh, asked) = refresh::Door::new();
        let (evictions, out) = evict::Door::new();
        let shared = Shared {
            surface,
            pods: Mutex::default(),
            refresh,
            evictions,
            watched: Mutex::default(),
            known: OnceLock::new(),
        };
        let volumes = Self(Arc::new(shared));
        refresh::start(&volumes, asked);
        usage::start(&volumes);
        reclaim::start(&volumes);
        Ok((volumes, out))
    }

    /// Learns of what becomes of pods: their own fields stand in volumes, and what has ended needs none.
    pub fn follow(&self, pods: &Informer<Pod>) {
        let volumes = self.clone();
        if self.0.known.set(pods.clone()).is_err() {
            return;
        }
        pods.on_change(move |change| {
            let (Some(old), Some(new)) = (&change.old, &change.new) else { return };
            let Some(uid) = new.metadata.uid.clone() else { return };
            let (was, is) = (&old.metadata, &new.metadata);
            if is_over(new) && !is_over(old) {
                let volumes = volumes.clone();
                tokio::task::spawn_blocking(move || volumes.remove(&uid));
            } else if was.labels != is.labels || was.annotations != is.annotations {
                volumes.0.refresh.fields_changed(&uid);
            }
        });
    }

    fn pod(&self, key: &Key) -> Option<Arc<Pod>> {
        self.0.known.get()?.at(key)
    }

    fn folder(&self, uid: &str) -> PathBuf {
        self.0.surface.folder.join("volumes").join(uid)
    }

    /// Where persistent volumes of the local provisioner lie.
    fn storage(&self) -> PathBuf {
        self.0.surface.folder.join("storage")
    }

    fn of(&self, uid: &str) -> Arc<PodVolumes> {
        self.0.pods.lock().entry(uid.to_owned()).or_default().clone()
    }

    /// What `container` of `pod` mounts. The first call for a pod makes all of its volumes that any container mounts.
    pub async fn mounts(
        &self,
        pod: &Arc<Pod>,
        container: &Container,
        environment: &[(String, String)],
        pod_ip: IpAddr,
    ) -> Result<Vec<Mount>, VolumeError> {
        if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
            let why = "volumeDevices are not offered: a component has files and no devices; use volumeMounts with a claim of volumeMode Filesystem";
            return Err(VolumeError::View(why.to_owned()));
        }
        if container.volume_mounts.as_ref().is_none_or(Vec::is_empty) && !uses_any(pod) {
            // Its logs and its root are held to its limits all the same.
            usage::observe(self, pod, &HashMap::new());
            return Ok(Vec::new());
        }
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let views = self.folder(uid).join(".views").join(&container.name);
        self.placed(pod, pod_ip, |placed| views::mounts(placed, container, environment, &views)).await?
    }

    /// The files that a container's variables are read from, by volume and path; what there is not is missing.
    pub async fn texts(
        &self,
        pod: &Arc<Pod>,
        container: &Container,
        pod_ip: IpAddr,
    ) -> Result<BTreeMap<(String, String), String>, VolumeError> {
        let sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
        let keys: Vec<_> = sources.filter_map(|source| source.file_key_ref.as_ref()).collect();
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let text = |placed: &HashMap<String, Placed>, key: &FileKeySelector| {
            let root = placed.get(&key.volume_name).and_then(|volume| volume.root().ok())?;
            let mut text = String::new();
            root.open(&key.path).ok()?.take(TEXT_BYTES_MAX).read_to_string(&mut text).ok()?;
            Some(((key.volume_name.clone(), key.path.clone()), text))
        };
        self.placed(pod, pod_ip, |placed| keys.into_iter().filter_map(|key| text(placed, key)).collect()).await
    }

    /// Looks at all of a pod's volumes that any container mounts; the first call makes them.
    async fn placed<T>(
        &self,
        pod: &Arc<Pod>,
        pod_ip: IpAddr,
        look: impl FnOnce(&HashMap<String, Placed>) -> T,
    ) -> Result<T, VolumeError> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let state = self.of(&uid);
        let mut placed = state.placed.lock().await;
        let volumes = used(pod);
        let missing: Vec<&Volume> = volumes.into_iter().filter(|volume| !placed.contains_key(&volume.name)).collect();
        if !missing.is_empty() {
            for (name, made) in place::all(self, pod, &state, &missing, pod_ip).await? {
                placed.insert(name, made);
            }
            usage::observe(self, pod, &placed);
        }
        Ok(look(&placed))
    }

    /// A container's own folder, without what an earlier run of it left there. Nothing is made yet. Blocks for a moment if it
    /// has run before.
    pub fn root(&self, pod: &Pod, container: &Container, again: bool, address: IpAddr) -> Root {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let folder = self.folder(uid).join(ROOTS).join(&container.name);
        if again {
            remove_tree(&folder);
        }
        Root::of(folder, pod, container, address)
    }

    /// Removes what a pod has. Blocks.
    pub fn remove(&self, uid: &str) {
        self.release(uid);
        remove_tree(&self.folder(uid));
    }

    /// A pod that has ended uses nothing any more.
    fn release(&self, uid: &str) {
        self.0.pods.lock().remove(uid);
        self.0.refresh.forget(uid);
        self.0.evictions.forget(uid);
        self.0.watched.lock().remove(uid);
    }

    /// Removes what pods have left behind that went while the node was away. Blocks.
    pub fn sweep(&self, known: &HashSet<String>) {
        let folder = self.0.surface.folder.join("volumes");
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|uid| !known.contains(uid)) {
                remove_tree(&entry.path());
            }
        }
    }
}

/// Removes a folder and all that is in it; links in it are not followed.
fn remove_tree(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove a volume");
        }
        _ => {}
    }
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn uses_any(pod: &Pod) -> bool {
    containers(pod).any(|container| container.volume_mounts.as_ref().is_some_and(|mounts| !mounts.is_empty()))
}

/// The volumes that any container mounts. The others are not made, as in Kubernetes.
fn used(pod: &Pod) -> Vec<&Volume> {
    let mounted: BTreeSet<&str> = containers(pod)
        .flat_map(|container| container.volume_mounts.iter().flatten())
        .map(|mount| mount.name.as_str())
        .collect();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter(|volume| mounted.contains(volume.name.as_str())).collect()
}

/// `path` below `dir`, unless it leads out of it.
fn inside(dir: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)).then(|| dir.join(path))
}

/// A file of variables is no longer.
const TEXT_BYTES_MAX: u64 = 64 << 10;
/// Where the roots of a pod's containers lie, beside its volumes.
const ROOTS: &str = ".roots";

/// How long a claim may take to be bound before the launch is given up for now.
const CLAIM_PATIENCE: Duration = Duration::from_secs(5);
