//! What others serve, in the documents that say what is served.

use api::Status;
use http::header::{ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Remote, forward};
use crate::reply::{Payload, Reply};
use crate::server::Call;

/// `/apis`, in both of its forms.
pub(crate) async fn groups(mut call: Call) -> Result<Reply, Status> {
    let held = call.headers.remove(IF_NONE_MATCH);
    let reply = call.server.documents.groups(&call).await?;
    let remotes = call.server.aggregation.all();
    changed(reply, held, |document| {
        if document["kind"] == "APIGroupDiscoveryList" {
            for remote in remotes.iter() {
                add_aggregated(document, remote);
            }
        } else {
            for remote in remotes.iter() {
                add_group(document, remote);
            }
        }
    })
}

/// `/apis/GROUP`
pub(crate) async fn group(mut call: Call, group: &str) -> Result<Reply, Status> {
    let held = call.headers.remove(IF_NONE_MATCH);
    let remotes = call.server.aggregation.all();
    let own = call.server.documents.group(&call, group).await;
    let reply = match own {
        Ok(reply) => reply,
        Err(status) if status.code == 404 => {
            let empty = json!({ "kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": [] });
            let encoding = call.plain()?;
            Reply::document(200, encoding, empty.to_string().into())?
        }
        Err(status) => return Err(status),
    };
    changed(reply, held, |document| {
        for remote in remotes.iter().filter(|remote| remote.group == group) {
            add_version(document, remote);
        }
    })
}

/// `/openapi/v3`
pub(crate) async fn openapi_index(mut call: Call) -> Result<Reply, Status> {
    let held = call.headers.remove(IF_NONE_MATCH);
    let reply = call.server.documents.openapi_v3_index(&call).await?;
    let remotes = call.server.aggregation.all();
    changed(reply, held, |document| {
        for remote in remotes.iter() {
            let key = remote.path().trim_start_matches('/').to_owned();
            if let Some(url) = &remote.openapi {
                document["paths"][key] = json!({ "serverRelativeURL": url });
            }
        }
    })
}

/// `/openapi/v3/apis/GROUP/VERSION` of somebody else.
pub(crate) async fn openapi(call: Call, remote: &Remote) -> Result<Reply, Status> {
    forward(call, remote).await
}

/// The same answer with a changed document.
fn changed(mut reply: Reply, held: Option<HeaderValue>, change: impl FnOnce(&mut Value)) -> Result<Reply, Status> {
    let Payload::Whole(bytes) = &reply.payload else { return Ok(reply) };
    // YAML is for people.
    let Ok(mut document) = serde_json::from_slice::<Value>(bytes) else { return Ok(reply) };
    let lines = bytes.contains(&b'\n');
    change(&mut document);
    let text = if lines { format!("{document:#}\n") } else { document.to_string() };
    let tag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&text)));
    let same = held
        .as_ref()
        .and_then(|held| held.to_str().ok())
        .is_some_and(|held| held.split(',').any(|one| one.trim() == tag));
    reply.headers.retain(|(name, _)| *name != ETAG && *name != VARY);
    let mut fresh = HeaderMap::new();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fresh.insert(ETAG, tag);
    }
    fresh.insert(VARY, HeaderValue::from_static("Accept"));
    reply.headers.extend(fresh.into_iter().filter_map(|(name, value)| Some((name?, value))));
    if same {
        reply.code = 304;
        reply.payload = Payload::Whole(bytes::Bytes::new());
    } else {
        reply.payload = Payload::Whole(text.into());
    }
    Ok(reply)
}

fn list<'a>(document: &'a mut Value, field: &str) -> Option<&'a mut Vec<Value>> {
    document.get_mut(field)?.as_array_mut()
}

fn add_aggregated(document: &mut Value, remote: &Remote) {
    let Some(items) = list(document, "items") else { return };
    let known = items.iter_mut().find(|item| item["metadata"]["name"] == remote.group.as_str());
    match known {
        Some(item) => {
            if let Some(versions) = list(item, "versions") {
                versions.retain(|version| version["version"] != remote.version.as_str());
                versions.push(remote.aggregated());
            }
        }
        None => items.push(json!({
            "metadata": { "name": remote.group, "creationTimestamp": null }, "versions": [remote.aggregated()],
        })),
    }
}

fn add_group(document: &mut Value, remote: &Remote) {
    let Some(groups) = list(document, "groups") else { return };
    if let Some(group) = groups.iter_mut().find(|group| group["name"] == remote.group.as_str()) {
        return add_version(group, remote);
    }
    let mut group = json!({ "name": remote.group, "versions": [] });
    add_version(&mut group, remote);
    groups.push(group);
}

fn add_version(group: &mut Value, remote: &Remote) {
    let version = json!({ "groupVersion": remote.group_version(), "version": remote.version });
    let Some(versions) = list(group, "versions") else { return };
    if !versions.contains(&version) {
        versions.push(version);
    }
    let first = versions.first().cloned();
    if group["preferredVersion"].is_null() {
        group["preferredVersion"] = json!(first);
    }
}
