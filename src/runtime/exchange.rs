//! One request's way through a guest: first its head, then its body, with the guest running beneath.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use network::{Body, BodyError, CallError, HttpResponse};
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use world::http::types::ErrorCode;

use crate::failure::Failure;
use crate::meter::Meter;
use crate::outbound::to_body_error;
use crate::task::Stage;

/// What a guest hands to `response-outparam.set`.
pub(crate) type Head = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

/// Waits for the response's head. The guest runs while this is polled; dropping it drops the guest.
pub(crate) struct Exchange {
    stage: Stage,
    /// `None` once its sender is gone, which is when the store is.
    head: Option<oneshot::Receiver<Head>>,
    meter: Arc<Meter>,
    /// The body may go on when the guest has ended: one that the guest passes on as it came.
    lasting: bool,
}

impl Exchange {
    pub fn new(stage: Stage, head: oneshot::Receiver<Head>, meter: Arc<Meter>, lasting: bool) -> Self {
        Self { stage, head: Some(head), meter, lasting }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Option<Head> {
        match at_once(cx, Pin::new(self.head.as_mut()?)) {
            Poll::Ready(Ok(head)) => Some(head),
            Poll::Ready(Err(_)) => {
                self.head = None;
                None
            }
            Poll::Pending => None,
        }
    }
}

/// Polls without tokio's budget for a task: where the guest has ended, what is not here now never comes, so a channel must
/// not say "later" because this task has done much already.
fn at_once<F: Future>(cx: &mut Context<'_>, future: Pin<&mut F>) -> Poll<F::Output> {
    std::pin::pin!(tokio::task::unconstrained(future)).poll(cx)
}

fn next_frame(
    cx: &mut Context<'_>,
    body: &mut HyperOutgoingBody,
) -> Poll<Option<Result<Frame<Bytes>, wasmtime_wasi_http::Error>>> {
    at_once(cx, std::pin::pin!(body.frame()))
}

impl Future for Exchange {
    type Output = Result<HttpResponse, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.stage.advance(cx);
        match self.poll_head(cx) {
            Some(Ok(response)) => {
                let stage = std::mem::replace(&mut self.stage, Stage::Ended(Ok(())));
                return Poll::Ready(Ok(respond(response, stage, Arc::clone(&self.meter), self.lasting)));
            }
            Some(Err(code)) => return Poll::Ready(Err(refusal(code))),
            None => {}
        }
        match &self.stage {
            Stage::Ended(Err(failure)) => Poll::Ready(Err(call_error(failure))),
            Stage::Ended(Ok(())) => {
                Poll::Ready(Err(CallError::Guest("it returned without setting a response".to_owned())))
            }
            Stage::Inline(_) | Stage::Moved(_) => Poll::Pending,
        }
    }
}

/// What the caller is told of a failure. The back-trace stays inside.
pub(crate) fn call_error(failure: &Failure) -> CallError {
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    match failure {
        Failure::Trap(text) => CallError::Guest(first_line(text)),
        Failure::Fuel(_) => CallError::Guest("it spent its fuel (FuelExhausted)".to_owned()),
        Failure::OutOfMemory(_) => CallError::Guest("it reached its memory limit (OOMKilled)".to_owned()),
        Failure::Stopped => CallError::Guest("its container was stopped".to_owned()),
        Failure::Exit(code) => CallError::Guest(format!("it exited with code {code} before it set a response")),
        Failure::Deadline => CallError::Deadline,
        Failure::Busy => CallError::Overloaded,
    }
}

/// What the guest said instead of a response.
pub(crate) fn refusal(code: ErrorCode) -> CallError {
    match code {
        ErrorCode::LoopDetected => CallError::LoopDetected,
        ErrorCode::InternalError(Some(text)) => CallError::Guest(text),
        other => CallError::Guest(format!("it answered with the error {other:?}")),
    }
}

fn respond(
    response: http::Response<HyperOutgoingBody>,
    stage: Stage,
    meter: Arc<Meter>,
    lasting: bool,
) -> HttpResponse {
    let (parts, body) = response.into_parts();
    let body = match &stage {
        Stage::Ended(_) => settle(body, &meter, lasting),
        Stage::Inline(_) | Stage::Moved(_) => {
            let left = promised(&parts.headers);
            UnsyncBoxBody::new(GuestBody { stage, body, meter, left, whole: false, lasting })
        }
    };
    http::Response::from_parts(parts, body)
}

