//! The webhooks that are configured at this moment, taken apart once a change.

use std::sync::Arc;
use std::time::Duration;

use api::Status;
use objects::{Object, Objects, Shelf};
use parking_lot::Mutex;
use serde_json::Value;

use super::super::expressions::{Conditions, Subject};
use super::super::matching::{Asked, Matched, Matcher};
use crate::authorization::Authorizer;

/// One webhook of one configuration.
pub(super) struct Webhook {
    /// Tells it apart from every other one, also from those of the same name in other configurations.
    pub id: String,
    pub name: String,
    pub client_config: Value,
    pub timeout: Duration,
    pub fails_open: bool,
    /// Whether it may be asked in a dry run; `None` where the configuration does not say.
    pub dry_run: Option<bool>,
    /// `v1` or `v1beta1`, the first of its list that is spoken here.
    pub review_version: &'static str,
    pub reinvoked: bool,
    matcher: Matcher,
    conditions: Conditions,
}

impl Webhook {
    fn read(configuration: &Object, index: usize, webhook: &Value) -> Result<Self, Status> {
        let text = |field: &str| webhook.get(field).and_then(Value::as_str).unwrap_or_default();
        let seconds = webhook.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(10);
        let versions = webhook.get("admissionReviewVersions").and_then(Value::as_array);
        let mut versions = versions.into_iter().flatten().filter_map(Value::as_str);
        let review_version = versions.find_map(|version| match version {
            "v1" => Some("v1"),
            "v1beta1" => Some("v1beta1"),
            _ => None,
        });
        let fails_open = text("failurePolicy") == "Ignore";
        Ok(Self {
            id: format!("{}/{}/{index}", configuration.meta.name, text("name")),
            name: text("name").to_owned(),
            client_config: webhook.get("clientConfig").cloned().unwrap_or_default(),
            timeout: Duration::from_secs(seconds.clamp(1, 30)),
            fails_open,
            dry_run: match text("sideEffects") {
                "" => None,
                effects => Some(matches!(effects, "None" | "NoneOnDryRun")),
            },
            review_version: review_version.unwrap_or("v1"),
            reinvoked: text("reinvocationPolicy") == "IfNeeded",
            matcher: Matcher::of_webhook(webhook)?,
            conditions: Conditions::of_webhook(webhook.get("matchConditions"), fails_open),
        })
    }

    /// Whether it is to be asked about the request, and in which version it wants to see it.
    ///
    /// # Errors
    /// The refusal where that cannot be found out.
    pub async fn wants(&self, asked: &Asked<'_>, authorizer: &dyn Authorizer) -> Result<Option<Matched>, Status> {
        let Some(matched) = self.matcher.matches(asked).await? else { return Ok(None) };
        if self.conditions.is_empty() {
            return Ok(Some(matched));
        }
        let subject = Subject::new(asked, &matched, authorizer).await?;
        match self.conditions.hold(&subject).await {
            Ok(holds) => Ok(holds.then_some(matched)),
            Err(why) => Err(super::super::settling::forbidden(asked.review, &why)),
        }
    }
}

/// All webhooks of one kind of configuration.
pub(super) struct Configured {
    shelf: Shelf,
    /// What was read, and of which revision.
    read: Mutex<(u64, Arc<Vec<Webhook>>)>,
}

impl Configured {
    pub fn new(objects: &Objects, plural: &str) -> Self {
        let shelf = objects.shelf("admissionregistration.k8s.io", plural);
        Self { shelf, read: Mutex::default() }
    }

    /// Those of this moment, by the names of their configurations.
    pub fn now(&self) -> Arc<Vec<Webhook>> {
        let changed = self.shelf.last_change().0;
        let mut read = self.read.lock();
        if read.0 != changed {
            let (configurations, _) = self.shelf.all();
            let found = configurations.iter().filter_map(|moved| moved.object.as_deref()).flat_map(webhooks);
            *read = (changed, Arc::new(found.collect()));
        }
        read.1.clone()
    }
}

fn webhooks(configuration: &Object) -> Vec<Webhook> {
    let value = configuration.value();
    let list = value.get("webhooks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut found = Vec::with_capacity(list.len());
    for (index, webhook) in list.iter().enumerate() {
        match Webhook::read(configuration, index, webhook) {
            Ok(webhook) => found.push(webhook),
            Err(status) => {
                tracing::warn!(configuration = %configuration.meta.name, %status, "a webhook cannot be read and is not asked");
            }
        }
    }
    found
}
