//! From a container's spec to a running container: image, settings, environment, volumes, log, sandbox.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use client::events::Severity;
use images::{Credential, Credentials, Digest, LOCAL_REGISTRY, PullError, PullPolicy, Pulled, Reference, Resolved};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Secret, Service};
use kube::Api;
use serde_json::Value;

use crate::context::Context;
use crate::environment::{Surroundings, arguments, variables};
use crate::logs::{LogOf, RunLog, RunOutput};
use crate::machine::{LaunchError, LaunchFailure, Launched, Role};
use crate::resources::Resources;
use crate::sandbox::{Container as Running, ContainerId, ContainerSpec, Form, PrepareError, Stdin};
use crate::settings::Settings;
use crate::sources::Sources;
use crate::{probing, volumes};

const HTTP_PORT: u16 = 80;
/// Traps of one container are told at most this often.
const TRAPS_APART: Duration = Duration::from_secs(1);

/// A container that runs, with what goes with it.
pub(crate) struct Launch {
    pub launched: Launched,
    pub container: Arc<dyn Running>,
    pub log: Arc<RunLog>,
}

/// What to launch.
pub(crate) struct Order {
    pub pod: Arc<Pod>,
    pub container: Container,
    pub role: Role,
    pub attempt: u32,
    pub address: IpAddr,
    /// The pod is being deleted: do not start what is not started.
    pub cancel: base::Shutdown,
}

impl Order {
    fn id(&self) -> ContainerId {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let meta = &self.pod.metadata;
        ContainerId {
            namespace: text(&meta.namespace),
            pod: text(&meta.name),
            uid: text(&meta.uid),
            container: self.container.name.clone(),
            attempt: self.attempt,
        }
    }

    fn image(&self) -> &str {
        self.container.image.as_deref().unwrap_or_default()
    }
}

/// A reference to a container of a pod, as events carry it.
pub(crate) fn about(pod: &Pod, container: &str, role: Role) -> ObjectReference {
    let list = if role == Role::Main { "containers" } else { "initContainers" };
    ObjectReference { field_path: Some(format!("spec.{list}{{{container}}}")), ..client::events::reference(pod) }
}

fn config_error(message: impl ToString) -> LaunchError {
    LaunchError { reason: "CreateContainerConfigError", message: message.to_string(), class: LaunchFailure::Config }
}

fn create_error(message: impl ToString) -> LaunchError {
    LaunchError { reason: "CreateContainerError", message: message.to_string(), class: LaunchFailure::Create }
}

/// Launches a container.
pub(crate) async fn launch(context: Arc<Context>, order: Order) -> Result<Launch, LaunchError> {
    let tell = |severity, reason: &str, message: String| {
        context.events.event(about(&order.pod, &order.container.name, order.role), severity, reason, message);
    };
    let ready = tokio::select! {
        ready = prepare(&context, &order, &tell) => ready?,
        () = order.cancel.cancelled() => {
            return Err(create_error("the pod is being deleted"));
        }
    };
    start(&context, &order, ready, &tell).await
}

/// Everything that a container needs to start.
struct Ready {
    image: Resolved,
    settings: Settings,
    resources: Resources,
    given: Given,
}

async fn prepare(
    context: &Context,
    order: &Order,
    tell: &impl Fn(Severity, &str, String),
) -> Result<Ready, LaunchError> {
    let image = pull(context, order, tell).await?;
    let annotations = order.pod.metadata.annotations.clone().unwrap_or_default();
    let settings = Settings::of(&annotations, &order.container.name).map_err(config_error)?;
    if let Some(why) = probing::unsupported(&order.container) {
        return Err(config_error(why));
    }
    if order.container.lifecycle.as_ref().is_some_and(|hooks| hooks.pre_stop.is_some() || hooks.post_start.is_some()) {
        let message =
            format!("lifecycle hooks of container {} are not run: they are not there yet", order.container.name);
        tell(Severity::Warning, "FailedPostStartHook", message);
    }
    let resources = Resources::of(&order.container);
    let form = Form { fuel: resources.fuel.is_some() };
    context.sandbox.prepare(&image, form).await.map_err(|error| match error {
        PrepareError::Unfit(why) | PrepareError::Failed(why) => create_error(why),
    })?;
    let given = surroundings(context, order, &image).await?;
    Ok(Ready { image, settings, resources, given })
}

