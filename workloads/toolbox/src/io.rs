//! The streams that applets read and write: files, pipes between them, and what the host gives.
//!
//! Everything waits without blocking: a pipeline's stages are coroutines of one thread, so a stage that waits lets the others
//! go on, and `yes | head` ends when `head` does.

mod pipe;
pub mod terminal;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::rc::Rc;

use wstd::io::{AsyncInputStream, AsyncOutputStream};

pub use pipe::{PipeReader, PipeWriter, pipe};
use terminal::Terminal;

const PIECE: usize = 32 * 1024;

/// Lets the other coroutines go on.
pub async fn breathe() {
    let mut asked = false;
    std::future::poll_fn(|context| {
        if asked {
            return std::task::Poll::Ready(());
        }
        asked = true;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

enum Source {
    Nothing,
    /// `/dev/zero`
    Zeros,
    /// `/dev/urandom`
    Random,
    Host(AsyncInputStream),
    Terminal(Rc<Terminal>),
    File(File),
    Pipe(PipeReader),
}

struct Reader {
    source: Source,
    /// Read from the source and not yet taken.
    ahead: RefCell<Vec<u8>>,
}

/// Where bytes come from. Clones share it, and what was read ahead.
#[derive(Clone)]
pub struct Input(Rc<Reader>);

impl Input {
    fn new(source: Source) -> Self {
        Self(Rc::new(Reader { source, ahead: RefCell::default() }))
    }

    pub fn nothing() -> Self {
        Self::new(Source::Nothing)
    }

    pub fn zeros() -> Self {
        Self::new(Source::Zeros)
    }

    pub fn random() -> Self {
        Self::new(Source::Random)
    }

    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self(Rc::new(Reader { source: Source::Nothing, ahead: RefCell::new(bytes) }))
    }

    pub fn file(file: File) -> Self {
        Self::new(Source::File(file))
    }

    pub fn pipe(reader: PipeReader) -> Self {
        Self::new(Source::Pipe(reader))
    }

    pub fn host() -> Self {
        Self::new(Source::Host(AsyncInputStream::new(wasip2::cli::stdin::get_stdin())))
    }

    pub fn terminal(terminal: Rc<Terminal>) -> Self {
        Self::new(Source::Terminal(terminal))
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self.0.source, Source::Terminal(_))
    }

    /// Reads more ahead. `false` at the end.
    pub async fn fill(&self) -> io::Result<bool> {
        let mut piece = vec![0; PIECE];
        let count = match &self.0.source {
            Source::Nothing => 0,
            Source::Zeros => {
                breathe().await;
                PIECE
            }
            Source::Random => {
                breathe().await;
                piece = wasip2::random::random::get_random_bytes(PIECE as u64);
                PIECE
            }
            Source::Host(stream) => stream.read(&mut piece).await?,
            Source::Terminal(terminal) => terminal.read(&mut piece).await,
            Source::File(file) => {
                breathe().await;
                let mut file = file;
                file.read(&mut piece)?
            }
            Source::Pipe(reader) => reader.read(&mut piece).await,
        };
        self.0.ahead.borrow_mut().extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    /// What there is, at least one byte; nothing at the end.
    pub async fn read(&self) -> io::Result<Vec<u8>> {
        if self.0.ahead.borrow().is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut *self.0.ahead.borrow_mut()))
    }

    /// As much as there is, up to `count`; nothing at the end.
    pub async fn take(&self, count: usize) -> io::Result<Vec<u8>> {
        if self.0.ahead.borrow().is_empty() && count > 0 {
            self.fill().await?;
        }
        let mut ahead = self.0.ahead.borrow_mut();
        let count = count.min(ahead.len());
        Ok(ahead.drain(..count).collect())
    }

    /// Fills `buffer`, or as much of it as there is before the end.
    pub async fn exact(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let piece = self.take(buffer.len() - done).await?;
            if piece.is_empty() {
                break;
            }
            buffer[done..done + piece.len()].copy_from_slice(&piece);
            done += piece.len();
        }
        Ok(done)
    }

    /// Whether a line can be had without waiting.
    pub fn has_line(&self) -> bool {
        self.0.ahead.borrow().contains(&b'\n')
    }

    /// The next line with its line break, as far as it has one; nothing at the end.
    pub async fn line(&self) -> io::Result<Vec<u8>> {
        self.until(b'\n').await
    }

    pub async fn until(&self, end: u8) -> io::Result<Vec<u8>> {
        let mut looked = 0;
        loop {
            let found = self.0.ahead.borrow()[looked..].iter().position(|byte| *byte == end);
            if let Some(at) = found {
                return Ok(self.0.ahead.borrow_mut().drain(..=looked + at).collect());
            }
            looked = self.0.ahead.borrow().len();
            if !self.fill().await? {
                return Ok(std::mem::take(&mut *self.0.ahead.borrow_mut()));
            }
        }
    }

    /// Whether what comes begins so; it stays to be read.
    pub async fn starts_with(&self, wanted: &[u8]) -> io::Result<bool> {
        while self.0.ahead.borrow().len() < wanted.len() {
            if !self.fill().await? {
                break;
            }
        }
        Ok(self.0.ahead.borrow().starts_with(wanted))
    }

    /// Everything up to the end.
    pub async fn all(&self) -> io::Result<Vec<u8>> {
        while self.fill().await? {}
        Ok(std::mem::take(&mut *self.0.ahead.borrow_mut()))
    }
}

