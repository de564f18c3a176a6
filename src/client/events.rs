//! Telling people what happened: core/v1 Events.
//!
//! *Guarantees*: [`Recorder::event`] never waits and never fails. The same thing said again raises a count on one Event
//! object. What cannot be written after a few tries is dropped, as Events are best effort; so is good news when there is
//! more of it than anybody could read. Bad news goes first, and what happens goes before what is told of it.
//!
//! ```text
//! event() → Aggregates (what is to be said, how often) → Pace → Queue → 8 writers → POST, then PATCH count
//! ```

use std::sync::Arc;
use std::time::Duration;

use base::Tasks;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::controller::{Delays, Next, Queue};

mod aggregate;
mod pace;
#[cfg(test)]
mod tests;

use aggregate::{Aggregates, Line, Said, Write};
use pace::Pace;

/// Whether an Event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody may want to act.
    Warning,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records Events as one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    component: String,
    host: Option<String>,
    aggregates: Mutex<Aggregates>,
    pace: Mutex<Pace>,
    queue: Queue<Said>,
}

/// How many Events may wait to be written; what comes on top is dropped.
const WAITING_MAX: usize = 10_000;
const WRITERS: usize = 8;
const TRIES: u32 = 6;
/// How long good news rests: what it tells of goes first, be it the next step of the same pod.
const REST: Duration = Duration::from_millis(250);
/// How long it takes at most until a count is written that was raised while the Event waited: many in a row are one write.
const AGAIN: Duration = Duration::from_millis(100);

impl Recorder {
    /// A recorder that writes through `client` as `component`, on `host` when the component belongs to a node.
    pub fn new(client: Client, tasks: &Tasks, component: impl Into<String>, host: Option<String>) -> Self {
        let recorder = Self {
            shared: Arc::new(Shared {
                component: component.into(),
                host,
                aggregates: Mutex::default(),
                pace: Mutex::default(),
                queue: Queue::new(Delays::default()),
            }),
        };
        let (shared, shutdown) = (recorder.shared.clone(), tasks.shutdown());
        tasks.service(format!("events of {}", shared.component), async move {
            let writers: FuturesUnordered<_> = (0..WRITERS).map(|_| write_all(&shared, &client)).collect();
            tokio::select! {
                () = writers.for_each(|()| std::future::ready(())) => {}
                () = shutdown.cancelled() => {}
            }
        });
        recorder
    }

    /// Says that something went as it should with `object`.
    pub fn normal<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, message: impl Into<String>) {
        self.event(reference(object), Severity::Normal, reason, message);
    }

    /// Says that something is wrong with `object`.
    pub fn warning<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, message: impl Into<String>) {
        self.event(reference(object), Severity::Warning, reason, message);
    }

    /// Says something about the object (or the part of it) that `about` names.
    pub fn event(&self, about: ObjectReference, severity: Severity, reason: &str, message: impl Into<String>) {
        let line = Line { about, severity, reason: reason.to_owned(), message: message.into() };
        tracing::debug!(
            component = self.shared.component,
            kind = line.about.kind.as_deref(),
            name = line.about.name.as_deref(),
            reason,
            message = line.message,
            "event"
        );
        if self.shared.queue.len() >= WAITING_MAX {
            tracing::debug!("too many events wait; one is dropped");
            return;
        }
        let (said, waits) = self.shared.aggregates.lock().say(line, jiff::Timestamp::now());
        let wait = match severity {
            Severity::Warning => Some(Duration::ZERO),
            Severity::Normal if waits => Some(AGAIN),
            Severity::Normal => self.shared.pace.lock().wait(Instant::now()).map(|wait| wait.max(REST)),
        };
        match wait {
            Some(wait) => self.shared.queue.add_after(said, wait),
            None => tracing::debug!("too many events wait; one is dropped"),
        }
    }
}

/// A reference to `object` as Events carry it.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

async fn write_all(shared: &Shared, client: &Client) {
    loop {
        let said = shared.queue.next().await;
        let Some((write, failures)) = shared.aggregates.lock().next_write(&said) else {
            shared.queue.succeeded(&said, Next::Done, Duration::ZERO);
            continue;
        };
        let outcome = write_one(shared, client, &write).await;
        match outcome {
            Ok(()) => {
                shared.aggregates.lock().wrote(&said, &write);
                shared.queue.succeeded(&said, Next::Done, Duration::ZERO);
            }
            Err(error) if failures < TRIES && is_worth_retrying(&error) => {
                shared.queue.failed(&said);
            }
            Err(error) => {
                tracing::debug!(error = crate::explain(&error), reason = write.line.reason, "event not written");
                shared.aggregates.lock().abandon(&said, crate::is_not_found(&error));
                shared.queue.succeeded(&said, Next::Done, Duration::ZERO);
            }
        }
    }
}

async fn write_one(shared: &Shared, client: &Client, write: &Write) -> Result<(), kube::Error> {
    let namespace = namespace(&write.line.about);
    let api = Api::<Event>::namespaced(client.clone(), namespace);
    let params = PostParams { field_manager: Some(shared.component.clone()), ..PostParams::default() };
    if write.created {
        let patch = serde_json::json!({
            "count": write.count,
            "lastTimestamp": Time(write.last),
            "message": write.message,
        });
        let patched = api.patch(&write.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        match patched {
            // It expired, or somebody tidied up: it begins anew under the same name.
            Err(error) if crate::is_not_found(&error) => {}
            other => return other.map(drop),
        }
    }
    let created = api.create(&params, &event(shared, write)).await;
    match created {
        Err(error) if crate::is_taken(&error) => Ok(()),
        other => other.map(drop),
    }
}

fn event(shared: &Shared, write: &Write) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(write.name.clone()),
            namespace: Some(namespace(&write.line.about).to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: write.line.about.clone(),
        reason: Some(write.line.reason.clone()),
        message: Some(write.message.clone()),
        type_: Some(write.line.severity.name().to_owned()),
        count: Some(write.count),
        first_timestamp: Some(Time(write.first)),
        last_timestamp: Some(Time(write.last)),
        source: Some(EventSource { component: Some(shared.component.clone()), host: shared.host.clone() }),
        reporting_component: Some(shared.component.clone()),
        reporting_instance: Some(shared.host.clone().unwrap_or_default()),
        ..Event::default()
    }
}

fn namespace(about: &ObjectReference) -> &str {
    about.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}

fn is_worth_retrying(error: &kube::Error) -> bool {
    !matches!(crate::status_code(error), Some(400..=408 | 410..=428 | 430..=499))
}
