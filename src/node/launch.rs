//! From a container's spec to a running container: image, settings, environment, volumes, log, sandbox.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::events::Severity;
use images::{Digest, Resolved};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Namespace, ObjectReference, Pod, Service};
use kube::Api;

use crate::context::Context;
use crate::environment::{Surroundings, arguments, variables};
use crate::grants;
use crate::hooks;
use crate::identity;
use crate::last_words::LastWords;
use crate::logs::{LogOf, RunLog, RunOutput};
use crate::machine::{LaunchError, LaunchFailure, Launched, Role};
use crate::probing::Asked;
use crate::pulling;
use crate::resources::Resources;
use crate::sandbox::{Container as Running, ContainerId, ContainerSpec, Form, Grants, PrepareError, StartError, Stdin};
use crate::settings::Settings;
use crate::sources::Sources;
use crate::volumes::VolumeError;

const HTTP_PORT: u16 = 80;
/// Traps and refusals of one container are told at most this often.
const TRAPS_APART: Duration = Duration::from_secs(1);

/// A container that runs, with what goes with it.
pub(crate) struct Launch {
    pub launched: Launched,
    pub container: Arc<dyn Running>,
    pub log: Arc<RunLog>,
    pub words: LastWords,
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

    /// The pod, as messages have it.
    fn pod_name(&self) -> String {
        let id = self.id();
        format!("{}_{}({})", id.pod, id.namespace, id.uid)
    }

    fn image(&self) -> &str {
        self.container.image.as_deref().unwrap_or_default()
    }
}

/// A reference to a container of a pod, as events carry it.
pub(crate) fn about(pod: &Pod, container: &str, role: Role) -> ObjectReference {
    let list = match role {
        Role::Main => "containers",
        Role::Init | Role::Sidecar => "initContainers",
        Role::Ephemeral => "ephemeralContainers",
    };
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
    grants: Grants,
}

async fn prepare(
    context: &Context,
    order: &Order,
    tell: &impl Fn(Severity, &str, String),
) -> Result<Ready, LaunchError> {
    let namespace = order.pod.metadata.namespace.as_deref().unwrap_or("default");
    let of_namespace = namespace_annotations(context, namespace).await?;
    let annotations = order.pod.metadata.annotations.clone().unwrap_or_default();
    let settings = Settings::of(&of_namespace, &annotations, &order.container.name).map_err(config_error)?;
    let wanted = (order.image(), order.container.image_pull_policy.as_deref());
    let stages = &context.figures.stages;
    let began = Instant::now();
    let image = pulling::component(context, &order.pod, wanted, &settings.compose, tell).await?;
    stages.pull.observe(began.elapsed());
    let resources = Resources::of(&order.container);
    let form = Form { fuel: resources.fuel.is_some() };
    let began = Instant::now();
    let prepared = context.sandbox.prepare(&image, form, namespace).await;
    stages.compile.observe(began.elapsed());
    prepared.map_err(|error| match error {
        PrepareError::TooComplex(why) => LaunchError { reason: "ImageTooComplex", ..create_error(why) },
        PrepareError::Unfit(why) | PrepareError::Failed(why) => create_error(why),
    })?;
    let given = surroundings(context, order, &image).await?;
    let grants = grants::resolve(&context.client, namespace, &settings.grants, &given.2).await?;
    Ok(Ready { image, settings, resources, given, grants })
}

/// What is written on the pod's namespace.
async fn namespace_annotations(context: &Context, name: &str) -> Result<BTreeMap<String, String>, LaunchError> {
    context.namespaces.synced().await;
    if let Some(known) = context.namespaces.get("", name) {
        return Ok(known.metadata.annotations.clone().unwrap_or_default());
    }
    // One that is younger than the latest news.
    let found = Api::<Namespace>::all(context.client.clone()).get_metadata_opt(name).await;
    let found = found.map_err(|error| config_error(format!("cannot read namespace {name}: {error}")))?;
    Ok(found.and_then(|found| found.metadata.annotations).unwrap_or_default())
}

