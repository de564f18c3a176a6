//! `pods/NAME/eviction`: a deletion that those who guard availability may refuse. Nobody guards yet.

use api::{Status, meta};
use serde_json::{Value, json};

use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::{self, Target, body};

pub(super) async fn answer(mut call: Call, target: Target) -> Result<Reply, Status> {
    let eviction = body::options(&mut call, "Eviction").await?.unwrap_or_else(|| json!({}));
    let name = meta::name(&eviction);
    if !name.is_empty() && name != target.name() {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let sent = eviction.get("deleteOptions").filter(|options| options.is_object());
    let options = verbs::delete_options(&call, sent.or(Some(&Value::Null)))?;
    call.server.objects.delete(&target.kind, target.namespace(), target.name(), &options).await?;
    let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(Reply::json(201, &success))
}
