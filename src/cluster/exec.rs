//! Commands that are run in a container, and containers that are joined.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use api::Status;
use apiserver::gateway::{ContainerAddress, ExecEnd, ExecInput, ExecOptions, ExecOutput, ExecSession, TerminalSize};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use node::{Exec, Logs, Output, Presence, Present, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio_util::io::StreamReader;

use crate::gateway::{log_of, unreadable};
use crate::pipe::{self, Writer};
use crate::terminal::{Act, Terminal, carriage};

/// Bytes of input that are under way.
const INPUT_BYTES: usize = 64 * 1024;
/// Sizes of a terminal that nobody has looked at yet.
const SIZES: usize = 8;
/// 128 + SIGINT
const INTERRUPTED: i32 = 130;

/// The container, if it runs.
fn running(presence: &Presence, address: &ContainerAddress) -> Result<Present, Status> {
    let missing =
        || Status::internal(format!("unable to upgrade connection: container not found ({:?})", address.container));
    presence.find(&address.uid, &address.container).ok_or_else(missing)
}

/// Runs a command in the container: one of the toolbox', or its own component with the arguments that were asked for.
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
    let output = Printed { stdout: stdout.clone(), stderr: stderr_to.clone(), tty: options.tty };
    let (input, reader) = tokio::io::duplex(INPUT_BYTES);
    let exec = Exec {
        args: options.command.clone(),
        stdin: options.stdin.then(|| Box::new(reader) as _),
        tty: options.tty && options.stdin,
        output: Arc::new(output),
    };
    let command = present.container.exec(exec).map_err(|error| {
        let words = format!("command in container not executed, container uid : {}: {error}", address.uid);
        Status::internal(words)
    })?;
    let interrupt = Arc::new(Notify::new());
    let (input, resize): (ExecInput, _) = if options.tty {
        let aware = command.edits_lines();
        let (input, resize) = typing(Box::pin(input), stdout.clone(), aware, Arc::clone(&interrupt));
        (input, Some(resize))
    } else {
        (Box::pin(input), None)
    };
    let (told, end) = tokio::sync::oneshot::channel();
    let exit = command.exit();
    // The task's owner is the command: it ends with it.
    tokio::spawn(async move {
        let (code, message) = tokio::select! {
            exit = exit => (exit.code, exit.message),
            () = interrupt.notified() => (INTERRUPTED, String::new()),
        };
        if !message.is_empty() {
            stderr_to.write(format!("{message}\n").as_bytes());
        }
        stdout.end();
        stderr.end();
        let _ = told.send(code);
    });
    let end = async move {
        let code = end.await;
        // Held until here: without its handle the command is killed.
        drop(command);
        Ok(code.map_or_else(|_| ExecEnd::Failed("the command was lost".to_owned()), ExecEnd::Exited))
    };
    Ok(ExecSession {
        stdin: options.stdin.then_some(input),
        stdout: options.stdout.then(|| Box::pin(stdout_reader) as ExecOutput),
        stderr: options.stderr.then(|| Box::pin(stderr_reader) as ExecOutput),
        resize,
        end: end.boxed(),
    })
}

/// Puts a line discipline between a client's keys and a program's input. It ends with the keys.
#[allow(clippy::disallowed_methods)]
fn typing(
    mut program: ExecInput,
    echo: Writer,
    aware: bool,
    interrupt: Arc<Notify>,
) -> (ExecInput, mpsc::Sender<TerminalSize>) {
    let (keys, mut typed) = tokio::io::duplex(INPUT_BYTES);
    let (resize, mut sizes) = mpsc::channel::<TerminalSize>(SIZES);
    tokio::spawn(async move {
        let mut terminal = Terminal::default();
        let mut piece = vec![0; 4096];
        loop {
            let count = tokio::select! {
                Some(size) = sizes.recv() => {
                    let told = format!("\x1b[8;{};{}t", size.height, size.width);
                    if aware && program.write_all(told.as_bytes()).await.is_err() {
                        return;
                    }
                    continue;
                }
                read = typed.read(&mut piece) => read.unwrap_or(0),
            };
            if count == 0 {
                let _ = program.shutdown().await;
                return;
            }
            for act in terminal.typed(&piece[..count]) {
                let sent = match act {
                    Act::Echo(bytes) => {
                        echo.write(&bytes);
                        Ok(())
                    }
                    Act::Send(bytes) => program.write_all(&bytes).await,
                    Act::Interrupt if aware => program.write_all(&[3]).await,
                    Act::Interrupt => {
                        interrupt.notify_one();
                        Ok(())
                    }
                    Act::End if aware => program.write_all(&[4]).await,
                    Act::End => program.shutdown().await,
                };
                // Who reads no more may still print; keys are read on, so that the client does not hang.
                let _ = sent;
            }
            let _ = program.flush().await;
        }
    });
    (Box::pin(keys), resize)
}

