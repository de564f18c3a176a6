//! Who may have a say in a write, in order.

use api::{Kind, Status, UserInfo};
use async_trait::async_trait;
use serde_json::Value;

use crate::options::{Sub, Warnings};

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Create,
    Update,
    Delete,
}

/// A write that is looked at before it happens.
pub struct Review<'a> {
    /// The kind of the object.
    pub kind: &'a Kind,
    /// Its namespace, unless it is at cluster scope.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// What happens to it.
    pub operation: Operation,
    /// The part that is written.
    pub sub: Sub,
    /// Who writes.
    pub user: &'a UserInfo,
    /// Whether nothing will be written in the end: no side effects then.
    pub dry_run: bool,
    /// Where warnings for the client go.
    pub warnings: &'a Warnings,
    /// What is to be written; null for a delete. Only `mutate` may change it.
    pub object: Value,
    /// What is there now.
    pub old: Option<&'a Value>,
}

/// A rule about writes. A write may be reviewed more than once when it has to be tried again.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// May change the object; runs before defaults and validation.
    async fn mutate(&self, _review: &mut Review<'_>) -> Result<(), Status> {
        Ok(())
    }
    /// Sees what will be written; runs after validation.
    async fn validate(&self, _review: &Review<'_>) -> Result<(), Status> {
        Ok(())
    }
}