async fn start(
    context: &Arc<Context>,
    order: &Order,
    ready: Ready,
    tell: &impl Fn(Severity, &str, String),
) -> Result<Launch, LaunchError> {
    let Ready { image, settings, resources, given: (env, args, mounts) } = ready;
    tell(Severity::Normal, "Created", format!("Created container: {}", order.container.name));
    let id = order.id();
    let of = LogOf {
        namespace: id.namespace.clone(),
        pod: id.pod.clone(),
        uid: id.uid.clone(),
        container: id.container.clone(),
    };
    let log = context
        .logs
        .begin(&of, order.attempt)
        .map_err(|error| create_error(format!("cannot begin the log: {error}")))?;
    let spec = ContainerSpec {
        id,
        image: image.clone(),
        args,
        env,
        mounts,
        memory_bytes: resources.memory_bytes,
        cpu_millis: resources.cpu_millis,
        cpu_weight: resources.cpu_weight,
        fuel: resources.fuel,
        address: order.address,
        port: first_port(&order.container),
        request_timeout: settings.request_timeout,
        reuse: settings.reuse,
        max_concurrent_requests: settings.max_concurrent_requests,
        egress: settings.egress,
        deadline: settings.run_timeout,
        stdin: match (order.container.stdin, order.container.stdin_once) {
            (Some(true), Some(true)) => Stdin::Once,
            (Some(true), _) => Stdin::Lasting,
            _ => Stdin::None,
        },
        output: Arc::new(RunOutput(log.clone())),
        on_trap: on_trap(context, order),
    };
    match context.sandbox.start(spec).await {
        Ok(container) => {
            tell(Severity::Normal, "Started", format!("Started container {}", order.container.name));
            Ok(Launch { launched: launched(order, &image), container, log })
        }
        Err(error) => {
            log.discard();
            Err(create_error(error))
        }
    }
}

fn launched(order: &Order, image: &Resolved) -> Launched {
    let id = order.id();
    let name = format!("{}/{}/{}", id.uid, id.container, id.attempt);
    Launched {
        image: image.reference.clone(),
        image_id: image.id.clone(),
        container_id: format!("coracle://{}", Digest::of(name.as_bytes()).hex()),
        started: Timestamp::now(),
    }
}

/// The first container port, where an HTTP component serves.
fn first_port(container: &Container) -> u16 {
    let first = container.ports.as_ref().and_then(|ports| ports.first());
    first.and_then(|port| u16::try_from(port.container_port).ok()).unwrap_or(HTTP_PORT)
}

fn on_trap(context: &Arc<Context>, order: &Order) -> Arc<dyn Fn(&str) + Send + Sync> {
    let (events, about) = (context.events.clone(), about(&order.pod, &order.container.name, order.role));
    let (name, began, next) = (order.container.name.clone(), Instant::now(), AtomicU64::new(0));
    Arc::new(move |trap: &str| {
        let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = next.load(Ordering::Relaxed);
        let after = now.saturating_add(u64::try_from(TRAPS_APART.as_millis()).unwrap_or(u64::MAX));
        if now < due || next.compare_exchange(due, after, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        // Only the first line, without addresses that differ each time: equal events are counted and not repeated.
        let first = trap.lines().next().unwrap_or_default();
        events.event(
            about.clone(),
            Severity::Warning,
            "RequestFailed",
            format!("a request to container {name} failed in the component: {first}"),
        );
    })
}

async fn pull(
    context: &Context,
    order: &Order,
    tell: &impl Fn(Severity, &str, String),
) -> Result<Resolved, LaunchError> {
    let image = order.image();
    let result = resolve(context, order, tell).await;
    match result {
        Ok(resolved) => {
            let message = match resolved.pulled {
                Pulled::AlreadyPresent => format!("Container image {image:?} already present on machine"),
                Pulled::Fetched { took } => format!(
                    "Successfully pulled image {image:?} in {took:.3?} ({took:.3?} including waiting). Image size: {} bytes.",
                    resolved.size
                ),
            };
            tell(Severity::Normal, "Pulled", message);
            Ok(resolved)
        }
        Err(error) => {
            let (reason, message) = (error.reason(), error.to_string());
            let class = match &error {
                PullError::InvalidName(_) | PullError::NeverPull(_) => LaunchFailure::Image,
                _ => LaunchFailure::Pull,
            };
            let event = match &error {
                PullError::InvalidName(_) => "InspectFailed",
                PullError::NeverPull(_) => "ErrImageNeverPull",
                _ => "Failed",
            };
            let said = match message.strip_prefix("failed to pull image") {
                Some(rest) => format!("Failed to pull image{rest}"),
                None if class == LaunchFailure::Pull => format!("Failed to pull image {image:?}: {message}"),
                None => message.clone(),
            };
            tell(Severity::Warning, event, said);
            Err(LaunchError { reason, message, class })
        }
    }
}

async fn resolve(
    context: &Context,
    order: &Order,
    tell: &impl Fn(Severity, &str, String),
) -> Result<Resolved, PullError> {
    let image = order.image();
    let reference: Reference = image.parse()?;
    let policy = match order.container.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some(_) => PullPolicy::IfNotPresent,
        None if reference.is_latest() => PullPolicy::Always,
        None => PullPolicy::IfNotPresent,
    };
    if reference.registry == LOCAL_REGISTRY || policy == PullPolicy::Never {
        return context.images.resolve(image, policy, &Credentials::default()).await;
    }
    if policy == PullPolicy::IfNotPresent {
        let here = context.images.resolve(image, PullPolicy::Never, &Credentials::default()).await;
        if !matches!(here, Err(PullError::NeverPull(_))) {
            return here;
        }
    }
    tell(Severity::Normal, "Pulling", format!("Pulling image {image:?}"));
    context.images.resolve(image, policy, &credentials(context, &order.pod).await).await
}