async fn start(
    context: &Arc<Context>,
    order: &Order,
    ready: Ready,
    tell: &impl Fn(Severity, &str, String),
) -> Result<Launch, LaunchError> {
    let Ready { image, settings, resources, given: (env, args, mut mounts), grants } = ready;
    let id = order.id();
    let of = LogOf::from(id.clone());
    let words = LastWords::prepare(&context.logs.words_of(&of), &order.container, &mut mounts);
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
        root: context.volumes.root(&order.pod, &order.container, order.attempt > 0, order.address),
        working_dir: order.container.working_dir.clone().filter(|path| !path.is_empty()),
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
        grants,
        deadline: settings.run_timeout,
        stdin: match (order.container.stdin, order.container.stdin_once) {
            (Some(true), Some(true)) => Stdin::Once,
            (Some(true), _) => Stdin::Lasting,
            _ => Stdin::None,
        },
        tty: order.container.tty == Some(true),
        output: Arc::new(RunOutput(log.clone())),
        on_trap: on_trap(context, order, &log),
        on_denied: on_denied(context, order),
        handles: settings.handles,
    };
    let began = Instant::now();
    let started = context.sandbox.start(spec).await;
    context.figures.stages.instantiate.observe(began.elapsed());
    match started {
        Ok(container) => {
            // What failed in between was not created either.
            tell(Severity::Normal, "Created", "Container created".to_owned());
            tell(Severity::Normal, "Started", "Container started".to_owned());
            let hook_error = post_start(context, order, &container).await;
            let launched = Launched { hook_error, ..launched(order, &image) };
            Ok(Launch { launched, container, log, words })
        }
        Err(error) => {
            log.discard();
            Err(match error {
                StartError::NotGranted(_) => config_error(error),
                _ => create_error(error),
            })
        }
    }
}

/// Runs the hook that follows the start, unless the container or its pod ends meanwhile.
async fn post_start(context: &Context, order: &Order, container: &Arc<dyn Running>) -> Option<String> {
    let handler = order.container.lifecycle.as_ref()?.post_start.as_ref()?;
    let asked = Asked {
        network: &context.network,
        pod: order.address,
        container: &order.container,
        running: Some(Arc::clone(container)),
    };
    let pod = order.pod_name();
    tokio::select! {
        result = hooks::run(&asked, handler, &pod) => result.err(),
        _ = container.exit() => None,
        () = order.cancel.cancelled() => None,
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
        hook_error: None,
    }
}

/// The first container port, where an HTTP component serves.
fn first_port(container: &Container) -> u16 {
    let first = container.ports.as_ref().and_then(|ports| ports.first());
    first.and_then(|port| u16::try_from(port.container_port).ok()).unwrap_or(HTTP_PORT)
}

fn on_trap(context: &Arc<Context>, order: &Order, log: &Arc<RunLog>) -> Arc<dyn Fn(&str) + Send + Sync> {
    let log = Arc::clone(log);
    let name = order.container.name.clone();
    now_and_then(context, order, "RequestFailed", move |trap| {
        log.tell(trap);
        // Only the first line, without addresses that differ each time: equal events are counted and not repeated.
        let first = trap.lines().next().unwrap_or_default();
        format!("a request to container {name} failed in the component: {first}")
    })
}

fn on_denied(context: &Arc<Context>, order: &Order) -> Arc<dyn Fn(&str) + Send + Sync> {
    let name = order.container.name.clone();
    now_and_then(context, order, "EgressDenied", move |why| format!("container {name} was not let out: {why}"))
}

/// Tells what a guest brings about, and can bring about as often as it likes.
fn now_and_then(
    context: &Arc<Context>,
    order: &Order,
    reason: &'static str,
    message: impl Fn(&str) -> String + Send + Sync + 'static,
) -> Arc<dyn Fn(&str) + Send + Sync> {
    let (events, about) = (context.events.clone(), about(&order.pod, &order.container.name, order.role));
    let (began, next) = (Instant::now(), AtomicU64::new(0));
    Arc::new(move |what: &str| {
        let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = next.load(Ordering::Relaxed);
        let after = now.saturating_add(u64::try_from(TRAPS_APART.as_millis()).unwrap_or(u64::MAX));
        if now < due || next.compare_exchange(due, after, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        events.event(about.clone(), Severity::Warning, reason, message(what));
    })
}

type Given = (Vec<(String, String)>, Vec<String>, Vec<crate::sandbox::Mount>);

async fn surroundings(context: &Context, order: &Order, image: &Resolved) -> Result<Given, LaunchError> {
    if let Some(why) = identity::contradiction(&order.pod, &order.container, &order.pod_name()) {
        return Err(config_error(why));
    }
    let mut sources = Sources::fetch(&context.client, &order.pod, &order.container).await?;
    let files = context.volumes.texts(&order.pod, &order.container, order.address).await;
    sources.files = files.map_err(no_mount)?;
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
    let mounts = context.volumes.mounts(&order.pod, &order.container, &env, order.address).await;
    Ok((env, args, mounts.map_err(no_mount)?))
}

fn no_mount(error: VolumeError) -> LaunchError {
    if let VolumeError::Image { image, reason, message } = error {
        let unasked = matches!(reason, "ErrImageNeverPull" | "InvalidImageName");
        let class = if unasked { LaunchFailure::Image } else { LaunchFailure::VolumePull { image } };
        return LaunchError { reason, message, class };
    }
    if error.is_of_container() {
        return config_error(error);
    }
    LaunchError { reason: "ContainerCreating", message: error.to_string(), class: LaunchFailure::Volume }
}

/// The last part of an image's repository: what a program without a command calls itself.
fn program(reference: &str) -> &str {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    name.split([':', '@']).next().unwrap_or(name)
}
