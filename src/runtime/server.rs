//! HTTP servers: an instance per request, or a few that are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use http::HeaderValue;
use http::header::HOST;
use http_body_util::BodyExt;
use network::connection::DEPTH_MAX;
use network::{CallError, Connection, HttpEndpoint, HttpRequest, HttpResponse};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use wasmtime::Store;
use wasmtime::component::Resource;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};
use world::http::types::Scheme;

use crate::capabilities::first_denied;
use crate::container::{Account, Container};
use crate::exchange::{Exchange, Head};
use crate::failure::Failure;
use crate::guest::Guest;
use crate::meter::{self, Meter};
use crate::next::Incoming;
use crate::outbound::from_body_error;
use crate::program::{HttpPre, Maker, Program, Ready};
use crate::reuse::{Idle, Instance};
use crate::shared::Shared;
use crate::spec::{Exit, Limits, Mount, OnTrap, Reason, ServeSpec, Stats};
use crate::task::{GuestRun, Stage, Verdict, pay_debt};

/// How many requests of one container run at once where neither memory nor the pool says less.
const CONCURRENCY_MAX: usize = 512;

/// Why a container cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The program is of the other kind.
    #[error("the component exports no {0}")]
    WrongKind(&'static str),
    /// Not even one instance fits.
    #[error(
        "the memory limit of {limit} bytes is less than the {needed} bytes that the component starts with; raise limits.memory"
    )]
    MemoryTooSmall {
        /// The limit.
        limit: u64,
        /// What one instance begins with.
        needed: u64,
    },
    /// A budget was given to code that cannot count.
    #[error("the program was compiled without fuel, so it cannot be held to a fuel budget")]
    NoFuel,
    /// A volume is not there.
    #[error("the volume at {guest_path} is no folder on this host")]
    NoVolume {
        /// Where the guest would see it.
        guest_path: String,
    },
    /// Relative paths cannot begin where they should.
    #[error("cannot use {path} as the working directory: {why}")]
    NoWorkingDirectory {
        /// Where they should.
        path: String,
        /// What is in the way.
        why: String,
    },
    /// It imports what its container is not granted.
    #[error(
        "component imports {import:?}, which this container is not granted; grant it with the annotation {annotation}"
    )]
    NotGranted {
        /// The import, with its version.
        import: String,
        /// What would grant it.
        annotation: &'static str,
    },
    /// The engine failed.
    #[error("the component cannot be started: {0}")]
    Engine(String),
}

/// An HTTP container. Cheap to clone; it serves until it is stopped or runs out of memory.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub container: Arc<Container>,
    /// What new instances are made of.
    pub code: ArcSwap<Code>,
    idle: Option<Idle>,
    /// Instances that answer many requests at once: those of 0.3, where they are reused.
    shared: Option<Shared>,
    timeout: Duration,
    /// One permit for each request that may run.
    share: Arc<Semaphore>,
    share_max: usize,
    queue_max: usize,
    queued: AtomicUsize,
    draining: AtomicBool,
    on_trap: Option<OnTrap>,
}

/// A program, and how its instances are made here.
pub(crate) struct Code {
    pub program: Program,
    pub maker: Arc<Maker<HttpPre>>,
}

/// A running request's room; given back when its instance is gone.
pub(crate) struct Place {
    /// The code that the room is for: another program may have come in its place meanwhile.
    code: Arc<Code>,
    container: Arc<Container>,
    since: Instant,
    _share: OwnedSemaphorePermit,
    _slots: Option<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.container.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.container.counts.latency.observe(self.since.elapsed());
    }
}

impl Server {
    pub(crate) fn new(program: &Program, spec: ServeSpec, container: Arc<Container>) -> Result<Self, StartError> {
        let Ready::Http { fresh, .. } = &program.inner.ready else {
            return Err(StartError::WrongKind(world::HTTP_EXPORT));
        };
        check(program, &spec.common)?;
        let maker = if spec.reuse { program.inner.reusable().map_err(StartError::Engine)? } else { Arc::clone(fresh) };
        let next = matches!(maker.pre, HttpPre::Next(_));
        let instances_max = share(program, &spec, maker.host.slots_max);
        let (share_max, shared) = if spec.reuse && next {
            (spec.concurrency.unwrap_or(CONCURRENCY_MAX).max(1), Some(Shared::new(instances_max, program.form().fuel)))
        } else {
            (instances_max, None)
        };
        let inner = Arc::new(Inner {
            container,
            code: ArcSwap::from_pointee(Code { program: program.clone(), maker }),
            idle: (spec.reuse && !next).then(Idle::default),
            shared,
            timeout: spec.request_timeout,
            share: Arc::new(Semaphore::new(share_max)),
            share_max,
            queue_max: spec.queue,
            queued: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            on_trap: spec.on_trap,
        });
        if spec.reuse {
            crate::reuse::sweep(&inner);
        }
        Ok(Self { inner })
    }

