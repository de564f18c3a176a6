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

mod admission_rules;
pub(crate) mod cells;
pub(crate) mod checks;
pub(crate) mod conditions;
pub(crate) mod fields;
pub(crate) mod row;
pub(crate) mod webhook_client;

pub mod addresses;
pub mod admission_policy;
pub mod admission_policy_binding;
pub mod api_service;
pub mod binding;
pub mod certificate_signing_request;
pub mod component_status;
pub mod config_map;
pub mod controller_revision;
pub mod cron_job;
pub mod csi;
pub mod custom_resource_definition;
pub mod daemon_set;
pub mod deployment;
pub mod deprecated;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod flow_schema;
pub mod horizontal_pod_autoscaler;
pub mod ingress;
pub mod ingress_class;
pub mod job;
pub mod lease;
pub mod limit_range;
pub mod namespace;
pub mod network_policy;
pub mod node;
pub mod overwriting;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
pub mod pod_disruption_budget;
pub mod pod_template;
pub mod pod_templates;
pub mod priority_class;
pub mod priority_level;
pub mod replica_set;
pub mod replication_controller;
pub mod resource_claim;
pub mod resource_quota;
pub mod resource_slice;
pub mod role;
pub mod role_binding;
pub mod runtime_class;
pub mod secret;
pub mod service;
pub mod service_account;
pub mod stateful_set;
pub mod storage_class;
pub mod volume_attachment;
pub mod webhook_configuration;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::Kind;

/// Every built-in kind, in discovery's order.
pub fn builtin() -> Vec<Arc<Kind>> {
    let rows = [
        binding::kind(),
        component_status::kind(),
        config_map::kind(),
        endpoints::kind(),
        event::core_kind(),
        limit_range::kind(),
        namespace::kind(),
        node::kind(),
        persistent_volume_claim::kind(),
        persistent_volume::kind(),
        pod::kind(),
        pod_templates::kind(),
        replication_controller::kind(),
        resource_quota::kind(),
        secret::kind(),
        service_account::kind(),
        service::kind(),
        controller_revision::kind(),
        daemon_set::kind(),
        deployment::kind(),
        replica_set::kind(),
        stateful_set::kind(),
        event::kind(),
        horizontal_pod_autoscaler::kind(),
        horizontal_pod_autoscaler::v1_kind(),
        cron_job::kind(),
        job::kind(),
        lease::kind(),
        endpoint_slice::kind(),
        ingress_class::kind(),
        ingress::kind(),
        pod_disruption_budget::kind(),
        role_binding::cluster_kind(),
        role::cluster_kind(),
        role_binding::kind(),
        role::kind(),
        priority_class::kind(),
        csi::driver_kind(),
        csi::node_kind(),
        csi::capacity_kind(),
        storage_class::kind(),
        volume_attachment::kind(),
        storage_class::attributes_kind(),
        runtime_class::kind(),
        network_policy::kind(),
        addresses::address_kind(),
        addresses::range_kind(),
        certificate_signing_request::kind(),
        webhook_configuration::mutating_kind(),
        webhook_configuration::validating_kind(),
        admission_policy::mutating_kind(),
        admission_policy_binding::mutating_kind(),
        admission_policy::validating_kind(),
        admission_policy_binding::validating_kind(),
        api_service::kind(),
        flow_schema::kind(),
        priority_level::kind(),
        resource_claim::class_kind(),
        resource_claim::kind(),
        resource_claim::template_kind(),
        resource_slice::kind(),
        custom_resource_definition::kind(),
    ];
    rows.into_iter().map(Arc::new).collect()
}
