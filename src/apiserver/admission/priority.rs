//! Pods have a number for their priority, from the name of its class; and there is one default class at most.

use api::{Status, meta};
use async_trait::async_trait;
use objects::{Admission, Operation, Reader, Review, Sub};
use serde_json::{Value, json};

use super::{forbidden, text};

pub(super) struct Priority(pub Reader);

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";
/// The classes that every cluster has, also in the moment before their objects are made.
const SYSTEM: [(&str, i64); 2] = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
const DEFAULT: &[u8] = b"\"globalDefault\":true";
const PREEMPTS: &str = "PreemptLowerPriority";

struct Class {
    name: String,
    value: i64,
    preempts: String,
}

impl Class {
    fn of(object: &Value) -> Self {
        let policy = text(object, "/preemptionPolicy");
        Self {
            name: meta::name(object).to_owned(),
            value: object.get("value").and_then(Value::as_i64).unwrap_or_default(),
            preempts: if policy.is_empty() { PREEMPTS } else { policy }.to_owned(),
        }
    }
}

fn is_default(class: &Value) -> bool {
    class.get("globalDefault") == Some(&Value::Bool(true))
}

impl Priority {
    async fn class(&self, name: &str) -> Option<Class> {
        if let Some(found) = self.0.get(GROUP, CLASSES, None, name) {
            return Some(Class::of(&found.value()));
        }
        if let Some((name, value)) = SYSTEM.into_iter().find(|(system, _)| *system == name) {
            return Some(Class { name: name.to_owned(), value, preempts: PREEMPTS.to_owned() });
        }
        self.0.catch_up().await;
        self.0.get(GROUP, CLASSES, None, name).map(|found| Class::of(&found.value()))
    }

    /// Of several defaults, which can only come about by writes at the same moment, the lowest counts.
    fn default_class(&self) -> Option<Class> {
        // Every pod that is made asks, and hardly any cluster has one: only what may be one is decoded.
        let flagged = |json: &[u8]| json.windows(DEFAULT.len()).any(|window| window == DEFAULT);
        let all = self.0.list(GROUP, CLASSES, None).into_iter().filter(|class| flagged(&class.json));
        let all = all.map(|class| class.value());
        all.filter(is_default).map(|class| Class::of(&class)).min_by_key(|class| class.value)
    }

    async fn admit_pod(&self, review: &mut Review<'_>) -> Result<(), Status> {
        let named = text(&review.object, "/spec/priorityClassName").to_owned();
        let class = if named.is_empty() {
            self.default_class().unwrap_or_else(|| Class {
                name: String::new(),
                value: 0,
                preempts: PREEMPTS.to_owned(),
            })
        } else {
            let missing =
                || forbidden(review.kind, review.name, &format!("no PriorityClass with name {named} was found"));
            self.class(&named).await.ok_or_else(missing)?
        };
        let spec = &review.object["spec"];
        if let Some(said) = spec.get("priority").and_then(Value::as_i64).filter(|said| *said != class.value) {
            let why = format!(
                "the integer value of priority ({said}) must not be provided in pod spec; \
                 priority admission controller computed {} from the given PriorityClass name",
                class.value
            );
            return Err(forbidden(review.kind, review.name, &why));
        }
        let policy = text(spec, "/preemptionPolicy");
        if !policy.is_empty() && policy != class.preempts {
            let why = format!(
                "the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; \
                 priority admission controller computed {} from the given PriorityClass name",
                class.preempts
            );
            return Err(forbidden(review.kind, review.name, &why));
        }
        let spec = &mut review.object["spec"];
        if !class.name.is_empty() {
            spec["priorityClassName"] = json!(class.name);
        }
        spec["priority"] = json!(class.value);
        spec["preemptionPolicy"] = json!(class.preempts);
        Ok(())
    }
}

#[async_trait]
impl Admission for Priority {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        if review.sub != Sub::None || !review.is("", "pods") || !review.object["spec"].is_object() {
            return Ok(());
        }
        match (review.operation, review.old) {
            (Operation::Create, _) => self.admit_pod(review).await,
            (Operation::Update, Some(old)) => {
                // What a client that does not know the fields leaves out stays.
                for field in ["priority", "preemptionPolicy"] {
                    if review.object["spec"].get(field).is_none_or(Value::is_null)
                        && let Some(kept) = old["spec"].get(field)
                    {
                        review.object["spec"][field] = kept.clone();
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        let writes = matches!(review.operation, Operation::Create | Operation::Update) && review.sub == Sub::None;
        if !writes || !review.is(GROUP, CLASSES) || !is_default(&review.object) {
            return Ok(());
        }
        match self.default_class() {
            Some(other) if other.name != review.name => {
                let why =
                    format!("PriorityClass {} is already marked as default. Only one default can exist", other.name);
                Err(forbidden(review.kind, review.name, &why))
            }
            _ => Ok(()),
        }
    }
}
