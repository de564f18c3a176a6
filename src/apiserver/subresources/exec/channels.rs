//! Carries the streams of a session over a WebSocket.

use std::time::Duration;

use api::Status;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::protocol::{ERROR, Protocol, STDERR, STDOUT, Said};
use crate::gateway::{ExecInput, ExecOptions, ExecOutput, ExecSession, TerminalSize};

/// Messages that wait for the other side.
const WAITING: usize = 16;
const PIECE: usize = 32 * 1024;
/// How long the client may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// Idle connections are kept open by whoever is in between only if something moves.
const PING: Duration = Duration::from_secs(30);

/// Ends when the program has ended, or the client has left.
pub(super) async fn serve(
    socket: WebSocket,
    protocol: Protocol,
    options: &ExecOptions,
    session: Result<ExecSession, Status>,
) {
    let (mut sink, mut stream) = socket.split();
    let (out, mut outgoing) = mpsc::channel::<Message>(WAITING);
    let send = async move {
        let mut pings = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        loop {
            let message = tokio::select! {
                message = outgoing.recv() => message,
                _ = pings.tick() => Some(Message::Ping(bytes::Bytes::new())),
            };
            let Some(message) = message else { break };
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let goodbye = CloseFrame { code: close_code::NORMAL, reason: "".into() };
        let _ = sink.send(Message::Close(Some(goodbye))).await;
    };
    let work = async {
        let first = [(options.stdout, STDOUT), (options.stderr, STDERR), (true, ERROR)];
        let lowest = first.into_iter().find(|(wanted, _)| *wanted).map_or(ERROR, |(_, channel)| channel);
        // An empty message tells the client that the connection stands.
        let _ = out.send(protocol.framed(lowest, b"")).await;
        let finished = match session {
            Ok(session) => run(session, protocol, &out, &mut stream).await,
            Err(status) => Some(Err(status)),
        };
        if let Some(words) = finished.and_then(|end| protocol.verdict(&end)) {
            let _ = out.send(protocol.framed(ERROR, words.as_bytes())).await;
        }
        drop(out);
    };
    tokio::join!(send, work);
    let _ = tokio::time::timeout(GOODBYE, async { while let Some(Ok(_)) = stream.next().await {} }).await;
}

/// How the program ended; nothing when the client left before.
async fn run(
    session: ExecSession,
    protocol: Protocol,
    out: &mpsc::Sender<Message>,
    stream: &mut SplitStream<WebSocket>,
) -> Option<Result<crate::gateway::ExecEnd, Status>> {
    let ExecSession { stdin, stdout, stderr, resize, end } = session;
    let finish = async {
        tokio::join!(pump(stdout, STDOUT, protocol, out), pump(stderr, STDERR, protocol, out));
        end.await
    };
    tokio::select! {
        end = finish => Some(end),
        () = receive(stream, protocol, stdin, resize) => None,
        () = out.closed() => None,
    }
}

async fn pump(reader: Option<ExecOutput>, channel: u8, protocol: Protocol, out: &mpsc::Sender<Message>) {
    let Some(mut reader) = reader else { return };
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = reader.read(&mut piece).await {
        let data = piece.get(..count).unwrap_or_default();
        if out.send(protocol.framed(channel, data)).await.is_err() {
            return;
        }
    }
}

/// Ends when the client leaves.
async fn receive(
    stream: &mut SplitStream<WebSocket>,
    protocol: Protocol,
    mut stdin: Option<ExecInput>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    while let Some(Ok(message)) = stream.next().await {
        if matches!(message, Message::Close(_)) {
            return;
        }
        match protocol.read(message) {
            Said::Input(data) => {
                if let Some(input) = &mut stdin
                    && (input.write_all(&data).await.is_err() || input.flush().await.is_err())
                {
                    // The program reads no more; what it writes is still wanted.
                    stdin = None;
                }
            }
            Said::InputEnds => {
                if let Some(mut input) = stdin.take() {
                    let _ = input.shutdown().await;
                }
            }
            Said::Resize(size) => {
                if let Some(resize) = &resize {
                    // The newest size counts; one that finds no room is followed by others.
                    let _ = resize.try_send(size);
                }
            }
            Said::Nothing => {}
        }
    }
}
