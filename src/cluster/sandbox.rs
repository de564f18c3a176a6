//! `node::Sandbox` over `runtime`, `images` and `network`: the agent decides, these carry out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base::Tasks;
use futures::FutureExt;
use futures::future::BoxFuture;
use images::{Artifacts, ImageStore, Resolved};
use network::{HttpEndpoint, Listener, PodNetwork};
use node::{Container, ContainerSpec, Exit, ExitReason, Form, PrepareError, Sandbox, StartError, Stats};
use parking_lot::Mutex;
use runtime::{Common, Kind, Program, RunSpec, Runtime, ServeSpec};
use tokio::io::AsyncWrite;

use crate::compile::Programs;
use crate::egress::Egress;
use crate::errand::{self, Toolbox};
use crate::grants::granted;
use crate::input::Input;
use crate::outbound::PodOutbound;
use crate::sockets::PodSockets;
use crate::taps::{Tapped, Taps};
use crate::toolbox;

/// Runs containers in this process.
pub struct WasmSandbox {
    runtime: Runtime,
    programs: Arc<Programs>,
    toolbox: Arc<Toolbox>,
    network: PodNetwork,
    tasks: Tasks,
}

impl WasmSandbox {
    /// A sandbox whose containers are reached over `network`. Large components are compiled by the binary `compiler`, if there
    /// is one that knows [`crate::COMPILE_VERB`].
    pub fn new(
        runtime: Runtime,
        artifacts: Artifacts,
        images: ImageStore,
        compiler: Option<PathBuf>,
        network: PodNetwork,
        tasks: Tasks,
    ) -> Self {
        images.set_builtin(vec![toolbox::builtin()]);
        let programs = Arc::new(Programs { runtime: runtime.clone(), artifacts, compiler });
        let toolbox = Toolbox {
            runtime: runtime.clone(),
            programs: Arc::clone(&programs),
            images,
            tasks: tasks.clone(),
            program: tokio::sync::OnceCell::new(),
        };
        Self { runtime, programs, toolbox: Arc::new(toolbox), network, tasks }
    }

    fn serve(&self, program: &Program, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let address = SocketAddr::new(spec.address, spec.port);
        let root = spec.root.clone();
        let draft = program.is_draft().then(|| (spec.image.clone(), spec.id.namespace.clone()));
        let spec = self.serve_spec(spec);
        let common = spec.common.clone();
        let server = self.runtime.serve(program, spec).map_err(|error| refused(&error))?;
        let server = Arc::new(server);
        let again = self.again(program, Common { account: Some(server.account()), ..common }, root, false);
        let endpoint: Arc<dyn HttpEndpoint> = Arc::clone(&server) as Arc<dyn HttpEndpoint>;
        let listener =
            self.network.listen_http(address, endpoint).map_err(|_| StartError::PortInUse(address.port()))?;
        if let Some((image, namespace)) = draft {
            let (programs, server) = (Arc::clone(&self.programs), Arc::clone(&server));
            self.tasks.job("better code", async move {
                tokio::select! {
                    () = programs.improve(&server, &image, &namespace) => {}
                    _ = server.exit() => {}
                }
            });
        }
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
        let (deadline, stdin, tty, root) = (spec.deadline, spec.stdin, spec.tty, spec.root.clone());
        let is_toolbox = toolbox::is(&spec.image);
        let taps = Arc::new(if stdin == node::Stdin::None { Taps::default() } else { Taps::expecting() });
        let spec = ContainerSpec {
            output: Arc::new(Tapped { inner: Arc::clone(&spec.output), taps: Arc::clone(&taps) }),
            ..spec
        };
        let mut common = self.common(spec);
        if is_toolbox && !common.mounts.iter().any(|mount| mount.guest_path == "/") {
            let made = toolbox::make_root(&root, &common);
            let made = made.map_err(|error| StartError::Failed(format!("cannot make the root folder: {error}")))?;
            common.mounts.insert(0, made);
        }
        let again = common.clone();
        if is_toolbox {
            toolbox::complete(&mut common.env, tty);
        } else if tty {
            common.env.push(("TERM".to_owned(), "xterm".to_owned()));
        }
        let input = (stdin != node::Stdin::None).then(|| {
            let (input, reader) = Input::new(stdin == node::Stdin::Once);
            common.stdin = Some(if tty { runtime::Stdin::terminal(reader) } else { runtime::Stdin::new(reader) });
            input
        });
        let running = self.runtime.run(program, RunSpec { common, deadline });
        let running = Arc::new(running.map_err(|error| refused(&error))?);
        let again = self.again(program, Common { account: Some(running.account()), ..again }, root, is_toolbox);
        // A command that nobody holds is killed; this one lives as long as it runs.
        self.tasks.job("command container", {
            let (running, taps) = (Arc::clone(&running), Arc::clone(&taps));
            async move {
                running.exit().await;
                taps.end();
            }
        });
        Ok(Arc::new(Command { running, again: Some(again), input, taps, is_toolbox }))
    }

