//! Watches: one line of JSON an event, in the form that was asked for.

use std::convert::Infallible;
use std::sync::Arc;

use api::table::{IncludeObject, table, table_of_one};
use api::{Kind, Status};
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use jiff::Timestamp;
use objects::{Object, WatchEvent};
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};

use super::{Target, options, show};
use crate::accept::{self, Form};
use crate::forwarding::{is_upgrade, websocket};
use crate::reply::Reply;
use crate::server::Call;

/// Events that are there already go out in one piece, up to so many.
const TOGETHER: usize = 64;

pub(crate) async fn watch(call: &Call, target: &Target) -> Result<Reply, Status> {
    let form = accept::watch(call.accept())?;
    let options = options::watch_options(call, target)?;
    let include = show::include(&call.query)?;
    let mut lines = Lines { kind: Arc::clone(&target.kind), form, include, named_columns: false };
    let started = call.server.objects.watch(&target.kind, target.namespace(), &options).await;
    let events = match started {
        Ok(events) => events.left_stream(),
        // Reflectors look for 410 among the events.
        Err(status) if status.code == 410 => futures::stream::iter([WatchEvent::Error(status)]).right_stream(),
        Err(status) => return Err(status),
    };
    let open = Open::new(call.server.journal.watches().clone());
    let ending = call.ending.clone();
    if is_upgrade(&call.headers) {
        let messages = events.take_until(ending.cancelled_owned()).map(move |event| {
            let _open = &open;
            lines.write(&[event])
        });
        return socket(call, messages.boxed()).await;
    }
    let pieces = events.take_until(ending.cancelled_owned()).ready_chunks(TOGETHER).map(move |events| {
        let _open = &open;
        Ok::<Bytes, Infallible>(lines.write(&events))
    });
    Ok(Reply::stream("application/json", Body::from_stream(pieces)))
}

/// The same over a WebSocket: a message of text an event.
async fn socket(call: &Call, mut messages: BoxStream<'static, Bytes>) -> Result<Reply, Status> {
    let upgrade = websocket(call).await?;
    let response = upgrade.on_upgrade(move |socket: WebSocket| async move {
        let (mut sink, mut stream) = socket.split();
        let send = async {
            while let Some(line) = messages.next().await {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sink.send(Message::Text(text.into())).await.is_err() {
                    return;
                }
            }
            let _ = sink.close().await;
        };
        // The client has nothing to say but that it leaves.
        let left = async {
            while stream.next().await.is_some_and(|message| !matches!(message, Err(_) | Ok(Message::Close(_)))) {}
        };
        tokio::select! {
            () = send => {}
            () = left => {}
        }
    });
    Ok(Reply::ready(response))
}

/// Counts a watch for as long as it is open.
struct Open(Gauge);

impl Open {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Turns events into lines.
struct Lines {
    kind: Arc<Kind>,
    form: Form,
    include: IncludeObject,
    /// The first table of a watch names the columns, the others need not.
    named_columns: bool,
}

impl Lines {
    fn write(&mut self, events: &[WatchEvent]) -> Bytes {
        let mut out = BytesMut::with_capacity(events.len() * 2048);
        for event in events {
            match event {
                WatchEvent::Added(object) => self.object("ADDED", object, &mut out),
                WatchEvent::Modified(object) => self.object("MODIFIED", object, &mut out),
                WatchEvent::Deleted(object) => self.object("DELETED", object, &mut out),
                WatchEvent::Bookmark { revision, initial_events_end } => {
                    let bookmark = self.bookmark(&revision.to_string(), *initial_events_end);
                    line("BOOKMARK", bookmark.to_string().as_bytes(), &mut out);
                }
                WatchEvent::Error(status) => line("ERROR", status.to_json().to_string().as_bytes(), &mut out),
            }
        }
        out.freeze()
    }

    fn object(&mut self, event: &str, object: &Object, out: &mut BytesMut) {
        match self.form {
            Form::Whole => line(event, &object.json, out),
            Form::Metadata => match show::metadata_only(&object.json) {
                Ok(json) => line(event, &json, out),
                Err(status) => line("ERROR", status.to_json().to_string().as_bytes(), out),
            },
            Form::Table => {
                let first = !std::mem::replace(&mut self.named_columns, true);
                let table = table_of_one(&self.kind, &object.value(), self.include, Timestamp::now(), first);
                line(event, table.to_string().as_bytes(), out);
            }
        }
    }

    fn bookmark(&mut self, revision: &str, initial_events_end: bool) -> Value {
        let mut metadata = json!({ "resourceVersion": revision, "creationTimestamp": null });
        if initial_events_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        match self.form {
            Form::Whole => {
                json!({ "kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata })
            }
            Form::Metadata => {
                json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata })
            }
            Form::Table => {
                // The mark of the end of the initial events travels in the row's object, where clients look for it.
                let partial =
                    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata });
                let cells: Vec<Value> = self.kind.columns.iter().map(|_| json!("")).collect();
                let row = json!({ "cells": cells, "object": partial });
                let rows = if initial_events_end { vec![row] } else { Vec::new() };
                let first = !std::mem::replace(&mut self.named_columns, true);
                table(&self.kind, rows, json!({ "resourceVersion": revision }), first)
            }
        }
    }
}

fn line(event: &str, object: &[u8], out: &mut BytesMut) {
    out.reserve(event.len() + object.len() + 24);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(event.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
}
