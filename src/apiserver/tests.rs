//! The room through its doors: requests in process, over a memory store, and over a real socket.

mod access;
mod harness;
mod negotiation;
mod nonsense;
mod pods;
mod socket;
mod verbs;
mod watching;
