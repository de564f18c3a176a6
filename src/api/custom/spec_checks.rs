//! What is wrong with a CustomResourceDefinition.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::node::Node;
use super::{flag, naming, rules, schema_checks, structure, text, texts, versions};
use crate::kinds::checks::Faults;
use crate::names::{dns_subdomain_errors, dns1035_label_errors};
use crate::table::JsonPath;
use crate::{FieldError, meta};

/// Everything that is wrong; `old` is there for an update.
pub(crate) fn faults(crd: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut out = Faults::new();
    let wanted = format!("{}.{}", text(crd, "/spec/names/plural"), text(crd, "/spec/group"));
    if meta::name(crd) != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        out.push(FieldError::invalid("metadata.name", &json!(meta::name(crd)), why));
    }
    group(crd, old, &mut out);
    scope(crd, &mut out);
    version_list(crd, &mut out);
    names(crd, "spec.names", &mut out);
    conversion(crd, &mut out);
    if flag(crd.get("spec").unwrap_or(&Value::Null), "preserveUnknownFields") {
        let why = "must be false";
        out.push(FieldError::invalid("spec.preserveUnknownFields", &Value::Bool(true), why));
    }
    version_contents(crd, old, &mut out);
    if let Some(old) = old {
        update(crd, old, &mut out);
    }
    out.into_iter().collect()
}

fn labelled(out: &mut Faults, path: &str, value: &str, prefix: &str, lower: bool) {
    let checked = if lower { value.to_lowercase() } else { value.to_owned() };
    let errors = dns1035_label_errors(&checked);
    if !value.is_empty() && !errors.is_empty() {
        out.push(FieldError::invalid(path, &json!(value), &format!("{prefix}{}", errors.join(","))));
    }
}

fn group(crd: &Value, old: Option<&Value>, out: &mut Faults) {
    let group = text(crd, "/spec/group");
    let errors = dns_subdomain_errors(group);
    if group.is_empty() {
        out.push(FieldError::required("spec.group", ""));
    } else if !errors.is_empty() {
        out.push(FieldError::invalid("spec.group", &json!(group), &errors.join(",")));
    } else if !group.contains('.') {
        out.push(FieldError::invalid("spec.group", &json!(group), "should be a domain with at least one dot"));
    }
    let unapproved = |crd: &Value| match naming::approval(crd) {
        Some(("False", "MissingAnnotation" | "InvalidAnnotation", why)) => Some(why),
        _ => None,
    };
    if let Some(why) = unapproved(crd).filter(|_| old.is_none_or(|old| unapproved(old).is_none())) {
        let path = format!("metadata.annotations[{}]", naming::APPROVED);
        let said = meta::annotation(crd, naming::APPROVED).unwrap_or_default();
        out.push(if said.is_empty() {
            FieldError::required(path, &why)
        } else {
            FieldError::invalid(path, &json!(said), &why)
        });
    }
}

fn scope(crd: &Value, out: &mut Faults) {
    match text(crd, "/spec/scope") {
        "" => out.push(FieldError::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        other => out.push(FieldError::not_supported("spec.scope", &json!(other), &["Cluster", "Namespaced"])),
    }
}

fn version_list(crd: &Value, out: &mut Faults) {
    let all = versions(crd);
    let shown = json!(all.iter().map(|version| text(version, "/name")).collect::<Vec<_>>());
    for (at, version) in all.iter().enumerate() {
        let path = format!("spec.versions[{at}]");
        let name = text(version, "/name");
        let errors = dns1035_label_errors(name);
        if !errors.is_empty() {
            out.push(FieldError::invalid(format!("{path}.name"), &json!(name), &errors.join(",")));
        }
        let warning = version.get("deprecationWarning").and_then(Value::as_str);
        if let Some(warning) = warning {
            let path = format!("{path}.deprecationWarning");
            if !flag(version, "deprecated") {
                let why = "can only be set for deprecated versions";
                out.push(FieldError::invalid(path, &json!(warning), why));
            } else if warning.is_empty() || warning.len() > 256 {
                let why = "must be between 1 and 256 characters long";
                out.push(FieldError::invalid(path, &json!(warning), why));
            }
        }
        if version.pointer("/schema/openAPIV3Schema").is_none_or(Value::is_null) {
            out.push(FieldError::required(format!("{path}.schema.openAPIV3Schema"), "schemas are required"));
        }
    }
    let mut seen = HashSet::new();
    if all.iter().any(|version| !seen.insert(text(version, "/name"))) {
        out.push(FieldError::invalid("spec.versions", &shown, "must contain unique version names"));
    }
    if all.iter().filter(|version| flag(version, "storage")).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        out.push(FieldError::invalid("spec.versions", &shown, why));
    }
}

