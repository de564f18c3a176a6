//! ComponentStatus: how the parts of the control plane are. Nothing is stored: the list is made when it is asked for.

use serde_json::{Value, json};

use super::cells::{column, name_column};
use super::fields::{list, text};
use super::row::row;
use crate::{Behaviour, Kind, Scope};

/// The parts that are told of. They run in this very process: while it answers, they are there.
const PARTS: [&str; 3] = ["controller-manager", "etcd-0", "scheduler"];

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "ComponentStatus", "componentstatuses", Scope::Cluster)
        .short(&["cs"])
        .only(&["get", "list"])
        .columns(vec![
            name_column(),
            column("Status", "Status of the component conditions", |object, _| {
                let healthy = conditions(object).any(|condition| text(condition, "status") == "True");
                json!(if healthy { "Healthy" } else { "Unhealthy" })
            }),
            column("Message", "Message of the component conditions", |object, _| {
                json!(conditions(object).map(|condition| text(condition, "message")).next_back().unwrap_or_default())
            }),
            column("Error", "Error of the component conditions", |object, _| {
                json!(conditions(object).map(|condition| text(condition, "error")).next_back().unwrap_or_default())
            }),
        ])
        .behaviour(ComponentStatus)
        .build()
}

fn conditions(object: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    list(object, "conditions").iter().filter(|condition| text(condition, "type") == "Healthy")
}

/// All of them, sorted by name.
pub fn all() -> Vec<Value> {
    let condition = json!([{ "type": "Healthy", "status": "True", "message": "ok" }]);
    let one = |name: &&str| {
        json!({
            "kind": "ComponentStatus", "apiVersion": "v1",
            "metadata": { "name": name, "creationTimestamp": null }, "conditions": condition,
        })
    };
    PARTS.iter().map(one).collect()
}

struct ComponentStatus;

impl Behaviour for ComponentStatus {
    fn has_generation(&self) -> bool {
        false
    }
}