    /// Resolves when the container has ended, with how.
    pub fn exit(&self) -> BoxFuture<'static, Exit> {
        self.inner.container.exit()
    }

    /// Takes no more requests, lets those that run come to their end within `grace`, and ends the container.
    pub async fn stop(&self, grace: Duration) {
        self.inner.draining.store(true, Ordering::SeqCst);
        let all = u32::try_from(self.inner.share_max).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(grace, self.inner.share.acquire_many(all)).await.is_ok();
        let message =
            if drained { String::new() } else { "requests were still running after the grace period".to_owned() };
        self.inner.container.end(0, Reason::Completed, message);
        self.inner.share.close();
    }

    /// Where it books what it uses, for what is run beside it.
    pub fn account(&self) -> Account {
        self.inner.container.account()
    }

    /// Makes new instances of `program` from now on: the same component, compiled otherwise. Instances that live on, because
    /// they are reused, stay what they are. Answers whether anything changed.
    pub fn replace(&self, program: &Program) -> bool {
        let lasting = self.inner.idle.is_some() || self.inner.shared.is_some();
        match &program.inner.ready {
            Ready::Http { fresh, .. } if !lasting => {
                self.inner.code.store(Arc::new(Code { program: program.clone(), maker: Arc::clone(fresh) }));
                true
            }
            _ => false,
        }
    }

    /// Holds it to other limits from now on.
    pub fn resize(&self, limits: Limits) {
        self.inner.container.resize(limits);
    }

    /// What it uses and has used.
    pub fn stats(&self) -> Stats {
        self.inner.container.stats()
    }

    /// Of that, the time on a core, and how long the first response took.
    pub fn pulse(&self) -> (Duration, Option<Duration>) {
        self.inner.container.pulse()
    }
}

impl HttpEndpoint for Server {
    fn call(
        &self,
        request: HttpRequest,
        connection: Connection,
    ) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.answer(request, connection).await })
    }
}

/// What must hold before a container of `program` may start.
pub(crate) fn check(program: &Program, spec: &crate::spec::Common) -> Result<(), StartError> {
    let needed = program.inner.initial_bytes;
    match spec.memory_bytes {
        Some(limit) if limit < needed => return Err(StartError::MemoryTooSmall { limit, needed }),
        _ => {}
    }
    if spec.fuel.is_some() && !program.form().fuel {
        return Err(StartError::NoFuel);
    }
    if let Some((import, annotation)) = first_denied(&program.inner.imports, &spec.grants) {
        return Err(StartError::NotGranted { import: import.to_owned(), annotation });
    }
    let is_missing = |mount: &&Mount| mount.opened.is_none() && mount.made_by.is_none() && !mount.host_dir.is_dir();
    if let Some(mount) = spec.mounts.iter().find(is_missing) {
        return Err(StartError::NoVolume { guest_path: mount.guest_path.clone() });
    }
    crate::mounts::working(spec).map(drop).map_err(|why| StartError::NoWorkingDirectory {
        path: spec.working_dir.clone().unwrap_or_default(),
        why: why.to_string(),
    })
}

/// How many requests may run at once: as many instances as fit the memory limit, and never the whole pool.
fn share(program: &Program, spec: &ServeSpec, slots_max: usize) -> usize {
    let by_memory = spec.common.memory_bytes.map_or(u64::MAX, |limit| limit / program.inner.initial_bytes.max(1));
    let by_memory = usize::try_from(by_memory).unwrap_or(usize::MAX);
    let by_pool = slots_max / program.inner.slots as usize / 2;
    let most = by_memory.min(by_pool).clamp(1, CONCURRENCY_MAX);
    spec.concurrency.map_or(most, |asked| asked.clamp(1, most))
}