fn names(crd: &Value, path: &str, out: &mut Faults) {
    let all = crd.pointer("/spec/names").cloned().unwrap_or_default();
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(&all, &format!("/{name}")).is_empty() {
            out.push(FieldError::required(format!("{path}.{name}"), ""));
        }
    }
    const MIXED: &str = "may have mixed case, but should otherwise match: ";
    labelled(out, &format!("{path}.plural"), text(&all, "/plural"), "", false);
    labelled(out, &format!("{path}.singular"), text(&all, "/singular"), "", false);
    labelled(out, &format!("{path}.kind"), text(&all, "/kind"), MIXED, true);
    labelled(out, &format!("{path}.listKind"), text(&all, "/listKind"), MIXED, true);
    for list in ["shortNames", "categories"] {
        for (at, name) in texts(&all, &format!("/{list}")).iter().enumerate() {
            labelled(out, &format!("{path}.{list}[{at}]"), name, "", false);
        }
    }
    let (kind, list_kind) = (text(&all, "/kind"), text(&all, "/listKind"));
    if !kind.is_empty() && kind == list_kind {
        let why = "kind and listKind may not be the same";
        out.push(FieldError::invalid(format!("{path}.listKind"), &json!(list_kind), why));
    }
}

fn conversion(crd: &Value, out: &mut Faults) {
    let Some(conversion) = crd.pointer("/spec/conversion").filter(|conversion| conversion.is_object()) else { return };
    let webhook = conversion.get("webhook").filter(|webhook| !webhook.is_null());
    let client = webhook.and_then(|webhook| webhook.get("clientConfig")).filter(|client| !client.is_null());
    let path = "spec.conversion";
    match text(conversion, "/strategy") {
        "" => out.push(FieldError::required(format!("{path}.strategy"), "")),
        "None" => {
            if client.is_some() {
                let why = "should not be set when strategy is not set to Webhook";
                out.push(FieldError::forbidden(format!("{path}.webhookClientConfig"), why));
            }
        }
        "Webhook" => match client {
            None => {
                let why = "required when strategy is set to Webhook";
                out.push(FieldError::required(format!("{path}.webhookClientConfig"), why));
            }
            Some(client) => {
                client_config(&format!("{path}.webhookClientConfig"), client, out);
                review_versions(path, webhook.unwrap_or(&Value::Null), out);
            }
        },
        other => {
            out.push(FieldError::not_supported(format!("{path}.strategy"), &json!(other), &["None", "Webhook"]));
        }
    }
}

fn review_versions(path: &str, webhook: &Value, out: &mut Faults) {
    let said = texts(webhook, "/conversionReviewVersions");
    let path = format!("{path}.conversionReviewVersions");
    if said.is_empty() {
        out.push(FieldError::required(path, "must specify at least one value"));
        return;
    }
    for (at, version) in said.iter().enumerate() {
        let errors = dns1035_label_errors(version);
        if !errors.is_empty() {
            out.push(FieldError::invalid(format!("{path}[{at}]"), &json!(version), &errors.join(",")));
        }
    }
    if !said.iter().any(|version| matches!(version.as_str(), "v1" | "v1beta1")) {
        let shown = json!(said);
        out.push(FieldError::invalid(path, &shown, "must include at least one of v1, v1beta1"));
    }
}

fn client_config(path: &str, client: &Value, out: &mut Faults) {
    let (url, service) = (text(client, "/url"), client.get("service").filter(|service| !service.is_null()));
    if url.is_empty() == service.is_none() {
        out.push(FieldError::required(path, "exactly one of url or service is required"));
    }
    if !url.is_empty() && !url.starts_with("https://") {
        let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
        out.push(FieldError::invalid(format!("{path}.url"), &json!(url), why));
    }
    if let Some(service) = service {
        for name in ["namespace", "name"] {
            if text(service, &format!("/{name}")).is_empty() {
                let why = format!("service {name} is required");
                out.push(FieldError::required(format!("{path}.service.{name}"), &why));
            }
        }
        if let Some(port) = service.get("port").and_then(Value::as_i64).filter(|port| !(1..=65535).contains(port)) {
            let why = "port is not valid: must be between 1 and 65535, inclusive";
            out.push(FieldError::invalid(format!("{path}.service.port"), &json!(port), why));
        }
    }
}

