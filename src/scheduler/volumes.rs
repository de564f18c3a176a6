//! The volumes that pods ask for: which claims are bound to what, and which are bound only once a node is chosen.

use std::collections::HashMap;
use std::sync::Arc;

use api::Quantity;
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use parking_lot::Mutex;

use crate::ask::{Ask, Mounted};
use crate::labels::Matcher;
use crate::node::NodeState;

pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The provisioner of classes whose volumes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// What is known of volumes.
#[derive(Clone)]
pub(crate) struct Volumes {
    pub claims: Informer<PersistentVolumeClaim>,
    pub volumes: Informer<PersistentVolume>,
    pub classes: Informer<StorageClass>,
    /// Volumes that were given to claims, and that the cache does not show yet.
    promised: Arc<Mutex<HashMap<String, Key>>>,
}

impl Default for Volumes {
    fn default() -> Self {
        Self::new(Informer::empty(), Informer::empty(), Informer::empty())
    }
}

/// The claims of one pod, read for one decision.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The volumes that are bound already.
    pub bound: Vec<Arc<PersistentVolume>>,
    /// A volume that a claim names is gone.
    pub is_lost: bool,
    /// What is bound once a node is chosen.
    pub open: Vec<Open>,
    /// Claims that one pod alone may use.
    pub exclusive: Vec<Key>,
}

/// A claim that waits for its first consumer.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub claim: Arc<PersistentVolumeClaim>,
    class: Arc<StorageClass>,
}

/// What is written for a claim before its pod is bound.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// This volume is to be the claim's.
    Give(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>),
    /// Somebody makes a volume for the chosen node.
    Provision(Arc<PersistentVolumeClaim>),
}

impl Step {
    pub fn claim(&self) -> &Arc<PersistentVolumeClaim> {
        match self {
            Self::Give(_, claim) | Self::Provision(claim) => claim,
        }
    }
}

impl Volumes {
    pub fn new(
        claims: Informer<PersistentVolumeClaim>,
        volumes: Informer<PersistentVolume>,
        classes: Informer<StorageClass>,
    ) -> Self {
        Self { claims, volumes, classes, promised: Arc::default() }
    }

