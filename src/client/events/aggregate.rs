//! What was said how often: repeated Events become one with a count, floods become one that says so.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;

use super::Severity;

/// One thing to say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub about: ObjectReference,
    pub severity: Severity,
    pub reason: String,
    pub message: String,
}

/// Names one aggregate: a hash of what makes two lines the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Said(u64);

/// What is to be written now.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub line: Line,
    pub message: String,
    pub name: String,
    pub created: bool,
    pub count: i32,
    pub first: Timestamp,
    pub last: Timestamp,
}

struct Aggregate {
    write: Write,
    written: i32,
    tries: u32,
}

/// Lines about one object for one reason, whatever the message.
struct Similar {
    since: Timestamp,
    messages: Vec<u64>,
}

/// The recent lines, bounded: the oldest is forgotten, and then starts a new Event object.
#[derive(Default)]
pub(super) struct Aggregates {
    said: HashMap<Said, Aggregate>,
    order: VecDeque<Said>,
    similar: HashMap<u64, Similar>,
    /// As they were begun: the first of them is the first to be forgotten.
    begun: VecDeque<(Timestamp, u64)>,
}

const KEPT_MAX: usize = 4096;
const SIMILAR_MAX: usize = 10;
const SIMILAR_WINDOW: SignedDuration = SignedDuration::from_mins(10);

fn hash(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

impl Aggregates {
    /// Counts a line and names the aggregate that is to be written, and whether that waits to be written already.
    pub(super) fn say(&mut self, line: Line, now: Timestamp) -> (Said, bool) {
        let about = &line.about;
        let group = hash((
            &about.kind,
            &about.namespace,
            &about.name,
            &about.uid,
            &about.field_path,
            line.severity,
            &line.reason,
        ));
        let combined = self.is_flood(group, hash(&line.message), now);
        let said = Said(if combined { group } else { hash((group, &line.message)) });
        let message =
            if combined { format!("(combined from similar events): {}", line.message) } else { line.message.clone() };
        if let Some(aggregate) = self.said.get_mut(&said) {
            let waits = aggregate.written != aggregate.write.count;
            aggregate.write.count += 1;
            aggregate.write.last = now;
            aggregate.write.message = message;
            return (said, waits);
        }
        if self.order.len() >= KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.said.remove(&oldest);
        }
        // The time keeps names apart over restarts, the hash within one moment.
        let name =
            format!("{}.{:x}{:04x}", about.name.as_deref().unwrap_or_default(), now.as_microsecond(), said.0 & 0xffff);
        let write = Write { line, message, name, created: false, count: 1, first: now, last: now };
        self.said.insert(said, Aggregate { write, written: 0, tries: 0 });
        self.order.push_back(said);
        (said, false)
    }

    fn is_flood(&mut self, group: u64, message: u64, now: Timestamp) -> bool {
        let is_open = |similar: &Similar| now.duration_since(similar.since) < SIMILAR_WINDOW;
        if !self.similar.get(&group).is_some_and(is_open) {
            // One goes for each that comes: looking through all of them at every line would cost more than the line.
            if self.begun.len() >= KEPT_MAX
                && let Some((since, oldest)) = self.begun.pop_front()
                && self.similar.get(&oldest).is_some_and(|similar| similar.since == since)
            {
                self.similar.remove(&oldest);
            }
            self.similar.insert(group, Similar { since: now, messages: Vec::new() });
            self.begun.push_back((now, group));
        }
        let Some(similar) = self.similar.get_mut(&group) else { return false };
        if similar.messages.contains(&message) {
            return false;
        }
        if similar.messages.len() >= SIMILAR_MAX {
            return true;
        }
        similar.messages.push(message);
        false
    }

    /// What is to be written for `said`, if anything is new, and how often that was tried.
    pub(super) fn next_write(&mut self, said: &Said) -> Option<(Write, u32)> {
        let aggregate = self.said.get_mut(said)?;
        if aggregate.written == aggregate.write.count {
            return None;
        }
        aggregate.tries += 1;
        Some((aggregate.write.clone(), aggregate.tries))
    }

    /// `write` is on the server.
    pub(super) fn wrote(&mut self, said: &Said, write: &Write) {
        if let Some(aggregate) = self.said.get_mut(said) {
            aggregate.written = write.count;
            aggregate.write.created = true;
            aggregate.tries = 0;
        }
    }

    /// The server does not take it: it counts as written, or, where the Event object is gone, starts anew.
    pub(super) fn abandon(&mut self, said: &Said, gone: bool) {
        if let Some(aggregate) = self.said.get_mut(said) {
            aggregate.written = aggregate.write.count;
            aggregate.write.created &= !gone;
            aggregate.tries = 0;
        }
    }
}