/// What every version says of itself. Kubernetes knows it under one path where all versions say the same.
fn version_contents(crd: &Value, old: Option<&Value>, out: &mut Faults) {
    let all = versions(crd);
    let same = |field: &str| {
        let mut each = all.iter().map(|version| version.get(field).filter(|said| !said.is_null()));
        let first = each.next().flatten();
        each.all(|said| said == first)
    };
    let places = |field: &str, top: &str| -> Vec<(String, &Value)> {
        if same(field) {
            let first = all.first().and_then(|version| version.get(field));
            return first.map(|said| (format!("spec.{top}"), said)).into_iter().collect();
        }
        let each = all.iter().enumerate();
        each.filter_map(|(at, version)| Some((format!("spec.versions[{at}].{field}"), version.get(field)?))).collect()
    };
    let was = |schema: &Value| {
        // What was accepted before is not refused for being there.
        old.is_some_and(|old| versions(old).iter().any(|version| version.get("schema") == Some(schema)))
    };
    for (path, schema) in places("schema", "validation") {
        if !was(schema)
            && let Some(schema) = schema.get("openAPIV3Schema").filter(|schema| !schema.is_null())
        {
            schema_faults(&format!("{path}.openAPIV3Schema"), schema, out);
        }
    }
    for (path, subresources) in places("subresources", "subresources") {
        subresource_faults(&path, subresources, out);
    }
    for (path, columns) in places("additionalPrinterColumns", "additionalPrinterColumns") {
        column_faults(&path, columns, out);
    }
    for (at, version) in all.iter().enumerate() {
        let path = if same("selectableFields") && same("schema") {
            "spec.selectableFields".to_owned()
        } else {
            format!("spec.versions[{at}].selectableFields")
        };
        selectable_faults(&path, version, out);
        if path == "spec.selectableFields" {
            break;
        }
    }
}

fn schema_faults(path: &str, schema: &Value, out: &mut Faults) {
    let plain = schema_checks::faults(path, schema);
    let broken = !plain.is_empty();
    plain.into_iter().for_each(|fault| out.push(fault));
    let structural = structure::faults(path, schema);
    let broken = broken || !structural.is_empty();
    structural.into_iter().for_each(|fault| out.push(fault));
    if broken {
        return;
    }
    let mut node = Node::read(schema);
    rules::compile(&mut node, true);
    schema_checks::rule_faults(path, &node).into_iter().for_each(|fault| out.push(fault));
    schema_checks::default_faults(path, &node).into_iter().for_each(|fault| out.push(fault));
}

fn subresource_faults(path: &str, subresources: &Value, out: &mut Faults) {
    let Some(scale) = subresources.get("scale").filter(|scale| !scale.is_null()) else { return };
    let path = format!("{path}.scale");
    for (name, start, required) in [
        ("specReplicasPath", ".spec.", true),
        ("statusReplicasPath", ".status.", true),
        ("labelSelectorPath", "", false),
    ] {
        let said = text(scale, &format!("/{name}"));
        let place = format!("{path}.{name}");
        if said.is_empty() {
            if required {
                out.push(FieldError::required(place, ""));
            }
            continue;
        }
        if said.contains('[') || !said.starts_with('.') || said.parse::<JsonPath>().is_err() {
            out.push(FieldError::invalid(place, &json!(said), "should be a json path with only dot notation"));
        } else if !start.is_empty() && !said.starts_with(start) {
            out.push(FieldError::invalid(
                place,
                &json!(said),
                &format!("should be a json path under {}", start.trim_end_matches('.')),
            ));
        } else if start.is_empty() && !said.starts_with(".spec.") && !said.starts_with(".status.") {
            out.push(FieldError::invalid(place, &json!(said), "should be a json path under either .spec or .status"));
        }
    }
}