impl Inner {
    async fn answer(self: Arc<Self>, request: HttpRequest, connection: Connection) -> Result<HttpResponse, CallError> {
        let container = Arc::clone(&self.container);
        let answered = self.take(request, connection).await;
        match &answered {
            Err(CallError::Deadline) => container.counts.timeouts.fetch_add(1, Ordering::Relaxed),
            Err(CallError::Overloaded) => container.counts.overloads.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        answered
    }

    async fn take(self: Arc<Self>, request: HttpRequest, connection: Connection) -> Result<HttpResponse, CallError> {
        if connection.depth > DEPTH_MAX {
            return Err(CallError::LoopDetected);
        }
        if self.draining.load(Ordering::Relaxed) || self.container.has_ended() {
            return Err(self.refused());
        }
        self.container.counts.requests.fetch_add(1, Ordering::Relaxed);
        self.container.families.requests.inc();
        let since = Instant::now();
        let connection = connection.by(since + self.timeout);
        let deadline = connection.deadline;
        let place = self.admit(since, deadline).await?;
        if !pay_debt(&self.container, deadline).await {
            return Err(CallError::Deadline);
        }
        let response = match &self.shared {
            Some(shared) => shared.answer(&self, request, connection, place).await,
            None => self.start(request, connection, place)?.await,
        };
        self.first_byte(since);
        response
    }

    /// Remembers how long the first response took.
    fn first_byte(&self, since: Instant) {
        let first = &self.container.counts.first_byte_ns;
        if first.load(Ordering::Relaxed) == 0 {
            first.store(crate::clock::nanos(since.elapsed()).max(1), Ordering::Relaxed);
        }
    }

    /// As a connection to a port where nobody listens any more.
    fn refused(&self) -> CallError {
        CallError::Refused { address: (self.container.spec.address, 0).into() }
    }

    /// Waits for the container's share and the pool to have room.
    async fn admit(&self, since: Instant, deadline: Option<Instant>) -> Result<Place, CallError> {
        let share = self.permit(&self.share, 1, deadline).await?;
        let code = self.code.load_full();
        let slots = match &code.maker.host.slots {
            Some(slots) if self.idle.is_none() && self.shared.is_none() => {
                Some(self.permit(slots, code.program.inner.slots, deadline).await?)
            }
            _ => None,
        };
        self.container.counts.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Place { code, container: Arc::clone(&self.container), since, _share: share, _slots: slots })
    }

    async fn permit(
        &self,
        semaphore: &Arc<Semaphore>,
        count: u32,
        deadline: Option<Instant>,
    ) -> Result<OwnedSemaphorePermit, CallError> {
        match Arc::clone(semaphore).try_acquire_many_owned(count) {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(self.refused()),
            Err(TryAcquireError::NoPermits) => {}
        }
        let queued = Queued(&self.queued);
        if self.queued.fetch_add(1, Ordering::Relaxed) >= self.queue_max {
            return Err(CallError::Overloaded);
        }
        let waiting = Arc::clone(semaphore).acquire_many_owned(count);
        let outcome = match deadline {
            Some(deadline) => {
                tokio::time::timeout_at(deadline.into(), waiting).await.map_err(|_| CallError::Deadline)?
            }
            None => waiting.await,
        };
        drop(queued);
        outcome.map_err(|_| self.refused())
    }

    fn start(
        self: &Arc<Self>,
        mut request: HttpRequest,
        connection: Connection,
        place: Place,
    ) -> Result<Exchange, CallError> {
        let host_failed = |error: wasmtime::Error| CallError::Guest(format!("{error:#}"));
        let deadline = connection.deadline;
        let code = Arc::clone(&place.code);
        let mut instance = self.instance(&code, connection).map_err(host_failed)?;
        instance.meter.start(deadline);
        let meter = Arc::clone(&instance.meter);
        let (sender, head) = oneshot::channel::<Head>();
        let scheme = scheme(&request);
        give_host(&mut request, &self.container);
        let lasting = matches!(code.maker.pre, HttpPre::Next(_));
        let call = if lasting {
            Call::Next(Incoming { request, scheme, head: sender })
        } else {
            let mut http = instance.store.data_mut().http();
            let request = http
                .new_incoming_request(p2_scheme(&scheme), request.map(|body| body.map_err(from_body_error)))
                .map_err(host_failed)?;
            Call::First(request, http.new_response_outparam(sender).map_err(host_failed)?)
        };
        // Fields drop in this order: the room is given back when the instance has left it.
        let mut live = Live { instance, place };
        let server = Arc::clone(self);
        let future = Box::pin(async move {
            let outcome = match (&code.maker.pre, call) {
                (HttpPre::First(pre), Call::First(request, out)) => live.instance.handle(pre, request, out).await,
                (HttpPre::Next(pre), Call::Next(incoming)) => live.instance.handle_next(pre, incoming).await,
                _ => Ok(()),
            };
            server.container.burnt(&live.instance.store);
            let verdict = server.judge(outcome, &mut live.instance);
            let Live { instance, place } = live;
            match (&verdict, &server.idle) {
                (Ok(()), Some(idle)) if !server.container.has_ended() => idle.put(instance),
                _ => drop(instance),
            }
            drop(place);
            verdict
        });
        let run = GuestRun::new(future, Arc::clone(&meter), Arc::clone(&self.container), deadline);
        Ok(Exchange::new(Stage::begin(run), head, meter, lasting))
    }

