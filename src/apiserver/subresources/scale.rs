//! `/scale`: how many replicas there are and should be, in one form for every kind that has replicas.

use api::Status;
use bytes::Bytes;
use objects::{Object, Sub};

use crate::accept::{Encoding, Form};
use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::body::{self, PatchForm};
use crate::verbs::{self, Target, check_names};

pub(crate) async fn scale(mut call: Call, target: Target) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    if agreed.form == Form::Metadata {
        return Err(Status::not_acceptable("application/json, application/yaml"));
    }
    let encoding = agreed.encoding;
    match call.asked.verb {
        "get" => {
            let revision = objects::Revisions::default();
            let found = call.server.objects.get(&target.kind, target.namespace(), target.name(), &revision).await?;
            answer(&target, &found, encoding)
        }
        "update" => {
            let options = verbs::write_options(&call, "UpdateOptions", false)?;
            let scale = body::virtual_object(&mut call, "autoscaling", "v1", "Scale").await?;
            check_names(&scale, target.name(), target.namespace())?;
            let objects = &call.server.objects;
            let written =
                objects.update(&target.kind, target.namespace(), target.name(), Sub::Scale, scale, &options).await?;
            Ok(answer(&target, &written.object, encoding)?.with_warnings(options.warnings.take()))
        }
        "patch" => {
            let form = body::patch_form(call.content_type(), target.kind.strategic)?;
            let options = verbs::write_options(&call, "PatchOptions", form == PatchForm::Apply)?;
            let patch = form.with(body::patch(&mut call, form).await?.value);
            let objects = &call.server.objects;
            let written =
                objects.patch(&target.kind, target.namespace(), target.name(), Sub::Scale, patch, &options).await?;
            Ok(answer(&target, &written.object, encoding)?.with_warnings(options.warnings.take()))
        }
        _ => Err(Status::method_not_allowed()),
    }
}

fn answer(target: &Target, object: &Object, encoding: Encoding) -> Result<Reply, Status> {
    let scale = objects::scale::of(&target.kind, &object.value()).ok_or_else(Status::no_such_path)?;
    Reply::document(200, encoding, Bytes::from(scale.to_string()))
}
