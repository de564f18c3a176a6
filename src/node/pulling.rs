//! From a container's image to a component on this machine, with the events that Kubernetes tells about it.

use std::time::Duration;

use client::Client;
use client::events::Severity;
use images::{
    Credentials, Fetched, ImageFiles, ImageStore, LOCAL_REGISTRY, PullError, PullPolicy, Pulled, Purpose, Reference,
    Resolved,
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;

use crate::context::Context;
use crate::machine::{LaunchError, LaunchFailure};

/// The component of `image`, with those composed into it that `parts` names: images, or other containers of the pod.
pub(crate) async fn component(
    context: &Context,
    pod: &Pod,
    (image, policy): (&str, Option<&str>),
    parts: &[String],
    tell: &impl Fn(Severity, &str, String),
) -> Result<Resolved, LaunchError> {
    let main = one(context, pod, image, policy, tell).await?;
    if parts.is_empty() {
        return Ok(main);
    }
    let mut found = Vec::with_capacity(parts.len());
    for part in parts {
        let (image, policy) = part_of(pod, part);
        found.push(one(context, pod, image, policy, tell).await?);
    }
    context.images.compose(&main, &found).await.map_err(|error| {
        let message = base::report(&error);
        LaunchError { reason: "CreateContainerError", message, class: LaunchFailure::Create }
    })
}

/// A container of the pod lends its image; any other word is an image itself.
fn part_of<'a>(pod: &'a Pod, part: &'a str) -> (&'a str, Option<&'a str>) {
    let spec = pod.spec.as_ref();
    let mut containers =
        spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let named = containers.find(|container| container.name == part);
    named.map_or((part, None), |container| {
        (container.image.as_deref().unwrap_or_default(), container.image_pull_policy.as_deref())
    })
}

/// The files of an image, for a volume: a folder that may only be read, for as long as a pod names the image.
pub(crate) async fn files(
    images: &ImageStore,
    client: &Client,
    pod: &Pod,
    (image, policy): (&str, Option<&str>),
    tell: &impl Fn(Severity, &str, String),
) -> Result<ImageFiles, LaunchError> {
    let from = From { images, client, pod };
    let fetched = fetch(&from, (image, policy), Purpose::Files, tell).await?;
    images.files(&fetched).await.map_err(|error| refused(image, &error, tell))
}

/// Where images come from, and for whom.
struct From<'a> {
    images: &'a ImageStore,
    client: &'a Client,
    pod: &'a Pod,
}

async fn one(
    context: &Context,
    pod: &Pod,
    image: &str,
    policy: Option<&str>,
    tell: &impl Fn(Severity, &str, String),
) -> Result<Resolved, LaunchError> {
    let from = From { images: &context.images, client: &context.client, pod };
    let fetched = fetch(&from, (image, policy), Purpose::Component, tell).await?;
    context.images.component(&fetched).await.map_err(|error| refused(image, &error, tell))
}

async fn fetch(
    from: &From<'_>,
    (image, policy): (&str, Option<&str>),
    purpose: Purpose,
    tell: &impl Fn(Severity, &str, String),
) -> Result<Fetched, LaunchError> {
    let fetched = ask(from, (image, policy), purpose, tell).await;
    let fetched = fetched.map_err(|error| refused(image, &error, tell))?;
    let message = match fetched.pulled {
        Pulled::AlreadyPresent if policy == Some("Never") => {
            format!("Container image {image:?} already present on machine")
        }
        Pulled::AlreadyPresent => {
            format!("Container image {image:?} already present on machine and can be accessed by the pod")
        }
        Pulled::Fetched { took, waited } => format!(
            "Successfully pulled image {image:?} in {} ({} including waiting). Image size: {} bytes.",
            go_duration(took),
            go_duration(waited),
            fetched.size
        ),
    };
    tell(Severity::Normal, "Pulled", message);
    Ok(fetched)
}

async fn ask(
    from: &From<'_>,
    (image, policy): (&str, Option<&str>),
    purpose: Purpose,
    tell: &impl Fn(Severity, &str, String),
) -> Result<Fetched, PullError> {
    let reference: Reference = image.parse()?;
    let policy = match policy {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some(_) => PullPolicy::IfNotPresent,
        None if reference.is_latest() => PullPolicy::Always,
        None => PullPolicy::IfNotPresent,
    };
    let images = from.images;
    if reference.registry == LOCAL_REGISTRY || images.is_builtin(&reference) {
        return images.fetch(image, policy, &Credentials::default(), purpose).await;
    }
    let secrets = credentials(from.client, from.pod).await;
    if policy != PullPolicy::Always {
        let here = images.fetch(image, PullPolicy::Never, &secrets, purpose).await;
        if policy == PullPolicy::Never || !matches!(here, Err(PullError::NeverPull(_) | PullError::NotAllowed(_))) {
            return here;
        }
    }
    tell(Severity::Normal, "Pulling", format!("Pulling image {image:?}"));
    images.fetch(image, policy, &secrets, purpose).await
}

