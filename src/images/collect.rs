//! What may go: images that nobody has used for long, and blobs that nothing names.
//!
//! Images that were pulled come back when somebody wants them, so they go when the disk is short, the one that was used
//! longest ago first, or when they are old. What was pushed into the built-in registry is here and nowhere else: only whoever
//! pushed it deletes it. No image goes that a pod on this node names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::manifest::Manifest;
use crate::store::{Index, StoreError, blocking, unix_now};
use crate::{Digest, ImageStore, LOCAL_REGISTRY, Reference};

/// A blob that nothing names may be one half of a push: it stays for this long after it was last mentioned.
const BLOB_GRACE: Duration = Duration::from_secs(3600);

/// An image that a pod names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// As the pod's spec names it, or as its status does, with a digest.
    pub image: String,
    /// `namespace/pod`
    pub pod: String,
}

/// Who knows which images are in use on this node.
pub trait Users: Send + Sync + 'static {
    /// All uses, or nothing while they are not known: then nothing goes.
    fn uses(&self) -> Option<Vec<Use>>;
}

/// When images go, as the kubelet has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Percent of the disk in use from which on images go.
    pub high_percent: u8,
    /// Percent of the disk in use down to which they go.
    pub low_percent: u8,
    /// An image that was used more recently than this stays.
    pub age_min: Duration,
    /// An image that was not used for this long goes, whatever room there is.
    pub age_max: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { high_percent: 85, low_percent: 80, age_min: Duration::from_secs(120), age_max: None }
    }
}

/// Why a text sets no limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of high=PERCENT, low=PERCENT, min-age=TIME and max-age=TIME, such as high=90,max-age=168h")]
pub struct LimitsError(String);

impl std::str::FromStr for Limits {
    type Err = LimitsError;

    fn from_str(text: &str) -> Result<Self, LimitsError> {
        let mut limits = Self::default();
        for setting in text.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
            let wrong = || LimitsError(setting.to_owned());
            let (name, value) = setting.split_once('=').ok_or_else(wrong)?;
            let percent = || value.parse::<u8>().ok().filter(|percent| *percent <= 100).ok_or_else(wrong);
            match name {
                "high" => limits.high_percent = percent()?,
                "low" => limits.low_percent = percent()?,
                "min-age" => limits.age_min = span(value).ok_or_else(wrong)?,
                "max-age" => limits.age_max = Some(span(value).ok_or_else(wrong)?).filter(|age| !age.is_zero()),
                _ => return Err(wrong()),
            }
        }
        if limits.low_percent > limits.high_percent {
            return Err(LimitsError(format!("low={} above high={}", limits.low_percent, limits.high_percent)));
        }
        Ok(limits)
    }
}

/// `90s`, `2m`, `168h` or `7d`.
fn span(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let scale = match &text[digits..] {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        "" if text == "0" => 1,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(scale).map(Duration::from_secs)
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The images, by name.
    pub images: Vec<String>,
    /// The bytes that are free again.
    pub bytes: u64,
}

/// An image of the store with all that is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// All its names.
    pub names: Vec<String>,
    /// The manifest's digest.
    pub digest: Digest,
    /// The component's, if it was unpacked.
    pub component: Option<Digest>,
    /// The bytes of its layers.
    pub size: u64,
    /// When it came, in seconds since 1970.
    pub since: Option<u64>,
    /// The pods that name it.
    pub pods: Vec<String>,
}

impl ImageStore {
    /// Says who knows which images are in use. The first call counts.
    pub fn set_users(&self, users: std::sync::Arc<dyn Users>) {
        let _ = self.inner.users.set(users);
    }

    /// Every image, with its users. Reads small files.
    pub async fn inventory(&self) -> Vec<Stored> {
        let store = self.clone();
        blocking(move || store.take_stock()).await
    }

    fn take_stock(&self) -> Vec<Stored> {
        let index = self.index();
        let uses = self.inner.users.get().and_then(|users| users.uses()).unwrap_or_default();
        let mut found: BTreeMap<Digest, Stored> = BTreeMap::new();
        for (name, digest) in names(&index) {
            let stored = found.entry(digest.clone()).or_insert_with(|| Stored {
                names: Vec::new(),
                digest: digest.clone(),
                component: index.components.get(digest).cloned(),
                size: self.cached_size(digest),
                since: index.since.get(digest).copied().or_else(|| seconds(&self.blob_path(digest))),
                pods: Vec::new(),
            });
            stored.names.push(name);
        }
        for used in &uses {
            if let Some(stored) = self.meant(&index, &used.image).and_then(|digest| found.get_mut(&digest)) {
                stored.pods.push(used.pod.clone());
            }
        }
        for stored in found.values_mut() {
            stored.pods.sort();
            stored.pods.dedup();
        }
        let mut all: Vec<Stored> = found.into_values().collect();
        all.sort_by(|a, b| a.names.cmp(&b.names));
        all
    }

