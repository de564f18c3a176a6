//! Instances of 0.3 that answer many requests at once.
//!
//! Such an instance belongs to no request, so it runs on the bulk threads, and a request that is over its deadline or was
//! given up by its caller cannot be taken out of it: the instance gets no new ones, and goes with the last that it has.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_task::FallibleTask;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use network::{BodyError, CallError, Connection, HttpRequest, HttpResponse};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use wasmtime::AsContextMut;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use world::next::ServicePre;

use crate::exchange::{Head, call_error, promised, refusal};
use crate::failure::Failure;
use crate::guest::Guest;
use crate::meter::Meter;
use crate::next::{self, Incoming};
use crate::outbound::to_body_error;
use crate::program::HttpPre;
use crate::reuse::Instance;
use crate::server::{Inner, Place, give_host, scheme, store};
use crate::task::{GuestRun, Verdict};

/// How many requests an instance has at once at most.
const REQUESTS_AT_ONCE: usize = 128;
/// An instance that leaks does not do so for ever.
const REQUESTS_MAX: usize = 100_000;

/// The instances of one container that take requests.
pub(crate) struct Shared {
    workers: Mutex<Vec<Arc<Worker>>>,
    instances_max: usize,
    /// Fuel is given to a request, so one that counts it has its instance for itself.
    alone: bool,
}

/// One instance, and those who wait for it.
struct Worker {
    jobs: mpsc::UnboundedSender<Job>,
    in_flight: AtomicUsize,
    served: AtomicUsize,
    /// It has computed for a whole slice and goes on: a new request would wait.
    busy: AtomicBool,
    idle_since: Mutex<Instant>,
    meter: Arc<Meter>,
    ended: watch::Receiver<Option<Failure>>,
    /// Dropping it drops the instance.
    task: Mutex<Option<FallibleTask<Verdict>>>,
}

struct Job {
    incoming: Incoming,
    connection: Connection,
}

impl Shared {
    /// At most `instances_max` instances, and never more than cores: each runs on one.
    pub fn new(instances_max: usize, alone: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let instances_max = if alone { instances_max } else { instances_max.min(cores) };
        Self { workers: Mutex::default(), instances_max: instances_max.max(1), alone }
    }

    /// Has an instance answer a request.
    pub async fn answer(
        &self,
        server: &Arc<Inner>,
        mut request: HttpRequest,
        connection: Connection,
        place: Place,
    ) -> Result<HttpResponse, CallError> {
        let deadline = connection.deadline;
        let worker = self.worker(server)?;
        let used = Used { server: Arc::clone(server), worker, whole: false, _place: place };
        give_host(&mut request, &server.container);
        let (sender, head) = oneshot::channel::<Head>();
        let incoming = Incoming { scheme: scheme(&request), request, head: sender };
        // Where nobody takes it any more, the head says so.
        let _ = used.worker.jobs.send(Job { incoming, connection });
        let waiting = async {
            match head.await {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(code)) => Err(refusal(code)),
                Err(_) => Err(used.worker.failure().await),
            }
        };
        let outcome = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), waiting).await.unwrap_or_else(|_| {
                server.container.families.failed(Failure::Deadline.reason());
                Err(CallError::Deadline)
            }),
            None => waiting.await,
        };
        let timer = deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline.into())));
        outcome.map(|response| {
            let left = promised(response.headers());
            response.map(|body| UnsyncBoxBody::new(SharedBody { body: Some(body), left, timer, used }))
        })
    }

    /// One that waits, a new one, or the one with the least to do; counted in.
    fn worker(&self, server: &Arc<Inner>) -> Result<Arc<Worker>, CallError> {
        let mut workers = self.workers.lock();
        let at_once = if self.alone { 1 } else { REQUESTS_AT_ONCE };
        workers.retain(|worker| !worker.jobs.is_closed() && worker.served.load(Ordering::Relaxed) < REQUESTS_MAX);
        let free = workers
            .iter()
            .find(|worker| worker.in_flight.load(Ordering::Relaxed) < at_once && !worker.busy.load(Ordering::Relaxed));
        let found = match free {
            Some(worker) => Arc::clone(worker),
            None if workers.len() < self.instances_max => {
                let made = start(server).map_err(|error| CallError::Guest(format!("{error:#}")))?;
                workers.push(Arc::clone(&made));
                made
            }
            None => {
                let least = workers.iter().min_by_key(|worker| worker.in_flight.load(Ordering::Relaxed));
                Arc::clone(least.ok_or(CallError::Overloaded)?)
            }
        };
        found.in_flight.fetch_add(1, Ordering::Relaxed);
        found.served.fetch_add(1, Ordering::Relaxed);
        Ok(found)
    }

    /// Gives an instance no more requests; it goes with the last that it has.
    fn retire(&self, worker: &Arc<Worker>) {
        self.workers.lock().retain(|other| !Arc::ptr_eq(other, worker));
    }

    pub fn drop_older_than(&self, age: Duration) {
        let idle = |worker: &Worker| {
            worker.in_flight.load(Ordering::Relaxed) == 0 && worker.idle_since.lock().elapsed() >= age
        };
        let mut workers = self.workers.lock();
        let (old, kept) = std::mem::take(&mut *workers).into_iter().partition(|worker| idle(worker));
        *workers = kept;
        drop(workers);
        let old: Vec<Arc<Worker>> = old;
        drop(old);
    }
}

impl Worker {
    /// What became of the instance, for a request that it left without an answer.
    async fn failure(&self) -> CallError {
        let mut ended = self.ended.clone();
        let failure = ended.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
        failure.map_or_else(
            || CallError::Guest("its instance ended before it set a response".to_owned()),
            |failure| call_error(&failure),
        )
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.task.get_mut().take());
    }
}

