//! Keeps the files of volumes as their sources are, while pods run.
//!
//! ```text
//! a ConfigMap or Secret changes ─┐
//! the pod's own fields change   ─┼→ the volumes of the pods that use it are made again, where their content differs
//! a token nears its end         ─┘
//! ```
//!
//! Each object that some pod mounts is watched by itself, once for all of its pods: a node may read what its pods name and no
//! more. What is immutable is not watched. One task does all of it; an idle pod costs an entry in a map.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::Client;
use client::informers::Key;
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Volume};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::content::{self, Files};
use super::{Volumes, payload, place, tokens, used};
use crate::sources::{Names, Sources};

#[cfg(test)]
mod tests;

/// So many pods are looked after at once.
const AT_ONCE: usize = 8;
const RETRY: Duration = Duration::from_secs(5);

/// An object that volumes are made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Source {
    is_secret: bool,
    key: Key,
}

/// The version of an object; `None` when it does not exist.
type Version = Option<String>;

/// What is known of a pod.
struct Entry {
    key: Key,
    pod_ip: IpAddr,
    made_of: HashMap<Source, Version>,
    renew_at: Option<Instant>,
    busy: bool,
    /// Something changed while it was busy.
    again: bool,
    /// Its tokens neared their end meanwhile.
    renew_again: bool,
}

enum Asked {
    Observe(String, Box<Entry>),
    Forget(String),
    /// The pod's own fields changed.
    Fields(String),
    Changed(Source, Version),
    Done(String, Option<Box<Made>>),
}

/// What came of making the volumes of a pod again.
struct Made {
    made_of: HashMap<Source, Version>,
    renew_at: Option<Instant>,
}

/// How others reach the task.
#[derive(Clone)]
pub(super) struct Door(UnboundedSender<Asked>);

/// What the task receives.
pub(super) struct Inbox(UnboundedReceiver<Asked>);

impl Door {
    pub fn new() -> (Self, Inbox) {
        let (out, inbox) = unbounded_channel();
        (Self(out), Inbox(inbox))
    }

    pub fn forget(&self, uid: &str) {
        let _ = self.0.send(Asked::Forget(uid.to_owned()));
    }

    /// The labels or annotations of a pod changed.
    pub fn fields_changed(&self, uid: &str) {
        let _ = self.0.send(Asked::Fields(uid.to_owned()));
    }
}

fn sources_of(namespace: &str, sources: &Sources) -> HashMap<Source, Version> {
    let mut found = HashMap::new();
    for (name, map) in &sources.config_maps {
        if map.as_ref().is_none_or(|map| map.immutable != Some(true)) {
            let source = Source { is_secret: false, key: Key::new(namespace, name) };
            found.insert(source, map.as_ref().and_then(ResourceExt::resource_version));
        }
    }
    for (name, secret) in &sources.secrets {
        if secret.as_ref().is_none_or(|secret| secret.immutable != Some(true)) {
            let source = Source { is_secret: true, key: Key::new(namespace, name) };
            found.insert(source, secret.as_ref().and_then(ResourceExt::resource_version));
        }
    }
    found
}

fn renewal(sources: &Sources) -> Option<Instant> {
    sources.tokens.values().map(|issued| Instant::now() + issued.next()).min()
}

/// Begins to look after the volumes of a pod, if there is anything that may change.
pub(super) fn observe(volumes: &Volumes, pod: &Pod, made: &[&Volume], sources: &Sources, pod_ip: IpAddr) {
    let key = Key::of(pod);
    let made_of = sources_of(&key.namespace, sources);
    let renew_at = renewal(sources);
    if made_of.is_empty() && renew_at.is_none() && !made.iter().any(|volume| content::is_downward(volume)) {
        return;
    }
    let entry = Entry { key, pod_ip, made_of, renew_at, busy: false, again: false, renew_again: false };
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let _ = volumes.0.refresh.0.send(Asked::Observe(uid, Box::new(entry)));
}

/// Starts the task.
pub(super) fn start(volumes: &Volumes, inbox: Inbox) {
    let surface = &volumes.0.surface;
    let keeper = Keeper {
        volumes: Arc::downgrade(&volumes.0),
        client: surface.client.clone(),
        tasks: surface.tasks.clone(),
        out: volumes.0.refresh.0.clone(),
        room: Arc::new(Semaphore::new(AT_ONCE)),
        pods: HashMap::new(),
        objects: HashMap::new(),
        due: BTreeSet::new(),
    };
    let shutdown = surface.tasks.shutdown();
    surface.tasks.service("volume refresh", async move {
        tokio::select! {
            () = keeper.run(inbox.0) => {}
            () = shutdown.cancelled() => {}
        }
    });
}

