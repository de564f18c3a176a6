//! Webhooks that may change what is written.

use std::sync::Arc;

use api::{Status, patch};
use async_trait::async_trait;
use objects::{Admission, Objects, Rank, Review};
use serde_json::{Value, json};

use super::super::matching::{Asked, Matched};
use super::super::settling::settle;
use super::configured::{Configured, Webhook};
use super::{call, is_about_admission};
use crate::authorization::Authorizer;

/// The MutatingWebhookConfigurations of a cluster.
pub struct MutatingWebhooks {
    configured: Configured,
    authorizer: Arc<dyn Authorizer>,
}

/// Under which name the first round leaves word for the second.
const MEMORY: &str = "MutatingAdmissionWebhook";

/// What the second round has to know of the first.
#[derive(Default)]
struct Memory {
    /// Those that were asked and want to be asked again when somebody changes the object after them.
    earlier: Vec<String>,
    /// Those of them that somebody changed the object after.
    due: Vec<String>,
    /// The object when the last of them was done.
    output: Value,
}

impl Memory {
    fn of(review: &Review<'_>) -> Self {
        let Some(kept) = review.rounds.memory.get(MEMORY) else { return Self::default() };
        let list = |field: &str| {
            let list = kept.get(field).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self { earlier: list("earlier"), due: list("due"), output: kept.get("output").cloned().unwrap_or_default() }
    }

    fn changed(&mut self) {
        self.due.append(&mut self.earlier);
    }

    fn keep(self, review: &mut Review<'_>) {
        let kept = json!({ "earlier": self.earlier, "due": self.due, "output": review.object });
        review.rounds.memory.insert(MEMORY.to_owned(), kept);
    }
}

impl MutatingWebhooks {
    /// Those of `objects`.
    pub fn new(objects: &Objects, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { configured: Configured::new(objects, "mutatingwebhookconfigurations"), authorizer }
    }

    /// Asks one webhook, if the request is one for it. Answers whether it was asked, and the object when it changed it.
    async fn ask(&self, webhook: &Webhook, review: &Review<'_>, skip: bool) -> Result<(bool, Option<Value>), Status> {
        let asked = Asked::new(review);
        let Some(matched) = webhook.wants(&asked, &*self.authorizer).await? else { return Ok((false, None)) };
        if skip {
            return Ok((false, None));
        }
        match call::ask(webhook, &asked, &matched, true).await {
            Ok(answer) => match answer.patch {
                Some(operations) => Ok((true, changed(webhook, review, &matched, &operations).await?)),
                None => Ok((true, None)),
            },
            Err(trouble) => trouble.refusal(webhook).map_or(Ok((true, None)), Err),
        }
    }
}

/// The object as the webhook wants it, unless that is how it is.
async fn changed(
    webhook: &Webhook,
    review: &Review<'_>,
    matched: &Matched,
    operations: &Value,
) -> Result<Option<Value>, Status> {
    if !review.object.is_object() {
        return Err(call::internal(&format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            webhook.name
        )));
    }
    let kind = matched.kind(review);
    let whole = review.is_whole();
    let mut object = if whole { review.shown_as(kind, &review.object).await? } else { review.object.clone() };
    patch::json(&mut object, operations).map_err(|status| call::internal(&status.message))?;
    let object = if whole { settle(review, kind, object).await.map_err(|why| call::internal(&why))? } else { object };
    Ok((object != review.object).then_some(object))
}

#[async_trait]
impl Admission for MutatingWebhooks {
    fn rank(&self) -> Rank {
        Rank::Webhook
    }

    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        let webhooks = self.configured.now();
        if webhooks.is_empty() || is_about_admission(review) {
            return Ok(());
        }
        let again = review.rounds.again;
        let mut memory = Memory::of(review);
        if again && memory.output != review.object {
            memory.changed();
        }
        for webhook in webhooks.iter() {
            let skip = again && !memory.due.contains(&webhook.id);
            let (was_asked, object) = self.ask(webhook, review, skip).await?;
            if let Some(object) = object {
                review.object = object;
                memory.changed();
                review.rounds.wanted = true;
            }
            if was_asked && webhook.reinvoked {
                memory.earlier.push(webhook.id.clone());
            }
        }
        memory.keep(review);
        Ok(())
    }
}