fn column_faults(path: &str, columns: &Value, out: &mut Faults) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 9] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password", "string"];
    for (at, column) in columns.as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}[{at}]");
        if text(column, "/name").is_empty() {
            out.push(FieldError::required(format!("{path}.name"), ""));
        }
        let kind = text(column, "/type");
        if kind.is_empty() {
            let why = format!("must be one of {}", TYPES.join(","));
            out.push(FieldError::required(format!("{path}.type"), &why));
        } else if !TYPES.contains(&kind) {
            out.push(FieldError::invalid(
                format!("{path}.type"),
                &json!(kind),
                &format!("must be one of {}", TYPES.join(",")),
            ));
        }
        let format = text(column, "/format");
        if !format.is_empty() && !FORMATS.contains(&format) {
            let why = format!("must be one of {}", FORMATS.join(","));
            out.push(FieldError::invalid(format!("{path}.format"), &json!(format), &why));
        }
        let json_path = text(column, "/jsonPath");
        if json_path.is_empty() {
            out.push(FieldError::required(format!("{path}.JSONPath"), ""));
        } else if let Err(why) = json_path.parse::<JsonPath>() {
            let why = format!("is not a valid JSONPath: {why}");
            out.push(FieldError::invalid(format!("{path}.JSONPath"), &json!(json_path), &why));
        }
    }
}

/// How many fields of a version may be selected by.
const SELECTABLE_MAX: usize = 8;

fn selectable_faults(path: &str, version: &Value, out: &mut Faults) {
    let fields = version.get("selectableFields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if fields.len() > SELECTABLE_MAX {
        out.push(FieldError::too_many(path, fields.len(), SELECTABLE_MAX));
    }
    let schema = version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null);
    let mut seen = HashSet::new();
    for (at, field) in fields.iter().enumerate() {
        let said = text(field, "/jsonPath");
        let place = format!("{path}[{at}].jsonPath");
        if said.is_empty() {
            out.push(FieldError::required(place, ""));
            continue;
        }
        if !seen.insert(said) {
            out.push(FieldError::duplicate(place, &json!(said)));
            continue;
        }
        if said == ".metadata" || said.starts_with(".metadata.") {
            out.push(FieldError::invalid(place, &json!(said), "must not point to fields in metadata"));
            continue;
        }
        match schema_checks::field_at(schema, said) {
            None => {
                let why = "is an invalid path: does not refer to a valid field";
                out.push(FieldError::invalid(place, &json!(said), why));
            }
            Some(found) if !matches!(text(found, "/type"), "string" | "integer" | "boolean") => {
                let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                out.push(FieldError::invalid(place, &json!(said), why));
            }
            Some(_) => {}
        }
    }
}

fn update(crd: &Value, old: &Value, out: &mut Faults) {
    let mut same = |pointer: &str, path: &str| {
        if crd.pointer(pointer) != old.pointer(pointer) {
            let value = crd.pointer(pointer).cloned().unwrap_or_default();
            out.push(FieldError::invalid(path, &value, "field is immutable"));
        }
    };
    if naming::is_true(old, "Established") {
        same("/spec/scope", "spec.scope");
        same("/spec/names/kind", "spec.names.kind");
    }
    same("/spec/group", "spec.group");
    same("/spec/names/plural", "spec.names.plural");
    stored_versions(crd, out);
}

/// Versions in which something may be stored must stay.
pub(crate) fn stored_versions(crd: &Value, out: &mut Faults) {
    let stored = texts(crd, "/status/storedVersions");
    for (at, name) in stored.iter().enumerate() {
        if !versions(crd).iter().any(|version| text(version, "/name") == name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage \
                 migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            out.push(FieldError::invalid(format!("status.storedVersions[{at}]"), &json!(name), &why));
        }
    }
}

/// What is wrong with a status that is written.
pub(crate) fn status_faults(crd: &Value) -> Vec<FieldError> {
    let mut out = Faults::new();
    let stored = texts(crd, "/status/storedVersions");
    if stored.is_empty() {
        out.push(FieldError::invalid("status.storedVersions", &json!(stored), "must have at least one stored version"));
    }
    if let Some(storage) = super::storage_version(crd)
        && !stored.is_empty()
        && !stored.iter().any(|name| name == storage)
    {
        let why = format!("must have the storage version {storage}");
        out.push(FieldError::invalid("status.storedVersions", &json!(stored), &why));
    }
    stored_versions(crd, &mut out);
    out.into_iter().collect()
}
