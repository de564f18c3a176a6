//! `/scale`: how many replicas there are and should be, in one form for every kind that has replicas.

use api::Status;
use api::table::{self, IncludeObject};
use bytes::Bytes;
use jiff::Timestamp;
use objects::{Object, Sub};
use serde_json::{Value, json};

use crate::accept::{Agreed, Form};
use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::body::{self, PatchForm};
use crate::verbs::{self, Target, check_names, include};

pub(crate) async fn scale(mut call: Call, target: Target) -> Result<Reply, Status> {
    let agreed = call.agreed()?;
    if agreed.form == Form::Metadata {
        return Err(Status::not_acceptable("application/json, application/yaml"));
    }
    let include = include(&call.query)?;
    match call.asked.verb {
        "get" => {
            let revision = objects::Revisions::default();
            let found = call.server.objects.get(&target.kind, target.namespace(), target.name(), &revision).await?;
            answer(&target, &found, agreed, include)
        }
        "update" => {
            let options = verbs::write_options(&call, "UpdateOptions", false)?;
            let scale = body::virtual_object(&mut call, "autoscaling", "v1", "Scale").await?;
            check_names(&scale, target.name(), target.namespace())?;
            let objects = &call.server.objects;
            let written =
                objects.update(&target.kind, target.namespace(), target.name(), Sub::Scale, scale, &options).await?;
            Ok(answer(&target, &written.object, agreed, include)?.with_warnings(options.warnings.take()))
        }
        "patch" => {
            let form = body::patch_form(call.content_type(), target.kind.strategic)?;
            let options = verbs::write_options(&call, "PatchOptions", form == PatchForm::Apply)?;
            let patch = form.with(body::patch(&mut call, form).await?.value);
            let objects = &call.server.objects;
            let written =
                objects.patch(&target.kind, target.namespace(), target.name(), Sub::Scale, patch, &options).await?;
            Ok(answer(&target, &written.object, agreed, include)?.with_warnings(options.warnings.take()))
        }
        _ => Err(Status::method_not_allowed()),
    }
}

fn answer(target: &Target, object: &Object, agreed: Agreed, include: IncludeObject) -> Result<Reply, Status> {
    let scale = objects::scale::of(&target.kind, &object.value()).ok_or_else(Status::no_such_path)?;
    let shown = if agreed.form == Form::Table { scale_table(&scale, include, Timestamp::now()) } else { scale };
    Reply::document(200, agreed.encoding, Bytes::from(shown.to_string()))
}

/// The columns that `kubectl get --subresource=scale` prints, the same for every kind that has replicas.
fn scale_table(scale: &Value, include: IncludeObject, now: Timestamp) -> Value {
    let column = |name: &str, kind: &str, format: &str, description: &str| {
        json!({
            "name": name, "type": kind, "format": format, "description": description, "priority": 0,
        })
    };
    let object = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => table::partial_metadata(scale),
        IncludeObject::Object => scale.clone(),
    };
    let age = table::since(api::meta::creation_timestamp(scale), now);
    let cells = json!([api::meta::name(scale), scale["spec"]["replicas"], scale["status"]["replicas"], age]);
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": { "resourceVersion": api::meta::resource_version(scale) },
        "columnDefinitions": [
            column("Name", "string", "name", "Name must be unique within a namespace."),
            column("Desired", "integer", "", "How many replicas are wanted."),
            column("Available", "integer", "", "How many replicas there are."),
            column("Age", "string", "", "The time since the object was created."),
        ],
        "rows": [{ "cells": cells, "object": object }],
    })
}
