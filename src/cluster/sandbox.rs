//! `node::Sandbox` over `runtime`, `images` and `network`: the agent decides, these carry out.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base::Tasks;
use futures::FutureExt;
use futures::future::BoxFuture;
use images::{Artifacts, Resolved};
use network::{HttpEndpoint, Listener, PodNetwork};
use node::{Container, ContainerSpec, Exit, ExitReason, Form, PrepareError, Sandbox, StartError, Stats};
use parking_lot::Mutex;
use runtime::{Common, Kind, Program, RunSpec, Runtime, ServeSpec};
use tokio::io::AsyncWrite;

use crate::input::Input;
use crate::outbound::PodOutbound;

/// Runs containers in this process.
pub struct WasmSandbox {
    runtime: Runtime,
    artifacts: Artifacts,
    network: PodNetwork,
    tasks: Tasks,
}

impl WasmSandbox {
    /// A sandbox whose containers are reached over `network`.
    pub fn new(runtime: Runtime, artifacts: Artifacts, network: PodNetwork, tasks: Tasks) -> Self {
        Self { runtime, artifacts, network, tasks }
    }

    /// Compiles when nobody has before, and maps the result.
    async fn program(&self, image: &Resolved, form: Form) -> Result<Program, PrepareError> {
        let form = runtime::Form { fuel: form.fuel };
        let failed = |error: &dyn std::error::Error| PrepareError::Failed(base::report(error));
        let key = self.runtime.engine_key(form).map_err(|error| failed(&error))?;
        let compiler = self.runtime.clone();
        let compile = move |component: &[u8]| compiler.compile(component, form);
        let path = self.artifacts.get_or_compile(&image.component, &image.path, &key, compile).await;
        let path = path.map_err(|error| match error {
            images::ArtifactError::Compile(error) => PrepareError::Unfit(error.to_string()),
            other => failed(&other),
        })?;
        self.runtime.load(&path, form).map_err(|error| PrepareError::Unfit(base::report(&error)))
    }

    fn serve(&self, program: &Program, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let address = SocketAddr::new(spec.address, spec.port);
        let spec = self.serve_spec(spec);
        let again = self.again(program, &spec.common);
        let server = self.runtime.serve(program, spec).map_err(|error| refused(&error))?;
        let server = Arc::new(server);
        let endpoint: Arc<dyn HttpEndpoint> = Arc::clone(&server) as Arc<dyn HttpEndpoint>;
        let listener =
            self.network.listen_http(address, endpoint).map_err(|_| StartError::PortInUse(address.port()))?;
        let container = Arc::new(Serving { server, listener: Mutex::new(Some(listener)), again });
        self.tasks.job("http container", {
            let container = Arc::clone(&container);
            async move {
                container.server.exit().await;
                drop(container.listener.lock().take());
            }
        });
        Ok(container)
    }

    fn run(&self, program: &Program, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let (deadline, stdin) = (spec.deadline, spec.stdin);
        let mut common = self.common(spec);
        let again = self.again(program, &common);
        let input = (stdin != node::Stdin::None).then(|| {
            let (input, reader) = Input::new(stdin == node::Stdin::Once);
            common.stdin = Some(runtime::Stdin::new(reader));
            input
        });
        let running = self.runtime.run(program, RunSpec { common, deadline });
        let running = Arc::new(running.map_err(|error| refused(&error))?);
        // A command that nobody holds is killed; this one lives as long as it runs.
        self.tasks.job("command container", {
            let running = Arc::clone(&running);
            async move {
                running.exit().await;
            }
        });
        Ok(Arc::new(Command { running, again: Some(again), input }))
    }

    fn again(&self, program: &Program, common: &Common) -> Again {
        Again { runtime: self.runtime.clone(), program: program.clone(), common: common.clone() }
    }

    fn serve_spec(&self, spec: ContainerSpec) -> ServeSpec {
        ServeSpec {
            request_timeout: spec.request_timeout,
            reuse: spec.reuse,
            concurrency: spec.max_concurrent_requests,
            on_trap: Some(Arc::clone(&spec.on_trap)),
            common: self.common(spec),
            ..ServeSpec::default()
        }
    }

    fn common(&self, spec: ContainerSpec) -> Common {
        let outbound = PodOutbound::new(self.network.clone(), spec.id.namespace.clone(), spec.egress);
        Common {
            name: spec.id.to_string(),
            args: spec.args,
            env: spec.env,
            mounts: spec.mounts.into_iter().map(mount).collect(),
            address: spec.address,
            memory_bytes: spec.memory_bytes,
            cpu_millis: spec.cpu_millis,
            cpu_weight: spec.cpu_weight,
            fuel: spec.fuel,
            output: Arc::new(Lines(spec.output)),
            stdin: None,
            outbound: Some(Arc::new(outbound)),
        }
    }
}

#[async_trait]
impl Sandbox for WasmSandbox {
    async fn prepare(&self, image: &Resolved, form: Form) -> Result<(), PrepareError> {
        self.program(image, form).await.map(drop)
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let form = Form { fuel: spec.fuel.is_some() };
        let program = self.program(&spec.image, form).await.map_err(|error| StartError::Failed(error.to_string()))?;
        match program.kind() {
            Kind::Http => self.serve(&program, spec),
            Kind::Command => self.run(&program, spec),
        }
    }
}

