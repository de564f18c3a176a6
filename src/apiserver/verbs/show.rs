//! One object, in the form that was asked for.

use api::table::{IncludeObject, table_of_one};
use api::{Kind, Status};
use bytes::Bytes;
use jiff::Timestamp;
use objects::Object;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Target, options};
use crate::accept::{Agreed, Form};
use crate::query::Query;
use crate::reply::Reply;
use crate::server::Call;

pub(crate) async fn get(call: &Call, target: &Target) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    let revision = options::revisions(&call.query);
    let found = call.server.objects.get(&target.kind, target.namespace(), target.name(), &revision).await?;
    shown(&target.kind, &found, agreed, &call.query, 200)
}

/// Answers with an object.
pub(crate) fn shown(kind: &Kind, object: &Object, agreed: Agreed, query: &Query, code: u16) -> Result<Reply, Status> {
    let json = match agreed.form {
        Form::Whole => object.json.clone(),
        Form::Metadata => metadata_only(&object.json)?,
        Form::Table => {
            let table = table_of_one(kind, &object.value(), include(query)?, Timestamp::now(), true);
            table.to_string().into()
        }
    };
    Reply::document(code, agreed.encoding, json)
}

/// What of each object goes along with its row of a table.
pub(crate) fn include(query: &Query) -> Result<IncludeObject, Status> {
    let text = query.get("includeObject").unwrap_or_default();
    IncludeObject::parse(text).ok_or_else(|| Status::bad_request(format!("unrecognized includeObject value: {text:?}")))
}

/// `PartialObjectMetadata` of an object's bytes: its metadata is copied as it stands.
pub(crate) fn metadata_only(json: &[u8]) -> Result<Bytes, Status> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        metadata: Option<&'a RawValue>,
    }
    let envelope: Envelope<'_> = serde_json::from_slice(json)
        .map_err(|error| Status::internal(format!("a stored object is no JSON: {error}")))?;
    let metadata = envelope.metadata.map_or("{}", RawValue::get);
    const HEAD: &str = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#;
    let mut text = String::with_capacity(HEAD.len() + metadata.len() + 1);
    text.push_str(HEAD);
    text.push_str(metadata);
    text.push('}');
    Ok(text.into())
}
