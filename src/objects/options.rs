//! What a caller asks for beyond the object itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::selector::{FieldSelector, LabelSelector};
use api::strict::FieldValidation;
use api::{Kind, Status, UserInfo};
use parking_lot::Mutex;
use serde_json::Value;
use store::Revision;

use crate::Object;

/// Which state of an object a get may answer.
#[derive(Clone, Debug, Default)]
pub struct Revisions {
    /// `resourceVersion`: absent or empty means the newest, `0` any, otherwise not older than it.
    pub resource_version: Option<String>,
}

/// `resourceVersionMatch`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionMatch {
    /// `Exact`
    Exact,
    /// `NotOlderThan`
    NotOlderThan,
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Only objects with such labels.
    pub label_selector: LabelSelector,
    /// Only objects with such fields.
    pub field_selector: FieldSelector,
    /// At most so many; 0 is all.
    pub limit: u64,
    /// Where an earlier list stopped.
    pub continue_token: Option<String>,
    /// `resourceVersion` as sent.
    pub resource_version: Option<String>,
    /// `resourceVersionMatch` as sent.
    pub resource_version_match: Option<RevisionMatch>,
}

/// What was listed, all of it at one revision.
#[derive(Clone, Debug)]
pub struct List {
    /// The revision that all items are read at.
    pub revision: Revision,
    /// In the order of namespace and name.
    pub items: Vec<Arc<Object>>,
    /// Given when more follows.
    pub continue_token: Option<String>,
    /// How many follow, where that is known (no selector).
    pub remaining: Option<u64>,
}

/// What to watch.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// Only objects with such labels.
    pub label_selector: LabelSelector,
    /// Only objects with such fields.
    pub field_selector: FieldSelector,
    /// `resourceVersion` as sent: everything after it.
    pub resource_version: Option<String>,
    /// `resourceVersionMatch` as sent.
    pub resource_version_match: Option<RevisionMatch>,
    /// `sendInitialEvents` as sent.
    pub send_initial_events: Option<bool>,
    /// `allowWatchBookmarks`
    pub allow_bookmarks: bool,
    /// When the watch ends.
    pub timeout: Option<Duration>,
}

/// Sentences for the `Warning:` headers of one answer. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Adds one, unless it is there.
    pub fn push(&self, warning: impl Into<String>) {
        let (mut all, warning) = (self.0.lock(), warning.into());
        if !all.contains(&warning) {
            all.push(warning);
        }
    }
    /// Everything that was added, once.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Notes for an audit log about one request: `webhook.example.com/key` → value. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Annotations(Arc<Mutex<BTreeMap<String, String>>>);

impl Annotations {
    /// Adds one; the first of a key stays.
    pub fn add(&self, key: impl Into<String>, value: impl Into<String>) {
        self.0.lock().entry(key.into()).or_insert_with(|| value.into());
    }
    /// Everything that was added.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.0.lock().clone()
    }
}

/// Who writes, and how.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Who.
    pub user: UserInfo,
    /// Everything but the write itself.
    pub dry_run: bool,
    /// `fieldManager`
    pub field_manager: String,
    /// `force` of an apply.
    pub force: bool,
    /// How strictly the result of a patch is read.
    pub field_validation: FieldValidation,
    /// Where warnings go.
    pub warnings: Warnings,
    /// Where notes for an audit log go.
    pub annotations: Annotations,
    /// The kind as the client named it, where it is stored as another one.
    pub requested: Option<Arc<Kind>>,
    /// The options as they were sent (`CreateOptions`, …), whole or without a kind; made of the others when null.
    pub sent: Value,
    /// What an update or an apply is told that would have to make the object, of a user who may not.
    pub no_create: Option<Status>,
    /// Whether everybody who has a say has been asked already ([`crate::Objects::admit_virtual`]).
    pub admitted: bool,
}

impl WriteOptions {
    /// A plain write by `user`, who is the server itself as far as owners of fields go.
    pub fn by(user: UserInfo) -> Self {
        Self { user, field_manager: "kube-apiserver".to_owned(), ..Self::default() }
    }

    /// The same, for a client that named `kind` where another one is stored.
    pub(crate) fn asked_for(&self, kind: &Kind) -> Self {
        Self { requested: Some(Arc::new(kind.clone())), ..self.clone() }
    }
}

/// What happens to dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go first.
    Foreground,
    /// They go later.
    Background,
    /// They stay.
    Orphan,
}

/// Who deletes, and how.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Who.
    pub user: UserInfo,
    /// `gracePeriodSeconds`; the object's own when absent.
    pub grace_seconds: Option<i64>,
    /// `propagationPolicy`
    pub propagation: Option<Propagation>,
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Only the object at this resourceVersion.
    pub resource_version: Option<String>,
    /// Everything but the write itself.
    pub dry_run: bool,
    /// Where warnings go.
    pub warnings: Warnings,
    /// The kind as the client named it, where it is stored as another one.
    pub requested: Option<Arc<Kind>>,
}

/// The part of an object that a write goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sub {
    /// The object itself.
    #[default]
    None,
    /// `/status`
    Status,
    /// `/scale`: what is written is an autoscaling/v1 Scale; what is answered is the object (see [`crate::scale::of`]).
    Scale,
    /// `/finalize` of a namespace.
    Finalize,
    /// Any other, whose rules are checked by whoever serves it: only metadata is validated.
    Named(&'static str),
}

impl Sub {
    /// The last part of the path, empty for the object itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Finalize => "finalize",
            Self::Named(name) => name,
        }
    }
}

/// A change in one of the four forms that clients send.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902, the list of operations.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' strategic merge patch.
    Strategic(Value),
    /// Server-side apply: the whole wish of one manager.
    Apply(Value),
}

/// The outcome of an update or a patch.
#[derive(Clone, Debug)]
pub struct Written {
    /// As it is now.
    pub object: Arc<Object>,
    /// Whether it was not there before (201).
    pub created: bool,
}

/// The outcome of a delete.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// It is gone; this was it.
    Gone(Arc<Object>),
    /// It will go when its grace period is over and its finalizers are done.
    Marked(Arc<Object>),
}

impl Deleted {
    /// The object as it is or was.
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Self::Gone(object) | Self::Marked(object) => object,
        }
    }
}
