//! Priority and fairness: how many requests are worked on at one moment, whose come first, and who waits.
//!
//! Follows KEP-1040. A FlowSchema gives a request a priority level and a flow; a level has seats out of the server's
//! [`crate::Limits::in_flight`], in proportion to its shares, and may borrow what others lend and do not use. Where a level
//! is full its flows wait in queues that are served in turn, so that a client that asks much waits behind itself.
//!
//! Differences: a seat is a seat, whatever the request costs; seats are borrowed at once and not by periods of ten
//! seconds; requests of this process' own parts take no seat at all.

mod levels;
mod schemas;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use api::{AccessRequest, KindSet, Status};
use http::{HeaderName, HeaderValue};
use objects::Objects;
use parking_lot::RwLock;

use levels::Levels;
pub(crate) use levels::Seat;
use schemas::Schemas;

const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");
/// The longest that a request waits for a seat, if its own time limit is not shorter.
const PATIENCE: Duration = Duration::from_secs(15);

/// When each of the two kinds that configure all this changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    schemas: u64,
    levels: u64,
}

/// All seats of the server.
pub(crate) struct Flight {
    levels: Levels,
    known: RwLock<(Option<Seen>, Arc<Schemas>)>,
}

/// Where a request belongs.
pub(crate) struct Class {
    level: Arc<str>,
    /// Requests of one flow take turns with those of others.
    flow: u64,
    schema_uid: Arc<str>,
    level_uid: Arc<str>,
}

impl Class {
    /// What the answer says of it.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let named = [(SCHEMA_UID, &self.schema_uid), (LEVEL_UID, &self.level_uid)];
        let values = named.map(|(name, uid)| (name, HeaderValue::from_str(uid)));
        values.into_iter().filter_map(|(name, value)| Some((name, value.ok()?)))
    }
}

impl Flight {
    /// Seats for `total` requests.
    pub fn new(total: usize) -> Self {
        let schemas = Schemas::default();
        let levels = Levels::new(total);
        levels.plan(&schemas.plans);
        Self { levels, known: RwLock::new((None, Arc::new(schemas))) }
    }

    /// Finds the level and the flow of a request.
    pub fn classify(&self, objects: &Objects, kinds: &KindSet, access: &AccessRequest) -> Class {
        let schemas = self.schemas(objects, kinds);
        let found = schemas.find(access);
        Class {
            level: found.level.clone(),
            flow: found.flow(access),
            schema_uid: found.uid.clone(),
            level_uid: schemas.level_uid(&found.level),
        }
    }

    /// Takes a seat, perhaps after a while.
    ///
    /// # Errors
    /// 429 when the level is full and its queues are too, or when no seat came free in time.
    pub async fn board(&self, class: &Class, limit: Duration) -> Result<Seat, Status> {
        let waiting = match self.levels.enter(&class.level, class.flow) {
            levels::Entered::Seated(seat) => return Ok(seat),
            levels::Entered::Refused => return Err(refused()),
            levels::Entered::Waiting(waiting) => waiting,
        };
        match tokio::time::timeout(PATIENCE.min(limit / 4), waiting).await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(refused()),
        }
    }

    /// The configuration, read again when it has changed.
    fn schemas(&self, objects: &Objects, kinds: &KindSet) -> Arc<Schemas> {
        let row = |plural| kinds.by_resource("flowcontrol.apiserver.k8s.io", "v1", plural);
        let (Some(schemas), Some(levels)) = (row("flowschemas"), row("prioritylevelconfigurations")) else {
            return self.known.read().1.clone();
        };
        let seen = Seen { schemas: objects.changed_at(schemas).0, levels: objects.changed_at(levels).0 };
        {
            let known = self.known.read();
            if known.0 == Some(seen) {
                return known.1.clone();
            }
        }
        let read = |kind| objects.now(kind).iter().map(|object| object.value()).collect::<Vec<_>>();
        let made = Arc::new(Schemas::read(&read(schemas), &read(levels)));
        self.levels.plan(&made.plans);
        *self.known.write() = (Some(seen), made.clone());
        made
    }
}

fn refused() -> Status {
    let mut status = Status::new(429, "TooManyRequests", "too many requests, please try again later");
    status.retry_after_seconds = 1;
    status
}
