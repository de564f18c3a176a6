//! The room through its doors: requests in process, over a memory store, and over a real socket.

mod access;
mod aggregation;
mod built_in;
mod custom;
mod harness;
mod negotiation;
mod nonsense;
mod pods;
mod policies;
mod quotas;
mod roles;
mod socket;
mod streaming;
mod tokens;
mod verbs;
mod watching;
mod webhooks;
