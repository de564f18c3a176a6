//! The same over SPDY/3.1, which older clients speak: a stream of its own for each of the program's streams.

use std::collections::HashMap;
use std::time::Duration;

use api::Status;
use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::protocol::{Protocol, terminal_size};
use crate::gateway::{ExecEnd, ExecInput, ExecOptions, ExecOutput, ExecSession, TerminalSize};
use crate::subresources::spdy::frames::{self, Frame};
use crate::subresources::spdy::headers::{Packer, Unpacker};
use crate::subresources::spdy::{Incoming, SpdyError, Wire};

/// The protocols that are spoken over SPDY.
pub(super) const NAMES: [&str; 3] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"];

/// Frames that wait for the client.
const WAITING: usize = 16;
const PIECE: usize = 32 * 1024;
/// How long a client may take to open its streams, as in Kubernetes.
const OPENING: Duration = Duration::from_secs(30);
/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Ends when the program has ended, or the client has left.
pub(super) async fn serve(
    wire: Wire,
    protocol: &'static str,
    options: &ExecOptions,
    session: impl Future<Output = Result<ExecSession, Status>>,
) {
    let Wire { mut incoming, outgoing } = wire;
    let (out, frames) = mpsc::channel::<Bytes>(WAITING);
    let work = async {
        let resizes = options.tty && protocol != "v2.channel.k8s.io";
        let opened = tokio::time::timeout(OPENING, open(&mut incoming, &out, options, resizes)).await;
        let Ok(Ok(streams)) = opened else { return };
        let finished = match session.await {
            Ok(session) => run(session, &streams, &out, &mut incoming).await,
            Err(status) => Some(Err(status)),
        };
        let error = streams.id("error");
        if let Some(words) = finished.and_then(|end| Protocol::of(Some(protocol)).verdict(&end)) {
            let _ = out.send(frames::data(error, words.as_bytes(), false)).await;
        }
        let _ = out.send(frames::data(error, b"", true)).await;
        drop(out);
        let left = async { while incoming.frame().await.is_some_and(|frame| frame != Frame::GoAway) {} };
        let _ = tokio::time::timeout(GOODBYE, left).await;
    };
    tokio::join!(outgoing.send(frames), work);
}

/// The numbers of the streams, by their type.
struct Streams(HashMap<String, u32>);

impl Streams {
    fn id(&self, kind: &str) -> u32 {
        self.0.get(kind).copied().unwrap_or_default()
    }
}

/// Waits until every stream is there that the options speak of.
async fn open(
    incoming: &mut Incoming,
    out: &mpsc::Sender<Bytes>,
    options: &ExecOptions,
    resizes: bool,
) -> Result<Streams, SpdyError> {
    let wanted = [
        (true, "error"),
        (options.stdin, "stdin"),
        (options.stdout, "stdout"),
        (options.stderr, "stderr"),
        (resizes, "resize"),
    ];
    let wanted: Vec<&str> = wanted.into_iter().filter(|(is, _)| *is).map(|(_, kind)| kind).collect();
    let (mut unpacker, mut packer) = (Unpacker::default(), Packer::default());
    let mut streams = HashMap::new();
    while !wanted.iter().all(|kind| streams.contains_key(*kind)) {
        match incoming.frame().await.ok_or(SpdyError::Gone)? {
            Frame::Open { stream, headers } => {
                let headers = unpacker.unpack(&headers)?;
                let accepted = frames::reply(stream, &packer.pack_none()?);
                out.send(accepted).await.map_err(|_| SpdyError::Gone)?;
                streams.insert(headers.get("streamtype").cloned().unwrap_or_default(), stream);
            }
            Frame::Headers { headers } => drop(unpacker.unpack(&headers)?),
            Frame::Ping { id } => out.send(frames::ping(id)).await.map_err(|_| SpdyError::Gone)?,
            Frame::GoAway => return Err(SpdyError::Gone),
            Frame::Data { .. } | Frame::Reset { .. } | Frame::Other => {}
        }
    }
    Ok(Streams(streams))
}

/// How the program ended; nothing when the client left before.
async fn run(
    session: ExecSession,
    streams: &Streams,
    out: &mpsc::Sender<Bytes>,
    incoming: &mut Incoming,
) -> Option<Result<ExecEnd, Status>> {
    let ExecSession { stdin, stdout, stderr, resize, end } = session;
    let finish = async {
        tokio::join!(pump(stdout, streams.id("stdout"), out), pump(stderr, streams.id("stderr"), out));
        end.await
    };
    tokio::select! {
        end = finish => Some(end),
        () = receive(incoming, streams, out, stdin, resize) => None,
        () = out.closed() => None,
    }
}

async fn pump(reader: Option<ExecOutput>, stream: u32, out: &mpsc::Sender<Bytes>) {
    let Some(mut reader) = reader else { return };
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = reader.read(&mut piece).await {
        let data = piece.get(..count).unwrap_or_default();
        if out.send(frames::data(stream, data, false)).await.is_err() {
            return;
        }
    }
    let _ = out.send(frames::data(stream, b"", true)).await;
}

/// Ends when the client leaves.
async fn receive(
    incoming: &mut Incoming,
    streams: &Streams,
    out: &mpsc::Sender<Bytes>,
    mut stdin: Option<ExecInput>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    let (input, sizes) = (streams.id("stdin"), streams.id("resize"));
    while let Some(frame) = incoming.frame().await {
        match frame {
            Frame::Data { stream, data, last } if stream == input => {
                let failed = match &mut stdin {
                    Some(input) if !data.is_empty() => {
                        input.write_all(&data).await.is_err() || input.flush().await.is_err()
                    }
                    _ => false,
                };
                if last && let Some(mut input) = stdin.take() {
                    let _ = input.shutdown().await;
                }
                if failed {
                    // The program reads no more; what it writes is still wanted.
                    stdin = None;
                }
            }
            Frame::Data { stream, data, .. } if stream == sizes => {
                let told = serde_json::Deserializer::from_slice(&data).into_iter::<Value>();
                for size in told.flatten().filter_map(|size| terminal_size(&size)) {
                    if let Some(resize) = &resize {
                        let _ = resize.try_send(size);
                    }
                }
            }
            Frame::Ping { id } => {
                let _ = out.send(frames::ping(id)).await;
            }
            Frame::GoAway => return,
            _ => {}
        }
    }
}