/// Joins a container: what it prints from now on, and its input if it has one.
pub(crate) async fn attach(
    presence: &Presence,
    logs: &Logs,
    address: &ContainerAddress,
    options: &ExecOptions,
) -> Result<ExecSession, Status> {
    let present = running(presence, address)?;
    let exit = present.container.exit();
    let stdin: Option<ExecInput> = if options.stdin { present.container.stdin() } else { None };
    let mut stdin = options.stdin.then(|| stdin.unwrap_or_else(|| Box::pin(tokio::io::sink())));
    let Some((stdout, stderr)) = present.container.printed(options.tty) else {
        return from_log(logs, address, options, stdin, exit).await;
    };
    let mut resize = None;
    let mut stdout: ExecOutput = Box::pin(stdout);
    if options.tty
        && let Some(program) = stdin.take()
    {
        let (echo, echoed) = pipe::pipe();
        let interrupt = Arc::new(Notify::new());
        let aware = present.container.edits_lines();
        let (keys, sizes) = typing(program, echo.clone(), aware, Arc::clone(&interrupt));
        (stdin, resize) = (Some(keys), Some(sizes));
        stdout = both(stdout, echo, echoed);
        interrupts(&present, interrupt);
    }
    Ok(ExecSession {
        stdin,
        stdout: options.stdout.then_some(stdout),
        stderr: options.stderr.then(|| Box::pin(stderr) as ExecOutput),
        resize,
        end: async move {
            exit.await;
            Ok(ExecEnd::Exited(0))
        }
        .boxed(),
    })
}

/// `^C` ends a container that does not know the key itself.
#[allow(clippy::disallowed_methods)]
fn interrupts(present: &Present, interrupt: Arc<Notify>) {
    let container = Arc::clone(&present.container);
    tokio::spawn(async move {
        tokio::select! {
            () = interrupt.notified() => container.stop(Duration::ZERO).await,
            _ = container.exit() => {}
        }
    });
}

/// What the container prints, and what is echoed, in one stream that ends with the container's.
#[allow(clippy::disallowed_methods)]
fn both(mut printed: ExecOutput, echo: Writer, echoed: pipe::Reader) -> ExecOutput {
    tokio::spawn(async move {
        let mut piece = vec![0; 32 * 1024];
        while let Ok(count @ 1..) = printed.read(&mut piece).await {
            if let Some(room) = echo.room() {
                room.await;
            }
            if echo.is_abandoned() {
                return;
            }
            echo.write(&piece[..count]);
        }
        echo.end();
    });
    Box::pin(echoed)
}

/// Joins a container that can only be followed by its log.
async fn from_log(
    logs: &Logs,
    address: &ContainerAddress,
    options: &ExecOptions,
    stdin: Option<ExecInput>,
    exit: BoxFuture<'static, node::Exit>,
) -> Result<ExecSession, Status> {
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
    let end = async move {
        exit.await;
        Ok(ExecEnd::Exited(0))
    };
    Ok(ExecSession { stdin, stdout, stderr, resize: None, end: end.boxed() })
}

/// Where a command's output goes.
struct Printed {
    stdout: Writer,
    stderr: Writer,
    tty: bool,
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
        self.bytes(stream, line);
        self.bytes(stream, b"\n");
    }

    fn room(&self) -> Option<BoxFuture<'static, ()>> {
        self.stdout.room().or_else(|| self.stderr.room())
    }

    fn bytes(&self, stream: Stream, bytes: &[u8]) -> bool {
        if self.tty {
            self.of(stream).write(&carriage(bytes));
        } else {
            self.of(stream).write(bytes);
        }
        true
    }
}