/// Tells why there is no image, in Kubernetes' words.
fn refused(image: &str, error: &PullError, tell: &impl Fn(Severity, &str, String)) -> LaunchError {
    let detail = base::report(error);
    let (event, said, reason, message, class) = match error {
        PullError::InvalidName(_) => {
            let said = format!("Failed to apply default image tag {image:?}: {detail}");
            ("InspectFailed", said.clone(), "InvalidImageName", said, LaunchFailure::Image)
        }
        PullError::NeverPull(_) => {
            let said = format!("Container image {image:?} is not present with pull policy of Never");
            ("ErrImageNeverPull", said.clone(), "ErrImageNeverPull", said, LaunchFailure::Image)
        }
        PullError::NotAllowed(_) => {
            let said = format!(
                "Container image {image:?} is present with pull policy of Never but does not have the proper auth (image secret) that was used to pull the image"
            );
            ("ErrImageNeverPull", said.clone(), "ErrImageNeverPull", said, LaunchFailure::Image)
        }
        PullError::Unavailable { .. } => {
            let said = format!("Failed to pull image {image:?}: {detail}");
            let message = format!("image pull failed for {image} because the registry is unavailable: {detail}");
            ("Failed", said, "RegistryUnavailable", message, LaunchFailure::Pull)
        }
        _ => {
            ("Failed", format!("Failed to pull image {image:?}: {detail}"), "ErrImagePull", detail, LaunchFailure::Pull)
        }
    };
    tell(Severity::Warning, event, said);
    LaunchError { reason, message, class }
}

/// The credentials of `imagePullSecrets`, which hold those of the ServiceAccount where the pod names none. A Secret that is
/// missing or malformed is as if it had not been named, as in Kubernetes: the registry has the last word.
async fn credentials(client: &Client, pod: &Pod) -> Credentials {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let mut found = Vec::new();
    for secret in pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()) {
        if let Ok(Some(secret)) = api.get_opt(&secret.name).await {
            let data = secret.data.unwrap_or_default();
            let file = data.get(".dockerconfigjson").or_else(|| data.get(".dockercfg"));
            found.extend(file.map(|file| Credentials::from_docker_config(&file.0).0).unwrap_or_default());
        }
    }
    Credentials(found)
}

/// As Go writes durations, down to milliseconds: `1.5s`, `340ms`, `1m2.003s`.
pub(crate) fn go_duration(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (hours, minutes, rest) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
    let fraction = format!("{:03}", rest % 1000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let seconds = format!("{}{point}{fraction}s", rest / 1000);
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_gos() {
        for (millis, text) in [
            (0, "0s"),
            (7, "7ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (1234, "1.234s"),
            (62_003, "1m2.003s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_part_is_a_container_or_an_image() {
        let pod: Pod = serde_json::from_value(serde_json::json!({ "spec": { "containers": [
            { "name": "app", "image": "coracle.local/app" },
            { "name": "store", "image": "coracle.local/store:v2", "imagePullPolicy": "Never" },
        ] } }))
        .unwrap();
        assert_eq!(part_of(&pod, "store"), ("coracle.local/store:v2", Some("Never")));
        assert_eq!(part_of(&pod, "coracle.local/other"), ("coracle.local/other", None));
    }

    #[test]
    fn failures_have_kubernetes_reasons_and_words() {
        let told = std::cell::RefCell::new(Vec::new());
        let tell = |_: Severity, reason: &str, message: String| told.borrow_mut().push(format!("{reason}: {message}"));
        let image = || "r.example/x:v1".to_owned();
        let rows = [
            (
                PullError::NeverPull(image()),
                "ErrImageNeverPull",
                "Container image \"x\" is not present with pull policy of Never",
            ),
            (
                PullError::Unavailable { image: image(), why: "timeout".to_owned() },
                "RegistryUnavailable",
                "image pull failed for x because the registry is unavailable: ",
            ),
            (PullError::NotFound { image: image(), hint: String::new() }, "ErrImagePull", "failed to pull"),
        ];
        for (error, reason, start) in rows {
            let failure = refused("x", &error, &tell);
            assert_eq!(failure.reason, reason);
            assert!(failure.message.starts_with(start), "{}", failure.message);
        }
        assert!(
            told.borrow()[2].starts_with("Failed: Failed to pull image \"x\": failed to pull"),
            "{:?}",
            told.borrow()
        );
    }
}
