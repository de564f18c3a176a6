//! Following a kind: what is there, then what happens to it.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use api::selector::{FieldSelector, LabelSelector};
use api::{FieldError, Kind, Status};
use async_stream::stream;
use futures::Stream;
use futures::stream::BoxStream;
use store::Revision;

use crate::cache::{Change, KindCache, Snapshot};
use crate::form::{self, View};
use crate::list::options_invalid;
use crate::options::{RevisionMatch, WatchOptions};
use crate::{Object, Objects, keys, refusal};

/// How often a quiet watch says how far it is.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// How many changes are taken at once.
const BATCH: usize = 256;

/// One thing that a watch tells.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// An object came, or came into the selection.
    Added(Arc<Object>),
    /// An object changed.
    Modified(Arc<Object>),
    /// An object went, or went out of the selection: as it was last, under the revision at which it went.
    Deleted(Arc<Object>),
    /// Everything up to `revision` was told.
    Bookmark {
        /// Up to here.
        revision: Revision,
        /// Whether this ends the objects that were there at the beginning (`k8s.io/initial-events-end`).
        initial_events_end: bool,
    },
    /// The watch cannot go on; it ends.
    Error(Status),
}

/// Events, until the time is over, the watch cannot go on, or the server stops.
pub struct Watch(BoxStream<'static, WatchEvent>);

impl Stream for Watch {
    type Item = WatchEvent;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.0.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Watch")
    }
}

/// Where a watch begins.
enum Start {
    /// After a revision that the client has seen.
    After(Revision),
    /// With all that is there; the flag says whether a bookmark ends it.
    With(Snapshot, bool),
}

impl Start {
    fn revision(&self) -> Revision {
        match self {
            Self::After(revision) => *revision,
            Self::With(snapshot, _) => snapshot.revision,
        }
    }
}

fn check(options: &WatchOptions) -> Result<(), Status> {
    let forbidden = |field: &str, why: &str| Err(options_invalid(FieldError::forbidden(field, why)));
    match (options.send_initial_events, options.resource_version_match) {
        (None, Some(_)) => forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (Some(_), None | Some(RevisionMatch::Exact)) => {
            forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        }
        _ => Ok(()),
    }
}

struct Selection {
    view: View,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// The object, if it is in the selection.
    fn pick(&self, object: &Arc<Object>) -> Option<Arc<Object>> {
        let seen = self.view.see(object);
        seen.is_selected(&self.labels, &self.fields).then_some(seen)
    }

    /// What a change looks like to somebody who sees only the selection.
    fn seen(&self, change: &Change) -> Option<WatchEvent> {
        let before = change.before.as_ref().and_then(|before| self.pick(before));
        let now = self.pick(&change.object);
        match (before, now) {
            (Some(_), Some(now)) if change.deleted => Some(WatchEvent::Deleted(now)),
            (Some(_), Some(now)) => Some(WatchEvent::Modified(now)),
            (None, Some(now)) if !change.deleted => Some(WatchEvent::Added(now)),
            (Some(before), None) => Some(WatchEvent::Deleted(before.moved_to(change.revision))),
            (None, _) => None,
        }
    }
}

impl Objects {
    /// Follows the objects of a kind, in one namespace or in all.
    pub async fn watch(&self, kind: &Kind, namespace: Option<&str>, options: &WatchOptions) -> Result<Watch, Status> {
        check(options)?;
        options.field_selector.check(kind)?;
        let cache = self.inner.cache.kind(&keys::resource(kind));
        let start = self.start(&cache, options).await?;
        let following = Following {
            cache,
            namespace: namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default(),
            selection: Selection {
                view: View::of(kind),
                labels: options.label_selector.clone(),
                fields: options.field_selector.clone(),
            },
            bookmarks: options.allow_bookmarks,
            timeout: options.timeout,
            shutdown: self.inner.shutdown.clone(),
            remote: form::is_remote(kind).then(|| (self.clone(), Arc::new(kind.clone()))),
        };
        Ok(Watch(Box::pin(following.events(start))))
    }