/// The length that a head promises.
pub(crate) fn promised(headers: &http::HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
}

/// The body of a guest that has ended: all of it is here, so its length is known and nothing has to be polled later. Where
/// it is `lasting`, the rest may be on its way from somewhere else.
fn settle(mut body: HyperOutgoingBody, meter: &Meter, lasting: bool) -> Body {
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = Vec::new();
    loop {
        match next_frame(&mut cx, &mut body) {
            Poll::Ready(Some(Ok(frame))) => frames.push(Ok(frame)),
            Poll::Ready(Some(Err(error))) => {
                frames.push(Err(to_body_error(error)));
                break;
            }
            Poll::Ready(None) if !meter.has_failed() => break,
            Poll::Ready(None) => {
                frames.push(Err(BodyError::Guest("it failed before it finished the body".to_owned())));
                break;
            }
            Poll::Pending if lasting && !meter.has_failed() => {
                frames.reverse();
                return UnsyncBoxBody::new(Passed { frames, body });
            }
            Poll::Pending => {
                frames.push(Err(BodyError::Guest("it returned before it finished the body".to_owned())));
                break;
            }
        }
    }
    if frames.is_empty() {
        return network::body::empty();
    }
    if frames.len() == 1
        && let Some(Ok(frame)) = frames.pop_if(|frame| frame.as_ref().is_ok_and(Frame::is_data))
        && let Ok(data) = frame.into_data()
    {
        return network::body::full(data);
    }
    frames.reverse();
    UnsyncBoxBody::new(Settled { frames })
}

/// A body that outlives its guest.
struct Passed {
    /// Those that were here when it ended, last first.
    frames: Vec<Result<Frame<Bytes>, BodyError>>,
    body: HyperOutgoingBody,
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.frames.pop() {
            return Poll::Ready(Some(frame));
        }
        Pin::new(&mut self.body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(to_body_error)))
    }
}

/// Frames that wait to be taken, last first.
struct Settled {
    frames: Vec<Result<Frame<Bytes>, BodyError>>,
}

impl http_body::Body for Settled {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.frames.pop())
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut bytes = 0;
        for frame in &self.frames {
            match frame.as_ref().map(Frame::data_ref) {
                Ok(Some(data)) => bytes += data.len() as u64,
                Ok(None) | Err(_) => return SizeHint::default(),
            }
        }
        SizeHint::with_exact(bytes)
    }
}

/// The body of a guest that still runs. Polling it polls the guest; dropping it before its end drops the guest.
struct GuestBody {
    stage: Stage,
    body: HyperOutgoingBody,
    meter: Arc<Meter>,
    /// What is left of the promised length.
    left: Option<u64>,
    whole: bool,
    lasting: bool,
}

impl GuestBody {
    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // The guest's end closes the channel as its `finish` does; only the meter tells them apart.
        if self.meter.has_failed() {
            let why = match &self.stage {
                Stage::Ended(Err(failure)) => call_error(failure).to_string(),
                _ => "it failed".to_owned(),
            };
            return Poll::Ready(Some(Err(BodyError::Guest(why))));
        }
        self.whole = true;
        // What the guest does after its response nobody waits for.
        self.stage.detach();
        Poll::Ready(None)
    }
}

impl http_body::Body for GuestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.whole {
            return Poll::Ready(None);
        }
        this.stage.advance(cx);
        match next_frame(cx, &mut this.body) {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(to_body_error(error)))),
            Poll::Ready(None) => this.end(),
            Poll::Pending => match &this.stage {
                Stage::Ended(Err(Failure::Deadline)) => Poll::Ready(Some(Err(BodyError::Deadline))),
                Stage::Ended(Ok(())) if this.lasting => Poll::Pending,
                Stage::Ended(_) => {
                    Poll::Ready(Some(Err(BodyError::Guest("it returned before it finished the body".to_owned()))))
                }
                Stage::Inline(_) | Stage::Moved(_) => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.whole
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        // A connection that knows the length stops asking once it has every byte: that is an end, not a cancellation.
        if self.left == Some(0) && !self.whole {
            self.stage.detach();
        }
    }
}
