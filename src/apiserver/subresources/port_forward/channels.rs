//! Kubernetes' channel protocol: the first byte of a message says which channel it belongs to. The port at place `n` of the
//! query has channel `2n` for its bytes and `2n + 1` for what goes wrong; both begin with the port in two bytes.

use axum::extract::ws::{Message, WebSocket};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};
use tokio::sync::mpsc;

use super::Dialer;
use crate::gateway::Duplex;

/// Messages that wait for the other side, a direction.
const WAITING: usize = 16;
const PIECE: usize = 32 * 1024;

/// Carries bytes until the client leaves or every connection is over.
pub(super) async fn serve(socket: WebSocket, dialer: &Dialer, ports: &[u16]) {
    let (mut sink, stream) = socket.split();
    let (out, mut outgoing) = mpsc::channel::<Bytes>(WAITING);
    let mut inputs = Vec::new();
    let mut connections = tokio::task::JoinSet::new();
    // Channels are numbered in a byte.
    for (channel, port) in (0u8..=254).step_by(2).zip(ports) {
        let (input, incoming) = mpsc::channel::<Bytes>(WAITING);
        inputs.push(Some(input));
        connections.spawn(connection(dialer.clone(), *port, channel, incoming, out.clone()));
    }
    drop(out);
    let send = async {
        while let Some(message) = outgoing.recv().await {
            if sink.send(Message::Binary(message)).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    let receive = receive(stream, inputs);
    // The client ends it by leaving, the pod by closing every connection.
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
}

async fn receive(mut stream: SplitStream<WebSocket>, inputs: Vec<Option<mpsc::Sender<Bytes>>>) {
    while let Some(Ok(message)) = stream.next().await {
        let mut data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::from(text.as_str().as_bytes().to_vec()),
            Message::Close(_) => return,
            _ => continue,
        };
        if data.is_empty() {
            continue;
        }
        let channel = data.split_to(1)[0];
        // Odd channels carry errors, and only towards the client.
        if !channel.is_multiple_of(2) {
            continue;
        }
        if let Some(Some(input)) = inputs.get(usize::from(channel / 2)) {
            // A connection that is over takes no more; the others go on.
            let _ = input.send(data).await;
        }
    }
}

fn framed(channel: u8, data: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(data.len() + 1);
    message.put_u8(channel);
    message.put_slice(data);
    message.freeze()
}

async fn connection(
    dialer: Dialer,
    port: u16,
    channel: u8,
    mut incoming: mpsc::Receiver<Bytes>,
    out: mpsc::Sender<Bytes>,
) {
    for channel in [channel, channel + 1] {
        if out.send(framed(channel, &port.to_le_bytes())).await.is_err() {
            return;
        }
    }
    let stream = match dialer.dial(port).await {
        Ok(stream) => stream,
        Err(status) => {
            let text = format!("an error occurred forwarding {port}: {}", status.message);
            let _ = out.send(framed(channel + 1, text.as_bytes())).await;
            return;
        }
    };
    let (reader, mut writer) = tokio::io::split(stream);
    let write = async {
        while let Some(data) = incoming.recv().await {
            if writer.write_all(&data).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
        // What the pod still has to say is waited for.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = write => {}
        () = read(reader, channel, &out) => {}
    }
}

async fn read(mut reader: ReadHalf<Box<dyn Duplex>>, channel: u8, out: &mpsc::Sender<Bytes>) {
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece).await {
            Ok(0) => return,
            Ok(count) => {
                if out.send(framed(channel, piece.get(..count).unwrap_or_default())).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let _ = out.send(framed(channel + 1, error.to_string().as_bytes())).await;
                return;
            }
        }
    }
}
