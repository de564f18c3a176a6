//! `pods/NAME/ephemeralcontainers`: containers that are added to a pod that runs already.

use api::{FieldError, Status, meta, patch};
use objects::Sub;
use serde_json::{Map, Value, json};

use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::body::{self, PatchForm};
use crate::verbs::{self, Target, check_names, shown};

pub(super) async fn answer(mut call: Call, target: Target) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    let (wish, form) = match call.asked.verb {
        "get" => {
            let revision = objects::Revisions::default();
            let pod = call.server.objects.get(&target.kind, target.namespace(), target.name(), &revision).await?;
            return shown(&target.kind, &pod, agreed, &call.query, 200);
        }
        "update" => {
            let sent = body::object(&mut call, &target.kind).await?;
            check_names(&sent.value, target.name(), target.namespace())?;
            (sent.value, None)
        }
        "patch" => {
            let form = body::patch_form(call.content_type(), target.kind.strategic)?;
            (body::patch(&mut call, &target.kind, form).await?.value, Some(form))
        }
        _ => return Err(Status::method_not_allowed()),
    };
    let options = verbs::write_options(&call, "UpdateOptions", false)?;
    let change = |pod: &mut Value| {
        let mut wished = pod.clone();
        match form {
            None => wished.clone_from(&wish),
            Some(PatchForm::Json) => patch::json(&mut wished, &wish)?,
            Some(PatchForm::Strategic) => {
                let missing = || Status::internal("pods have no schema");
                let definition = api::schema::lookup("", "v1", "Pod").ok_or_else(missing)?;
                patch::strategic(&mut wished, &wish, definition)?;
            }
            Some(PatchForm::Merge | PatchForm::Apply) => patch::merge(&mut wished, &wish),
        }
        add(pod, &wished)
    };
    let written = call
        .server
        .objects
        .edit(&target.kind, target.namespace(), target.name(), Sub::Named("ephemeralcontainers"), change, &options)
        .await?;
    shown(&target.kind, &written.object, agreed, &call.query, 200)
}

/// Takes over the ephemeral containers that `wished` has more than `pod`; those that are there stay as they are.
fn add(pod: &mut Value, wished: &Value) -> Result<(), Status> {
    const LIST: &str = "/spec/ephemeralContainers";
    let list = |pod: &Value| pod.pointer(LIST).and_then(Value::as_array).cloned().unwrap_or_default();
    let (held, mut asked) = (list(pod), list(wished));
    for one in &held {
        if !asked.iter().any(|other| other.get("name") == one.get("name")) {
            let detail = "existing ephemeral containers may not be removed";
            let error = FieldError::forbidden("spec.ephemeralContainers", detail);
            return Err(Status::invalid("", "Pod", meta::name(pod), &[error]));
        }
    }
    for one in &mut asked {
        match held.iter().find(|other| other.get("name") == one.get("name")) {
            Some(old) => one.clone_from(old),
            None => {
                if let Some(fields) = one.as_object_mut() {
                    // kubectl debug reads it without looking.
                    fields.entry("securityContext").or_insert_with(|| json!({}));
                }
            }
        }
    }
    let spec = pod.as_object_mut().map(|pod| pod.entry("spec").or_insert_with(|| Value::Object(Map::new())));
    if let Some(Value::Object(spec)) = spec {
        spec.insert("ephemeralContainers".to_owned(), Value::Array(asked));
    }
    Ok(())
}
