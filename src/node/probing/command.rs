//! Commands that run in a container for the node: exec probes and hooks.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ExecAction;

use super::Asked;
use crate::captured::Captured;
use crate::machine::Outcome;
use crate::sandbox::{Container, Exec};

/// Why a command did not come to a good end.
pub(crate) enum Failed {
    /// It was not run.
    NotRun(String),
    /// It ended with this code, and printed that.
    Code(i32, String),
}

/// Runs a command to its end. It is killed when this is dropped.
pub(crate) async fn run(container: &Arc<dyn Container>, command: &[String]) -> Result<String, Failed> {
    let output = Arc::new(Captured::default());
    let exec = Exec { args: command.to_vec(), stdin: None, tty: false, output: output.clone() };
    let running = container.exec(exec).map_err(|error| Failed::NotRun(error.to_string()))?;
    let exit = running.exit().await;
    let text = output.text();
    match exit.code {
        0 => Ok(text),
        code if text.is_empty() => Err(Failed::Code(code, exit.message)),
        code => Err(Failed::Code(code, text)),
    }
}

pub(super) async fn probe(asked: &Asked<'_>, action: &ExecAction, timeout: Duration) -> Outcome {
    let command = action.command.as_deref().unwrap_or_default();
    let Some(container) = &asked.running else { return Outcome::Unknown("container not running".to_owned()) };
    match tokio::time::timeout(timeout, run(container, command)).await {
        Ok(Ok(_)) => Outcome::Success,
        Ok(Err(Failed::Code(_, text))) => Outcome::Failure(text),
        Ok(Err(Failed::NotRun(why))) => Outcome::Unknown(why),
        Err(_) => Outcome::Failure(format!(
            "command timed out: {:?} timed out after {}s",
            command.join(" "),
            timeout.as_secs()
        )),
    }
}
