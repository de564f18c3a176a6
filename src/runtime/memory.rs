//! Memory limits: one ledger per container, counted over all of its live instances: their linear memories and tables, what
//! their handles stand for, and what their connections have under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use wasmtime::ResourceLimiter;

/// What a table element costs: wasmtime keeps a pointer for each.
const TABLE_ELEMENT_BYTES: u64 = size_of::<usize>() as u64;

/// What containers without a limit have together: three quarters of the machine's memory. One that takes all that it is given
/// would take the process with it, and everybody in there.
static UNLIMITED: LazyLock<Arc<Ledger>> = LazyLock::new(|| {
    let total = base::os::memory().total;
    Arc::new(Ledger::new(Some(total / 4 * 3).filter(|most| *most > 0)))
});

/// The container's account.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// The largest number is without limit.
    limit: AtomicU64,
    used: AtomicU64,
    peak: AtomicU64,
    refused: AtomicU64,
    /// Of whom else it takes.
    pool: Option<Arc<Self>>,
}

impl Ledger {
    /// A container's account: who has no limit takes from what there is for all such.
    pub fn of_container(limit: Option<u64>) -> Self {
        let pool = limit.is_none().then(|| Arc::clone(&UNLIMITED));
        Self { pool, ..Self::new(limit) }
    }

    pub fn new(limit: Option<u64>) -> Self {
        Self {
            pool: None,
            limit: AtomicU64::new(limit.unwrap_or(u64::MAX)),
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
    pub fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit < u64::MAX)
    }
    /// Another limit from now on. Who holds more keeps it, and gets no more.
    pub fn set_limit(&self, limit: Option<u64>) {
        self.limit.store(limit.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|after| *after <= limit)
        });
        match taken {
            Ok(_) if self.pool.as_ref().is_some_and(|pool| !pool.take(bytes)) => {
                self.used.fetch_sub(bytes, Ordering::Relaxed);
                self.refused.fetch_add(1, Ordering::Relaxed);
                false
            }
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Ordering::Relaxed);
                true
            }
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(pool) = &self.pool {
            pool.give(bytes);
        }
    }

    /// Whether others take from where it takes.
    fn is_shared(&self) -> bool {
        self.pool.as_ref().is_some_and(|pool| pool.used() > self.used())
    }
}

/// What connections have under way is the container's as well.
impl network::Payer for Ledger {
    fn take(&self, bytes: usize) -> bool {
        Self::take(self, bytes as u64)
    }
    fn give(&self, bytes: usize) {
        Self::give(self, bytes as u64);
    }
}

/// Memory of the host that something of the container's takes up for as long as it lives.
#[derive(Debug)]
pub(crate) struct Reserved {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Reserved {
    /// So much of the ledger, if there is room for it.
    pub fn take(ledger: &Arc<Ledger>, bytes: u64) -> Option<Self> {
        ledger.take(bytes).then(|| Self { ledger: Arc::clone(ledger), bytes })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.ledger.give(self.bytes);
    }
}

/// One instance's share of the ledger; gives everything back when it goes.
#[derive(Debug)]
pub(crate) struct Limiter {
    ledger: Arc<Ledger>,
    held: u64,
    /// Of what is held, what its handles cost.
    handles: u64,
    last: u64,
    refused: bool,
    /// Its handles cost more than there is.
    overdrawn: bool,
}

impl Limiter {
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, held: 0, handles: 0, last: 0, refused: false, overdrawn: false }
    }
    /// Whether this instance was ever refused memory.
    pub fn was_refused(&self) -> bool {
        self.refused
    }
    /// A new request begins: what was refused to an earlier one is not this one's end.
    pub fn forget_refusal(&mut self) {
        self.refused = false;
    }
    /// Whether its handles hold more than it was given memory for.
    pub fn is_overdrawn(&self) -> bool {
        self.overdrawn
    }
    /// Whether other instances of the container hold memory, or others that have no limit.
    pub fn shares(&self) -> bool {
        self.ledger.used() > self.held || self.ledger.is_shared()
    }

    fn grow(&mut self, bytes: u64) -> bool {
        let taken = self.ledger.take(bytes);
        if taken {
            self.held += bytes;
            self.last = bytes;
        } else {
            self.refused = true;
        }
        taken
    }

    /// Its handles cost so much now. Says whether there is room for them.
    pub fn hold_handles(&mut self, bytes: u64) -> bool {
        if bytes <= self.handles {
            let less = self.handles - bytes;
            self.ledger.give(less);
            self.held -= less;
        } else {
            let more = bytes - self.handles;
            if !self.ledger.take(more) {
                (self.refused, self.overdrawn) = (true, true);
                return false;
            }
            self.held += more;
        }
        self.handles = bytes;
        self.overdrawn = false;
        true
    }

    fn undo(&mut self) {
        let last = std::mem::take(&mut self.last);
        self.held -= last;
        self.ledger.give(last);
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.ledger.give(self.held);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }
    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }
    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = desired.saturating_sub(current) as u64;
        Ok(self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES)))
    }
    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_one_limit_and_give_back_what_they_held() {
        let ledger = Arc::new(Ledger::new(Some(100)));
        let mut one = Limiter::new(Arc::clone(&ledger));
        let mut two = Limiter::new(Arc::clone(&ledger));
        assert!(one.memory_growing(0, 60, None).is_ok_and(|grown| grown));
        assert!(two.memory_growing(0, 50, None).is_ok_and(|grown| !grown));
        assert!(two.was_refused() && !one.was_refused() && two.shares());
        assert!(two.memory_growing(0, 40, None).is_ok_and(|grown| grown));
        drop(one);
        assert_eq!((ledger.used(), ledger.peak(), ledger.refused()), (40, 100, 1));
        assert!(two.table_growing(0, 5, None).is_ok_and(|grown| grown));
        assert_eq!(ledger.used(), 80);
    }

    #[test]
    fn who_has_no_limit_takes_from_what_all_such_have() {
        let pool = Arc::new(Ledger::new(Some(100)));
        let account = || Arc::new(Ledger { pool: Some(Arc::clone(&pool)), ..Ledger::new(None) });
        let (one, two) = (account(), account());
        let mut first = Limiter::new(Arc::clone(&one));
        let mut second = Limiter::new(Arc::clone(&two));
        assert!(first.memory_growing(0, 70, None).is_ok_and(|grown| grown));
        assert!(second.memory_growing(0, 40, None).is_ok_and(|grown| !grown));
        assert!(second.shares() && !first.shares());
        assert_eq!((one.used(), two.used(), two.refused(), pool.used()), (70, 0, 1, 70));
        drop(first);
        assert!(second.memory_growing(0, 40, None).is_ok_and(|grown| grown));
        drop(second);
        assert_eq!(pool.used(), 0);
        assert!(Ledger::of_container(None).pool.is_some() && Ledger::of_container(Some(1)).pool.is_none());
    }

    #[test]
    fn growth_that_failed_after_all_is_not_counted() {
        let ledger = Arc::new(Ledger::new(None));
        let mut one = Limiter::new(Arc::clone(&ledger));
        assert!(one.memory_growing(0, 10, None).is_ok());
        assert!(one.memory_growing(10, 30, None).is_ok());
        assert!(one.memory_grow_failed(wasmtime::Error::msg("no")).is_ok());
        assert_eq!(ledger.used(), 10);
    }
}
