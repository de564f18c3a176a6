//! CustomResourceDefinitions come into force here: names are accepted, rows of the kinds table come and go, and what is
//! left of a definition that is deleted is taken away.
//!
//! A row is served before its definition says `Established`: whoever has read that finds the resource.

mod conversion;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::custom::{self, naming};
use api::{Kind, KindSet, Status, UserInfo, meta};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Revision, SharedStore};

use crate::options::{DeleteOptions, ListOptions, Sub, WriteOptions};
use crate::{Objects, keys};

const GROUP: &str = "apiextensions.k8s.io";
const PLURAL: &str = "customresourcedefinitions";
/// How many definitions are read at once.
const PAGE: usize = 200;
/// How soon a deletion that has to wait for somebody is looked at again.
const AGAIN: Duration = Duration::from_millis(250);

/// What is known of one definition.
struct Known {
    revision: Revision,
    crd: Value,
    rows: Vec<Arc<Kind>>,
    /// What the rows were made from.
    made_from: String,
    /// From when on objects are written under its present schema.
    since: u64,
}

/// The definitions and the rows that they make.
#[derive(Default)]
pub(crate) struct Definitions {
    /// The rows that no definition made.
    base: Vec<Arc<Kind>>,
    known: HashMap<String, Known>,
    /// Those that are not done with.
    again: HashSet<String>,
}

impl Definitions {
    /// Reads what is there, before anything is served.
    pub async fn load(store: &SharedStore, base: Vec<Arc<Kind>>) -> Result<Self, store::ListError> {
        let mut definitions = Self { base, ..Self::default() };
        let prefix = format!("{}{GROUP}/{PLURAL}/", keys::OBJECTS);
        let (mut after, mut at) = (None::<String>, None);
        loop {
            let page = store.list(&prefix, at, after.as_deref(), PAGE).await?;
            at = Some(page.revision);
            after = page.entries.last().map(|entry| entry.key.clone());
            for entry in &page.entries {
                match serde_json::from_slice(&entry.value) {
                    Ok(crd) => {
                        definitions.again.insert(meta::name(&crd).to_owned());
                        definitions.learn(crd, entry.revision);
                    }
                    Err(error) => {
                        tracing::error!(key = entry.key, %error, "a definition cannot be read, it is left out")
                    }
                }
            }
            if !page.more {
                return Ok(definitions);
            }
        }
    }

    /// Takes a definition's newest state.
    fn learn(&mut self, crd: Value, revision: Revision) {
        let name = meta::name(&crd).to_owned();
        let had = self.known.remove(&name);
        let same_spec = had.as_ref().is_some_and(|had| meta::generation(&had.crd) == meta::generation(&crd));
        let since = match &had {
            Some(had) if same_spec => had.since,
            _ => revision.0,
        };
        let made_from = made_from(&crd);
        let rows = match had {
            Some(had) if had.made_from == made_from => had.rows,
            _ if naming::is_true(&crd, "Established") => custom::kinds(&crd, since),
            _ => Vec::new(),
        };
        self.known.insert(name, Known { revision, crd, rows, made_from, since });
    }

    /// Those that something may be to be done about, the oldest first: what changed, what is not done with, and what
    /// waits for names that others have.
    fn unsettled(&self, touched: HashSet<String>) -> Vec<String> {
        let waits = |known: &Known| !naming::is_true(&known.crd, "NamesAccepted");
        let concerned =
            |(name, known): &(&String, &Known)| touched.contains(*name) || self.again.contains(*name) || waits(known);
        let mut names: Vec<(&String, &Known)> = self.known.iter().filter(concerned).collect();
        names.sort_by_key(|(_, known)| created(&known.crd));
        names.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// All rows, those of definitions in the order of their names.
    pub fn rows(&self) -> Vec<Arc<Kind>> {
        let mut known: Vec<(&String, &Known)> = self.known.iter().collect();
        known.sort_by_key(|(name, _)| *name);
        let made = known.into_iter().flat_map(|(_, known)| known.rows.iter().cloned());
        self.base.iter().cloned().chain(made).collect()
    }
}

/// What of a definition its rows depend on, in short.
fn made_from(crd: &Value) -> String {
    let established = naming::is_true(crd, "Established");
    let terminating = naming::is_true(crd, "Terminating");
    let names = crd.pointer("/status/acceptedNames").cloned().unwrap_or_default();
    format!("{} {} {established} {terminating} {names}", meta::uid(crd), meta::generation(crd))
}

fn identity() -> UserInfo {
    UserInfo { name: "system:apiserver".to_owned(), groups: vec!["system:masters".to_owned()], ..UserInfo::default() }
}

fn own_write() -> WriteOptions {
    WriteOptions { field_manager: "kube-apiserver".to_owned(), admitted: true, ..WriteOptions::by(identity()) }
}

impl Objects {
    /// Keeps the kinds table as the definitions are, for ever.
    pub(crate) async fn follow_definitions(self, mut definitions: Definitions) {
        let Some(kind) = self.kinds().by_resource(GROUP, "v1", PLURAL).cloned() else { return };
        let cache = self.inner.cache.kind(&keys::resource(&kind));
        let mut news = cache.news();
        loop {
            news.mark_unchanged();
            let waiting = self.settle_definitions(&kind, &mut definitions).await;
            let pause = async { if waiting { tokio::time::sleep(AGAIN).await } else { std::future::pending().await } };
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = pause => {}
                () = self.inner.shutdown.cancelled() => return,
            }
        }
    }