enum Sink {
    Nothing,
    Host(AsyncOutputStream),
    File(RefCell<File>),
    Pipe(PipeWriter),
    Buffer(RefCell<Vec<u8>>),
}

/// Where bytes go. Clones share it.
#[derive(Clone)]
pub struct Output(Rc<Sink>);

impl Output {
    pub fn nothing() -> Self {
        Self(Rc::new(Sink::Nothing))
    }

    pub fn stdout() -> Self {
        Self(Rc::new(Sink::Host(AsyncOutputStream::new(wasip2::cli::stdout::get_stdout()))))
    }

    pub fn stderr() -> Self {
        Self(Rc::new(Sink::Host(AsyncOutputStream::new(wasip2::cli::stderr::get_stderr()))))
    }

    pub fn file(file: File) -> Self {
        Self(Rc::new(Sink::File(RefCell::new(file))))
    }

    pub fn pipe(writer: PipeWriter) -> Self {
        Self(Rc::new(Sink::Pipe(writer)))
    }

    pub fn buffer() -> Self {
        Self(Rc::new(Sink::Buffer(RefCell::default())))
    }

    /// Whether it goes straight to the host.
    pub fn is_host(&self) -> bool {
        matches!(*self.0, Sink::Host(_))
    }

    /// What a buffer holds.
    pub fn taken(&self) -> Vec<u8> {
        match &*self.0 {
            Sink::Buffer(bytes) => std::mem::take(&mut *bytes.borrow_mut()),
            _ => Vec::new(),
        }
    }

    pub async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match &*self.0 {
            Sink::Nothing => Ok(()),
            Sink::Host(stream) => {
                stream.write_all(bytes).await
            }
            Sink::File(file) => file.borrow_mut().write_all(bytes),
            Sink::Pipe(writer) => writer.write(bytes).await,
            Sink::Buffer(buffer) => {
                buffer.borrow_mut().extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

/// An output with a buffer of one applet's own. Flush it before waiting for input, and at the end.
pub struct Out {
    sink: Output,
    held: Vec<u8>,
}

impl Out {
    pub fn new(sink: &Output) -> Self {
        Self { sink: sink.clone(), held: Vec::new() }
    }

    pub async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE { self.flush().await } else { Ok(()) }
    }

    pub async fn line(&mut self, text: &str) -> io::Result<()> {
        self.held.extend_from_slice(text.as_bytes());
        self.put(b"\n").await
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.sink.write(&held).await
    }

    /// The next line of `input`; what is held goes out before anybody waits.
    pub async fn next_line(&mut self, input: &Input) -> io::Result<Vec<u8>> {
        if !input.has_line() {
            self.flush().await?;
        }
        input.line().await
    }
}
