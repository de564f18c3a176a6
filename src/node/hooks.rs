//! `lifecycle.postStart` and `lifecycle.preStop`: what a container's spec wants done right after its start and right before its
//! end.

use std::time::Duration;

use k8s_openapi::api::core::v1::LifecycleHandler;

use crate::probing::{self, Asked};

/// A hook may take as long as its container's life allows; a request of one alone is not waited for longer than this.
const REQUEST_MAX: Duration = Duration::from_secs(3600);

/// Carries a hook out, to its end.
///
/// # Errors
/// What it failed of, as a container's status tells it.
pub(crate) async fn run(asked: &Asked<'_>, handler: &LifecycleHandler, pod: &str) -> Result<(), String> {
    let container = &asked.container.name;
    if let Some(action) = &handler.exec {
        let command = action.command.as_deref().unwrap_or_default();
        let line = command.join(" ");
        let Some(running) = &asked.running else { return Err("container not running".to_owned()) };
        return match probing::command(running, command).await {
            Ok(_) => Ok(()),
            Err(probing::Failed::Code(code, text)) => Err(format!(
                "Exec lifecycle hook ({line}) for Container {container:?} in Pod {pod:?} failed - error: command '{line}' \
                 exited with {code}: {text}, message: {text:?}"
            )),
            Err(probing::Failed::NotRun(why)) => Err(format!(
                "Exec lifecycle hook ({line}) for Container {container:?} in Pod {pod:?} failed - error: {why}, message: \"\""
            )),
        };
    }
    if let Some(action) = &handler.http_get {
        let path = action.path.as_deref().unwrap_or("/");
        let failed = |why: String| {
            format!("HTTP lifecycle hook ({path}) for Container {container:?} in Pod {pod:?} failed - error: {why}")
        };
        // Any answer will do, as in Kubernetes: who wants to be heard uses exec.
        return probing::get(asked, action, REQUEST_MAX, "kube-lifecycle/1.36").await.map(drop).map_err(failed);
    }
    if let Some(action) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    let what = if handler.tcp_socket.is_some() { "tcpSocket" } else { "nothing" };
    Err(format!("Cannot run handler: invalid handler: {what}"))
}