    /// Brings everything about. Answers whether something has to be looked at again without news.
    async fn settle_definitions(&self, kind: &Kind, definitions: &mut Definitions) -> bool {
        let mut there = HashSet::new();
        let mut touched = HashSet::new();
        for object in self.now(kind) {
            there.insert(object.meta.name.to_string());
            let known = definitions.known.get(&*object.meta.name);
            if known.is_none_or(|known| known.revision != object.revision) {
                definitions.learn(object.value(), object.revision);
                touched.insert(object.meta.name.to_string());
            }
        }
        let gone: Vec<String> = definitions.known.keys().filter(|name| !there.contains(*name)).cloned().collect();
        let forgotten: Vec<Known> = gone.iter().filter_map(|name| definitions.known.remove(name)).collect();
        self.serve(definitions);
        for known in &forgotten {
            if let Some(row) = known.rows.first() {
                self.inner.cache.forget(&keys::resource(row));
            }
        }
        let mut waiting = false;
        for name in definitions.unsettled(touched) {
            match self.settle_one(kind, &name, definitions).await {
                Ok(false) => drop(definitions.again.remove(&name)),
                Err(status) if status.code == 404 => drop(definitions.again.remove(&name)),
                Ok(true) => {
                    definitions.again.insert(name);
                    waiting = true;
                }
                Err(status) => {
                    tracing::warn!(name, %status, "a definition cannot be settled, trying again");
                    definitions.again.insert(name);
                    waiting = true;
                }
            }
        }
        waiting
    }

    /// Serves the rows as they are now.
    fn serve(&self, definitions: &Definitions) {
        let rows = definitions.rows();
        let old = self.kinds();
        let same = old.iter().count() == rows.len() && old.iter().zip(&rows).all(|(a, b)| Arc::ptr_eq(a, b));
        if same {
            return;
        }
        let new = KindSet::new(rows);
        for known in definitions.known.values() {
            let Some(row) = known.rows.first() else { continue };
            let resource = keys::resource(row);
            let (Some(stored), was) = (new.by_storage(&resource), old.by_storage(&resource)) else { continue };
            let labels = |kind: &Arc<Kind>| {
                kind.behaviour.field_labels().iter().map(|label| (*label).to_owned()).collect::<Vec<_>>()
            };
            // What is in the cache was read under other rules for field selectors.
            if was.map(labels) != Some(labels(stored)) {
                self.inner.cache.kind(&resource).reread(stored);
            }
        }
        self.inner.kinds.store(Arc::new(new));
    }

    async fn settle_one(&self, kind: &Kind, name: &str, definitions: &mut Definitions) -> Result<bool, Status> {
        let Some(known) = definitions.known.get(name) else { return Ok(false) };
        if meta::is_being_deleted(&known.crd) {
            return self.clear(kind, name, known).await;
        }
        let others: Vec<&Value> =
            definitions.known.iter().filter(|(other, _)| *other != name).map(|(_, known)| &known.crd).collect();
        let now = meta::time_text(Timestamp::now());
        let settled = naming::settled(&known.crd, &others, &now);
        if settled.get("status") == known.crd.get("status") {
            return Ok(false);
        }
        let (revision, status) = (known.revision, settled.get("status").cloned().unwrap_or_else(|| json!({})));
        let seen = known.revision.to_string();
        // Served first, said afterwards.
        definitions.learn(settled, revision);
        self.serve(definitions);
        let change = |object: &mut Value| {
            if meta::resource_version(object) == seen {
                object["status"] = status.clone();
            }
            Ok(())
        };
        let written = self.edit(kind, None, name, Sub::Status, change, &own_write()).await?.object;
        let value = written.value();
        // Somebody else was faster: what they wrote has yet to be settled.
        let again = value.get("status") != Some(&status);
        definitions.learn(value, written.revision);
        self.serve(definitions);
        Ok(again)
    }

    /// Deletes the resources of a definition that is to go, then lets it go. Answers whether something is left.
    async fn clear(&self, kind: &Kind, name: &str, known: &Known) -> Result<bool, Status> {
        if !meta::finalizers(&known.crd).any(|finalizer| finalizer == naming::CLEANUP) {
            return Ok(false);
        }
        let instances = known.rows.first().map(|row| self.inner.cache.kind(&keys::resource(row)));
        if let (Some(row), Some(cache)) = (known.rows.first(), &instances) {
            let stored = self.stored_kind(row)?.unwrap_or_else(|| Arc::clone(row));
            let options = DeleteOptions { user: identity(), ..DeleteOptions::default() };
            if !cache.is_empty() {
                self.delete_collection(&stored, None, &ListOptions::default(), &options).await?;
            }
        }
        let left = instances.is_some_and(|cache| !cache.is_empty());
        let now = meta::time_text(Timestamp::now());
        let state = if left {
            ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
        } else {
            ("False", "InstanceDeletionCompleted", "removed all instances")
        };
        let change = |object: &mut Value| {
            naming::set_condition(object, &now, "Terminating", state);
            Ok(())
        };
        self.edit(kind, None, name, Sub::Status, change, &own_write()).await?;
        if left {
            return Ok(true);
        }
        let change = |object: &mut Value| {
            let rest: Vec<String> =
                meta::finalizers(object).filter(|name| *name != naming::CLEANUP).map(str::to_owned).collect();
            if rest.is_empty() {
                meta::unset(object, "finalizers");
            } else {
                meta::set(object, "finalizers", rest);
            }
            Ok(())
        };
        self.edit(kind, None, name, Sub::None, change, &own_write()).await?;
        Ok(false)
    }
}

fn created(crd: &Value) -> (String, String) {
    let time = crd.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default();
    (time.to_owned(), meta::name(crd).to_owned())
}
