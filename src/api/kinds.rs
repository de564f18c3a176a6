//! The built-in kinds: one file each, one row each.
//!
//! # Adding a kind
//!
//! 1. Write `kinds/NAME.rs`. Its `kind()` builds the row with [`row::row`]: group, version, names, scope, then what
//!    differs from a kind that does nothing special (`.short`, `.all`, `.status`, `.scale`, `.columns`, `.behaviour`).
//! 2. Take the columns from what `kubectl get KIND -o wide` prints in Kubernetes: heading, type, priority (1 is wide
//!    only), and the cell as a pure function of the object and the time. [`cells`] has the usual ones.
//! 3. If the kind does more than being stored, implement [`crate::Behaviour`] on a unit struct: `default` fills in
//!    what Kubernetes' `SetDefaults_*` fill in and may run any number of times; `prepare_*` drop what a client may
//!    not write; `validate` answers every fault with Kubernetes' sentence and field path. [`fields`] reads JSON,
//!    [`checks`] has the sentences that kinds share, [`crate::names`] the rules for names.
//! 4. Add the row to [`builtin`], in discovery's order. No other room lists kinds: discovery, OpenAPI, tables, storage
//!    and routes follow from the row.
//! 5. Write a table test beside it: defaults, one good and each bad object, the printed cells.

pub(crate) mod cells;
pub(crate) mod checks;
pub(crate) mod fields;
pub(crate) mod row;

pub mod config_map;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod ingress;
pub mod ingress_class;
pub mod lease;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod pod_template;
pub mod replica_set;
pub mod role;
pub mod role_binding;
pub mod secret;
pub mod service;
pub mod service_account;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::Kind;

/// Every built-in kind, in discovery's order.
pub fn builtin() -> Vec<Arc<Kind>> {
    let rows = [
        config_map::kind(),
        endpoints::kind(),
        event::core_kind(),
        namespace::kind(),
        node::kind(),
        pod::kind(),
        secret::kind(),
        service_account::kind(),
        service::kind(),
        deployment::kind(),
        replica_set::kind(),
        event::kind(),
        lease::kind(),
        endpoint_slice::kind(),
        ingress_class::kind(),
        ingress::kind(),
        role_binding::cluster_kind(),
        role::cluster_kind(),
        role_binding::kind(),
        role::kind(),
    ];
    rows.into_iter().map(Arc::new).collect()
}
