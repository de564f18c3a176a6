//! How much pods have written, held against their limits: a thread that walks their folders, little by little.
//!
//! A pod without a limit of its storage is not looked at, and costs nothing. The others are walked about once a second, less
//! often when that takes long: the walk keeps to a twentieth of a core.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::quantity::{Format, Quantity};
use base::os::{Urgency, set_thread_urgency};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use client::informers::Key;
use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;

use super::evict::Eviction;
use super::place::{Access, Counted, Placed};
use super::{PodVolumes, ROOTS, Volumes, containers};
use crate::resources::quantity;

const EPHEMERAL: &str = "ephemeral-storage";
const EVERY: Duration = Duration::from_secs(1);
/// A walk that took this long is followed by a pause of this many times as much.
const REST: u32 = 19;

/// What of a pod is measured.
pub(super) struct Watched {
    key: Key,
    uid: String,
    volumes: Vec<Measured>,
    /// Limits of containers by their names, for their logs and the files that were mounted one by one.
    containers: Vec<(String, Quantity)>,
    pod_limit: Option<Quantity>,
    pod: Arc<Pod>,
    told: Mutex<HashSet<String>>,
}

struct Measured {
    name: String,
    placed: Placed,
    /// `sizeLimit`, or what else bounds it.
    limit: Option<Quantity>,
    in_memory: bool,
}

/// Begins to watch a pod, if it has a limit.
pub(super) fn observe(volumes: &Volumes, pod: &Arc<Pod>, placed: &HashMap<String, Placed>) {
    let watched = Watched::of(pod, placed);
    if watched.is_limited() {
        volumes.0.watched.lock().insert(watched.uid.clone(), Arc::new(watched));
    }
}

impl Watched {
    fn of(pod: &Arc<Pod>, placed: &HashMap<String, Placed>) -> Self {
        let spec = pod.spec.as_ref();
        let limit = |container: &Container| {
            let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
            Some((container.name.clone(), quantity(limits, EPHEMERAL)?))
        };
        let containers: Vec<_> = containers(pod).filter_map(limit).collect();
        let memory = memory_limit(pod);
        let volumes = spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).filter_map(|volume| {
            let placed = placed.get(&volume.name)?.clone();
            let source = volume.empty_dir.as_ref();
            let in_memory = source.is_some_and(|source| source.medium.as_deref() == Some("Memory"));
            let own = source.and_then(|source| source.size_limit.as_ref()?.0.parse::<Quantity>().ok());
            let own = own.filter(|limit| *limit > Quantity::ZERO);
            // What lies in memory counts as memory: it can be no larger than what the pod may have of that.
            let limit = match (own, memory.filter(|_| in_memory)) {
                (Some(own), Some(memory)) => Some(own.min(memory)),
                (own, memory) => own.or(memory),
            };
            Some(Measured { name: volume.name.clone(), placed, limit, in_memory })
        });
        Self {
            key: Key::of(pod.as_ref()),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            volumes: volumes.collect(),
            pod_limit: pod_limit(pod),
            containers,
            pod: Arc::clone(pod),
            told: Mutex::default(),
        }
    }

    fn is_limited(&self) -> bool {
        let capacity = |volume: &Measured| matches!(volume.placed.counted, Counted::Claim { capacity: Some(_), .. });
        self.pod_limit.is_some()
            || !self.containers.is_empty()
            || self.volumes.iter().any(|volume| volume.limit.is_some() || capacity(volume))
    }

    /// What the pod has written, and by which limit it is too much.
    fn check(&self, volumes: &Volumes) -> Option<String> {
        let mut sizes = BTreeMap::new();
        for volume in &self.volumes {
            if volume.placed.access == Access::Writable && volume.placed.counted != Counted::Nowhere {
                sizes.insert(volume.name.as_str(), volume.placed.root().and_then(|dir| size(&dir)).unwrap_or(0));
            }
        }
        for volume in &self.volumes {
            let Some(used) = sizes.get(volume.name.as_str()) else { continue };
            if let Some(limit) = volume.limit.filter(|limit| bytes(*used) > *limit) {
                let name = &volume.name;
                return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit \"{limit}\". "));
            }
            self.warn_of_capacity(volumes, volume, *used);
        }
        let written = |container: &str| volumes.written_by(&self.pod, container);
        if let Some(limit) = self.pod_limit {
            let on_disk = |volume: &&Measured| !volume.in_memory && volume.placed.counted == Counted::Ephemeral;
            let of_volumes: u64 =
                self.volumes.iter().filter(on_disk).filter_map(|volume| sizes.get(volume.name.as_str())).sum();
            let of_containers: u64 = containers(&self.pod).map(|container| written(&container.name)).sum();
            if bytes(of_volumes + of_containers) > limit {
                return Some(format!(
                    "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
                ));
            }
        }
        let (name, limit) = self.containers.iter().find(|(name, limit)| bytes(written(name)) > *limit)?;
        Some(format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". "))
    }

    /// A claim's capacity is what it asked for and no wall: who passes it is told.
    fn warn_of_capacity(&self, volumes: &Volumes, volume: &Measured, used: u64) {
        let Counted::Claim { name, capacity: Some(capacity) } = &volume.placed.counted else { return };
        let mut told = self.told.lock();
        if used <= *capacity {
            told.remove(&volume.name);
        } else if told.insert(volume.name.clone()) {
            let message = format!(
                "volume {:?} holds {used} bytes, which is more than the capacity of claim {name:?} ({capacity} bytes)",
                volume.name
            );
            volumes.0.surface.events.warning(self.pod.as_ref(), "VolumeCapacityExceeded", message);
        }
    }
}