    /// Reads a pod's claims, or says why no node will do while they are as they are.
    pub fn read(&self, ask: &Ask) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        let mut immediate = false;
        for mounted in &ask.claims {
            let claim = self.claim(ask, mounted)?;
            let spec = claim.spec.as_ref();
            let modes = spec.and_then(|spec| spec.access_modes.as_ref());
            if modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteOncePod")) {
                wanted.exclusive.push(mounted.claim.clone());
            }
            let volume = spec.and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
            match volume.filter(|_| claim.annotations().contains_key(BIND_COMPLETED) || is_bound(&claim)) {
                Some(name) => match self.volumes.get("", name) {
                    Some(volume) => wanted.bound.push(volume),
                    None => wanted.is_lost = true,
                },
                None => match self.class(&claim).filter(|class| waits(class) && volume.is_none()) {
                    Some(class) => wanted.open.push(Open { claim, class }),
                    None => immediate = true,
                },
            }
        }
        if immediate {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
        Ok(wanted)
    }

    fn claim(&self, ask: &Ask, mounted: &Mounted) -> Result<Arc<PersistentVolumeClaim>, String> {
        let name = &mounted.claim.name;
        let Some(claim) = self.claims.at(&mounted.claim) else {
            return Err(if mounted.is_own {
                format!("waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}")
            } else {
                format!("persistentvolumeclaim {name:?} not found")
            });
        };
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
            let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default();
            return Err(format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        let owned =
            || claim.owner_references().iter().any(|owner| owner.uid == ask.uid && owner.controller == Some(true));
        if mounted.is_own && !owned() {
            let key = &mounted.claim;
            return Err(format!("PVC {key} was not created for pod {} (pod is not owner)", ask.key));
        }
        Ok(claim)
    }

    fn class(&self, claim: &PersistentVolumeClaim) -> Option<Arc<StorageClass>> {
        self.classes.get("", class_of(claim)?)
    }

    /// What has to be written so that the claims can be used on a node, or why it cannot be done there.
    pub fn plan(&self, wanted: &Wanted, state: &NodeState) -> Option<Vec<Step>> {
        let mut taken: Vec<String> = Vec::new();
        let mut steps = Vec::new();
        for Open { claim, class } in &wanted.open {
            let selected = claim.annotations().get(SELECTED_NODE).filter(|node| !node.is_empty());
            if selected.is_some_and(|node| *node != state.name) {
                return None;
            }
            let found = if selected.is_none() { self.fitting(claim, state, &taken) } else { None };
            match found {
                Some(volume) => {
                    taken.push(volume.name_any());
                    steps.push(Step::Give(volume, claim.clone()));
                }
                None if class.provisioner == NO_PROVISIONER || !topology_allows(class, state) => return None,
                None => steps.push(Step::Provision(claim.clone())),
            }
        }
        Some(steps)
    }

    /// The smallest volume that is there for the claim on a node.
    fn fitting(
        &self,
        claim: &PersistentVolumeClaim,
        state: &NodeState,
        taken: &[String],
    ) -> Option<Arc<PersistentVolume>> {
        let key = Key::of(claim);
        let mut fitting: Vec<(Quantity, Arc<PersistentVolume>)> = self
            .volumes
            .list()
            .into_iter()
            .filter(|volume| !taken.contains(&volume.name_any()) && self.is_for(volume, claim, &key))
            .filter(|volume| reachable(volume, state))
            .map(|volume| (capacity(&volume), volume))
            .collect();
        fitting.sort_by(|(one, first), (other, second)| {
            one.cmp(other).then_with(|| first.metadata.name.cmp(&second.metadata.name))
        });
        fitting.into_iter().next().map(|(_, volume)| volume)
    }

    fn is_for(&self, volume: &PersistentVolume, claim: &PersistentVolumeClaim, key: &Key) -> bool {
        let (Some(spec), Some(wish)) = (&volume.spec, &claim.spec) else { return false };
        let promised = self.promised.lock().get(&volume.name_any()).cloned();
        let kept = spec.claim_ref.as_ref().map(|reference| {
            Key::new(reference.namespace.clone().unwrap_or_default(), reference.name.clone().unwrap_or_default())
        });
        let free = promised.is_none_or(|other| other == *key) && kept.is_none_or(|other| other == *key);
        let available = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        let asked = wish.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
        let asked: Quantity = asked.and_then(|text| text.0.parse().ok()).unwrap_or_default();
        let modes = spec.access_modes.as_deref().unwrap_or_default();
        let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
        let labels = volume.metadata.labels.clone().unwrap_or_default();
        free && volume.metadata.deletion_timestamp.is_none()
            && (available != Some("Released") && available != Some("Failed"))
            && class_of_volume(volume) == class_of(claim)
            && capacity(volume) >= asked
            && wish.access_modes.iter().flatten().all(|wished| modes.contains(wished))
            && mode(&spec.volume_mode) == mode(&wish.volume_mode)
            && wish.selector.as_ref().is_none_or(|selector| Matcher::of(Some(selector)).matches(&labels))
    }

    /// Keeps the volumes of a plan for its claims until the cache shows it.
    pub fn promise(&self, steps: &[Step]) {
        for step in steps {
            if let Step::Give(volume, claim) = step {
                self.promised.lock().insert(volume.name_any(), Key::of(claim.as_ref()));
            }
        }
    }

    /// Keeps them no longer.
    pub fn release(&self, steps: &[Step]) {
        for step in steps {
            if let Step::Give(volume, _) = step {
                self.promised.lock().remove(&volume.name_any());
            }
        }
    }
}

/// Whether the claim has its volume for good.
pub(crate) fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

fn waits(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

fn class_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    let old = claim.annotations().get(OLD_CLASS).map(String::as_str);
    let class = old.or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref());
    class.filter(|class| !class.is_empty())
}

fn class_of_volume(volume: &PersistentVolume) -> Option<&str> {
    let old = volume.annotations().get(OLD_CLASS).map(String::as_str);
    let class = old.or_else(|| volume.spec.as_ref()?.storage_class_name.as_deref());
    class.filter(|class| !class.is_empty())
}

fn capacity(volume: &PersistentVolume) -> Quantity {
    let amount = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get("storage"));
    amount.and_then(|text| text.0.parse().ok()).unwrap_or_default()
}

/// Whether a volume can be used on a node.
pub(crate) fn reachable(volume: &PersistentVolume, state: &NodeState) -> bool {
    let required = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    required.is_none_or(|required| client::placement::affinity::selects(required, &state.node))
}

fn topology_allows(class: &StorageClass, state: &NodeState) -> bool {
    let terms = class.allowed_topologies.as_deref().unwrap_or_default();
    let meets = |term: &k8s_openapi::api::core::v1::TopologySelectorTerm| {
        let requirements = term.match_label_expressions.iter().flatten();
        requirements
            .into_iter()
            .all(|wanted| state.label(&wanted.key).is_some_and(|value| wanted.values.contains(value)))
    };
    terms.is_empty() || terms.iter().any(meets)
}
