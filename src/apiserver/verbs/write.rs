//! Create, update and patch.

use api::{Status, meta};
use objects::{Sub, Written};
use serde_json::Value;

use super::body::{self, Decoded};
use super::{Target, options, shown};
use crate::accept::Agreed;
use crate::authorization::refusal;
use crate::reply::Reply;
use crate::server::{Call, access_request};

pub(crate) async fn create(mut call: Call, target: Target) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    let options = options::write_options(&call, "CreateOptions", false)?;
    let Decoded { mut value, warnings } = body::object(&mut call, &target.kind).await?;
    fit_namespace(&target, &mut value)?;
    let created = call.server.objects.create(&target.kind, target.namespace(), value, &options).await?;
    let reply = shown(&target.kind, &created, agreed, &call.query, 201)?;
    Ok(reply.with_warnings(warnings).with_warnings(options.warnings.take()))
}

pub(crate) async fn update(mut call: Call, target: Target, sub: Sub) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    let mut options = options::write_options(&call, "UpdateOptions", false)?;
    if sub == Sub::None && api::kinds::overwriting::creates_on_update(&target.kind) {
        options.no_create = creation_refused(&call).await;
    }
    let Decoded { value, warnings } = body::object(&mut call, &target.kind).await?;
    check_names(&value, target.name(), target.namespace())?;
    let name = target.name().to_owned();
    let written = call.server.objects.update(&target.kind, target.namespace(), &name, sub, value, &options).await?;
    Ok(answer(&call, &target, &written, agreed)?.with_warnings(warnings).with_warnings(options.warnings.take()))
}

pub(crate) async fn patch(mut call: Call, target: Target, sub: Sub) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    let form = body::patch_form(call.content_type(), target.kind.strategic)?;
    let mut options = options::write_options(&call, "PatchOptions", form == body::PatchForm::Apply)?;
    if sub == Sub::None && form == body::PatchForm::Apply {
        options.no_create = creation_refused(&call).await;
    }
    let Decoded { value, warnings } = body::patch(&mut call, form).await?;
    let patch = form.with(value);
    let name = target.name().to_owned();
    let written = call.server.objects.patch(&target.kind, target.namespace(), &name, sub, patch, &options).await?;
    Ok(answer(&call, &target, &written, agreed)?.with_warnings(warnings).with_warnings(options.warnings.take()))
}

/// What somebody is told who may update or patch but not create, should the object not be there.
async fn creation_refused(call: &Call) -> Option<Status> {
    let mut access = access_request(&call.user, &call.asked, &call.query);
    "create".clone_into(&mut access.verb);
    let decision = call.server.authorizer.authorize(&access).await;
    (!decision.is_allowed()).then(|| refusal(&access, &decision))
}

fn answer(call: &Call, target: &Target, written: &Written, agreed: Agreed) -> Result<Reply, Status> {
    let code = if written.created { 201 } else { 200 };
    shown(&target.kind, &written.object, agreed, &call.query, code)
}

/// The namespace of a new object is the path's.
fn fit_namespace(target: &Target, object: &mut Value) -> Result<(), Status> {
    let said = meta::namespace(object);
    match target.namespace() {
        None if !said.is_empty() => meta::unset(object, "namespace"),
        None => {}
        Some(namespace) if said.is_empty() => meta::set(object, "namespace", namespace),
        Some(namespace) if said == namespace => {}
        Some(_) => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// The object of a body is the object of the path.
pub(crate) fn check_names(object: &Value, name: &str, namespace: Option<&str>) -> Result<(), Status> {
    let said = meta::name(object);
    if said.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    if said != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({said}) does not match the name on the URL ({name})"
        )));
    }
    let said = meta::namespace(object);
    match namespace {
        Some(namespace) if !said.is_empty() && said != namespace => Err(Status::bad_request(format!(
            "the namespace of the object ({said}) does not match the namespace on the request ({namespace})"
        ))),
        _ => Ok(()),
    }
}
