//! Volumes behind claims: from the claim to the PersistentVolume to a folder.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Pod};
use kube::Api;

use super::place::{Access, Counted, Placed};
use super::{CLAIM_PATIENCE, PodVolumes, VolumeError, Volumes, host_path};

/// Who makes volumes on the nodes' own disks.
pub(super) const DRIVER: &str = "local-path.coracle.dev";
const POLL: Duration = Duration::from_millis(50);

/// Which claim a pod wants.
pub(super) struct Wanted {
    pub name: String,
    pub read_only: bool,
    /// It was made for this pod alone.
    pub own: bool,
}

/// Opens the volume that a claim is bound to.
pub(super) async fn open(
    volumes: &Volumes,
    pod: &Arc<Pod>,
    state: &PodVolumes,
    volume: &str,
    wanted: Wanted,
) -> Result<Placed, VolumeError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let unready = |why: String| VolumeError::Unready {
        volume: volume.to_owned(),
        why: format!("error processing PVC {namespace}/{}: {why}", wanted.name),
    };
    let claim = bound_claim(volumes, pod, &wanted).await.map_err(&unready)?;
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default();
    let persistent = Api::<PersistentVolume>::all(volumes.0.surface.client.clone()).get(&name).await;
    let persistent = persistent.map_err(|error| unready(error.to_string()))?;
    check(&persistent, &claim).map_err(&unready)?;
    take_alone(volumes, pod, state, &claim).map_err(&unready)?;
    let spec = persistent.spec.clone().unwrap_or_default();
    let mut placed = folder(volumes, &name, &spec).map_err(|why| VolumeError::set_up(&name, why))?;
    if wanted.read_only || spec.csi.as_ref().is_some_and(|csi| csi.read_only == Some(true)) {
        placed.access = Access::ReadOnly;
    }
    let capacity = spec.capacity.as_ref().and_then(|capacity| capacity.get("storage")?.0.parse::<Quantity>().ok());
    let capacity = capacity.and_then(|capacity| u64::try_from(capacity.value()).ok());
    placed.counted = Counted::Claim { name: wanted.name, capacity };
    Ok(placed)
}

/// The claim, as soon as it is bound.
async fn bound_claim(volumes: &Volumes, pod: &Pod, wanted: &Wanted) -> Result<PersistentVolumeClaim, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let claims = Api::<PersistentVolumeClaim>::namespaced(volumes.0.surface.client.clone(), namespace);
    let until = Instant::now() + CLAIM_PATIENCE;
    loop {
        let claim = claims.get_opt(&wanted.name).await.map_err(|error| error.to_string())?;
        let why = match claim {
            None => format!("failed to fetch PVC from API server: persistentvolumeclaims {:?} not found", wanted.name),
            Some(claim) => {
                if wanted.own && !is_for(&claim, pod) {
                    let pod = pod.metadata.name.as_deref().unwrap_or_default();
                    return Err(format!(
                        "PVC {namespace}/{} was not created for pod {namespace}/{pod} (pod is not owner)",
                        wanted.name
                    ));
                }
                if claim.metadata.deletion_timestamp.is_some() {
                    return Err("PVC is being deleted".to_owned());
                }
                if is_bound(&claim) {
                    return Ok(claim);
                }
                "PVC is not bound".to_owned()
            }
        };
        if Instant::now() >= until {
            return Err(why);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).is_some_and(|name| !name.is_empty());
    phase == Some("Bound") && named
}

fn is_for(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.controller == Some(true) && Some(&owner.uid) == pod.metadata.uid.as_ref())
}

fn check(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), String> {
    let spec = volume.spec.as_ref();
    let holder = spec.and_then(|spec| spec.claim_ref.as_ref()?.uid.as_deref());
    if holder != claim.metadata.uid.as_deref() {
        return Err("the claim's volume is bound to another claim".to_owned());
    }
    if spec.and_then(|spec| spec.volume_mode.as_deref()) == Some("Block") {
        return Err("volumeMode Block is not offered: a component has files and no devices; use Filesystem".to_owned());
    }
    Ok(())
}

/// A claim of one pod alone is kept from the others of this node; the scheduler keeps it from those elsewhere.
fn take_alone(volumes: &Volumes, pod: &Pod, state: &PodVolumes, claim: &PersistentVolumeClaim) -> Result<(), String> {
    let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    if !modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        return Ok(());
    }
    let uid = claim.metadata.uid.clone().unwrap_or_default();
    let own = pod.metadata.uid.as_deref().unwrap_or_default();
    let pods = volumes.0.pods.lock();
    let taken = pods.iter().any(|(other, state)| other != own && state.alone.lock().contains(&uid));
    if taken {
        return Err("volume uses the ReadWriteOncePod access mode and is already in use by another pod".to_owned());
    }
    state.alone.lock().insert(uid);
    Ok(())
}

/// Where the volume of this name lies.
fn folder(volumes: &Volumes, name: &str, spec: &PersistentVolumeSpec) -> Result<Placed, String> {
    if let Some(csi) = spec.csi.as_ref().filter(|csi| csi.driver == DRIVER) {
        // The handle is the name, so that nobody gets another volume's folder by naming it.
        if csi.volume_handle != name || !is_plain(name) {
            return Err(format!("the handle of a volume of {DRIVER} is its own name"));
        }
        let dir = volumes.storage().join(name);
        base::files::private_folder(&dir).map_err(|error| error.to_string())?;
        return Ok(Placed { counted: Counted::Nowhere, ..Placed::own(dir, Access::Writable) });
    }
    let allowed = &volumes.0.surface.allowed;
    if let Some(local) = &spec.local {
        return host_path::open(allowed, &local.path, "Directory").map_err(|error| error.to_string());
    }
    if let Some(source) = &spec.host_path {
        let kind = source.type_.as_deref().unwrap_or_default();
        return host_path::open(allowed, &source.path, kind).map_err(|error| error.to_string());
    }
    Err(format!("this node mounts persistent volumes of {DRIVER}, local and hostPath alone"))
}

/// Whether a name is one step of a path.
pub(super) fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None))
}