    fn again(&self, program: &Program, common: Common, root: node::Root, is_toolbox: bool) -> Again {
        let (runtime, toolbox) = (self.runtime.clone(), Arc::clone(&self.toolbox));
        Again { runtime, program: program.clone(), common, toolbox, root, is_toolbox }
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
        let egress = Egress { granted: spec.egress, on_denied: spec.on_denied };
        let outbound = PodOutbound::new(self.network.clone(), &spec.id.namespace, egress.clone());
        let sockets = PodSockets::new(self.network.clone(), &spec.id.namespace, spec.address, egress);
        Common {
            name: spec.id.to_string(),
            args: spec.args,
            env: spec.env,
            mounts: spec.mounts.into_iter().map(mount).collect(),
            address: spec.address,
            account: None,
            memory_bytes: spec.memory_bytes,
            cpu_millis: spec.cpu_millis,
            cpu_weight: spec.cpu_weight,
            fuel: spec.fuel,
            output: Arc::new(Lines(spec.output)),
            stdin: None,
            outbound: Some(Arc::new(outbound)),
            working_dir: spec.working_dir,
            sockets: Some(Arc::new(sockets)),
            handles: handles(&spec.handles),
            grants: granted(spec.grants, &spec.id.namespace),
        }
    }
}

#[async_trait]
impl Sandbox for WasmSandbox {
    async fn prepare(&self, image: &Resolved, form: Form, namespace: &str) -> Result<(), PrepareError> {
        self.programs.first(image, form, namespace).await.map(drop)
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let form = Form { fuel: spec.fuel.is_some() };
        let program = if spec.reuse {
            // Instances that live long had better be good from the start.
            self.programs.get(&spec.image, form, &spec.id.namespace).await
        } else {
            self.programs.first(&spec.image, form, &spec.id.namespace).await
        };
        let program = program.map_err(|error| StartError::Failed(error.to_string()))?;
        match program.kind() {
            Kind::Http => self.serve(&program, spec),
            Kind::Command => self.run(&program, spec),
        }
    }
}

fn refused(error: &runtime::StartError) -> StartError {
    match error {
        runtime::StartError::NotGranted { .. } => StartError::NotGranted(error.to_string()),
        _ => StartError::Failed(base::report(error)),
    }
}

fn handles(asked: &node::Handles) -> runtime::Handles {
    let usual = runtime::Handles::default();
    runtime::Handles {
        handles: asked.handles.unwrap_or(usual.handles),
        files: asked.files.unwrap_or(usual.files),
        sockets: asked.sockets.unwrap_or(usual.sockets),
        ..usual
    }
}

fn mount(mount: node::Mount) -> runtime::Mount {
    runtime::Mount {
        host_dir: mount.host_dir,
        opened: mount.opened,
        made_by: mount.made_by,
        guest_path: mount.guest_path,
        read_only: mount.read_only,
    }
}

