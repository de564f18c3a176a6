//! Handles: how many a guest may have open, and what they cost.
//!
//! The table that holds what a guest's handles stand for is memory of the host. It is counted every so often while the guest
//! calls the host, the more often the fewer there are, so that between two counts it grows by a known part at most. Most
//! handles are small; what a few of them can be filled with (headers, bodies that are written and not sent, lists of folders)
//! is counted as well.

use std::any::Any;
use std::sync::Arc;

use http::HeaderMap;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::ReaddirIterator;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::p3;

use crate::memory::{Ledger, Limiter, Reserved};
use crate::outbound::BODY_CHUNK_BYTES;

/// What an entry costs: its place in the tables on both sides, and a small value.
const HANDLE_BYTES: u64 = 192;
/// So many come with every instance.
const FREE: usize = 64;
/// So much may be in them.
const FREE_BYTES: u64 = 256 << 10;
/// A header costs this beside its letters.
const HEADER_BYTES: u64 = 96;
/// A request on its way, of whose body part may be waiting.
const UNDER_WAY_BYTES: u64 = 16 << 10;
/// A call of `wasi:http` may carry more than others.
pub(crate) const HTTP_CALL: u64 = 4;

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
    /// What the lists of folders cost that are open, the largest first.
    listings: Vec<Reserved>,
}

impl Default for Account {
    fn default() -> Self {
        Self { calls: 0, next: FREE as u64, listings: Vec::new() }
    }
}

impl Account {
    /// A call of the host is about to use the table; a weightier one counts for several.
    #[inline]
    pub fn look(&mut self, weight: u64, table: &mut ResourceTable, most: usize, memory: &mut Limiter) {
        self.calls += weight;
        if self.calls >= self.next {
            self.count(table, most, memory);
        }
    }

    #[cold]
    fn count(&mut self, table: &mut ResourceTable, most: usize, memory: &mut Limiter) {
        let (mut open, mut listings, mut content) = (0, 0, 0);
        for entry in table.iter_mut() {
            open += 1;
            listings += usize::from(entry.is::<ReaddirIterator>());
            content += content_of(entry);
        }
        self.next = self.calls + open.max(FREE) as u64 / 2;
        self.listings.truncate(listings);
        let paid = open.saturating_sub(FREE) as u64 * HANDLE_BYTES + content.saturating_sub(FREE_BYTES);
        // Who cannot pay gets no more of them: what asks for one fails, and is known to have failed for want of memory. Whoever
        // goes on filling those that are there is ended at the next epoch.
        table.set_max_capacity(if memory.hold_handles(paid) { most } else { 0 });
    }

    /// A list of a folder is about to be made, of so many bytes. Says whether there is room for it.
    pub fn hold_listing(&mut self, bytes: u64, table: &mut ResourceTable, ledger: &Arc<Ledger>) -> bool {
        self.listings.truncate(table.iter_mut().filter(|entry| entry.is::<ReaddirIterator>()).count());
        let Some(listing) = Reserved::take(ledger, bytes) else { return false };
        // Which of them go is not known: it is always the smallest.
        let place = self.listings.partition_point(|other| other.bytes() >= bytes);
        self.listings.insert(place, listing);
        true
    }
}

/// What something holds beside its place in the table.
fn content_of(entry: &dyn Any) -> u64 {
    let body = |is_there: bool| if is_there { BODY_CHUNK_BYTES as u64 } else { 0 };
    if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        headers(fields)
    } else if entry.is::<HostOutgoingBody>() {
        BODY_CHUNK_BYTES as u64
    } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        let text = |part: &Option<String>| part.as_ref().map_or(0, String::len) as u64;
        headers(&request.headers)
            + text(&request.authority)
            + text(&request.path_with_query)
            + body(request.body.is_some())
    } else if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
        headers(&response.headers) + body(response.body.is_some())
    } else if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
        headers(&response.headers)
    } else if let Some(HostFutureIncomingResponse::Pending(_)) = entry.downcast_ref() {
        UNDER_WAY_BYTES
    } else if let Some(request) = entry.downcast_ref::<p3::Request>() {
        headers(&request.headers) + request.path_with_query.as_ref().map_or(0, |path| path.as_str().len() as u64)
    } else if let Some(response) = entry.downcast_ref::<p3::Response>() {
        headers(&response.headers)
    } else {
        0
    }
}

fn headers(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64 + HEADER_BYTES).sum()
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
            account.look(1, &mut table, 1000, &mut memory);
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
            account.look(1, &mut table, 1000, &mut memory);
        }
        assert_eq!(ledger.used(), 0);
        assert!(table.push(()).is_ok());
    }

    #[test]
    fn what_handles_are_filled_with_is_paid_for() {
        let ledger = Arc::new(Ledger::new(Some(1 << 20)));
        let mut memory = Limiter::new(Arc::clone(&ledger));
        let (mut table, mut account) = (ResourceTable::new(), Account::default());
        let request = || HostOutgoingRequest {
            method: world::http::types::Method::Get,
            scheme: None,
            authority: None,
            path_with_query: Some("x".repeat(50_000)),
            headers: FieldMap::default(),
            body: None,
        };
        let mut held = 0;
        while table.push(request()).is_ok() {
            held += 1;
            for _ in 0..FREE {
                account.look(HTTP_CALL, &mut table, 1000, &mut memory);
            }
        }
        assert!((20..=30).contains(&held) && memory.is_overdrawn(), "{held}");
    }

    #[test]
    fn the_largest_listings_are_the_last_to_be_given_back() {
        let ledger = Arc::new(Ledger::new(Some(1000)));
        let (mut table, mut account) = (ResourceTable::new(), Account::default());
        assert!(account.hold_listing(300, &mut table, &ledger));
        // None is open: the first is gone.
        assert!(account.hold_listing(900, &mut table, &ledger));
        assert_eq!(ledger.used(), 900);
        assert!(account.hold_listing(1000, &mut table, &ledger));
        assert!(!account.hold_listing(1001, &mut table, &ledger));
    }
}
