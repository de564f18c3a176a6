//! Webhooks that may change what is written.

use std::sync::Arc;

use api::{Status, patch};
use async_trait::async_trait;
use objects::{Admission, Objects, Rank, Review};
use serde_json::Value;

use super::super::matching::{Asked, Matched};
use super::super::rounds::Memory;
use super::super::settling::settle;
use super::configured::{Configured, Webhook};
use super::{call, is_about_admission};
use crate::authorization::Authorizer;

/// The MutatingWebhookConfigurations of a cluster.
pub struct MutatingWebhooks {
    configured: Configured,
    authorizer: Arc<dyn Authorizer>,
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
        let mut memory = Memory::of(review, "MutatingAdmissionWebhook");
        for webhook in webhooks.iter() {
            let skip = !memory.is_due(review, &webhook.id);
            let (was_asked, object) = self.ask(webhook, review, skip).await?;
            if let Some(object) = object {
                review.object = object;
                memory.changed();
                review.rounds.wanted = true;
            }
            if was_asked && webhook.reinvoked {
                memory.had_its_say(webhook.id.clone());
            }
        }
        memory.keep(review);
        Ok(())
    }
}
