//! VolumeAttachment: that a volume should be, or is, at a node.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, IMMUTABLE, invalid_each};
use super::csi::driver_name_faults;
use super::fields::{get, same, text, text_at};
use super::row::row;
use crate::names::dns_subdomain_errors;
use crate::{Behaviour, Column, FieldError, Kind, Scope};

/// The row.
pub fn kind() -> Kind {
    let attached = column("Attached", "Whether the volume is at the node.", |object, _| {
        json!(object.pointer("/status/attached") == Some(&Value::Bool(true)))
    });
    let attacher =
        column("Attacher", "The driver that is to do it.", |object, _| json!(text_at(object, "/spec/attacher")));
    row("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", Scope::Cluster)
        .status()
        .columns(vec![
            name_column(),
            attacher,
            column("PV", "The volume.", |object, _| json!(text_at(object, "/spec/source/persistentVolumeName"))),
            column("Node", "The node.", |object, _| json!(text_at(object, "/spec/nodeName"))),
            Column { kind: "boolean".to_owned(), ..attached },
            age_column(),
        ])
        .behaviour(VolumeAttachment)
        .build()
}

struct VolumeAttachment;

impl Behaviour for VolumeAttachment {
    fn prepare_create(&self, object: &mut Value) {
        super::fields::set(object, "status", json!({ "attached": false }));
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        driver_name_faults(&mut faults, "spec.attacher", text(spec, "attacher"));
        let source = get(spec, "source").unwrap_or(&empty);
        let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        match (get(source, "inlineVolumeSpec"), get(source, "persistentVolumeName").and_then(Value::as_str)) {
            (None, None) => faults.push(FieldError::required("spec.source", detail)),
            (Some(_), Some(_)) => faults.push(FieldError::forbidden("spec.source", detail)),
            (None, Some("")) => {
                let detail = "must specify non empty persistentVolumeName";
                faults.push(FieldError::required("spec.source.persistentVolumeName", detail));
            }
            _ => {}
        }
        let node = text(spec, "nodeName");
        invalid_each(&mut faults, "spec.nodeName", node, dns_subdomain_errors(node));
        if let Some(old) = old
            && !same(get(old, "spec"), get(object, "spec"))
        {
            faults.push(FieldError::invalid("spec", spec, IMMUTABLE));
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}
