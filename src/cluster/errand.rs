//! A command of the toolbox that runs in somebody's container.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base::Tasks;
use futures::FutureExt;
use futures::future::BoxFuture;
use images::ImageStore;
use node::{Container, Exit, ExitReason, Form, Stats, Stream};
use runtime::{Common, Program, RunSpec, Runtime, Stdin};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::compile::Programs;
use crate::sandbox::{Lines, exit};
use crate::toolbox;

/// The code of a command that could not be started.
const NOT_STARTED: i32 = 126;
const KILLED: i32 = 137;

/// What it takes to run the toolbox. It is compiled when it is first needed.
pub(crate) struct Toolbox {
    pub runtime: Runtime,
    pub programs: Arc<Programs>,
    pub images: ImageStore,
    pub tasks: Tasks,
    pub program: OnceCell<Program>,
}

impl Toolbox {
    async fn program(&self) -> Result<Program, String> {
        let compiled = self.program.get_or_try_init(async || {
            let image = toolbox::resolve(&self.images).await.map_err(|error| error.to_string())?;
            let made = self.programs.get(&image, Form::default(), "toolbox").await;
            made.map_err(|error| error.to_string())
        });
        compiled.await.cloned()
    }

    /// Runs a command with what a container was given, as a part of it: on its account, and no longer than it.
    pub fn run(
        self: &Arc<Self>,
        exec: node::Exec,
        common: &Common,
        root: &node::Root,
        container: BoxFuture<'static, Exit>,
    ) -> Arc<dyn Container> {
        let (told, ended) = watch::channel(None);
        let cancel = CancellationToken::new();
        let output = Arc::clone(&exec.output);
        let mut common = Common {
            args: exec.args,
            stdin: exec.stdin.map(|reader| if exec.tty { Stdin::terminal(reader) } else { Stdin::new(reader) }),
            output: Arc::new(Lines(exec.output)),
            fuel: None,
            ..common.clone()
        };
        toolbox::complete(&mut common.env, exec.tty);
        let (this, root, stop) = (Arc::clone(self), root.clone(), cancel.clone());
        self.tasks.job("toolbox", async move {
            let began = SystemTime::now();
            let work = async {
                let program = this.program().await?;
                if !common.mounts.iter().any(|mount| mount.guest_path == "/") {
                    let made = toolbox::make_root(&root, &common);
                    common.mounts.insert(0, made.map_err(|error| format!("cannot make the root folder: {error}"))?);
                }
                let running = this.runtime.run(&program, RunSpec { common, deadline: None });
                Ok::<_, String>(exit(running.map_err(|error| base::report(&error))?.exit().await))
            };
            let finished = tokio::select! {
                finished = work => finished,
                () = stop.cancelled() => Ok(ended_with(KILLED, "stopped", began)),
                _ = container => Ok(ended_with(KILLED, "", began)),
            };
            let exit = finished.unwrap_or_else(|why| {
                output.write(Stream::Stderr, why.as_bytes());
                ended_with(NOT_STARTED, &why, began)
            });
            let _ = told.send(Some(exit));
        });
        Arc::new(Errand { ended, cancel: cancel.clone(), _guard: cancel.drop_guard() })
    }
}

/// A command that is not there.
pub(crate) fn missing(exec: &node::Exec) -> Arc<dyn Container> {
    let command = exec.args.first().map_or("", String::as_str);
    let (code, words) = toolbox::not_found(command);
    exec.output.write(Stream::Stderr, words.as_bytes());
    let (_, ended) = watch::channel(Some(ended_with(code, "", SystemTime::now())));
    let cancel = CancellationToken::new();
    Arc::new(Errand { ended, cancel: cancel.clone(), _guard: cancel.drop_guard() })
}

fn ended_with(code: i32, message: &str, started: SystemTime) -> Exit {
    Exit { code, reason: ExitReason::Error, message: message.to_owned(), started, finished: SystemTime::now() }
}

struct Errand {
    ended: watch::Receiver<Option<Exit>>,
    cancel: CancellationToken,
    _guard: DropGuard,
}

impl Container for Errand {
    fn exit(&self) -> BoxFuture<'static, Exit> {
        let mut ended = self.ended.clone();
        async move {
            let found = ended.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
            found.unwrap_or_else(|| ended_with(KILLED, "stopped", SystemTime::now()))
        }
        .boxed()
    }

    fn stop(&self, grace: Duration) -> BoxFuture<'static, ()> {
        let (exit, cancel) = (self.exit(), self.cancel.clone());
        async move {
            if tokio::time::timeout(grace, exit).await.is_err() {
                cancel.cancel();
            }
        }
        .boxed()
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn edits_lines(&self) -> bool {
        true
    }
}
