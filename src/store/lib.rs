//! Transactions, revisions, watch and compaction over bytes.
//!
//! *Owns*: durability. A commit that was acknowledged is there after a crash; a commit that failed left nothing.
//!
//! *Does not know*: Kubernetes, JSON, or what a key means.
//!
//! *Entry point*: [`Store`], the contract that every backend keeps; [`Memory`] and [`Embedded`] are two of them.

#![forbid(unsafe_code)]

pub mod contract;
mod embedded;
mod history;
mod memory;

pub use contract::{
    Check, CommitError, Entry, Event, EventStream, ListError, OpenError, Page, Revision, SharedStore, Store, Txn,
};
pub use embedded::{CHECK_THREAD, Embedded, RestoreError, Restored, restore};
pub use memory::Memory;