/// An object that is watched.
struct Watched {
    /// `None` until it has been seen.
    version: Option<Version>,
    users: HashSet<String>,
    stop: base::Shutdown,
}

struct Keeper {
    volumes: std::sync::Weak<super::Shared>,
    client: Client,
    tasks: base::Tasks,
    out: UnboundedSender<Asked>,
    room: Arc<Semaphore>,
    pods: HashMap<String, Entry>,
    objects: HashMap<Source, Watched>,
    due: BTreeSet<(Instant, String)>,
}

impl Keeper {
    async fn run(mut self, mut inbox: UnboundedReceiver<Asked>) {
        loop {
            let next = self.due.first().map(|(at, _)| *at);
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = inbox.recv() => match asked {
                    Some(asked) => self.take(asked),
                    None => std::future::pending().await,
                },
                () = timer => {
                    let now = Instant::now();
                    while let Some((at, uid)) = self.due.first().filter(|(at, _)| *at <= now).cloned() {
                        self.due.remove(&(at, uid.clone()));
                        self.begin(&uid, true);
                    }
                }
            }
        }
    }

    fn take(&mut self, asked: Asked) {
        match asked {
            Asked::Observe(uid, mut entry) => {
                if let Some(old) = self.pods.remove(&uid) {
                    self.leave(&uid, &old);
                    entry.made_of.extend(old.made_of);
                    entry.renew_at = [entry.renew_at, old.renew_at].into_iter().flatten().min();
                    entry.busy = old.busy;
                    entry.again = old.again;
                    entry.renew_again = old.renew_again;
                }
                self.join(uid, *entry);
            }
            Asked::Forget(uid) => {
                if let Some(entry) = self.pods.remove(&uid) {
                    self.leave(&uid, &entry);
                }
            }
            Asked::Fields(uid) => self.begin(&uid, false),
            Asked::Changed(source, version) => {
                let Some(watched) = self.objects.get_mut(&source) else { return };
                watched.version = Some(version.clone());
                let stale = |uid: &&String| {
                    self.pods.get(*uid).is_some_and(|entry| entry.made_of.get(&source) != Some(&version))
                };
                let stale: Vec<String> = watched.users.iter().filter(stale).cloned().collect();
                stale.iter().for_each(|uid| self.begin(uid, false));
            }
            Asked::Done(uid, made) => self.done(&uid, made),
        }
    }

    fn join(&mut self, uid: String, entry: Entry) {
        let mut stale = false;
        for (source, version) in &entry.made_of {
            let watched = self.objects.entry(source.clone()).or_insert_with(|| {
                let stop = self.tasks.shutdown().child_token();
                let watch = watch(self.client.clone(), source.clone(), self.out.clone());
                let stopped = stop.clone();
                self.tasks.job("volume source", async move {
                    tokio::select! {
                        () = watch => {}
                        () = stopped.cancelled() => {}
                    }
                });
                Watched { version: None, users: HashSet::new(), stop }
            });
            watched.users.insert(uid.clone());
            stale |= watched.version.as_ref().is_some_and(|seen| seen != version);
        }
        if let Some(at) = entry.renew_at {
            self.due.insert((at, uid.clone()));
        }
        self.pods.insert(uid.clone(), entry);
        if stale {
            self.begin(&uid, false);
        }
    }

    fn leave(&mut self, uid: &str, entry: &Entry) {
        for source in entry.made_of.keys() {
            let Some(watched) = self.objects.get_mut(source) else { continue };
            watched.users.remove(uid);
            if watched.users.is_empty() {
                watched.stop.cancel();
                self.objects.remove(source);
            }
        }
        if let Some(at) = entry.renew_at {
            self.due.remove(&(at, uid.to_owned()));
        }
    }

    /// Makes the volumes of a pod again, beside others.
    fn begin(&mut self, uid: &str, renew: bool) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        if std::mem::replace(&mut entry.busy, true) {
            entry.again = true;
            entry.renew_again |= renew;
            return;
        }
        let (volumes, out, room) = (self.volumes.clone(), self.out.clone(), Arc::clone(&self.room));
        let (uid, key, pod_ip) = (uid.to_owned(), entry.key.clone(), entry.pod_ip);
        self.tasks.job("volume refresh", async move {
            let _turn = room.acquire().await;
            let Some(shared) = volumes.upgrade() else { return };
            let volumes = Volumes(shared);
            let Some(pod) = volumes.pod(&key).filter(|pod| pod.metadata.uid.as_deref() == Some(uid.as_str())) else {
                let _ = out.send(Asked::Forget(uid));
                return;
            };
            let made = match again(&volumes, &pod, pod_ip, renew).await {
                Ok(made) => Some(Box::new(made)),
                Err(error) => {
                    tracing::warn!(pod = %key, %error, "cannot bring the volumes of a pod up to date");
                    None
                }
            };
            let _ = out.send(Asked::Done(uid, made));
        });
    }

    fn done(&mut self, uid: &str, made: Option<Box<Made>>) {
        let Some(mut entry) = self.pods.remove(uid) else { return };
        self.leave(uid, &entry);
        entry.busy = false;
        let (again, renew) = (std::mem::take(&mut entry.again), std::mem::take(&mut entry.renew_again));
        match made {
            Some(made) => {
                entry.made_of = made.made_of;
                entry.renew_at = made.renew_at.or(entry.renew_at.filter(|at| *at > Instant::now()));
            }
            None => entry.renew_at = Some(Instant::now() + RETRY),
        }
        self.join(uid.to_owned(), entry);
        if again {
            self.begin(uid, renew);
        }
    }
}

