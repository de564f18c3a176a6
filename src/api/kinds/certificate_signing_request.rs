//! CertificateSigningRequest: somebody asks for a certificate, somebody approves, somebody signs.
//!
//! `spec.username`, `spec.uid`, `spec.groups` and `spec.extra` say who asks. They are the API server's to fill in, from
//! the user of the request, before the object gets here: [`requested_by`] writes them and drops what a client put there.
//! The spec never changes afterwards. `/approval` changes conditions alone ([`approval`]), `/status` everything in the
//! status but the conditions `Approved` and `Denied` ([`issuance`]).

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::cells::{NONE, age_column, column, name_column, or};
use super::checks::Faults;
use super::fields::{default_text, get, int, items_mut, keep, list, list_at, object_at, remove, set, text, text_at};
use super::row::row;
use crate::names::{dns_label_errors, dns_subdomain_errors};
use crate::table::human_duration;
use crate::{Behaviour, FieldError, Kind, Scope, UserInfo};

const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The row.
pub fn kind() -> Kind {
    row("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", Scope::Cluster)
        .short(&["csr"])
        .status()
        .subresource("approval", "certificates.k8s.io/v1", "CertificateSigningRequest", &["get", "patch", "update"])
        .columns(vec![
            name_column(),
            age_column(),
            column("SignerName", "Who is asked to sign.", |object, _| {
                json!(or(text_at(object, "/spec/signerName"), NONE))
            }),
            column("Requestor", "Who asks.", |object, _| json!(text_at(object, "/spec/username"))),
            column("RequestedDuration", "For how long the certificate is wanted.", |object, _| {
                match object.pointer("/spec/expirationSeconds").and_then(Value::as_i64) {
                    Some(seconds) => json!(human_duration(seconds)),
                    None => json!(NONE),
                }
            }),
            column("Condition", "How far the request has come.", |object, _| json!(condition(object))),
        ])
        .behaviour(Request)
        .build()
}

fn has_condition(object: &Value, kind: &str) -> bool {
    list_at(object, "/status/conditions").iter().any(|condition| text(condition, "type") == kind)
}

fn condition(object: &Value) -> String {
    let first = if has_condition(object, "Denied") {
        "Denied"
    } else if has_condition(object, "Approved") {
        "Approved"
    } else {
        "Pending"
    };
    let failed = if has_condition(object, "Failed") { ",Failed" } else { "" };
    let issued = if text_at(object, "/status/certificate").is_empty() { "" } else { ",Issued" };
    format!("{first}{failed}{issued}")
}

/// Writes who asks into a request that is about to be created, and drops what the client said of that.
pub fn requested_by(object: &mut Value, user: &UserInfo) {
    let Some(spec) = object_at(object, "spec") else { return };
    for field in ["username", "uid", "groups", "extra"] {
        remove(spec, field);
    }
    default_text(spec, "username", &user.name);
    if !user.uid.is_empty() {
        set(spec, "uid", user.uid.as_str());
    }
    if !user.groups.is_empty() {
        set(spec, "groups", json!(user.groups));
    }
    if !user.extra.is_empty() {
        set(spec, "extra", json!(user.extra));
    }
}

/// Before an update through `/approval`: only conditions change, and each says since when.
pub fn approval(object: &mut Value, old: &Value, now: jiff::Timestamp) {
    let conditions = object.pointer("/status/conditions").cloned();
    keep(object, old, "spec");
    keep(object, old, "status");
    if let Some(status) = object_at(object, "status") {
        match conditions {
            Some(conditions) => set(status, "conditions", conditions),
            None => remove(status, "conditions"),
        }
    }
    stamp(object, old, now);
}

/// Before an update through `/status`: all but the spec and the conditions of `/approval` changes.
pub fn issuance(object: &mut Value, old: &Value, now: jiff::Timestamp) {
    keep(object, old, "spec");
    let of_approval = |condition: &&Value| ["Approved", "Denied"].contains(&text(condition, "type"));
    let mut conditions: Vec<Value> =
        list_at(old, "/status/conditions").iter().filter(|condition| of_approval(condition)).cloned().collect();
    let sent = list_at(object, "/status/conditions");
    conditions.extend(sent.iter().filter(|condition| !of_approval(condition)).cloned());
    if let Some(status) = object_at(object, "status") {
        if conditions.is_empty() {
            remove(status, "conditions");
        } else {
            set(status, "conditions", conditions);
        }
    }
    stamp(object, old, now);
}

/// Says of each condition when it was written, and when its status changed last.
fn stamp(object: &mut Value, old: &Value, now: jiff::Timestamp) {
    let now = crate::meta::time_text(now);
    let before: Vec<Value> = list_at(old, "/status/conditions").to_vec();
    let Some(status) = object.get_mut("status") else { return };
    for condition in items_mut(status, "conditions") {
        let was = before.iter().find(|was| text(was, "type") == text(condition, "type"));
        default_text(condition, "lastUpdateTime", &now);
        if text(condition, "lastTransitionTime").is_empty() {
            let since = was
                .filter(|was| text(was, "status") == text(condition, "status"))
                .map(|was| text(was, "lastTransitionTime"))
                .filter(|since| !since.is_empty())
                .unwrap_or(&now)
                .to_owned();
            set(condition, "lastTransitionTime", since);
        }
    }
}

struct Request;

