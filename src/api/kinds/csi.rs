//! CSIDriver, CSINode and CSIStorageCapacity: what the drivers of volumes say of themselves.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cells::{NONE, age_column, column, name_column, number_column, or};
use super::checks::{Faults, IMMUTABLE, immutable, invalid_each, required_name};
use super::fields::{default_to, flag, get, int, is_set, list, list_at, object_at, same, text};
use super::row::row;
use crate::names::{dns_subdomain_errors, qualified_name_errors};
use crate::selector::validate_label_selector;
use crate::{Behaviour, Column, FieldError, Kind, Quantity, Scope, meta};

const GROUP: &str = "storage.k8s.io";
const DRIVER_NAME_MAX: usize = 63;
const NODE_ID_MAX: usize = 192;

/// The row of CSIDriver.
pub fn driver_kind() -> Kind {
    let truth = |column: Column| Column { kind: "boolean".to_owned(), ..column };
    row(GROUP, "v1", "CSIDriver", "csidrivers", Scope::Cluster)
        .columns(vec![
            name_column(),
            truth(column("AttachRequired", "Whether volumes are attached before they are mounted.", |object, _| {
                json!(object.pointer("/spec/attachRequired") != Some(&Value::Bool(false)))
            })),
            truth(column("PodInfoOnMount", "Whether the driver is told about the pod.", |object, _| {
                json!(of_spec(object, "podInfoOnMount"))
            })),
            truth(column("StorageCapacity", "Whether the scheduler asks how much room there is.", |object, _| {
                json!(of_spec(object, "storageCapacity"))
            })),
            column("TokenRequests", "The audiences of the tokens that the driver is given.", |object, _| {
                let audiences: Vec<&str> =
                    list_at(object, "/spec/tokenRequests").iter().map(|request| text(request, "audience")).collect();
                json!(or(&audiences.join(","), "<unset>"))
            }),
            truth(column("RequiresRepublish", "Whether the driver is called again and again.", |object, _| {
                json!(of_spec(object, "requiresRepublish"))
            })),
            column("Modes", "The kinds of volumes that the driver makes.", |object, _| {
                let modes: Vec<&str> =
                    list_at(object, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
                json!(or(&modes.join(","), NONE))
            }),
            age_column(),
        ])
        .behaviour(Driver)
        .build()
}

fn of_spec(object: &Value, field: &str) -> bool {
    object.get("spec").is_some_and(|spec| flag(spec, field))
}

/// The row of CSINode.
pub fn node_kind() -> Kind {
    row(GROUP, "v1", "CSINode", "csinodes", Scope::Cluster)
        .columns(vec![
            name_column(),
            number_column("Drivers", "How many drivers the node has.", |object, _| {
                json!(list_at(object, "/spec/drivers").len())
            }),
            age_column(),
        ])
        .behaviour(Node)
        .build()
}

/// The row of CSIStorageCapacity.
pub fn capacity_kind() -> Kind {
    row(GROUP, "v1", "CSIStorageCapacity", "csistoragecapacities", Scope::Namespaced)
        .columns(vec![
            name_column(),
            column("StorageClassName", "The class that the room is for.", |object, _| {
                json!(text(object, "storageClassName"))
            }),
            column("Capacity", "How much room there is.", |object, _| json!(or(text(object, "capacity"), "<unset>"))),
        ])
        .behaviour(Capacity)
        .build()
}

/// What is wrong with the name of a driver.
pub(crate) fn driver_name_faults(faults: &mut Faults, path: &str, name: &str) {
    if name.is_empty() {
        faults.push(FieldError::required(path, ""));
    }
    if name.len() > DRIVER_NAME_MAX {
        faults.push(FieldError::too_long(path, DRIVER_NAME_MAX));
    }
    if !name.is_empty() {
        invalid_each(faults, path, name, dns_subdomain_errors(&name.to_lowercase()));
    }
}

struct Driver;

impl Behaviour for Driver {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        default_to(spec, "attachRequired", true);
        default_to(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        for field in ["podInfoOnMount", "requiresRepublish", "seLinuxMount", "storageCapacity"] {
            default_to(spec, field, false);
        }
        if list(spec, "volumeLifecycleModes").is_empty() {
            super::fields::set(spec, "volumeLifecycleModes", json!(["Persistent"]));
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        if old.is_none() {
            driver_name_faults(&mut faults, "name", meta::name(object));
        }
        let policies = ["ReadWriteOnceWithFSType", "File", "None"];
        super::checks::one_of(&mut faults, spec, "spec", "fsGroupPolicy", &policies, true);
        for (at, mode) in list(spec, "volumeLifecycleModes").iter().enumerate() {
            let modes = ["Ephemeral", "Persistent"];
            if !mode.as_str().is_some_and(|mode| modes.contains(&mode)) {
                faults.push(FieldError::not_supported(format!("spec.volumeLifecycleModes[{at}]"), mode, &modes));
            }
        }
        token_requests(&mut faults, spec);
        if let Some(period) = int(spec, "nodeAllocatableUpdatePeriodSeconds")
            && period < 10
        {
            let path = "spec.nodeAllocatableUpdatePeriodSeconds";
            faults.push(FieldError::invalid(path, &json!(period), "must be greater than or equal to 10 seconds"));
        }
        if let Some(was) = old.and_then(|old| get(old, "spec")) {
            for field in ["attachRequired", "volumeLifecycleModes"] {
                immutable(&mut faults, spec, was, "spec", field);
            }
        }
        faults
    }
    fn validate_name(&self, _name: &str) -> Vec<String> {
        // Told by `validate`, at the path that Kubernetes uses.
        Vec::new()
    }
    fn has_generation(&self) -> bool {
        false
    }
}

fn token_requests(faults: &mut Faults, spec: &Value) {
    let mut audiences = BTreeSet::new();
    for (at, request) in list(spec, "tokenRequests").iter().enumerate() {
        let path = format!("spec.tokenRequests[{at}]");
        let audience = text(request, "audience");
        if !audiences.insert(audience) {
            faults.push(FieldError::duplicate(format!("{path}.audience"), &json!(audience)));
        }
        let Some(seconds) = int(request, "expirationSeconds") else { continue };
        let path = format!("{path}.expirationSeconds");
        if seconds < 600 {
            let detail = "may not specify a duration less than 10 minutes";
            faults.push(FieldError::invalid(path, &json!(seconds), detail));
        } else if seconds > 1 << 32 {
            let detail = "may not specify a duration larger than 2^32 seconds";
            faults.push(FieldError::invalid(path, &json!(seconds), detail));
        }
    }
}

struct Node;

impl Behaviour for Node {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let mut names = BTreeSet::new();
        for (at, driver) in list_at(object, "/spec/drivers").iter().enumerate() {
            let path = format!("spec.drivers[{at}]");
            let name = text(driver, "name");
            driver_name_faults(&mut faults, &format!("{path}.name"), name);
            if !names.insert(name) {
                faults.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
            }
            let id = text(driver, "nodeID");
            if id.is_empty() {
                faults.push(FieldError::required(format!("{path}.nodeID"), ""));
            } else if id.len() > NODE_ID_MAX {
                let detail = format!("must be {NODE_ID_MAX} characters or less");
                faults.push(FieldError::invalid(format!("{path}.nodeID"), &json!(id), &detail));
            }
            if let Some(allocatable) = get(driver, "allocatable") {
                super::checks::non_negative(&mut faults, allocatable, &format!("{path}.allocatable"), "count");
            }
            for (at, key) in list(driver, "topologyKeys").iter().enumerate() {
                let path = format!("{path}.topologyKeys[{at}]");
                required_name(&mut faults, &path, key.as_str().unwrap_or_default(), qualified_name_errors);
            }
            let before = old.into_iter().flat_map(|old| list_at(old, "/spec/drivers"));
            for was in before.filter(|was| text(was, "name") == name) {
                let count = |driver: &Value| driver.pointer("/allocatable/count").cloned();
                let kept = |field: &str| same(was.get(field), driver.get(field));
                if !kept("nodeID") || !kept("topologyKeys") || (count(was).is_some() && count(driver).is_none()) {
                    faults.push(FieldError::invalid("CSINode", driver, IMMUTABLE));
                }
            }
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}

struct Capacity;

impl Behaviour for Capacity {
    fn default(&self, object: &mut Value) {
        for field in ["capacity", "maximumVolumeSize"] {
            if let Some(amount) = get(object, field).and_then(|amount| Quantity::from_json(amount).ok()) {
                super::fields::set(object, field, amount.to_string());
            }
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let class = text(object, "storageClassName");
        invalid_each(&mut faults, "storageClassName", class, dns_subdomain_errors(class));
        for field in ["capacity", "maximumVolumeSize"] {
            if let Some(amount) = get(object, field)
                && Quantity::from_json(amount).is_ok_and(Quantity::is_negative)
            {
                faults.push(FieldError::invalid(field, amount, super::checks::NON_NEGATIVE));
            }
        }
        if is_set(object, "nodeTopology") {
            faults.extend(validate_label_selector(&object["nodeTopology"], "nodeTopology"));
        }
        if let Some(old) = old {
            for field in ["nodeTopology", "storageClassName"] {
                immutable(&mut faults, object, old, "", field);
            }
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}