fn bytes(count: u64) -> Quantity {
    Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX), Format::Decimal)
}

/// The sum of the limits of those containers that have one; `None` when none has.
fn pod_limit(pod: &Pod) -> Option<Quantity> {
    sum_of_limits(pod, EPHEMERAL, false)
}

/// The sum of the memory limits of all containers; `None` when one has none.
fn memory_limit(pod: &Pod) -> Option<Quantity> {
    sum_of_limits(pod, "memory", true)
}

fn sum_of_limits(pod: &Pod, name: &str, every: bool) -> Option<Quantity> {
    let spec = pod.spec.as_ref()?;
    let own = spec.resources.as_ref().and_then(|resources| quantity(resources.limits.as_ref(), name));
    if own.is_some() {
        return own;
    }
    let of = |container: &Container| quantity(container.resources.as_ref()?.limits.as_ref(), name);
    let sidecars =
        spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let limits: Vec<Option<Quantity>> = spec.containers.iter().chain(sidecars).map(of).collect();
    if limits.iter().all(Option::is_none) || (every && limits.iter().any(Option::is_none)) {
        return None;
    }
    Some(limits.into_iter().flatten().fold(Quantity::ZERO, |sum, limit| sum + limit))
}

/// What lies below a directory, without following links. A file with several names counts once.
pub(super) fn size(dir: &Dir) -> io::Result<u64> {
    let mut several = HashSet::new();
    let (mut sum, mut open) = (0u64, vec![dir.try_clone()?]);
    while let Some(dir) = open.pop() {
        for entry in dir.entries()? {
            // What goes while it is looked at has no size any more.
            let Ok(entry) = entry else { continue };
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                // A directory that became a link meanwhile is found in the volume or not at all.
                open.extend(dir.open_dir(entry.file_name()));
            }
            sum = sum.saturating_add(on_disk(&meta, &mut several));
        }
    }
    Ok(sum)
}

#[cfg(unix)]
fn on_disk(meta: &cap_std::fs::Metadata, several: &mut HashSet<(u64, u64)>) -> u64 {
    use cap_std::fs::MetadataExt;
    const BLOCK: u64 = 512;
    if meta.nlink() > 1 && !meta.is_dir() && !several.insert((meta.dev(), meta.ino())) {
        return 0;
    }
    meta.blocks() * BLOCK
}

#[cfg(not(unix))]
fn on_disk(meta: &cap_std::fs::Metadata, _several: &mut HashSet<(u64, u64)>) -> u64 {
    meta.len()
}

impl Volumes {
    /// What a container has written beside volumes: its logs, its own root, and the folders that hold single files.
    fn written_by(&self, pod: &Pod, container: &str) -> u64 {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let size_at =
            |path: PathBuf| Dir::open_ambient_dir(path, ambient_authority()).and_then(|dir| size(&dir)).unwrap_or(0);
        size_at(self.0.surface.logs.folder_of_container(pod, container))
            + size_at(self.folder(uid).join(".views").join(container))
            + size_at(self.folder(uid).join(ROOTS).join(container))
    }

    /// The same, to those who rank pods by it; walks the files.
    pub fn written(&self, pod: &Pod, container: &str) -> u64 {
        self.written_by(pod, container)
    }

    /// How much each volume of a pod that has limits holds; walks them.
    pub fn sizes(&self, uid: &str) -> Vec<(String, u64)> {
        let state: Option<Arc<PodVolumes>> = self.0.pods.lock().get(uid).cloned();
        let Some(state) = state else { return Vec::new() };
        let Ok(placed) = state.placed.try_lock() else { return Vec::new() };
        let placed = placed.clone();
        placed
            .into_iter()
            .filter_map(|(name, placed)| Some((name, placed.root().and_then(|dir| size(&dir)).ok()?)))
            .collect()
    }
}

/// Starts the thread that looks after limits.
pub(super) fn start(volumes: &Volumes) {
    let weak = Arc::downgrade(&volumes.0);
    let shutdown = volumes.0.surface.tasks.shutdown();
    let spawned = std::thread::Builder::new().name("storage".to_owned()).spawn(move || {
        set_thread_urgency(Urgency::Idle);
        let mut pause = EVERY;
        loop {
            std::thread::sleep(pause.min(EVERY));
            let Some(shared) = weak.upgrade() else { return };
            if shutdown.is_cancelled() {
                return;
            }
            pause = pause.saturating_sub(EVERY);
            if pause.is_zero() {
                pause = (walk(&Volumes(shared)) * REST).max(EVERY);
            }
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "cannot start the thread that holds pods to the limits of their storage");
    }
}

fn walk(volumes: &Volumes) -> Duration {
    let watched: Vec<Arc<Watched>> = volumes.0.watched.lock().values().cloned().collect();
    let began = Instant::now();
    for pod in watched {
        if let Some(message) = pod.check(volumes) {
            volumes.0.evictions.tell(Eviction { key: pod.key.clone(), uid: pod.uid.clone(), message });
        }
    }
    began.elapsed()
}