/// The credentials of `imagePullSecrets`. One that is missing or malformed is as if it had not been named, as in
/// Kubernetes: the registry has the last word.
async fn credentials(context: &Context, pod: &Pod) -> Credentials {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let api = Api::<Secret>::namespaced(context.client.clone(), namespace);
    let mut credentials = Vec::new();
    for secret in pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()) {
        if let Ok(Some(secret)) = api.get_opt(&secret.name).await {
            credentials.extend(docker_config(&secret));
        }
    }
    Credentials(credentials)
}

fn docker_config(secret: &Secret) -> Vec<Credential> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(".dockerconfigjson"));
    let config: Value = bytes.and_then(|bytes| serde_json::from_slice(&bytes.0).ok()).unwrap_or_default();
    let auths = config.get("auths").and_then(Value::as_object).cloned().unwrap_or_default();
    let credential = |(registry, auth): (String, Value)| {
        let text = |name: &str| auth.get(name).and_then(Value::as_str).map(str::to_owned);
        let both = text("auth").and_then(|both| String::from_utf8(BASE64.decode(both).ok()?).ok());
        let split = both.as_deref().and_then(|both| both.split_once(':'));
        let (username, password) = match (text("username"), text("password"), split) {
            (Some(username), Some(password), _) => (username, password),
            (_, _, Some((username, password))) => (username.to_owned(), password.to_owned()),
            _ => return None,
        };
        let host = registry.trim_start_matches("https://").trim_start_matches("http://");
        let host = host.split('/').next().unwrap_or_default();
        let registry = if host == "index.docker.io" { "docker.io" } else { host }.to_owned();
        Some(Credential { registry, username, password })
    };
    auths.into_iter().filter_map(credential).collect()
}

type Given = (Vec<(String, String)>, Vec<String>, Vec<crate::sandbox::Mount>);

async fn surroundings(context: &Context, order: &Order, image: &Resolved) -> Result<Given, LaunchError> {
    let sources = Sources::fetch(&context.client, &order.pod, &order.container).await?;
    let namespace = order.pod.metadata.namespace.as_deref().unwrap_or("default");
    context.services.synced().await;
    let mut services: Vec<Arc<Service>> = context.services.in_namespace(namespace);
    if namespace != "default" {
        services.extend(context.services.get("default", "kubernetes"));
    }
    services.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let around = Surroundings {
        pod: &order.pod,
        pod_ip: order.address,
        host_ip: context.host_ip,
        services: &services,
        sources: &sources,
        allocatable: &context.allocatable,
    };
    let env = variables(&order.container, &around).map_err(config_error)?;
    let args = arguments(&order.container, program(&image.reference), &env);
    let mounts = if order.container.volume_mounts.as_ref().is_none_or(Vec::is_empty) {
        Vec::new()
    } else {
        let folder = context.volumes.join(order.pod.metadata.uid.as_deref().unwrap_or_default());
        let mounts = mounts(&folder, order, &around)?;
        let shutdown = context.tasks.shutdown();
        let (client, tokens) = (&context.client, &sources.tokens);
        for renewal in volumes::tokens::keep_fresh(client, &order.pod, &order.container, &folder, tokens, shutdown) {
            context.tasks.job("token renewal", renewal);
        }
        mounts
    };
    Ok((env, args, mounts))
}

/// Volumes are a few small files, written on the way: containers that mount any start a millisecond later.
fn mounts(folder: &Path, order: &Order, around: &Surroundings<'_>) -> Result<Vec<crate::sandbox::Mount>, LaunchError> {
    volumes::mounts(folder, &order.container, around).map_err(|error| LaunchError {
        reason: "ContainerCreating",
        message: error.to_string(),
        class: LaunchFailure::Volume,
    })
}

/// The last part of an image's repository: what a program without a command calls itself.
fn program(reference: &str) -> &str {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    name.split([':', '@']).next().unwrap_or(name)
}
