//! Lists. The cached bytes of each object are copied into the answer; nothing is encoded again.

use std::sync::Arc;

use api::table::{self, IncludeObject};
use api::{Kind, Status};
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use objects::{List, Object};
use serde_json::{Value, json};

use super::{Target, options, show};
use crate::accept::{Agreed, Encoding, Form};
use crate::reply::Reply;
use crate::server::Call;

/// Above this many rows a table is made on a thread that nobody waits on.
const ROWS_IN_LINE: usize = 32;
/// How many rows are made at a time then.
const ROWS_TOGETHER: usize = 128;
/// How many threads work on one table.
const TABLES_AT_ONCE: usize = 2;
/// A list with more bytes than this is never whole in memory: it is copied piece by piece while it is sent.
const WHOLE: usize = 1 << 20;
/// How large such a piece is.
const PIECE: usize = 256 << 10;

pub(crate) async fn list(call: &Call, target: &Target) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    let options = options::list_options(call, &target.kind)?;
    let include = show::include(&call.query)?;
    let found = call.server.objects.list(&target.kind, target.namespace(), &options).await?;
    answer(&target.kind, found, agreed, include).await
}

/// Answers with a list.
pub(crate) async fn answer(
    kind: &Arc<Kind>,
    list: List,
    agreed: Agreed,
    include: IncludeObject,
) -> Result<Reply, Status> {
    if agreed.form == Form::Table {
        return tabular(kind, list, agreed.encoding, include).await;
    }
    let written = Written::new(kind, list, agreed.form);
    if agreed.encoding == Encoding::Json && written.left > WHOLE {
        return Ok(Reply::pieces(agreed.encoding.media_type(), stream::iter(written).boxed()));
    }
    let mut bytes = BytesMut::with_capacity(written.left + 1024);
    for piece in written {
        bytes.extend_from_slice(&piece?);
    }
    Reply::document(200, agreed.encoding, bytes.freeze())
}

fn list_metadata(list: &List) -> Value {
    let mut metadata = json!({ "resourceVersion": list.revision.to_string() });
    if let Some(token) = &list.continue_token {
        metadata["continue"] = json!(token);
    }
    if let Some(remaining) = list.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    metadata
}

/// A list as it is written: its head, the bytes of each object, its end.
struct Written {
    head: Option<String>,
    form: Form,
    items: std::vec::IntoIter<Arc<Object>>,
    /// How many bytes the objects to come have.
    left: usize,
    first: bool,
    ended: bool,
}

impl Written {
    fn new(kind: &Kind, list: List, form: Form) -> Self {
        let (name, version) = match form {
            Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            _ => (kind.list_kind(), kind.api_version()),
        };
        let metadata = list_metadata(&list);
        let head =
            format!("{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[", json!(name), json!(version));
        let left = list.items.iter().map(|item| item.json.len() + 1).sum();
        Self { head: Some(head), form, items: list.items.into_iter(), left, first: true, ended: false }
    }
}

impl Iterator for Written {
    type Item = Result<Bytes, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut piece = BytesMut::with_capacity(self.left.min(PIECE) + 16 * 1024);
        if let Some(head) = self.head.take() {
            piece.extend_from_slice(head.as_bytes());
        }
        while piece.len() < PIECE {
            let Some(item) = self.items.next() else {
                piece.extend_from_slice(b"]}");
                self.ended = true;
                break;
            };
            self.left -= item.json.len() + 1;
            if !std::mem::replace(&mut self.first, false) {
                piece.extend_from_slice(b",");
            }
            if self.form == Form::Whole {
                piece.extend_from_slice(&item.json);
            } else {
                match show::metadata_only(&item.json) {
                    Ok(json) => piece.extend_from_slice(&json),
                    Err(status) => {
                        self.ended = true;
                        return Some(Err(status));
                    }
                }
            }
        }
        Some(Ok(piece.freeze()))
    }
}

/// A table: rows are made from decoded objects, which costs enough to keep it away from the threads that answer.
async fn tabular(kind: &Arc<Kind>, list: List, encoding: Encoding, include: IncludeObject) -> Result<Reply, Status> {
    let now = Timestamp::now();
    let head = table::table(kind, Vec::new(), list_metadata(&list), true);
    if list.items.len() <= ROWS_IN_LINE {
        let mut table = head;
        table["rows"] = list.items.iter().map(|item| table::row(kind, &item.value(), include, now)).collect();
        return Reply::document(200, encoding, table.to_string().into());
    }
    let pieces = rows(kind, list, include, now, &head);
    if encoding == Encoding::Json {
        return Ok(Reply::pieces(encoding.media_type(), pieces));
    }
    let whole: Vec<Bytes> = pieces.try_collect().await?;
    Reply::document(200, encoding, whole.concat().into())
}

/// A table that is written while its rows are made.
fn rows(
    kind: &Arc<Kind>,
    list: List,
    include: IncludeObject,
    now: Timestamp,
    head: &Value,
) -> BoxStream<'static, Result<Bytes, Status>> {
    let mut opening = head.as_object().cloned().unwrap_or_default();
    opening.remove("rows");
    let mut opening = Value::Object(opening).to_string();
    opening.truncate(opening.len().saturating_sub(1));
    opening.push_str(",\"rows\":[");
    let chunks: Vec<Vec<Arc<Object>>> = list.items.chunks(ROWS_TOGETHER).map(<[_]>::to_vec).collect();
    let kind = Arc::clone(kind);
    let made = stream::iter(chunks.into_iter().enumerate()).map(move |(at, items)| {
        let kind = Arc::clone(&kind);
        async move {
            let made = tokio::task::spawn_blocking(move || {
                let mut text = Vec::with_capacity(items.len() * 1024);
                for (nth, item) in items.iter().enumerate() {
                    if at + nth > 0 {
                        text.push(b',');
                    }
                    // A Vec takes everything, and a Value's keys are strings.
                    let _ = serde_json::to_writer(&mut text, &table::row(&kind, &item.value(), include, now));
                }
                Bytes::from(text)
            });
            made.await.map_err(|error| Status::internal(error.to_string()))
        }
    });
    let first = stream::once(async move { Ok(Bytes::from(opening)) });
    let last = stream::once(async { Ok(Bytes::from_static(b"]}")) });
    first.chain(made.buffered(TABLES_AT_ONCE)).chain(last).boxed()
}
