//! From the query, and from the body of a deletion, to the options that `objects` takes.

use std::time::Duration;

use api::{FieldError, FieldSelector, Kind, LabelSelector, Status};
use objects::{DeleteOptions, ListOptions, Propagation, RevisionMatch, Revisions, WatchOptions, WriteOptions};
use serde_json::{Value, json};

use super::{Target, body};
use crate::query::{self, Query};
use crate::server::Call;

/// Watches that ask for no end get one at random in this range, so that they do not all come back at one moment.
const WATCH_SECONDS: std::ops::Range<u64> = 1800..3600;

/// The longest name of a manager, in bytes.
const FIELD_MANAGER_MAX: usize = 128;

pub(crate) fn revisions(query: &Query) -> Revisions {
    Revisions { resource_version: query.get("resourceVersion").map(str::to_owned) }
}

/// Other values were refused by [`query::check_list_options`].
fn revision_match(query: &Query) -> Option<RevisionMatch> {
    match query.get("resourceVersionMatch") {
        Some("Exact") => Some(RevisionMatch::Exact),
        Some("NotOlderThan") => Some(RevisionMatch::NotOlderThan),
        _ => None,
    }
}

pub(crate) fn list_options(call: &Call, kind: &Kind) -> Result<ListOptions, Status> {
    query::check_list_options(&call.query, false)?;
    let (label_selector, field_selector) = selectors(call, kind)?;
    Ok(ListOptions {
        label_selector,
        field_selector,
        limit: call.query.number::<u64>("limit")?.unwrap_or_default(),
        continue_token: call.query.get("continue").map(str::to_owned),
        resource_version: call.query.get("resourceVersion").map(str::to_owned),
        resource_version_match: revision_match(&call.query),
    })
}

pub(crate) fn watch_options(call: &Call, target: &Target) -> Result<WatchOptions, Status> {
    query::check_list_options(&call.query, true)?;
    let (label_selector, mut field_selector) = selectors(call, &target.kind)?;
    if let Some(name) = &target.name {
        field_selector = named(name)?;
    }
    let timeout = match call.query.number::<u64>("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => Duration::from_secs(rand::random_range(WATCH_SECONDS)),
    };
    Ok(WatchOptions {
        label_selector,
        field_selector,
        resource_version: call.query.get("resourceVersion").map(str::to_owned),
        resource_version_match: revision_match(&call.query),
        send_initial_events: call.query.optional_flag("sendInitialEvents"),
        allow_bookmarks: call.query.flag("allowWatchBookmarks"),
        timeout: Some(timeout),
    })
}

fn named(name: &str) -> Result<FieldSelector, Status> {
    Ok(format!("metadata.name={name}").parse::<FieldSelector>()?)
}

fn selectors(call: &Call, kind: &Kind) -> Result<(LabelSelector, FieldSelector), Status> {
    let labels: LabelSelector = call.query.get("labelSelector").unwrap_or_default().parse()?;
    let fields: FieldSelector = call.query.get("fieldSelector").unwrap_or_default().parse()?;
    fields.check(kind)?;
    Ok((labels, fields))
}

/// Options of create, update and patch; `kind` is how Kubernetes calls them in refusals.
pub(crate) fn write_options(call: &Call, kind: &str, apply: bool) -> Result<WriteOptions, Status> {
    let mut errors = Vec::new();
    let dry_run = call.query.dry_run().unwrap_or_else(|error| {
        errors.push(error);
        false
    });
    let manager = call.query.get("fieldManager");
    if let Some(manager) = manager {
        if manager.len() > FIELD_MANAGER_MAX {
            errors.push(FieldError::too_long("fieldManager", FIELD_MANAGER_MAX));
        }
        if manager.chars().any(char::is_control) {
            errors.push(FieldError::invalid(
                "fieldManager",
                &json!(manager),
                "should only contain printable characters",
            ));
        }
    }
    if apply && manager.is_none_or(str::is_empty) {
        errors.push(FieldError::required("fieldManager", "is required for apply patch"));
    }
    let force = call.query.optional_flag("force");
    if force.is_some() && !apply && kind == "PatchOptions" {
        errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
    }
    if let Some(other) = call.query.get("fieldValidation").filter(|text| !matches!(*text, "Ignore" | "Warn" | "Strict"))
    {
        errors.push(FieldError::not_supported("fieldValidation", &json!(other), &["Ignore", "Strict", "Warn"]));
    }
    if !errors.is_empty() {
        return Err(query::invalid_options(kind, &errors));
    }
    Ok(WriteOptions {
        user: call.user.clone(),
        dry_run,
        field_manager: manager.filter(|name| !name.is_empty()).map_or_else(|| agent(call), str::to_owned),
        force: force.unwrap_or_default(),
        field_validation: body::validation(call),
        sent: sent(call),
        ..WriteOptions::default()
    })
}