impl Behaviour for Request {
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
        keep(object, old, "status");
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        if old.is_some() {
            return faults;
        }
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        let request = text(spec, "request");
        if !is_request(request) {
            let detail = "PEM block type must be CERTIFICATE REQUEST";
            faults.push(FieldError::invalid("spec.request", &json!(request), detail));
        }
        usages(&mut faults, spec);
        signer(&mut faults, text(spec, "signerName"));
        if let Some(seconds) = int(spec, "expirationSeconds")
            && seconds < 600
        {
            let detail = "may not specify a duration less than 600 seconds (10 minutes)";
            faults.push(FieldError::invalid("spec.expirationSeconds", &json!(seconds), detail));
        }
        faults
    }
    fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let mut seen = BTreeSet::new();
        let path = "status.conditions";
        for (at, condition) in list_at(object, "/status/conditions").iter().enumerate() {
            let path = format!("{path}[{at}]");
            let (kind, status) = (text(condition, "type"), text(condition, "status"));
            if kind.is_empty() {
                faults.push(FieldError::required(format!("{path}.type"), ""));
            }
            let allowed: &[&str] = match kind {
                "Approved" | "Denied" | "Failed" => &["True"],
                _ => &["True", "False", "Unknown"],
            };
            if status.is_empty() {
                faults.push(FieldError::required(format!("{path}.status"), ""));
            } else if !allowed.contains(&status) {
                faults.push(FieldError::not_supported(format!("{path}.status"), &json!(status), allowed));
            }
            if !seen.insert(kind) {
                faults.push(FieldError::duplicate(format!("{path}.type"), &json!(kind)));
            }
            let other = if kind == "Approved" { "Denied" } else { "Approved" };
            if ["Approved", "Denied"].contains(&kind) && seen.contains(other) {
                let detail = "Approved and Denied conditions are mutually exclusive";
                faults.push(FieldError::invalid(format!("{path}.type"), &json!(kind), detail));
            }
        }
        for kind in ["Approved", "Denied", "Failed"] {
            if has_condition(old, kind) && !has_condition(object, kind) {
                let detail = format!("updates may not remove a condition of type {kind:?}");
                faults.push(FieldError::forbidden(path, &detail));
            }
        }
        let (now, was) = (text_at(object, "/status/certificate"), text_at(old, "/status/certificate"));
        if now != was
            && let Some(wrong) = no_certificates(now)
        {
            faults.push(FieldError::invalid("status.certificate", &json!("<certificate data>"), &wrong));
        }
        if !was.is_empty() && now != was {
            let detail = "updates may not change a set certificate";
            faults.push(FieldError::forbidden("status.certificate", detail));
        }
        faults
    }
    fn validate_name(&self, name: &str) -> Vec<String> {
        crate::names::path_segment_errors(name)
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        vec![("spec.signerName".into(), text_at(object, "/spec/signerName").to_owned())]
    }
    fn field_labels(&self) -> Vec<&str> {
        vec!["spec.signerName"]
    }
    fn has_generation(&self) -> bool {
        false
    }
}

/// Whether bytes in base64 are a request in PEM; who signs looks inside.
fn is_request(text: &str) -> bool {
    let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.is_some_and(|pem| pem.contains("-----BEGIN CERTIFICATE REQUEST-----"))
}

/// Why bytes in base64 are no certificates in PEM. Nothing at all is no fault.
fn no_certificates(text: &str) -> Option<String> {
    const BEGIN: &str = "-----BEGIN ";
    if text.is_empty() {
        return None;
    }
    let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let mut kinds =
        decoded.lines().filter_map(|line| Some(line.strip_prefix(BEGIN)?.trim_end().trim_end_matches('-'))).peekable();
    if kinds.peek().is_none() {
        return Some("must contain one or more CERTIFICATE PEM blocks".to_owned());
    }
    let other = kinds.find(|kind| *kind != "CERTIFICATE")?;
    Some(format!("only CERTIFICATE PEM blocks are allowed, found {other:?}"))
}

fn usages(faults: &mut Faults, spec: &Value) {
    let all = list(spec, "usages");
    if all.is_empty() {
        faults.push(FieldError::required("spec.usages", ""));
    }
    let mut seen = BTreeSet::new();
    for (at, usage) in all.iter().enumerate() {
        let path = format!("spec.usages[{at}]");
        let name = usage.as_str().unwrap_or_default();
        if !USAGES.contains(&name) {
            faults.push(FieldError::not_supported(path.as_str(), usage, &USAGES));
        }
        if !seen.insert(name) {
            faults.push(FieldError::duplicate(path, usage));
        }
    }
}

fn signer(faults: &mut Faults, name: &str) {
    let path = "spec.signerName";
    if name == LEGACY_SIGNER {
        let detail = "the legacy signerName is not allowed via this API version";
        faults.push(FieldError::invalid(path, &json!(name), detail));
        return;
    }
    signer_name_faults(faults, path, name);
}

/// What is wrong with the name of a signer.
fn signer_name_faults(faults: &mut Faults, path: &str, name: &str) {
    if name.is_empty() {
        faults.push(FieldError::required(path, ""));
        return;
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        faults.push(FieldError::invalid(path, &json!(name), detail));
        return;
    };
    for label in domain.split('.') {
        for message in dns_label_errors(label) {
            let detail = format!("validating label {label:?}: {message}");
            faults.push(FieldError::invalid(path, &json!(domain), &detail));
        }
    }
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        faults.push(FieldError::invalid(path, &json!(domain), detail));
    }
    for label in rest.split('.') {
        for message in dns_subdomain_errors(label) {
            let detail = format!("validating label {label:?}: {message}");
            faults.push(FieldError::invalid(path, &json!(rest), &detail));
        }
    }
}
