//! PodTemplate: a pod's spec that is kept for later.

use serde_json::{Value, json};

use super::cells::{column, name_column, of_containers, plain_selector};
use super::checks::Faults;
use super::fields::get;
use super::pod_template::{default_template, pod_template_warnings, template_faults};
use super::row::row;
use crate::{Behaviour, FieldError, Kind, Scope};

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "PodTemplate", "podtemplates", Scope::Namespaced)
        .columns(vec![
            name_column(),
            column("Containers", "Names of each container in the template.", |object, _| {
                of_containers(object, "/template/spec", "name")
            }),
            column("Images", "Images referenced by each container in the template.", |object, _| {
                of_containers(object, "/template/spec", "image")
            }),
            column("Pod Labels", "The labels for the pod template.", |object, _| {
                json!(plain_selector(object.pointer("/template/metadata/labels")))
            }),
        ])
        .behaviour(PodTemplate)
        .build()
}

struct PodTemplate;

impl Behaviour for PodTemplate {
    fn default(&self, object: &mut Value) {
        default_template(object);
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        template_faults(&mut faults, get(object, "template").unwrap_or(&json!({})), "template");
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        object.get("template").map(|template| pod_template_warnings(template, "template")).unwrap_or_default()
    }
}
