//! How many requests are worked on at one moment.

use std::sync::Arc;

use api::{Status, UserInfo};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::authorization::COMPONENTS;
use crate::config::Limits;

/// The two counters: requests that change something must not be starved by those that read.
pub(crate) struct Flight {
    mutating: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

/// A place among the requests in flight; free again when dropped.
pub(crate) struct Seat {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Flight {
    pub fn new(limits: &Limits) -> Self {
        let seats = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { mutating: seats(limits.mutating), reading: seats(limits.reading) }
    }

    /// Takes a place for a request with `verb`.
    pub fn board(&self, user: &UserInfo, verb: &str) -> Result<Seat, Status> {
        let reads = matches!(verb, "get" | "list" | "watch" | "head" | "options");
        let seats = if reads { &self.reading } else { &self.mutating };
        match Arc::clone(seats).try_acquire_owned() {
            Ok(permit) => Ok(Seat { _permit: Some(permit) }),
            // An administrator must be able to repair a server that is overrun, and the cluster to keep itself up.
            Err(_) if user.is_in(UserInfo::MASTERS) || user.is_in(COMPONENTS) => Ok(Seat { _permit: None }),
            Err(_) => {
                let mut status = Status::new(429, "TooManyRequests", "too many requests, please try again later");
                status.retry_after_seconds = 1;
                Err(status)
            }
        }
    }
}