/// Tells of each version of an object.
async fn watch(client: Client, source: Source, out: UnboundedSender<Asked>) {
    if source.is_secret {
        follow::<Secret>(client, source, out).await;
    } else {
        follow::<ConfigMap>(client, source, out).await;
    }
}

async fn follow<K>(client: Client, source: Source, out: UnboundedSender<Asked>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    let api = Api::<PartialObjectMeta<K>>::namespaced(client, &source.key.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", source.key.name));
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut seen = None;
    while let Some(event) = events.next().await {
        let version = match event {
            Ok(watcher::Event::Init) => {
                seen = None;
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                seen = object.resource_version();
                continue;
            }
            Ok(watcher::Event::InitDone) => seen.clone(),
            Ok(watcher::Event::Apply(object)) => object.resource_version(),
            Ok(watcher::Event::Delete(_)) => None,
            Err(error) => {
                tracing::debug!(object = %source.key, %error, "cannot watch what a volume is made of");
                continue;
            }
        };
        if out.send(Asked::Changed(source.clone(), version)).is_err() {
            return;
        }
    }
}

/// Makes the volumes of a pod again whose content is given, where it differs.
async fn again(volumes: &Volumes, pod: &Arc<Pod>, pod_ip: IpAddr, renew: bool) -> Result<Made, kube::Error> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let (folder, state) = (volumes.folder(uid), volumes.of(uid));
    let given: Vec<&Volume> = used(pod).into_iter().filter(|volume| content::is_content(volume)).collect();
    let mut names = given.iter().fold(Names::default(), |names, volume| names.and(Names::of_volume(volume)));
    let mut held = Vec::new();
    if !renew {
        let placed = state.placed.lock().await;
        let token = |volume: &Volume, path: &str| {
            let unwritten = placed.get(&volume.name).and_then(|placed| placed.pending.as_ref()?.read(path));
            unwritten.or_else(|| std::fs::read(super::inside(&folder.join(&volume.name), path)?).ok())
        };
        held = given.iter().flat_map(|volume| tokens::held(volume, |path| token(volume, path))).collect();
        names.tokens.retain(|want| !held.iter().any(|(has, _)| has == want));
    }
    let mut sources = Sources::named(&volumes.0.surface.client, pod, names).await?;
    let made = Made {
        made_of: sources_of(pod.metadata.namespace.as_deref().unwrap_or("default"), &sources),
        renew_at: renewal(&sources),
    };
    sources.tokens.extend(held);
    let around = place::around(volumes, pod, pod_ip, &sources);
    let mut written = Vec::new();
    for volume in given {
        // What is gone for good leaves the volume as it was.
        if let Ok(files) = content::files(volume, &around) {
            written.push((volume.name.clone(), files));
        }
    }
    let placed = state.placed.lock().await;
    let later = |(name, files): (String, Files)| {
        let files = match placed.get(&name).and_then(|placed| placed.pending.as_ref()) {
            Some(pending) => pending.replace(files).err()?,
            None => files,
        };
        Some((folder.join(&name), files))
    };
    let written: Vec<(PathBuf, Files)> = written.into_iter().filter_map(later).collect();
    let wrote = tokio::task::spawn_blocking(move || {
        let stale = written.into_iter().filter(|(dir, files)| dir.is_dir() && !holds(dir, files));
        for (dir, files) in stale {
            if let Err(error) = payload::write(&dir, &files) {
                tracing::warn!(path = %dir.display(), %error, "cannot bring a volume up to date");
            }
        }
    });
    let _ = wrote.await;
    Ok(made)
}

/// Whether a volume holds these files and no others.
fn holds(dir: &Path, files: &Files) -> bool {
    let same =
        |(path, file): (&String, &content::File)| std::fs::read(dir.join(path)).is_ok_and(|bytes| bytes == file.bytes);
    files.iter().all(same) && count(dir) == files.len()
}

/// How many files there are, those of the volume's own making apart.
fn count(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let seen = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with(".."));
    seen.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}
