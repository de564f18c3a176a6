//! Binding: the node that a pod is to run on. It is written and never kept.

use super::row::row;
use crate::{Kind, Scope};

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "Binding", "bindings", Scope::Namespaced).only(&["create"]).build()
}
