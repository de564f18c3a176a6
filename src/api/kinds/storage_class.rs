//! StorageClass and VolumeAttributesClass: how volumes are made, and how they are changed.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, invalid_each};
use super::fields::{count, default_text, entries, flag, list, same, text};
use super::pod_template::deprecated_label;
use super::row::row;
use crate::names::{label_value_errors, qualified_name_errors};
use crate::{Behaviour, Cell, Column, FieldError, Kind, Scope, meta};

const DEFAULT_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const PARAMETERS_MAX: usize = 512;
const PARAMETER_BYTES_MAX: usize = 256 * 1024;

/// The row of StorageClass.
pub fn kind() -> Kind {
    let named = Cell::Computed(|object, _| {
        let default = DEFAULT_ANNOTATIONS.iter().any(|key| meta::annotation(object, key) == Some("true"));
        let mark = if default { " (default)" } else { "" };
        json!(format!("{}{mark}", meta::name(object)))
    });
    row("storage.k8s.io", "v1", "StorageClass", "storageclasses", Scope::Cluster)
        .short(&["sc"])
        .columns(vec![
            Column { cell: named, ..name_column() },
            column("Provisioner", "Who makes volumes of this class.", |object, _| json!(text(object, "provisioner"))),
            column("ReclaimPolicy", "What becomes of a volume when its claim is gone.", |object, _| {
                json!(text(object, "reclaimPolicy"))
            }),
            column("VolumeBindingMode", "When volumes are made and bound.", |object, _| {
                json!(text(object, "volumeBindingMode"))
            }),
            column("AllowVolumeExpansion", "Whether volumes may grow.", |object, _| {
                json!(flag(object, "allowVolumeExpansion"))
            }),
            age_column(),
        ])
        .behaviour(StorageClass)
        .build()
}

/// The row of VolumeAttributesClass.
pub fn attributes_kind() -> Kind {
    row("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", Scope::Cluster)
        .short(&["vac"])
        .columns(vec![
            name_column(),
            column("DriverName", "The driver that changes volumes of this class.", |object, _| {
                json!(text(object, "driverName"))
            }),
            age_column(),
        ])
        .behaviour(AttributesClass)
        .build()
}

struct StorageClass;

impl Behaviour for StorageClass {
    fn default(&self, object: &mut Value) {
        default_text(object, "reclaimPolicy", "Delete");
        default_text(object, "volumeBindingMode", "Immediate");
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        driver(&mut faults, object, "provisioner");
        parameters(&mut faults, object);
        for (field, allowed) in
            [("reclaimPolicy", ["Delete", "Retain"]), ("volumeBindingMode", ["Immediate", "WaitForFirstConsumer"])]
        {
            let value = text(object, field);
            if !allowed.contains(&value) {
                faults.push(FieldError::not_supported(field, &json!(value), &allowed));
            }
        }
        topologies(&mut faults, object);
        if let Some(old) = old {
            for field in ["parameters", "provisioner", "reclaimPolicy"] {
                fixed(&mut faults, object, old, field);
            }
            super::checks::immutable(&mut faults, object, old, "", "volumeBindingMode");
        }
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = Vec::new();
        for (at, term) in list(object, "allowedTopologies").iter().enumerate() {
            for (at_expression, expression) in list(term, "matchLabelExpressions").iter().enumerate() {
                if let Some(why) = deprecated_label(text(expression, "key")) {
                    let path = format!("allowedTopologies[{at}].matchLabelExpressions[{at_expression}].key");
                    warnings.push(format!("{path}: {why}"));
                }
            }
        }
        warnings
    }
    fn has_generation(&self) -> bool {
        false
    }
}

struct AttributesClass;

impl Behaviour for AttributesClass {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        driver(&mut faults, object, "driverName");
        parameters(&mut faults, object);
        if let Some(old) = old {
            fixed(&mut faults, object, old, "driverName");
            fixed(&mut faults, object, old, "parameters");
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}

fn fixed(faults: &mut Faults, object: &Value, old: &Value, field: &str) {
    if !same(object.get(field), old.get(field)) {
        faults.push(FieldError::forbidden(field, &format!("updates to {field} are forbidden.")));
    }
}

fn driver(faults: &mut Faults, object: &Value, field: &str) {
    let name = text(object, field);
    if name.is_empty() {
        faults.push(FieldError::required(field, ""));
    } else {
        invalid_each(faults, field, name, qualified_name_errors(&name.to_lowercase()));
    }
}

fn parameters(faults: &mut Faults, object: &Value) {
    if count(object, "parameters") > PARAMETERS_MAX {
        faults.push(FieldError::too_long("parameters", PARAMETERS_MAX));
        return;
    }
    let mut total = 0;
    for (key, value) in entries(object, "parameters") {
        if key.is_empty() {
            faults.push(FieldError::invalid("parameters", &json!(""), "field can not be empty."));
        }
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    if total > PARAMETER_BYTES_MAX {
        faults.push(FieldError::too_long("parameters", PARAMETER_BYTES_MAX));
    }
}

fn topologies(faults: &mut Faults, object: &Value) {
    for (at, term) in list(object, "allowedTopologies").iter().enumerate() {
        for (at_expression, expression) in list(term, "matchLabelExpressions").iter().enumerate() {
            let path = format!("allowedTopologies[{at}].matchLabelExpressions[{at_expression}]");
            let key = text(expression, "key");
            invalid_each(faults, &format!("{path}.key"), key, qualified_name_errors(key));
            let values = list(expression, "values");
            if values.is_empty() {
                faults.push(FieldError::required(format!("{path}.values"), ""));
            }
            for (at, value) in values.iter().enumerate() {
                let value = value.as_str().unwrap_or_default();
                invalid_each(faults, &format!("{path}.values[{at}]"), value, label_value_errors(value));
            }
        }
    }
}
