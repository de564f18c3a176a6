//! Says of each FlowSchema whether the priority level that it names is there.

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use kube::api::Api;
use serde_json::{Value, json};

use crate::Rig;
use crate::changed::write;
use crate::owners::is_deleting;

const DANGLING: &str = "Dangling";

pub(crate) fn start(rig: Rig) {
    let schemas = rig.informers.of::<FlowSchema>();
    let levels = rig.informers.of::<PriorityLevelConfiguration>();
    let all = schemas.clone();
    let controller =
        Controller::new("flow_schemas", &rig.metrics).workers(1).each(&schemas).watch(&levels, move |change| {
            // Only that a level comes or goes is of interest, and not what it holds.
            let level = match (&change.old, &change.new) {
                (Some(_), Some(_)) | (None, None) => return Vec::new(),
                (Some(one), None) | (None, Some(one)) => one.metadata.name.clone().unwrap_or_default(),
            };
            let naming = all.list().into_iter().filter(|schema| level_of(schema) == level);
            naming.map(|schema| Key::of(schema.as_ref())).collect()
        });
    controller.start(&rig.tasks, Schemas { client: rig.client, schemas, levels });
}

struct Schemas {
    client: Client,
    schemas: Informer<FlowSchema>,
    levels: Informer<PriorityLevelConfiguration>,
}

fn level_of(schema: &FlowSchema) -> &str {
    schema.spec.as_ref().map_or("", |spec| spec.priority_level_configuration.name.as_str())
}

/// Whether the schema says already what it should say.
fn says(schema: &FlowSchema, status: &str) -> bool {
    let conditions = schema.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut found = conditions.into_iter().flatten().filter(|condition| condition.type_.as_deref() == Some(DANGLING));
    found.any(|condition| condition.status.as_deref() == Some(status))
}

/// The status with what is said of the level, and what others say of other things.
fn told(schema: &FlowSchema, is_there: bool, now: Timestamp) -> Value {
    let level = level_of(schema);
    let (status, reason, rest) =
        if is_there { ("False", "Found", "it exists") } else { ("True", "NotFound", "there is no such object") };
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} and {rest}");
    let own = json!({
        "type": DANGLING, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": api::meta::time_text(now),
    });
    let kept = schema.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let kept = kept.filter(|condition| condition.type_.as_deref() != Some(DANGLING));
    let mut conditions: Vec<Value> = kept.filter_map(|condition| serde_json::to_value(condition).ok()).collect();
    conditions.push(own);
    json!({ "status": { "conditions": conditions } })
}

#[async_trait]
impl Reconcile for Schemas {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(schema) = self.schemas.at(key) else { return Ok(Next::Done) };
        let level = level_of(&schema);
        let is_there = self.levels.list().iter().any(|found| found.metadata.name.as_deref() == Some(level));
        if is_deleting(&schema.metadata) || says(&schema, if is_there { "False" } else { "True" }) {
            return Ok(Next::Done);
        }
        let api = Api::<FlowSchema>::all(self.client.clone());
        match write(&api, &schema, true, &told(&schema, is_there, Timestamp::now())).await {
            Err(error) if client::is_not_found(&error) => Ok(Next::Done),
            other => Ok(other.map(|_| Next::Done)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_level_takes_the_place_of_what_was_said_before() {
        let schema: FlowSchema = serde_json::from_value(json!({
            "metadata": { "name": "a" },
            "spec": { "priorityLevelConfiguration": { "name": "l" }, "matchingPrecedence": 1000 },
            "status": { "conditions": [{ "type": "Other", "status": "True" }, { "type": "Dangling", "status": "True" }] },
        }))
        .unwrap();
        assert!(says(&schema, "True") && !says(&schema, "False"));
        let told = told(&schema, true, "2026-01-01T00:00:00Z".parse().unwrap());
        let conditions = told["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 2);
        assert_eq!(
            conditions[1]["message"],
            "This FlowSchema references the PriorityLevelConfiguration object named \"l\" and it exists"
        );
    }
}
