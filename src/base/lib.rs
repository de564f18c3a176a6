//! What every room stands on.
//!
//! *Owns*: supervised named tasks and shutdown, back-off, metrics, logs, files that are written whole, and what only one
//! operating system offers.
//!
//! *Does not know*: Kubernetes, WebAssembly, HTTP, any other room.
//!
//! *Entry point*: [`tasks::Tasks`], which every long-running room is given.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod files;
pub mod histogram;
pub mod logs;
mod making;
pub mod metrics;
pub mod os;
pub mod tasks;

pub use making::Making;
pub use tasks::{Shutdown, Tasks};

/// An error and its causes on one line: `opening the store: file is corrupt: checksum mismatch`.
pub fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