/// What of the options admission is told, beyond what the server makes of them.
fn sent(call: &Call) -> Value {
    let told = ["fieldManager", "fieldValidation"].into_iter().filter_map(|name| {
        let value = call.query.get(name).filter(|value| !value.is_empty())?;
        Some((name.to_owned(), json!(value)))
    });
    told.collect()
}

/// Who writes, when the client does not say: the program in front of the slash. Parts of this process send no header;
/// they go by the names of Kubernetes' parts that do the same.
fn agent(call: &Call) -> String {
    if !call.headers.contains_key(http::header::USER_AGENT) && call.user.name.starts_with("system:") {
        let name = call.user.name.as_str();
        return match name.split(':').collect::<Vec<_>>().as_slice() {
            ["system", "node", _] => "kubelet",
            ["system", "serviceaccount", ..] => "kube-controller-manager",
            ["system", "apiserver"] => "kube-apiserver",
            ["system", name] => name,
            _ => "coracle",
        }
        .to_owned();
    }
    let header = call.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let program = header.split('/').next().unwrap_or_default();
    program.chars().filter(|letter| !letter.is_control()).take(FIELD_MANAGER_MAX).collect()
}

/// Options of a deletion: those of the body when there is one, else those of the query.
pub(crate) fn delete_options(call: &Call, body: Option<&Value>) -> Result<DeleteOptions, Status> {
    let mut errors = Vec::new();
    let mut options = DeleteOptions { user: call.user.clone(), ..DeleteOptions::default() };
    let (policy, orphan);
    match body {
        Some(body) => {
            let text = |path: &str| body.pointer(path).and_then(Value::as_str).map(str::to_owned);
            options.grace_seconds = body.get("gracePeriodSeconds").and_then(Value::as_i64);
            options.uid = text("/preconditions/uid");
            options.resource_version = text("/preconditions/resourceVersion");
            policy = text("/propagationPolicy");
            orphan = body.get("orphanDependents").and_then(Value::as_bool);
            let dry = body.get("dryRun").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            options.dry_run = query::dry_run(dry).unwrap_or_else(|error| {
                errors.push(error);
                false
            });
        }
        None => {
            options.grace_seconds = call.query.number("gracePeriodSeconds")?;
            policy = call.query.get("propagationPolicy").map(str::to_owned);
            orphan = call.query.optional_flag("orphanDependents");
        }
    }
    match call.query.dry_run() {
        Ok(dry) => options.dry_run |= dry,
        Err(error) => errors.push(error),
    }
    options.propagation = propagation(policy.as_deref(), orphan).unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    if errors.is_empty() { Ok(options) } else { Err(query::invalid_options("DeleteOptions", &errors)) }
}

fn propagation(policy: Option<&str>, orphan: Option<bool>) -> Result<Option<Propagation>, FieldError> {
    let found = match policy.filter(|text| !text.is_empty()) {
        Some(text) if orphan.is_some() => {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            return Err(FieldError::invalid("propagationPolicy", &json!(text), detail));
        }
        Some("Foreground") => Propagation::Foreground,
        Some("Background") => Propagation::Background,
        Some("Orphan") => Propagation::Orphan,
        Some(other) => {
            let supported = ["Background", "Foreground", "Orphan"];
            return Err(FieldError::not_supported("propagationPolicy", &json!(other), &supported));
        }
        None => match orphan {
            Some(true) => Propagation::Orphan,
            Some(false) => Propagation::Background,
            None => return Ok(None),
        },
    };
    Ok(Some(found))
}
