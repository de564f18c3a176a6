//! DaemonSet: one pod on every node.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column, number_column, plain_selector, workload_columns};
use super::checks::{Faults, at_most_all, immutable, int_or_percent, is_nothing, none_negative, not_decremented};
use super::fields::{default_text, default_to, get, int_at, is_set, keep, object_at, same, set, text};
use super::pod_template::{default_template, ever_running_faults, template_faults, template_warnings};
use super::row::row;
use crate::selector::{LabelSelector, validate_label_selector};
use crate::{Behaviour, Column, FieldError, Kind, Scope, meta};

/// Where `apps/v1` shows how often the template changed.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The row.
pub fn kind() -> Kind {
    let mut columns = vec![name_column()];
    columns.extend(counts());
    columns.push(column("Node Selector", "The labels of the nodes that the pods run on.", |object, _| {
        json!(plain_selector(object.pointer("/spec/template/spec/nodeSelector")))
    }));
    columns.push(age_column());
    columns.extend(workload_columns());
    row("apps", "v1", "DaemonSet", "daemonsets", Scope::Namespaced)
        .short(&["ds"])
        .all()
        .status()
        .columns(columns)
        .behaviour(DaemonSet)
        .build()
}

fn counts() -> [Column; 5] {
    [
        number_column("Desired", "The number of nodes that should run the pod.", |object, _| {
            json!(int_at(object, "/status/desiredNumberScheduled"))
        }),
        number_column("Current", "The number of nodes that run the pod and should.", |object, _| {
            json!(int_at(object, "/status/currentNumberScheduled"))
        }),
        number_column("Ready", "The number of nodes whose pod is ready.", |object, _| {
            json!(int_at(object, "/status/numberReady"))
        }),
        number_column("Up-to-date", "The number of nodes whose pod has the current template.", |object, _| {
            json!(int_at(object, "/status/updatedNumberScheduled"))
        }),
        number_column("Available", "The number of nodes whose pod has been ready for long enough.", |object, _| {
            json!(int_at(object, "/status/numberAvailable"))
        }),
    ]
}

struct DaemonSet;

impl Behaviour for DaemonSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        if let Some(strategy) = object_at(spec, "updateStrategy") {
            default_text(strategy, "type", "RollingUpdate");
            if text(strategy, "type") == "RollingUpdate"
                && let Some(rolling) = object_at(strategy, "rollingUpdate")
            {
                default_to(rolling, "maxUnavailable", 1);
                default_to(rolling, "maxSurge", 0);
            }
        }
        default_to(spec, "revisionHistoryLimit", 10);
        default_template(spec);
    }
    fn prepare_create(&self, object: &mut Value) {
        let none = ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"];
        set(object, "status", none.into_iter().map(|field| (field.to_owned(), json!(0))).collect::<Value>());
        let generation = template_generation(object).max(1);
        set_template_generation(object, generation);
    }
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "status");
        let changed = !same(object.pointer("/spec/template"), old.pointer("/spec/template"));
        set_template_generation(object, template_generation(old).max(1) + i64::from(changed));
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
        set_template_generation(object, template_generation(old).max(1));
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        let template = get(spec, "template").unwrap_or(&empty);
        selection(&mut faults, spec, template);
        template_faults(&mut faults, template, "spec.template");
        ever_running_faults(&mut faults, template, "spec.template", "DaemonSet");
        none_negative(&mut faults, spec, "spec", &["minReadySeconds"]);
        strategy(&mut faults, spec.get("updateStrategy").unwrap_or(&empty));
        none_negative(&mut faults, spec, "spec", &["revisionHistoryLimit"]);
        if let Some(was) = old.and_then(|old| get(old, "spec")) {
            immutable(&mut faults, spec, was, "spec", "selector");
        }
        faults
    }
    fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let Some(status) = get(object, "status") else { return faults };
        let counts = [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ];
        none_negative(&mut faults, status, "status", &counts);
        not_decremented(&mut faults, status, old.get("status"), "collisionCount");
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        template_warnings(object)
    }
    fn warnings_on_update(&self, object: &Value, old: &Value) -> Vec<String> {
        let same = meta::generation(object) == meta::generation(old);
        if same { Vec::new() } else { template_warnings(object) }
    }
}

fn template_generation(object: &Value) -> i64 {
    meta::annotation(object, TEMPLATE_GENERATION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn set_template_generation(object: &mut Value, generation: i64) {
    if !object.is_object() {
        return;
    }
    let annotations = meta::metadata_mut(object).entry("annotations").or_insert(Value::Null);
    if !annotations.is_object() {
        *annotations = json!({});
    }
    set(annotations, TEMPLATE_GENERATION, generation.to_string());
}

fn selection(faults: &mut Faults, spec: &Value, template: &Value) {
    let selector = get(spec, "selector");
    if let Some(selector) = selector {
        faults.extend(validate_label_selector(selector, "spec.selector"));
    }
    let labels = template.pointer("/metadata/labels");
    let read = LabelSelector::from_json(selector);
    if !is_set(spec, "selector") || read.as_ref().is_ok_and(|selector| !selector.matches_json(labels)) {
        let shown = labels.cloned().unwrap_or(Value::Null);
        let detail = "`selector` does not match template `labels`";
        faults.push(FieldError::invalid("spec.template.metadata.labels", &shown, detail));
    }
    if let Some(selector) = selector
        && read.is_ok_and(|selector| selector.is_everything())
    {
        faults.push(FieldError::invalid("spec.selector", selector, "empty selector is invalid for daemonset"));
    }
}

fn strategy(faults: &mut Faults, strategy: &Value) {
    let path = "spec.updateStrategy";
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => match get(strategy, "rollingUpdate") {
            None => faults.push(FieldError::required(format!("{path}.rollingUpdate"), "")),
            Some(rolling) => rolling_update(faults, rolling, &format!("{path}.rollingUpdate")),
        },
        _ => faults.push(FieldError::not_supported(path, strategy, &["RollingUpdate", "OnDelete"])),
    }
}

fn rolling_update(faults: &mut Faults, rolling: &Value, path: &str) {
    let zero = json!(0);
    let unavailable = get(rolling, "maxUnavailable").unwrap_or(&zero);
    let surge = get(rolling, "maxSurge").unwrap_or(&zero);
    let (of_unavailable, of_surge) = (format!("{path}.maxUnavailable"), format!("{path}.maxSurge"));
    int_or_percent(faults, unavailable, &of_unavailable);
    int_or_percent(faults, surge, &of_surge);
    at_most_all(faults, unavailable, &of_unavailable);
    at_most_all(faults, surge, &of_surge);
    match (is_nothing(unavailable), is_nothing(surge)) {
        (false, false) => {
            let detail = "may not be set when maxUnavailable is non-zero";
            faults.push(FieldError::invalid(of_surge, surge, detail));
        }
        (true, true) => faults.push(FieldError::required(of_unavailable, "cannot be 0 when maxSurge is 0")),
        _ => {}
    }
}
