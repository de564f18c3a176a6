//! The room through its doors: requests in process, over a memory store, and over a real socket.

mod access;
mod aggregation;
mod harness;
mod negotiation;
mod nonsense;
mod pods;
mod policies;
mod socket;
mod streaming;
mod verbs;
mod watching;
mod webhooks;