    /// The manifest that a pod means by a name.
    fn meant(&self, index: &Index, image: &str) -> Option<Digest> {
        let reference: Reference = image.parse().ok()?;
        let pulled = || index.pulled.get(&reference.to_string()).cloned();
        reference.digest.clone().or_else(|| self.find_local(&reference)).or_else(pulled)
    }

    /// Frees what `limits` says, on a disk that is used to `used_percent` and has `disk_bytes`; then whatever nothing names.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub async fn collect(&self, limits: Limits, used_percent: u8, disk_bytes: u64) -> Result<Collected, StoreError> {
        let excess = if used_percent >= limits.high_percent {
            disk_bytes / 100 * u64::from(used_percent.saturating_sub(limits.low_percent))
        } else {
            0
        };
        let store = self.clone();
        blocking(move || {
            let mut collected = store.drop_images(limits, excess)?;
            collected.bytes += store.sweep(BLOB_GRACE)?;
            Ok(collected)
        })
        .await
    }

    /// Removes every pulled image that no pod names, and every blob that nothing names: what `coracle images prune` does, and
    /// what a node does whose disk is full.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub async fn prune(&self) -> Result<Collected, StoreError> {
        let store = self.clone();
        blocking(move || {
            let limits = Limits { age_min: Duration::ZERO, age_max: Some(Duration::ZERO), ..Limits::default() };
            let mut collected = store.drop_images(limits, 0)?;
            collected.bytes += store.sweep(BLOB_GRACE)?;
            Ok(collected)
        })
        .await
    }

    /// Forgets a name: a tag of the built-in registry, or an image that was pulled. Answers whether it was there.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub async fn remove(&self, reference: &Reference) -> Result<bool, StoreError> {
        let (store, reference) = (self.clone(), reference.clone());
        blocking(move || {
            store.change(|index| {
                if index.pulled.remove(&reference.to_string()).is_some() {
                    return true;
                }
                let Some(repository) = index.repositories.get_mut(&reference.repository) else { return false };
                if !reference.is_local() {
                    return false;
                }
                let removed = match (&reference.digest, &reference.tag) {
                    (Some(digest), _) => {
                        repository.tags.retain(|_, tagged| tagged != digest);
                        repository.manifests.remove(digest).is_some()
                    }
                    (None, Some(tag)) => match repository.tags.remove(tag) {
                        Some(digest) => {
                            if !repository.tags.values().any(|tagged| *tagged == digest) {
                                repository.manifests.remove(&digest);
                            }
                            true
                        }
                        None => false,
                    },
                    (None, None) => false,
                };
                if repository.tags.is_empty() && repository.manifests.is_empty() {
                    index.repositories.remove(&reference.repository);
                }
                removed
            })
        })
        .await
    }

    /// Deletes a blob that nothing names. Answers whether it was there. Blocks.
    pub(crate) fn delete_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        if self.kept(&self.index()).contains(digest) {
            return Err(StoreError::InUse(digest.clone()));
        }
        Ok(std::fs::remove_file(self.blob_path(digest)).is_ok())
    }

    /// Forgets images that were pulled, the one that was used longest ago first. Blocks.
    fn drop_images(&self, limits: Limits, excess: u64) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        let Some(uses) = self.inner.users.get().map_or(Some(Vec::new()), |users| users.uses()) else {
            return Ok(collected);
        };
        let index = self.index();
        let needed: BTreeSet<Digest> = uses.iter().filter_map(|used| self.meant(&index, &used.image)).collect();
        let now = unix_now();
        let used = self.inner.used.lock().clone();
        let mut candidates: Vec<(u64, &Digest)> = index
            .pulled
            .values()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter(|digest| !needed.contains(*digest))
            .map(|digest| (used.get(digest).or_else(|| index.since.get(digest)).copied().unwrap_or(0), digest))
            .collect();
        candidates.sort();
        let mut gone = BTreeSet::new();
        for (last, digest) in candidates {
            let age = Duration::from_secs(now.saturating_sub(last));
            let too_old = limits.age_max.is_some_and(|max| age >= max);
            let wanted = collected.bytes < excess && age >= limits.age_min;
            if too_old || wanted {
                collected.bytes += self.cached_size(digest);
                gone.insert(digest.clone());
            }
        }
        if gone.is_empty() {
            return Ok(collected);
        }
        // What is counted here is counted again when the files go.
        collected.bytes = 0;
        collected.images = self.change(|index| {
            let names = index.pulled.iter().filter(|(_, digest)| gone.contains(*digest)).map(|(name, _)| name.clone());
            let names: Vec<String> = names.collect();
            index.pulled.retain(|_, digest| !gone.contains(digest));
            names
        })?;
        collected.bytes += self.sweep_of(&gone);
        Ok(collected)
    }

    /// The files of images that have just been forgotten, where nothing else names them.
    fn sweep_of(&self, gone: &BTreeSet<Digest>) -> u64 {
        let index = self.index();
        let mut parts = BTreeSet::new();
        for digest in gone {
            parts.extend(self.parts_of(digest));
            parts.extend(index.components.get(digest).cloned());
        }
        let kept = self.kept(&index);
        parts.iter().filter(|part| !kept.contains(*part)).map(|part| delete(&self.blob_path(part))).sum()
    }

    /// Deletes blobs that nothing names, and what is known about images that are gone. Blocks.
    fn sweep(&self, grace: Duration) -> Result<u64, StoreError> {
        let index = self.index();
        let named: BTreeSet<Digest> = names(&index).map(|(_, digest)| digest.clone()).chain(untagged(&index)).collect();
        let stale = |digest: &Digest| !named.contains(digest);
        let of = |place: &str| place.rsplit_once('@').and_then(|(_, digest)| digest.parse::<Digest>().ok());
        let nobodys = |place: &String| of(place).is_none_or(|digest| stale(&digest));
        if index.components.keys().chain(index.since.keys()).any(stale) || index.holders.keys().any(nobodys) {
            self.change(|index| {
                index.components.retain(|digest, _| named.contains(digest));
                index.since.retain(|digest, _| named.contains(digest));
                index.holders.retain(|place, _| of(place).is_some_and(|digest| named.contains(&digest)));
                let parts: BTreeSet<Digest> = index.components.values().cloned().collect();
                index.composed.retain(|_, composed| composed.parts.iter().all(|part| parts.contains(part)));
            })?;
        }
        self.inner.used.lock().retain(|digest, _| named.contains(digest));
        let kept = self.kept(&self.index());
        let mut freed = 0;
        for (digest, path) in entries(&self.blobs_dir()) {
            if !kept.contains(&digest) && older(&path, grace) {
                freed += delete(&path);
            }
        }
        for (digest, path) in entries(&self.unpacked_dir()) {
            if !named.contains(&digest) && older(&path, grace) {
                let _ = std::fs::remove_dir_all(path);
            }
        }
        Ok(freed)
    }

    /// All blobs that something names.
    fn kept(&self, index: &Index) -> BTreeSet<Digest> {
        let named: BTreeSet<Digest> = names(index).map(|(_, digest)| digest.clone()).chain(untagged(index)).collect();
        let mut kept: BTreeSet<Digest> = named.iter().flat_map(|digest| self.parts_of(digest)).collect();
        kept.extend(
            index.components.iter().filter(|(digest, _)| named.contains(*digest)).map(|(_, found)| found.clone()),
        );
        kept.extend(index.composed.values().map(|composed| composed.component.clone()));
        kept
    }

    /// A manifest and all that it names, as far as it is here.
    fn parts_of(&self, manifest: &Digest) -> Vec<Digest> {
        let mut parts = vec![manifest.clone()];
        let Some(parsed) = self.read(manifest).ok().and_then(|bytes| Manifest::parse(&bytes).ok()) else {
            return parts;
        };
        let nested = matches!(parsed, Manifest::Index(_));
        for part in parsed.references() {
            if nested && part.digest != *manifest {
                let inner = self.read(&part.digest).ok().and_then(|bytes| Manifest::parse(&bytes).ok());
                parts.extend(inner.iter().flat_map(|inner| inner.references().map(|part| part.digest.clone())));
            }
            parts.push(part.digest.clone());
        }
        parts
    }
}

