//! Webhooks that look at requests and may refuse them.

use std::sync::Arc;

use api::Status;
use async_trait::async_trait;
use futures::future::join_all;
use objects::{Admission, Objects, Rank, Review};

use super::super::matching::Asked;
use super::configured::Configured;
use super::{call, is_about_admission};
use crate::authorization::Authorizer;

/// The ValidatingWebhookConfigurations of a cluster.
pub struct ValidatingWebhooks {
    configured: Configured,
    authorizer: Arc<dyn Authorizer>,
}

impl ValidatingWebhooks {
    /// Those of `objects`.
    pub fn new(objects: &Objects, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { configured: Configured::new(objects, "validatingwebhookconfigurations"), authorizer }
    }
}

#[async_trait]
impl Admission for ValidatingWebhooks {
    fn rank(&self) -> Rank {
        Rank::Webhook
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        let webhooks = self.configured.now();
        if webhooks.is_empty() || is_about_admission(review) {
            return Ok(());
        }
        let asked = Asked::new(review);
        let mut wanted = Vec::new();
        for webhook in webhooks.iter() {
            if let Some(matched) = webhook.wants(&asked, &*self.authorizer).await? {
                wanted.push((webhook, matched));
            }
        }
        let questions = wanted.iter().map(|(webhook, matched)| async {
            let answer = call::ask(webhook, &asked, matched, false).await;
            answer.err().and_then(|trouble| trouble.refusal(webhook))
        });
        match join_all(questions).await.into_iter().flatten().next() {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }
}
