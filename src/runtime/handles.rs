//! Handles: how many a guest may have open, and what they cost.
//!
//! The table that holds what a guest's handles stand for is memory of the host. It is counted every so often while the guest
//! calls the host, the more often the fewer there are, so that between two counts it grows by a known part at most.

use wasmtime::component::ResourceTable;

use crate::memory::Limiter;

/// What an entry costs: its place in the tables on both sides, and a small value.
const HANDLE_BYTES: u64 = 192;
/// So many come with every instance.
const FREE: usize = 64;

/// What a guest may have open at once, and how much one call of the host may carry. What passes a limit fails with the
/// interface's own code where it has one, and ends the guest where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handles {
    /// Handles of each instance: streams, pollables, files, sockets, requests and what else stands for something.
    pub handles: usize,
    /// Files of each instance.
    pub files: usize,
    /// Sockets of the container.
    pub sockets: usize,
    /// Bytes that one call may hand to the host.
    pub call_bytes: usize,
    /// Random bytes that one call may ask for.
    pub random_bytes: u64,
}

impl Default for Handles {
    fn default() -> Self {
        Self { handles: 16_384, files: 1024, sockets: 1024, call_bytes: 16 << 20, random_bytes: 1 << 20 }
    }
}

/// When to count next.
#[derive(Debug)]
pub(crate) struct Account {
    calls: u64,
    next: u64,
}

impl Default for Account {
    fn default() -> Self {
        Self { calls: 0, next: FREE as u64 }
    }
}

impl Account {
    /// A call of the host is about to use the table.
    #[inline]
    pub fn look(&mut self, table: &mut ResourceTable, most: usize, memory: &mut Limiter) {
        self.calls += 1;
        if self.calls >= self.next {
            self.count(table, most, memory);
        }
    }

    #[cold]
    fn count(&mut self, table: &mut ResourceTable, most: usize, memory: &mut Limiter) {
        let open = table.iter_mut().count();
        self.next = self.calls + open.max(FREE) as u64 / 2;
        let paid = open.saturating_sub(FREE) as u64 * HANDLE_BYTES;
        // Who cannot pay gets no more of them: what asks for one fails, and is known to have failed for want of memory.
        table.set_max_capacity(if memory.hold_handles(paid) { most } else { 0 });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::memory::Ledger;

    #[test]
    fn handles_are_paid_for_and_given_back() {
        let ledger = Arc::new(Ledger::new(Some(100_000)));
        let mut memory = Limiter::new(Arc::clone(&ledger));
        let (mut table, mut account) = (ResourceTable::new(), Account::default());
        let mut handles = Vec::new();
        let full = loop {
            account.look(&mut table, 1000, &mut memory);
            match table.push(()) {
                Ok(handle) => handles.push(handle),
                Err(_) => break handles.len(),
            }
        };
        // 100,000 bytes are 520 handles and the free ones; the last count is at most half of them old.
        assert!((300..=900).contains(&full), "{full}");
        assert!(memory.was_refused());
        for handle in handles.drain(..) {
            assert!(table.delete(handle).is_ok());
        }
        for _ in 0..full {
            account.look(&mut table, 1000, &mut memory);
        }
        assert_eq!(ledger.used(), 0);
        assert!(table.push(()).is_ok());
    }
}
