//! `componentstatuses`: how the parts of the control plane are, told when asked and never stored.

use api::kinds::component_status;
use api::table::{self, partial_metadata};
use api::{LabelSelector, Status, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::accept::Form;
use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::{Target, include};

/// Whether a request is about them.
pub(crate) fn is_about(target: &Target) -> bool {
    target.kind.group.is_empty() && target.kind.plural == "componentstatuses"
}

pub(crate) fn answer(call: &Call, target: &Target) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    let kind = &target.kind;
    let now = Timestamp::now();
    match (call.asked.verb, &target.name) {
        ("get", Some(name)) => {
            let found = component_status::all().into_iter().find(|one| meta::name(one) == name);
            let object = found.ok_or_else(|| Status::not_found("", "componentstatuses", name))?;
            let shown = match agreed.form {
                Form::Whole => object,
                Form::Metadata => partial_metadata(&object),
                Form::Table => table::table_of_one(kind, &object, include(&call.query)?, now, true),
            };
            Reply::document(200, agreed.encoding, shown.to_string().into())
        }
        ("list", None) => {
            let items = selected(call)?;
            let shown = match agreed.form {
                Form::Whole => {
                    json!({ "kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": items })
                }
                Form::Metadata => {
                    let items: Vec<Value> = items.iter().map(partial_metadata).collect();
                    let kind = "PartialObjectMetadataList";
                    json!({ "kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items })
                }
                Form::Table => {
                    let include = include(&call.query)?;
                    let rows = items.iter().map(|item| table::row(kind, item, include, now)).collect();
                    table::table(kind, rows, json!({}), true)
                }
            };
            Reply::document(200, agreed.encoding, shown.to_string().into())
        }
        _ => Err(Status::method_not_allowed()),
    }
}

/// Those that the selectors of the request name: they have no labels.
fn selected(call: &Call) -> Result<Vec<Value>, Status> {
    let text = call.query.get("labelSelector").unwrap_or_default();
    let selector: LabelSelector =
        text.parse().map_err(|error| Status::bad_request(format!("unable to parse requirement: {error}")))?;
    let name = call.query.get("fieldSelector").and_then(|text| text.strip_prefix("metadata.name="));
    let wanted = |one: &Value| selector.matches_object(one) && name.is_none_or(|name| meta::name(one) == name);
    Ok(component_status::all().into_iter().filter(wanted).collect())
}
