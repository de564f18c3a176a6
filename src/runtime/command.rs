//! Commands: one instance that runs until it returns.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_task::FallibleTask;
use futures::future::BoxFuture;
use network::Connection;
use parking_lot::Mutex;

use crate::container::{Account, Container, KILLED};
use crate::failure::Failure;
use crate::program::{Program, Ready, RunPre};
use crate::server::{StartError, check, store};
use crate::spec::{Exit, Limits, Reason, RunSpec, Stats};
use crate::task::{GuestRun, Verdict};

/// The exit code of a trap: 128 + SIGABRT, which is what a native program that aborts ends with.
const TRAPPED: i32 = 134;

/// A command that was started. Dropping it kills it.
pub struct Running {
    container: Arc<Container>,
    task: Mutex<Option<FallibleTask<()>>>,
}

impl Running {
    pub(crate) fn start(program: &Program, spec: &RunSpec, container: Arc<Container>) -> Result<Self, StartError> {
        if !matches!(program.inner.ready, Ready::Command(_)) {
            return Err(StartError::WrongKind(world::COMMAND_EXPORT));
        }
        check(program, &spec.common)?;
        let deadline = spec.deadline.map(|limit| Instant::now() + limit);
        let run = guest(program, &container, deadline).map_err(|error| StartError::Engine(format!("{error:#}")))?;
        let task = {
            let container = Arc::clone(&container);
            let guest = run.hand_over();
            container.group.spawn({
                let container = Arc::clone(&container);
                async move {
                    let lost = || Err(Failure::Trap("the host failed while it ran the component".to_owned()));
                    let verdict = guest.await.unwrap_or_else(lost);
                    conclude(&container, verdict);
                }
            })
        };
        Ok(Self { container, task: Mutex::new(Some(task)) })
    }

    /// Resolves when the command has ended, with how.
    pub fn exit(&self) -> BoxFuture<'static, Exit> {
        self.container.exit()
    }

    /// Asks the command to end, which those hear that import `coracle:lifecycle`, waits for it at most `grace`, then kills
    /// it: WASI has no signals.
    pub async fn stop(&self, grace: Duration) {
        self.container.stopping.cancel();
        if tokio::time::timeout(grace, self.container.exit()).await.is_err() {
            self.container.end(KILLED, Reason::Error, "stopped".to_owned());
        }
        drop(self.task.lock().take());
    }

    /// Where it books what it uses, for what is run beside it.
    pub fn account(&self) -> Account {
        self.container.account()
    }

    /// Holds it to other limits from now on.
    pub fn resize(&self, limits: Limits) {
        self.container.resize(limits);
    }

    /// What it uses and has used.
    pub fn stats(&self) -> Stats {
        self.container.stats()
    }

    /// Of that, the time on a core, and how long the first response took.
    pub fn pulse(&self) -> (Duration, Option<Duration>) {
        self.container.pulse()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.container.end(KILLED, Reason::Error, "stopped".to_owned());
    }
}

/// Prepares the guest; it runs when it is polled.
fn guest(program: &Program, container: &Arc<Container>, deadline: Option<Instant>) -> wasmtime::Result<GuestRun> {
    let Ready::Command(maker) = &program.inner.ready else { return Err(wasmtime::Error::msg("not a command")) };
    let connection = Connection { source: container.spec.address, deadline, depth: 0 };
    let (mut store, meter) = store(&maker.host.engine, container, connection)?;
    meter.start(deadline);
    if program.form().fuel {
        store.set_fuel(container.spec.fuel.unwrap_or(u64::MAX))?;
    }
    let program = program.clone();
    let owner = Arc::clone(container);
    let future = Box::pin(async move {
        let Ready::Command(maker) = &program.inner.ready else { return Ok(()) };
        owner.families.instances.inc();
        let outcome = async {
            match &maker.pre {
                RunPre::First(pre) => {
                    let command = pre.instantiate_async(&mut store).await?;
                    command.wasi_cli_run().call_run(&mut store).await
                }
                RunPre::Next(pre) => {
                    let command = pre.instantiate_async(&mut store).await?;
                    store.run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await).await?
                }
            }
        };
        let outcome = outcome.await;
        owner.burnt(&store);
        let verdict = match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(())) if !store.data().memory.was_refused() => Err(Failure::Exit(1)),
            Ok(Err(())) => Err(Failure::OutOfMemory("the component then ended with an error".to_owned())),
            Err(error) => Err(Failure::of(&error, store.data().memory.was_refused())),
        };
        owner.families.instances.dec();
        verdict
    });
    Ok(GuestRun::new(future, meter, Arc::clone(container), deadline))
}

/// Ends the container as its command ended.
fn conclude(container: &Container, verdict: Verdict) {
    let failure = match verdict {
        Ok(()) | Err(Failure::Exit(0)) => return container.end(0, Reason::Completed, String::new()),
        Err(failure) => failure,
    };
    container.families.failed(failure.reason());
    match failure {
        Failure::Exit(code) => container.end(code, Reason::Error, String::new()),
        Failure::Trap(text) => {
            container.counts.traps.fetch_add(1, Ordering::Relaxed);
            container.end(TRAPPED, Reason::Error, text);
        }
        Failure::OutOfMemory(text) => container.end_out_of_memory(&text),
        Failure::Fuel(text) => {
            let budget = container.spec.fuel.unwrap_or_default();
            container.end(KILLED, Reason::FuelExhausted, format!("the budget of {budget} fuel is spent; {text}"));
        }
        Failure::Deadline => container.end(KILLED, Reason::DeadlineExceeded, "the deadline passed".to_owned()),
        Failure::Stopped => container.end(KILLED, Reason::Error, "stopped".to_owned()),
        Failure::Busy => container.end(KILLED, Reason::Error, "there was no room for an instance".to_owned()),
    }
}
