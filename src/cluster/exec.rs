//! Commands that are run in a container, and containers that are joined.

use std::io;
use std::sync::Arc;

use api::Status;
use apiserver::gateway::{ContainerAddress, ExecEnd, ExecInput, ExecOptions, ExecOutput, ExecSession};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use node::{Exec, Logs, Output, Presence, Present, Stream};
use tokio_util::io::StreamReader;

use crate::gateway::{log_of, unreadable};
use crate::pipe::{self, Writer};

/// Bytes of input that are under way.
const INPUT_BYTES: usize = 64 * 1024;

/// The container, if it runs.
fn running(presence: &Presence, address: &ContainerAddress) -> Result<Present, Status> {
    let missing =
        || Status::internal(format!("unable to upgrade connection: container not found ({:?})", address.container));
    presence.find(&address.uid, &address.container).ok_or_else(missing)
}

/// Runs the container's component once more, with the arguments that were asked for.
#[allow(clippy::disallowed_methods)]
pub(crate) fn exec(
    presence: &Presence,
    address: &ContainerAddress,
    options: &ExecOptions,
) -> Result<ExecSession, Status> {
    let present = running(presence, address)?;
    let (stdout, stdout_reader) = pipe::pipe();
    let (stderr, stderr_reader) = pipe::pipe();
    // A terminal has one stream for both.
    let stderr_to = if options.tty { stdout.clone() } else { stderr.clone() };
    let output = Printed { stdout: stdout.clone(), stderr: stderr_to.clone() };
    let (input, reader) = tokio::io::duplex(INPUT_BYTES);
    let exec = Exec {
        args: options.command.clone(),
        stdin: options.stdin.then(|| Box::new(reader) as _),
        output: Arc::new(output),
    };
    let command = present.container.exec(exec).map_err(|error| {
        let words = format!("command in container not executed, container uid : {}: {error}", address.uid);
        Status::internal(words)
    })?;
    let (told, end) = tokio::sync::oneshot::channel();
    let exit = command.exit();
    // The task's owner is the command: it ends with it.
    tokio::spawn(async move {
        let exit = exit.await;
        if !exit.message.is_empty() {
            stderr_to.write(format!("{}\n", exit.message).as_bytes());
        }
        stdout.end();
        stderr.end();
        let _ = told.send(exit.code);
    });
    let end = async move {
        let code = end.await;
        // Held until here: without its handle the command is killed.
        drop(command);
        Ok(code.map_or_else(|_| ExecEnd::Failed("the command was lost".to_owned()), ExecEnd::Exited))
    };
    Ok(ExecSession {
        stdin: options.stdin.then(|| Box::pin(input) as ExecInput),
        stdout: options.stdout.then(|| Box::pin(stdout_reader) as ExecOutput),
        stderr: options.stderr.then(|| Box::pin(stderr_reader) as ExecOutput),
        resize: None,
        end: end.boxed(),
    })
}

/// Joins a container: what it prints from now on, and its input if it has one.
pub(crate) async fn attach(
    presence: &Presence,
    logs: &Logs,
    address: &ContainerAddress,
    options: &ExecOptions,
) -> Result<ExecSession, Status> {
    let present = running(presence, address)?;
    let printed = |stream: Option<Stream>| async move {
        let wanted = node::LogOptions { follow: true, tail_lines: Some(0), stream, ..node::LogOptions::default() };
        let lines = logs.open(&log_of(address), wanted).await.map_err(unreadable)?;
        let reader: ExecOutput = Box::pin(StreamReader::new(lines.map_err(io::Error::other)));
        Ok::<_, Status>(reader)
    };
    let both = options.tty || (options.stdout && !options.stderr);
    let stdout = match (options.stdout, both) {
        (false, _) => None,
        (true, true) => Some(printed(None).await?),
        (true, false) => Some(printed(Some(Stream::Stdout)).await?),
    };
    let stderr = if options.stderr { Some(printed(Some(Stream::Stderr)).await?) } else { None };
    let exit = present.container.exit();
    let stdin: Option<ExecInput> = if options.stdin { present.container.stdin() } else { None };
    Ok(ExecSession {
        stdin: options.stdin.then(|| stdin.unwrap_or_else(|| Box::pin(tokio::io::sink()))),
        stdout,
        stderr,
        resize: None,
        end: async move {
            exit.await;
            Ok(ExecEnd::Exited(0))
        }
        .boxed(),
    })
}

/// Where a command's output goes.
struct Printed {
    stdout: Writer,
    stderr: Writer,
}

impl Printed {
    fn of(&self, stream: Stream) -> &Writer {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }
}

impl Output for Printed {
    fn write(&self, stream: Stream, line: &[u8]) {
        self.of(stream).write(line);
        self.of(stream).write(b"\n");
    }

    fn room(&self) -> Option<BoxFuture<'static, ()>> {
        self.stdout.room().or_else(|| self.stderr.room())
    }

    fn bytes(&self, stream: Stream, bytes: &[u8]) -> bool {
        self.of(stream).write(bytes);
        true
    }
}