    /// An instance for the next request: a kept one, or a store for a new one.
    fn instance(&self, code: &Code, connection: Connection) -> wasmtime::Result<Instance> {
        let mut instance = match self.idle.as_ref().and_then(Idle::take) {
            Some(mut kept) => {
                let guest = kept.store.data_mut();
                guest.hooks.connection = connection;
                guest.memory.forget_refusal();
                kept
            }
            None => Instance::new(store(&code.maker.host.engine, &self.container, connection)?, &self.container),
        };
        if code.program.form().fuel {
            instance.store.set_fuel(self.container.spec.fuel.unwrap_or(u64::MAX))?;
        }
        Ok(instance)
    }

    /// What came of a request, with its consequences for the container.
    pub fn judge(&self, outcome: wasmtime::Result<()>, instance: &mut Instance) -> Verdict {
        let error = match outcome {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if let Some(I32Exit(0)) = error.downcast_ref::<I32Exit>() {
            // How Go's programs return. The instance cannot be entered again.
            instance.retire();
            return Ok(());
        }
        // Before anything else: the store goes next, and with it the channels that the response's body is read from.
        instance.meter.set_failed();
        let memory = &instance.store.data().memory;
        let failure = if !instance.is_made() && memory.was_refused() && memory.shares() {
            // There was no room to begin with, because others have grown.
            Failure::Busy
        } else {
            Failure::of(&error, memory.was_refused())
        };
        self.container.families.failed(failure.reason());
        match &failure {
            Failure::Trap(text) => self.trapped(text),
            Failure::Fuel(text) => self.trapped(&format!("FuelExhausted: {text}")),
            Failure::Exit(code) => {
                self.trapped(&format!("the component exited with code {code} while it served a request"))
            }
            Failure::OutOfMemory(text) => {
                self.trapped(text);
                self.container.end_out_of_memory(text);
                self.share.close();
            }
            Failure::Deadline | Failure::Stopped | Failure::Busy => {}
        }
        Err(failure)
    }

    fn trapped(&self, text: &str) {
        self.container.counts.traps.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(container = %self.container.spec.name, "a request failed: {text}");
        if let Some(on_trap) = &self.on_trap {
            on_trap(text);
        }
    }

    pub fn idle(&self) -> Option<&Idle> {
        self.idle.as_ref()
    }

    pub fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }
}

/// A request as the component's handler takes it.
#[allow(clippy::large_enum_variant, reason = "one a request, on the stack")]
enum Call {
    First(Resource<HostIncomingRequest>, Resource<HostResponseOutparam>),
    Next(Incoming),
}

struct Live {
    instance: Instance,
    place: Place,
}

struct Queued<'a>(&'a AtomicUsize);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A store with every limit in place.
pub(crate) fn store(
    engine: &wasmtime::Engine,
    container: &Arc<Container>,
    connection: Connection,
) -> wasmtime::Result<(Store<Guest>, Arc<Meter>)> {
    let mut store = Store::new(engine, Guest::new(container, connection));
    store.limiter(|guest| &mut guest.memory);
    store.set_hostcall_fuel(container.spec.handles.call_bytes);
    // Those of resources that a program makes for its own parts among them, of tasks and of streams: each has a place in a table
    // of the component, and those of the host one in the guest's as well, which is looked at first.
    store.set_max_component_handles(container.spec.handles.handles.saturating_mul(2));
    let meter = Meter::new();
    meter::attach(&mut store, &meter, container);
    Ok((store, meter))
}

fn p2_scheme(scheme: &http::uri::Scheme) -> Scheme {
    if *scheme == http::uri::Scheme::HTTPS { Scheme::Https } else { Scheme::Http }
}

pub(crate) fn scheme(request: &HttpRequest) -> http::uri::Scheme {
    let https = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"https");
    let forwarded = request.headers().get("x-forwarded-proto").is_some_and(https);
    let secure = forwarded || request.uri().scheme() == Some(&http::uri::Scheme::HTTPS);
    if secure { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP }
}

/// A request without a host, or with one that is no text, is for this container all the same.
pub(crate) fn give_host(request: &mut HttpRequest, container: &Container) {
    if request.uri().authority().is_some() || request.headers().get(HOST).is_some_and(|host| host.to_str().is_ok()) {
        return;
    }
    let address = container.spec.address;
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    if let Ok(host) = HeaderValue::try_from(host) {
        request.headers_mut().insert(HOST, host);
    }
}
