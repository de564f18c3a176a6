//! A program that is run in a container on request, or a container's own streams: what exec and attach carry.

use std::pin::Pin;

use api::Status;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// The program and its arguments; empty for attach.
    pub command: Vec<String>,
    /// Which streams are wanted.
    pub stdin: bool,
    /// See `stdin`.
    pub stdout: bool,
    /// See `stdin`; never together with a terminal.
    pub stderr: bool,
    /// Whether the streams are a terminal's.
    pub tty: bool,
}

/// The size of a terminal, in letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

/// How a program that was run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecEnd {
    /// By itself, with this code.
    Exited(i32),
    /// It could not be run, or was stopped.
    Failed(String),
}

/// What the program reads from.
pub type ExecInput = Pin<Box<dyn AsyncWrite + Send>>;
/// What the program writes.
pub type ExecOutput = Pin<Box<dyn AsyncRead + Send>>;

/// A program that runs. Dropping it ends the program (exec), or leaves it alone (attach).
pub struct ExecSession {
    /// Where the client's input goes, when it was asked for; shut down at the client's end of input.
    pub stdin: Option<ExecInput>,
    /// What comes out, when it was asked for. The end of both comes before `end`.
    pub stdout: Option<ExecOutput>,
    /// See `stdout`.
    pub stderr: Option<ExecOutput>,
    /// Takes the terminal's sizes; the newest counts.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Resolves when it has ended.
    pub end: BoxFuture<'static, Result<ExecEnd, Status>>,
}
