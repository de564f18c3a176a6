//! What a writer knows of an object is not read out of its bytes again when the store tells of it.
//!
//! A local store tells of a write with the very bytes that it was given, so their address identifies them for as long
//! as somebody holds them. What comes from elsewhere is not found here and is decoded.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::object::Facts;

/// Facts about bytes that are on their way through the store.
#[derive(Default)]
pub(crate) struct Handover {
    waiting: Mutex<HashMap<usize, (Bytes, Facts)>>,
}

impl Handover {
    /// Leaves the facts for whoever is told of these bytes, until the answer is dropped.
    pub fn offer(&self, bytes: &Bytes, facts: Facts) -> Offer<'_> {
        let address = bytes.as_ptr() as usize;
        // The clone keeps the address from being used for anything else.
        self.waiting.lock().insert(address, (bytes.clone(), facts));
        Offer { handover: self, address }
    }

    /// The facts about these bytes, if they were left.
    pub fn take(&self, bytes: &Bytes) -> Option<Facts> {
        let (offered, facts) = self.waiting.lock().remove(&(bytes.as_ptr() as usize))?;
        (offered.len() == bytes.len()).then_some(facts)
    }
}

/// Takes the facts away when nobody came for them.
pub(crate) struct Offer<'a> {
    handover: &'a Handover,
    address: usize,
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        self.handover.waiting.lock().remove(&self.address);
    }
}