fn names(index: &Index) -> impl Iterator<Item = (String, &Digest)> {
    let local = index.repositories.iter().flat_map(|(name, repository)| {
        repository.tags.iter().map(move |(tag, digest)| (format!("{LOCAL_REGISTRY}/{name}:{tag}"), digest))
    });
    local.chain(index.pulled.iter().map(|(name, digest)| (name.clone(), digest)))
}

/// Manifests that were pushed by digest alone, or lost their tag: they can be pulled by digest until they are deleted.
fn untagged(index: &Index) -> impl Iterator<Item = Digest> {
    index.repositories.values().flat_map(|repository| repository.manifests.keys().cloned())
}

/// What lies in a folder under the digits of a digest.
fn entries(folder: &Path) -> Vec<(Digest, std::path::PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let named = |entry: std::fs::DirEntry| {
        let digest = format!("sha256:{}", entry.file_name().to_str()?).parse().ok()?;
        Some((digest, entry.path()))
    };
    entries.flatten().filter_map(named).collect()
}

fn older(path: &Path, than: Duration) -> bool {
    let modified = std::fs::metadata(path).and_then(|data| data.modified());
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age >= than))
}

fn seconds(path: &Path) -> Option<u64> {
    let modified = std::fs::metadata(path).and_then(|data| data.modified()).ok()?;
    modified.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Deletes a file and says how large it was. Who has it open reads on.
fn delete(path: &Path) -> u64 {
    let size = std::fs::metadata(path).map_or(0, |data| data.len());
    if std::fs::remove_file(path).is_ok() { size } else { 0 }
}

#[cfg(test)]
mod tests;