fn refused(error: &runtime::StartError) -> StartError {
    StartError::Failed(base::report(error))
}

fn mount(mount: node::Mount) -> runtime::Mount {
    runtime::Mount { host_dir: mount.host_dir, guest_path: mount.guest_path, read_only: mount.read_only }
}

fn exit(exit: runtime::Exit) -> Exit {
    let reason = match exit.reason {
        runtime::Reason::Completed => ExitReason::Completed,
        runtime::Reason::Error => ExitReason::Error,
        runtime::Reason::OomKilled => ExitReason::OomKilled,
        runtime::Reason::FuelExhausted => ExitReason::FuelExhausted,
        runtime::Reason::DeadlineExceeded => ExitReason::DeadlineExceeded,
    };
    Exit { code: exit.code, reason, message: exit.message, started: exit.started, finished: exit.finished }
}

fn limits(limits: node::Limits) -> runtime::Limits {
    runtime::Limits {
        memory_bytes: limits.memory_bytes,
        cpu_millis: limits.cpu_millis,
        cpu_weight: limits.cpu_weight,
    }
}

fn stats(stats: runtime::Stats) -> Stats {
    Stats {
        memory_bytes: stats.memory_bytes,
        memory_bytes_peak: stats.memory_bytes_peak,
        growth_refused: stats.growth_refused,
        cpu_time: stats.cpu_time,
        throttled_time: stats.throttled_time,
        throttled: stats.throttled,
        fuel: stats.fuel,
        latency: stats.latency,
        first_byte: stats.first_byte,
        requests: stats.requests,
        traps: stats.traps,
        in_flight: stats.in_flight,
    }
}

/// The agent's output as the runtime's.
struct Lines(Arc<dyn node::Output>);

impl runtime::Output for Lines {
    fn write(&self, stream: runtime::Stream, line: &[u8]) {
        let stream = match stream {
            runtime::Stream::Stdout => node::Stream::Stdout,
            runtime::Stream::Stderr => node::Stream::Stderr,
        };
        self.0.write(stream, line);
    }

    fn room(&self) -> Option<BoxFuture<'static, ()>> {
        self.0.room()
    }

    fn bytes(&self, stream: runtime::Stream, bytes: &[u8]) -> bool {
        let stream = match stream {
            runtime::Stream::Stdout => node::Stream::Stdout,
            runtime::Stream::Stderr => node::Stream::Stderr,
        };
        self.0.bytes(stream, bytes)
    }
}

/// What it takes to run a container's component once more.
struct Again {
    runtime: Runtime,
    program: Program,
    common: Common,
}

impl Again {
    fn exec(&self, exec: node::Exec) -> Result<Arc<dyn Container>, StartError> {
        if self.program.kind() != Kind::Command {
            let why = "the container's component exports no wasi:cli/run, so it runs no commands".to_owned();
            return Err(StartError::Failed(why));
        }
        let common = Common {
            args: exec.args,
            stdin: exec.stdin.map(runtime::Stdin::new),
            output: Arc::new(Lines(exec.output)),
            ..self.common.clone()
        };
        let running = self.runtime.run(&self.program, RunSpec { common, deadline: None });
        Ok(Arc::new(Command { running: Arc::new(running.map_err(|error| refused(&error))?), again: None, input: None }))
    }
}

struct Serving {
    server: Arc<runtime::Server>,
    listener: Mutex<Option<Listener>>,
    again: Again,
}

impl Container for Serving {
    fn exit(&self) -> BoxFuture<'static, Exit> {
        self.server.exit().map(exit).boxed()
    }

    fn stop(&self, grace: Duration) -> BoxFuture<'static, ()> {
        let (server, listener) = (Arc::clone(&self.server), self.listener.lock().take());
        async move {
            let until = Instant::now() + grace;
            if let Some(listener) = listener {
                listener.close(grace).await;
            }
            server.stop(until.saturating_duration_since(Instant::now())).await;
        }
        .boxed()
    }

    fn stats(&self) -> Stats {
        stats(self.server.stats())
    }

    fn resize(&self, to: node::Limits) -> bool {
        self.server.resize(limits(to));
        true
    }

    fn exec(&self, exec: node::Exec) -> Result<Arc<dyn Container>, StartError> {
        self.again.exec(exec)
    }
}

struct Command {
    running: Arc<runtime::Running>,
    /// Nothing for what was itself run by exec.
    again: Option<Again>,
    input: Option<Input>,
}

impl Container for Command {
    fn exit(&self) -> BoxFuture<'static, Exit> {
        self.running.exit().map(exit).boxed()
    }

    fn stop(&self, grace: Duration) -> BoxFuture<'static, ()> {
        let running = Arc::clone(&self.running);
        async move { running.stop(grace).await }.boxed()
    }

    fn stats(&self) -> Stats {
        stats(self.running.stats())
    }

    fn resize(&self, to: node::Limits) -> bool {
        self.running.resize(limits(to));
        true
    }

    fn stdin(&self) -> Option<Pin<Box<dyn AsyncWrite + Send>>> {
        self.input.as_ref()?.lend().map(|lent| Box::pin(lent) as _)
    }

    fn exec(&self, exec: node::Exec) -> Result<Arc<dyn Container>, StartError> {
        let again = self.again.as_ref().ok_or_else(|| StartError::Failed("this is a command already".to_owned()))?;
        again.exec(exec)
    }
}
