//! Delete, and delete all that a list shows.

use api::{Kind, Status, meta};
use objects::{Deleted, Object};
use serde_json::{Value, json};

use super::{Target, body, listing, options, shown};
use crate::accept::Agreed;
use crate::query::Query;
use crate::reply::Reply;
use crate::server::Call;

/// The core kinds whose deletion answers the object that went, as clients with types expect.
const ANSWERED_WHOLE: [&str; 7] = [
    "pods",
    "services",
    "serviceaccounts",
    "persistentvolumes",
    "persistentvolumeclaims",
    "podtemplates",
    "resourcequotas",
];

pub(crate) async fn delete(mut call: Call, target: Target) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    let sent = body::options(&mut call, "DeleteOptions").await?;
    let options = options::delete_options(&call, sent.as_ref())?;
    let outcome = call.server.objects.delete(&target.kind, target.namespace(), target.name(), &options).await?;
    // Only who asked for background deletion the old way is told that there is more to come.
    let orphan = sent.as_ref().and_then(|body| body.get("orphanDependents")).and_then(Value::as_bool);
    let code = if orphan.or(call.query.optional_flag("orphanDependents")) == Some(false) { 202 } else { 200 };
    let reply = deleted(&target.kind, &outcome, agreed, &call.query, code)?;
    Ok(reply.with_warnings(options.warnings.take()))
}

/// Answers a deletion; `marked` is the code for an object that is still there.
fn deleted(kind: &Kind, outcome: &Deleted, agreed: Agreed, query: &Query, marked: u16) -> Result<Reply, Status> {
    match outcome {
        Deleted::Gone(object) if kind.group.is_empty() && ANSWERED_WHOLE.contains(&kind.plural.as_str()) => {
            shown(kind, object, agreed, query, 200)
        }
        Deleted::Gone(object) => Reply::document(200, agreed.encoding, success(kind, object).to_string().into()),
        Deleted::Marked(object) => shown(kind, object, agreed, query, marked),
    }
}

fn success(kind: &Kind, object: &Object) -> Value {
    let value = object.value();
    let mut details = json!({ "name": meta::name(&value), "kind": kind.plural, "uid": meta::uid(&value) });
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

pub(crate) async fn delete_collection(mut call: Call, target: Target) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    let sent = body::options(&mut call, "DeleteOptions").await?;
    let options = options::delete_options(&call, sent.as_ref())?;
    let list = options::list_options(&call, &target.kind)?;
    let gone = call.server.objects.delete_collection(&target.kind, target.namespace(), &list, &options).await?;
    listing::answer(&target.kind, gone, agreed, super::show::include(&call.query)?).await
}
