//! The latest changes to one kind: what watches are fed from, and what takes a snapshot back in time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::Revision;

use crate::Object;

/// How much is kept a kind; whichever is reached first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingBounds {
    pub changes_max: usize,
    pub bytes_max: usize,
    pub age_max: Duration,
}

/// One object changed.
#[derive(Clone)]
pub(crate) struct Change {
    pub place: Arc<str>,
    pub revision: Revision,
    /// As it is now; a deleted one as it was last, under the revision of the deletion.
    pub object: Arc<Object>,
    /// As it was before.
    pub before: Option<Arc<Object>>,
    pub deleted: bool,
    pub at: Instant,
}

pub(crate) struct Ring {
    changes: VecDeque<Change>,
    bytes: usize,
    /// Changes up to this are gone.
    oldest: Revision,
    bounds: RingBounds,
}

impl Ring {
    pub fn new(oldest: Revision, bounds: RingBounds) -> Self {
        Self { changes: VecDeque::new(), bytes: 0, oldest, bounds }
    }

    pub fn restart(&mut self, oldest: Revision) {
        *self = Self::new(oldest, self.bounds);
    }

    pub fn push(&mut self, change: Change) {
        self.bytes += change.object.json.len();
        let now = change.at;
        self.changes.push_back(change);
        while self.changes.len() > self.bounds.changes_max || self.bytes > self.bounds.bytes_max {
            self.pop();
        }
        self.forget_old(now);
    }

    pub fn forget_old(&mut self, now: Instant) {
        while self.changes.front().is_some_and(|change| now.duration_since(change.at) > self.bounds.age_max) {
            self.pop();
        }
        if self.changes.is_empty() {
            self.changes.shrink_to_fit();
        }
    }

    fn pop(&mut self) {
        if let Some(gone) = self.changes.pop_front() {
            self.bytes -= gone.object.json.len();
            self.oldest = gone.revision;
        }
    }

    /// All changes after `revision`, or the oldest revision that can still be asked for.
    pub fn after(&self, revision: Revision) -> Result<impl DoubleEndedIterator<Item = &Change>, Revision> {
        if revision < self.oldest {
            return Err(self.oldest);
        }
        let start = self.changes.partition_point(|change| change.revision <= revision);
        Ok(self.changes.range(start..))
    }
}
