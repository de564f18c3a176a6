//! MutatingWebhookConfiguration and ValidatingWebhookConfiguration: who else is asked before an object is written.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::admission_rules::{
    FAILURE_POLICIES, MATCH_POLICIES, condition_faults, default_rules, default_selectors, rule_faults,
};
use super::cells::{age_column, name_column, number_column};
use super::checks::{Faults, one_of};
use super::fields::{default_text, default_to, get, int, items_mut, list, text};
use super::row::{RowBuilder, row};
use super::webhook_client::{default_client, url_or_service_faults};
use crate::names::{dns_subdomain_errors, dns1035_label_errors};
use crate::selector::validate_label_selector;
use crate::{Behaviour, FieldError, Kind, Scope};

const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];

/// The row of MutatingWebhookConfiguration.
pub fn mutating_kind() -> Kind {
    stored("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", true).build()
}

/// The row of ValidatingWebhookConfiguration.
pub fn validating_kind() -> Kind {
    stored("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", false).build()
}

fn stored(kind: &str, plural: &str, mutating: bool) -> RowBuilder {
    row("admissionregistration.k8s.io", "v1", kind, plural, Scope::Cluster)
        .category("api-extensions")
        .columns(vec![
            name_column(),
            number_column("Webhooks", "How many webhooks the configuration has.", |object, _| {
                json!(list(object, "webhooks").len())
            }),
            age_column(),
        ])
        .behaviour(Configuration { mutating })
}

struct Configuration {
    mutating: bool,
}

impl Behaviour for Configuration {
    fn default(&self, object: &mut Value) {
        for hook in items_mut(object, "webhooks") {
            default_text(hook, "failurePolicy", "Fail");
            default_selectors(hook);
            default_to(hook, "timeoutSeconds", 10);
            if self.mutating {
                default_text(hook, "reinvocationPolicy", "Never");
            }
            default_rules(hook, "rules");
            default_client(hook, "clientConfig");
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        // What was let in once may stay as it is.
        let before = old.map(|old| list(old, "webhooks"));
        let strict_effects = before.is_none_or(|hooks| hooks.iter().all(harmless));
        let strict_versions = before.is_none_or(|hooks| hooks.iter().all(understood));
        let mut names = BTreeSet::new();
        for (at, hook) in list(object, "webhooks").iter().enumerate() {
            let path = format!("webhooks[{at}]");
            self.hook_faults(&mut faults, hook, &path, strict_effects);
            versions(&mut faults, hook, &format!("{path}.admissionReviewVersions"), strict_versions);
            let name = text(hook, "name");
            if !name.is_empty() && !names.insert(name) {
                faults.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
            }
        }
        if before.is_none_or(|before| before != list(object, "webhooks")) {
            faults.extend(crate::admission::webhooks(object));
        }
        faults
    }
}

impl Configuration {
    fn hook_faults(&self, faults: &mut Faults, hook: &Value, path: &str, strict_effects: bool) {
        qualified(faults, &format!("{path}.name"), text(hook, "name"));
        for (at, rule) in list(hook, "rules").iter().enumerate() {
            rule_faults(faults, rule, &format!("{path}.rules[{at}]"));
        }
        one_of(faults, hook, path, "failurePolicy", &FAILURE_POLICIES, false);
        one_of(faults, hook, path, "matchPolicy", &MATCH_POLICIES, false);
        side_effects(faults, hook, path, strict_effects);
        if let Some(seconds) = int(hook, "timeoutSeconds")
            && !(1..=30).contains(&seconds)
        {
            let detail = "the timeout value must be between 1 and 30 seconds";
            faults.push(FieldError::invalid(format!("{path}.timeoutSeconds"), &json!(seconds), detail));
        }
        for field in ["namespaceSelector", "objectSelector"] {
            if let Some(selector) = get(hook, field) {
                faults.extend(validate_label_selector(selector, &format!("{path}.{field}")));
            }
        }
        if self.mutating {
            one_of(faults, hook, path, "reinvocationPolicy", &["IfNeeded", "Never"], false);
        }
        let empty = json!({});
        url_or_service_faults(faults, get(hook, "clientConfig").unwrap_or(&empty), &format!("{path}.clientConfig"));
        condition_faults(faults, hook, &format!("{path}.matchConditions"));
    }
}

/// A name of at least three parts.
fn qualified(faults: &mut Faults, path: &str, name: &str) {
    let wrong = dns_subdomain_errors(name);
    if name.is_empty() {
        faults.push(FieldError::required(path, ""));
    } else if !wrong.is_empty() {
        faults.push(FieldError::invalid(path, &json!(name), &wrong.join(",")));
    } else if name.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        faults.push(FieldError::invalid(path, &json!(name), detail));
    }
}

fn harmless(hook: &Value) -> bool {
    SIDE_EFFECTS.contains(&text(hook, "sideEffects"))
}

fn side_effects(faults: &mut Faults, hook: &Value, path: &str, strict: bool) {
    let allowed: &[&str] = if strict { &SIDE_EFFECTS } else { &["None", "NoneOnDryRun", "Some", "Unknown"] };
    let effects = text(hook, "sideEffects");
    let path = format!("{path}.sideEffects");
    if effects.is_empty() {
        faults.push(FieldError::required(path, &format!("must specify one of {}", allowed.join(", "))));
    } else if !allowed.contains(&effects) {
        faults.push(FieldError::not_supported(path, &json!(effects), allowed));
    }
}

fn understood(hook: &Value) -> bool {
    let versions = list(hook, "admissionReviewVersions");
    versions.is_empty() || versions.iter().filter_map(Value::as_str).any(|name| REVIEW_VERSIONS.contains(&name))
}

fn versions(faults: &mut Faults, hook: &Value, path: &str, strict: bool) {
    let all = list(hook, "admissionReviewVersions");
    if all.is_empty() {
        faults.push(FieldError::required(path, &format!("must specify one of {}", REVIEW_VERSIONS.join(", "))));
        return;
    }
    let mut seen = BTreeSet::new();
    for (at, version) in all.iter().enumerate() {
        let name = version.as_str().unwrap_or_default();
        let path = format!("{path}[{at}]");
        if !seen.insert(name) {
            faults.push(FieldError::invalid(path, version, "duplicate version"));
            continue;
        }
        super::checks::invalid_each(faults, &path, name, dns1035_label_errors(name));
    }
    if strict && !understood(hook) {
        let detail = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        faults.push(FieldError::invalid(path, &json!(all), &detail));
    }
}