/// A request's hold on its instance.
struct Used {
    server: Arc<Inner>,
    worker: Arc<Worker>,
    /// It was answered to the end.
    whole: bool,
    _place: Place,
}

impl Drop for Used {
    fn drop(&mut self) {
        if !self.whole
            && let Some(shared) = self.server.shared()
        {
            shared.retire(&self.worker);
        }
        *self.worker.idle_since.lock() = Instant::now();
        self.worker.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts an instance on the bulk threads.
fn start(server: &Arc<Inner>) -> wasmtime::Result<Arc<Worker>> {
    let container = &server.container;
    let nobody = Connection { source: container.spec.address, deadline: None, depth: 0 };
    let code = server.code.load_full();
    let mut instance = Instance::new(store(&code.maker.host.engine, container, nobody)?, container);
    instance.meter.start(None);
    if code.program.form().fuel {
        instance.store.set_fuel(container.spec.fuel.unwrap_or(u64::MAX))?;
    }
    let (jobs, queue) = mpsc::unbounded_channel();
    let (told, ended) = watch::channel(None);
    let meter = Arc::clone(&instance.meter);
    let worker = Arc::new(Worker {
        jobs,
        in_flight: AtomicUsize::new(0),
        served: AtomicUsize::new(0),
        busy: AtomicBool::new(false),
        idle_since: Mutex::new(Instant::now()),
        meter: Arc::clone(&meter),
        ended,
        task: Mutex::default(),
    });
    // The container's own requests hold the server; its instances do not, or neither would ever go.
    let (of, program) = (Arc::downgrade(server), Arc::clone(&code.maker));
    let fuel = code.program.form().fuel.then(|| container.spec.fuel.unwrap_or(u64::MAX));
    let serving = async move {
        let outcome = match &program.pre {
            HttpPre::Next(pre) => serve(&mut instance, pre, queue, fuel).await,
            HttpPre::First(_) => Ok(()),
        };
        let Some(server) = of.upgrade() else { return Ok(()) };
        server.container.burnt(&instance.store);
        let verdict = server.judge(outcome, &mut instance);
        told.send_replace(verdict.as_ref().err().cloned());
        drop(instance);
        verdict
    };
    let weak = Arc::downgrade(&worker);
    let watched = Busy { future: Box::pin(serving), meter: Arc::clone(&meter), worker: weak };
    let run = GuestRun::new(Box::pin(watched), meter, Arc::clone(container), None);
    *worker.task.lock() = Some(run.hand_over());
    Ok(worker)
}

/// Keeps [`Worker::busy`].
struct Busy {
    future: futures::future::BoxFuture<'static, Verdict>,
    meter: Arc<Meter>,
    worker: std::sync::Weak<Worker>,
}

impl Future for Busy {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let polled = self.future.as_mut().poll(cx);
        if let Some(worker) = self.worker.upgrade() {
            worker.busy.store(self.meter.has_yielded(), Ordering::Relaxed);
        }
        polled
    }
}

/// The life of an instance: requests come, are answered beside each other, and go.
async fn serve(
    instance: &mut Instance,
    pre: &ServicePre<Guest>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    fuel: Option<u64>,
) -> wasmtime::Result<()> {
    let service = pre.instantiate_async(&mut instance.store).await?;
    instance.set_made();
    let outcome = instance.store.run_concurrent(async |accessor| {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                job = jobs.recv() => {
                    let Some(job) = job else { break };
                    if job.incoming.head.is_closed() {
                        continue;
                    }
                    begin(accessor, &job.connection, running.is_empty(), fuel)?;
                    running.push(next::answer(accessor, &service, job.incoming));
                }
                Some(answered) = running.next() => answered?,
            }
        }
        while let Some(answered) = running.next().await {
            answered?;
        }
        wasmtime::error::Ok(())
    });
    outcome.await?
}

/// A request's own calls carry its deadline and depth. Whose a call is cannot be told where several run, so theirs carry
/// the latest deadline and the greatest depth: loops still end.
fn begin(accessor: &Accessor<Guest>, connection: &Connection, alone: bool, fuel: Option<u64>) -> wasmtime::Result<()> {
    accessor.with(|mut access| {
        if let Some(fuel) = fuel {
            access.as_context_mut().set_fuel(fuel)?;
        }
        let guest = access.data_mut();
        let known = &mut guest.hooks.connection;
        if alone {
            *known = connection.clone();
            guest.memory.forget_refusal();
        } else {
            known.depth = known.depth.max(connection.depth);
            known.deadline = known.deadline.zip(connection.deadline).map(|(one, other)| one.max(other));
        }
        Ok(())
    })
}

/// The body of an instance that goes on.
struct SharedBody {
    body: Option<HyperOutgoingBody>,
    /// What is left of the promised length.
    left: Option<u64>,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    used: Used,
}

impl http_body::Body for SharedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                    // A connection that knows the length stops asking once it has every byte.
                    this.used.whole |= *left == 0;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(to_body_error(error)))),
            Poll::Ready(None) if this.used.worker.meter.has_failed() && !this.used.whole => {
                this.body = None;
                Poll::Ready(Some(Err(BodyError::Guest("its instance failed before it finished the body".to_owned()))))
            }
            Poll::Ready(None) => {
                this.used.whole = true;
                this.body = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if this.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
                    this.body = None;
                    return Poll::Ready(Some(Err(BodyError::Deadline)));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }
}
