//! The nouns of Kubernetes as Coracle serves them.
//!
//! *Owns*: the kinds table, the object envelope, selectors, quantities, patches, defaults, validation, schemas,
//! printed columns, discovery and OpenAPI documents, and `Status`.
//!
//! *Does not know*: any IO, any task, any other room. Every function here is a pure function of its arguments.
//!
//! *Entry point*: [`kinds::builtin`] is the table; [`Kind`] is one row of it.

#![forbid(unsafe_code)]

pub mod admission;
pub mod apply;
pub mod cel;
pub mod custom;
pub mod discovery;
pub mod duration;
#[cfg(test)]
mod fuzz;
pub mod kind;
pub mod kinds;
pub mod meta;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod quota;
mod re2;
pub mod schema;
pub mod selector;
pub mod status;
pub mod strict;
pub mod sysctls;
pub mod table;
pub mod user;
pub mod yaml;

pub use kind::{Behaviour, Cell, Column, Form, Kind, KindSet, Scale, Scope};
pub use meta::{Labels, Meta};
pub use quantity::Quantity;
pub use schema::{Definition, Schema};
pub use selector::{FieldSelector, LabelSelector};
pub use status::{Cause, FieldError, Status};
pub use user::{AccessRequest, UserInfo};