pub(crate) fn exit(exit: runtime::Exit) -> Exit {
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
    runtime::Limits { memory_bytes: limits.memory_bytes, cpu_millis: limits.cpu_millis, cpu_weight: limits.cpu_weight }
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
        timeouts: stats.timeouts,
        overloads: stats.overloads,
        in_flight: stats.in_flight,
    }
}

/// The agent's output as the runtime's.
pub(crate) struct Lines(pub Arc<dyn node::Output>);

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
    /// With the container's account: what is run in it is its own to pay.
    common: Common,
    toolbox: Arc<Toolbox>,
    root: node::Root,
    is_toolbox: bool,
}

impl Again {
    /// Runs a command that ends with the container at the latest.
    fn exec(&self, exec: node::Exec, ended: BoxFuture<'static, Exit>) -> Result<Arc<dyn Container>, StartError> {
        let command = exec.args.first().map_or("", String::as_str);
        // Where the toolbox is what runs, a path may be a script.
        if toolbox::has(command) || (self.is_toolbox && command.contains('/')) {
            return Ok(self.toolbox.run(exec, &self.common, &self.root, ended));
        }
        if self.is_toolbox || command.is_empty() || self.program.kind() != Kind::Command {
            return Ok(errand::missing(&exec));
        }
        let common = Common {
            args: exec.args,
            stdin: exec
                .stdin
                .map(|reader| if exec.tty { runtime::Stdin::terminal(reader) } else { runtime::Stdin::new(reader) }),
            output: Arc::new(Lines(exec.output)),
            ..self.common.clone()
        };
        let running = self.runtime.run(&self.program, RunSpec { common, deadline: None });
        let running = Arc::new(running.map_err(|error| refused(&error))?);
        let command = Arc::downgrade(&running);
        self.toolbox.tasks.job("exec", {
            let exit = running.exit();
            async move {
                tokio::select! {
                    _ = exit => {}
                    _ = ended => {
                        if let Some(running) = command.upgrade() {
                            running.stop(Duration::ZERO).await;
                        }
                    }
                }
            }
        });
        Ok(Arc::new(Command { running, again: None, input: None, taps: Arc::default(), is_toolbox: false }))
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

    fn pulse(&self) -> (Duration, Option<Duration>) {
        self.server.pulse()
    }

    fn resize(&self, to: node::Limits) -> bool {
        self.server.resize(limits(to));
        true
    }

    fn exec(&self, exec: node::Exec) -> Result<Arc<dyn Container>, StartError> {
        self.again.exec(exec, self.exit())
    }
}

struct Command {
    running: Arc<runtime::Running>,
    /// Nothing for what was itself run by exec.
    again: Option<Again>,
    input: Option<Input>,
    taps: Arc<Taps>,
    is_toolbox: bool,
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

    fn pulse(&self) -> (Duration, Option<Duration>) {
        self.running.pulse()
    }

    fn resize(&self, to: node::Limits) -> bool {
        self.running.resize(limits(to));
        true
    }

    fn printed(&self, tty: bool) -> Option<(node::Reading, node::Reading)> {
        let (stdout, stderr) = self.taps.join(tty);
        Some((Box::new(stdout), Box::new(stderr)))
    }

    fn edits_lines(&self) -> bool {
        self.is_toolbox
    }

    fn stdin(&self) -> Option<Pin<Box<dyn AsyncWrite + Send>>> {
        self.input.as_ref()?.lend().map(|lent| Box::pin(lent) as _)
    }

    fn exec(&self, exec: node::Exec) -> Result<Arc<dyn Container>, StartError> {
        let again = self.again.as_ref().ok_or_else(|| StartError::Failed("this is a command already".to_owned()))?;
        again.exec(exec, self.exit())
    }
}
