//! SPDY/3.1 inside the WebSocket, which is what kubectl speaks: each forwarded connection is a pair of streams with one
//! `requestID`, one for its bytes (`streamType: data`) and one for what goes wrong (`streamType: error`).

use std::collections::HashMap;

use axum::extract::ws::{Message, WebSocket};
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Dialer;
use crate::subresources::spdy::frames::{self, Frame};
use crate::subresources::spdy::headers::{Packer, Unpacker};
use crate::subresources::spdy::{SpdyError, Wire};

const WAITING: usize = 16;
const PIECE: usize = 32 * 1024;
/// Connections at one moment through one tunnel.
const MOST_STREAMS: usize = 512;

/// Carries connections until the client leaves.
pub(super) async fn serve(socket: WebSocket, dialer: &Dialer) {
    let (mut sink, mut stream) = socket.split();
    let (out, mut outgoing) = mpsc::channel::<Bytes>(WAITING);
    let send = async {
        while let Some(frame) = outgoing.recv().await {
            if sink.send(Message::Binary(frame)).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    let receive = async move {
        let mut tunnel = Tunnel::new(dialer.clone(), out);
        let mut bytes = BytesMut::new();
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(data) => bytes.extend_from_slice(&data),
                Message::Close(_) => return,
                _ => continue,
            }
            if let Err(error) = tunnel.take(&mut bytes).await {
                return tracing::debug!(%error, "a port-forward tunnel ended");
            }
        }
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
}

/// The same on a connection that was upgraded to SPDY itself.
pub(super) async fn serve_wire(wire: Wire, dialer: &Dialer) {
    let Wire { mut incoming, outgoing } = wire;
    let (out, frames) = mpsc::channel::<Bytes>(WAITING);
    let receive = async move {
        let mut tunnel = Tunnel::new(dialer.clone(), out);
        while let Some(bytes) = incoming.bytes().await {
            if let Err(error) = tunnel.take(bytes).await {
                return tracing::debug!(%error, "a port-forward tunnel ended");
            }
        }
    };
    tokio::select! {
        () = outgoing.send(frames) => {}
        () = receive => {}
    }
}

/// Reads frames until there are none, or nonsense.
#[cfg(test)]
pub(crate) fn read_frames(bytes: &mut BytesMut) {
    while let Ok(Some(frame)) = frames::next(bytes) {
        if let Frame::Open { headers, .. } = frame {
            let _ = Unpacker::default().unpack(&headers);
        }
    }
}

/// One half of a pair that waits for the other.
#[derive(Default)]
struct Pair {
    port: String,
    data: Option<u32>,
    error: Option<u32>,
}

struct Tunnel {
    dialer: Dialer,
    out: mpsc::Sender<Bytes>,
    unpacker: Unpacker,
    packer: Packer,
    pairs: HashMap<String, Pair>,
    /// What the client sends, by the stream's number.
    inputs: HashMap<u32, mpsc::Sender<Bytes>>,
    /// Ends its connections when the tunnel goes.
    connections: JoinSet<()>,
}

impl Tunnel {
    fn new(dialer: Dialer, out: mpsc::Sender<Bytes>) -> Self {
        Self {
            dialer,
            out,
            unpacker: Unpacker::default(),
            packer: Packer::default(),
            pairs: HashMap::new(),
            inputs: HashMap::new(),
            connections: JoinSet::new(),
        }
    }

    /// Acts on every whole frame.
    async fn take(&mut self, bytes: &mut BytesMut) -> Result<(), SpdyError> {
        while let Some(frame) = frames::next(bytes)? {
            match frame {
                Frame::Open { stream, headers } => self.open(stream, &headers).await?,
                Frame::Data { stream, data, last } => self.data(stream, data, last).await,
                Frame::Reset { stream } => {
                    self.inputs.remove(&stream);
                }
                Frame::Ping { id } => self.send(frames::ping(id)).await?,
                Frame::GoAway => return Err(SpdyError::Gone),
                // Its headers must be unpacked, because the packing has one state for all of them.
                Frame::Headers { headers } => drop(self.unpacker.unpack(&headers)?),
                Frame::Other => {}
            }
        }
        Ok(())
    }

    async fn send(&self, frame: Bytes) -> Result<(), SpdyError> {
        self.out.send(frame).await.map_err(|_| SpdyError::Gone)
    }

    async fn data(&mut self, stream: u32, data: Bytes, last: bool) {
        if let Some(input) = self.inputs.get(&stream)
            && !data.is_empty()
        {
            let _ = input.send(data).await;
        }
        if last {
            self.inputs.remove(&stream);
        }
    }

    async fn open(&mut self, stream: u32, packed: &[u8]) -> Result<(), SpdyError> {
        while self.connections.try_join_next().is_some() {}
        // A client need not end what the pod has ended.
        self.inputs.retain(|_, input| !input.is_closed());
        if self.connections.len() + self.pairs.len() >= MOST_STREAMS {
            return Err(SpdyError::TooMany);
        }
        let headers = self.unpacker.unpack(packed)?;
        let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
        let accepted = frames::reply(stream, &self.packer.pack_none()?);
        self.send(accepted).await?;
        let (request, port) = (header("requestid"), header("port"));
        let pair = self.pairs.entry(request.clone()).or_default();
        pair.port = port;
        match header("streamtype").as_str() {
            "data" => pair.data = Some(stream),
            "error" => pair.error = Some(stream),
            _ => {
                self.pairs.remove(&request);
                return self.send(frames::reset(stream)).await;
            }
        }
        let Some(Pair { data: Some(data), error: Some(error), port }) =
            self.pairs.get(&request).map(|pair| Pair { port: pair.port.clone(), ..*pair })
        else {
            return Ok(());
        };
        self.pairs.remove(&request);
        let (input, incoming) = mpsc::channel(WAITING);
        self.inputs.insert(data, input);
        let connection = Connection { data, error, out: self.out.clone() };
        self.connections.spawn(connection.run(self.dialer.clone(), port, incoming));
        Ok(())
    }
}

struct Connection {
    data: u32,
    error: u32,
    out: mpsc::Sender<Bytes>,
}

impl Connection {
    async fn run(self, dialer: Dialer, port: String, incoming: mpsc::Receiver<Bytes>) {
        if let Err(why) = self.carry(dialer, &port, incoming).await {
            let text = format!("an error occurred forwarding {port}: {why}");
            let _ = self.out.send(frames::data(self.error, text.as_bytes(), false)).await;
        }
        for stream in [self.data, self.error] {
            let _ = self.out.send(frames::data(stream, b"", true)).await;
        }
    }

    async fn carry(&self, dialer: Dialer, port: &str, mut incoming: mpsc::Receiver<Bytes>) -> Result<(), String> {
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or("that is no port")?;
        let stream = dialer.dial(port).await.map_err(|status| status.message)?;
        let (mut reader, mut writer) = tokio::io::split(stream);
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
        let read = async {
            let mut piece = vec![0; PIECE];
            loop {
                let count = reader.read(&mut piece).await.map_err(|error| error.to_string())?;
                let data = piece.get(..count).unwrap_or_default();
                if data.is_empty() || self.out.send(frames::data(self.data, data, false)).await.is_err() {
                    return Ok(());
                }
            }
        };
        tokio::select! {
            () = write => Ok(()),
            outcome = read => outcome,
        }
    }
}