    async fn start(&self, cache: &KindCache, options: &WatchOptions) -> Result<Start, Status> {
        let asked = refusal::revision(options.resource_version.as_deref())?;
        let initial = options.send_initial_events;
        match asked.filter(|revision| revision.0 > 0) {
            Some(revision) if initial != Some(true) => Ok(Start::After(revision)),
            at_least => {
                match at_least {
                    Some(revision) => self.not_older_than(revision).await?,
                    // "0" is content with whatever is there.
                    None if asked.is_some() => {}
                    None => self.fresh().await?,
                }
                let snapshot = cache.snapshot();
                Ok(match initial {
                    Some(false) => Start::After(snapshot.revision),
                    Some(true) => Start::With(snapshot, true),
                    None => Start::With(snapshot, false),
                })
            }
        }
    }
}

struct Following {
    cache: Arc<KindCache>,
    /// What places begin with.
    namespace: String,
    selection: Selection,
    bookmarks: bool,
    timeout: Option<Duration>,
    shutdown: base::Shutdown,
    /// Set where a webhook has to convert what is told.
    remote: Option<(Objects, Arc<Kind>)>,
}

/// Why a watch that had nothing more to tell goes on.
enum Wake {
    News,
    /// It was quiet for long enough to say how far it is.
    Quiet,
    Over,
}

impl Following {
    fn events(self, start: Start) -> impl Stream<Item = WatchEvent> + Send {
        stream! {
            let deadline = over_after(self.timeout);
            tokio::pin!(deadline);
            let mut tick = tokio::time::interval(BOOKMARKS);
            tick.reset();
            let mut news = self.cache.news();
            let mut position = start.revision();
            if let Start::With(Snapshot { items, revision }, ends_with_bookmark) = start {
                for (place, object) in items {
                    if !self.is_here(&place) {
                        continue;
                    }
                    match self.converted(&object).await {
                        Ok(object) => if let Some(object) = self.selection.pick(&object) {
                            yield WatchEvent::Added(object);
                        },
                        Err(status) => {
                            yield WatchEvent::Error(status);
                            return;
                        }
                    }
                }
                if ends_with_bookmark && self.bookmarks {
                    yield WatchEvent::Bookmark { revision, initial_events_end: true };
                }
            }
            loop {
                news.mark_unchanged();
                let (changes, upto) = match self.cache.since(position, BATCH) {
                    Ok(found) => found,
                    Err(oldest) => {
                        yield WatchEvent::Error(refusal::too_old(position, oldest));
                        return;
                    }
                };
                position = upto;
                let caught_up = changes.is_empty();
                for change in changes.iter().filter(|change| self.is_here(&change.place)) {
                    match self.converted_change(change).await {
                        Ok(change) => if let Some(event) = self.selection.seen(&change) {
                            yield event;
                        },
                        Err(status) => {
                            yield WatchEvent::Error(status);
                            return;
                        }
                    }
                }
                if !caught_up {
                    continue;
                }
                if self.cache.is_over() {
                    return;
                }
                let wake = tokio::select! {
                    changed = news.changed() => if changed.is_ok() { Wake::News } else { Wake::Over },
                    _ = tick.tick() => Wake::Quiet,
                    () = &mut deadline => Wake::Over,
                    () = self.shutdown.cancelled() => Wake::Over,
                };
                if matches!(wake, Wake::News) {
                    continue;
                }
                if let Some(revision) = self.told_up_to(position).filter(|_| self.bookmarks) {
                    position = revision;
                    yield WatchEvent::Bookmark { revision, initial_events_end: false };
                }
                if matches!(wake, Wake::Over) {
                    return;
                }
            }
        }
    }

    /// The object in the version that was asked for, where somebody else has to convert it.
    async fn converted(&self, object: &Arc<Object>) -> Result<Arc<Object>, Status> {
        match &self.remote {
            Some((objects, kind)) => objects.seen(kind, object).await,
            None => Ok(object.clone()),
        }
    }

    async fn converted_change<'a>(&self, change: &'a Change) -> Result<Cow<'a, Change>, Status> {
        if self.remote.is_none() {
            return Ok(Cow::Borrowed(change));
        }
        let before = match &change.before {
            Some(before) => Some(self.converted(before).await?),
            None => None,
        };
        Ok(Cow::Owned(Change { before, object: self.converted(&change.object).await?, ..change.clone() }))
    }

    fn is_here(&self, place: &str) -> bool {
        place.starts_with(&self.namespace)
    }

    /// How far a bookmark may say that everything was told; nothing when there is more to tell.
    fn told_up_to(&self, position: Revision) -> Option<Revision> {
        let (changes, upto) = self.cache.since(position, 1).ok()?;
        changes.is_empty().then_some(upto)
    }
}

async fn over_after(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}
