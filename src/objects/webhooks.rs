//! Asking a program outside this process: the seam that admission and conversion webhooks go through. Whoever knows the
//! network fills it ([`Objects::set_webhook_caller`]).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use thiserror::Error;

use crate::Objects;

/// Why a webhook gave no answer that can be used. Worded as the middle of Kubernetes' sentences: `failed calling webhook
/// "x": failed to call webhook: ` comes before it.
#[derive(Debug, Error)]
pub enum WebhookError {
    /// The client configuration leads nowhere.
    #[error("{0}")]
    Config(String),
    /// It was not reached, or broke off.
    #[error("Post \"{url}\": {why}")]
    Unreachable {
        /// What was called.
        url: String,
        /// Why that failed.
        why: String,
    },
    /// It took too long.
    #[error("Post \"{url}\": context deadline exceeded")]
    Deadline {
        /// What was called.
        url: String,
    },
    /// It answered something else than 200.
    #[error("{message}")]
    Refused {
        /// The HTTP status code.
        code: u16,
        /// What that says.
        message: String,
    },
    /// Its answer is no JSON, or too long.
    #[error("{0}")]
    Answer(String),
}

/// Calls webhooks.
#[async_trait]
pub trait WebhookCaller: Send + Sync + 'static {
    /// Posts `body` as JSON to where `client_config` leads (`{"url" | "service": {namespace, name, path, port}, "caBundle"}`,
    /// the same in webhook configurations and in CustomResourceDefinitions) and answers the JSON that comes back.
    async fn call(&self, client_config: &Value, body: Value, timeout: Duration) -> Result<Value, WebhookError>;
}

/// What is there before anything else was set.
pub(crate) struct NoWebhooks;

#[async_trait]
impl WebhookCaller for NoWebhooks {
    async fn call(&self, _client_config: &Value, _body: Value, _timeout: Duration) -> Result<Value, WebhookError> {
        Err(WebhookError::Config("webhooks cannot be called by this process".to_owned()))
    }
}

impl Objects {
    /// Who calls webhooks from now on.
    pub fn set_webhook_caller(&self, caller: Arc<dyn WebhookCaller>) {
        self.inner.webhooks.store(Arc::new(caller));
    }

    /// Who calls webhooks.
    pub fn webhook_caller(&self) -> Arc<dyn WebhookCaller> {
        Arc::clone(&self.inner.webhooks.load())
    }
}
