//! Lists. The cached bytes of each object are copied into the answer; nothing is encoded again.

use std::sync::Arc;

use api::table::{self, IncludeObject};
use api::{Kind, Status};
use bytes::Bytes;
use jiff::Timestamp;
use objects::List;
use serde_json::{Value, json};

use super::{Target, options, show};
use crate::accept::{Agreed, Form};
use crate::reply::Reply;
use crate::server::Call;

/// Above this many rows a table is made on a thread that nobody waits on.
const ROWS_IN_LINE: usize = 32;

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
    let bytes = match agreed.form {
        Form::Whole => whole(kind, &list),
        Form::Metadata => metadata(&list)?,
        Form::Table if list.items.len() <= ROWS_IN_LINE => rows(kind, &list, include),
        Form::Table => {
            let kind = Arc::clone(kind);
            let made = tokio::task::spawn_blocking(move || rows(&kind, &list, include)).await;
            made.map_err(|error| Status::internal(error.to_string()))?
        }
    };
    Reply::document(200, agreed.encoding, bytes)
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

fn whole(kind: &Kind, list: &List) -> Bytes {
    let items = list.items.iter().map(|item| item.json.as_ref());
    joined(&kind.list_kind(), &kind.api_version(), &list_metadata(list), items)
}

fn metadata(list: &List) -> Result<Bytes, Status> {
    let items: Vec<Bytes> = list.items.iter().map(|item| show::metadata_only(&item.json)).collect::<Result<_, _>>()?;
    let items = items.iter().map(AsRef::as_ref);
    Ok(joined("PartialObjectMetadataList", "meta.k8s.io/v1", &list_metadata(list), items))
}

fn joined<'a>(kind: &str, version: &str, metadata: &Value, items: impl Iterator<Item = &'a [u8]> + Clone) -> Bytes {
    let head =
        format!("{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[", json!(kind), json!(version));
    let size: usize = items.clone().map(|item| item.len() + 1).sum();
    let mut bytes = Vec::with_capacity(head.len() + size + 2);
    bytes.extend_from_slice(head.as_bytes());
    for (at, item) in items.enumerate() {
        if at > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(item);
    }
    bytes.extend_from_slice(b"]}");
    bytes.into()
}

fn rows(kind: &Kind, list: &List, include: IncludeObject) -> Bytes {
    let now = Timestamp::now();
    let rows = list.items.iter().map(|item| table::row(kind, &item.value(), include, now)).collect();
    table::table(kind, rows, list_metadata(list), true).to_string().into()
}
