//! Changes that say only what differs.

use api::strict::{self, FieldValidation};
use api::{FieldError, Kind, Status, meta, patch, schema};
use serde_json::{Value, json};

use super::{Managing, Target};
use crate::managed_fields::Tracker;
use crate::options::{Patch, Sub, WriteOptions, Written};
use crate::{Objects, scale};

impl Objects {
    /// Changes what is there by a patch. A patch that names no resourceVersion is tried again when somebody else was
    /// faster. An apply makes the object when it is not there.
    pub async fn patch(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        sub: Sub,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let target = Target { kind, namespace, name };
        let Patch::Apply(wish) = &patch else {
            let change = |old: &Value| patched(target, sub, old, &patch, options);
            return self.rewrite(target, sub, &change, options).await;
        };
        let tracker = Tracker::new(self.kinds(), kind);
        if sub == Sub::None && self.cached(kind, namespace.filter(|_| kind.namespaced()), name).is_none() {
            match self.create_applied(target, &tracker, wish, options).await {
                // Somebody else made it in between.
                Err(status) if status.reason == "AlreadyExists" => {}
                outcome => return outcome,
            }
        }
        let change = |old: &Value| {
            let new = tracker.apply(sub, old, wish, options)?;
            same_name(&new, name)?;
            if sub != Sub::Scale {
                return shaped(kind, new);
            }
            let scaled = scale::of(kind, &new).ok_or_else(Status::no_such_path)?;
            let mut new = new;
            scale::apply(kind, &mut new, &scaled).map(|()| new)
        };
        self.rewrite_managed(target, sub, &change, Managing::Done, options).await
    }

    async fn create_applied(
        &self,
        target: Target<'_>,
        tracker: &Tracker<'_>,
        wish: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let Target { kind, namespace, name } = target;
        if let Some(refused) = &options.no_create {
            return Err(refused.clone());
        }
        let uid = meta::uid(wish);
        if !uid.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Status::conflict(&kind.group, &kind.plural, name, &why));
        }
        let object = tracker.apply(Sub::None, &Value::Null, wish, options)?;
        same_name(&object, name)?;
        if meta::name(&object).is_empty() {
            return Err(Status::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        }
        let object = shaped(kind, object)?;
        let object = self.create_managed(kind, namespace, object, Managing::Done, options).await?;
        Ok(Written { object, created: true })
    }
}

fn same_name(object: &Value, name: &str) -> Result<(), Status> {
    let sent = meta::name(object);
    if sent.is_empty() || sent == name {
        return Ok(());
    }
    Err(Status::bad_request(format!("the name of the object ({sent}) does not match the name on the URL ({name})")))
}

/// The next state of an object by a patch that is no apply.
fn patched(
    Target { kind, name, .. }: Target<'_>,
    sub: Sub,
    old: &Value,
    change: &Patch,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let scaled = match sub {
        Sub::Scale => Some(scale::of(kind, old).ok_or_else(Status::no_such_path)?),
        _ => None,
    };
    let was = scaled.as_ref().unwrap_or(old);
    let mut new = was.clone();
    apply(kind, &mut new, change, scaled.is_some())?;
    if !new.is_object() {
        return Err(refused(change, &new, "the result of the patch is no object"));
    }
    same_name(&new, name)?;
    // What a patch did not say about the revision is not a wish to overwrite blindly.
    if meta::resource_version(&new).is_empty() {
        meta::set(&mut new, "resourceVersion", meta::resource_version(old));
    }
    if scaled.is_some() {
        let mut out = old.clone();
        return scale::apply(kind, &mut out, &new).map(|()| out);
    }
    if new == *was { Ok(new) } else { checked(kind, new, change, options) }
}

/// Changes `object` as the patch says; `view` when it is not an object of the kind but a Scale of one.
fn apply(kind: &Kind, object: &mut Value, change: &Patch, view: bool) -> Result<(), Status> {
    let definition = if view {
        schema::lookup("autoscaling", "v1", "Scale")
    } else if kind.strategic {
        kind.definition()
    } else {
        None
    };
    match (change, definition) {
        (Patch::Json(operations), _) => patch::json(object, operations),
        (Patch::Merge(wanted), _) => {
            patch::merge(object, wanted);
            Ok(())
        }
        (Patch::Strategic(wanted), Some(definition)) => patch::strategic(object, wanted, definition),
        (Patch::Strategic(_) | Patch::Apply(_), _) => Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
    }
}

/// The result of a patch is read as strictly as a body is.
fn checked(kind: &Kind, object: Value, change: &Patch, options: &WriteOptions) -> Result<Value, Status> {
    let mut object = object;
    let (version, name) = (json!(kind.api_version()), json!(kind.kind));
    if matches!(change, Patch::Strategic(_)) {
        // Go reads the merged map into the struct that it is for, whatever it says it is.
        object["apiVersion"] = version;
        object["kind"] = name;
    } else if object.get("apiVersion") != Some(&version) || object.get("kind") != Some(&name) {
        let said = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let why = match (said("apiVersion"), said("kind")) {
            (version, _) if version.is_empty() => "Object 'apiVersion' is missing".to_owned(),
            (_, kind) if kind.is_empty() => "Object 'Kind' is missing".to_owned(),
            (version, kind) => format!("no kind {kind:?} is registered for version {version:?} in scheme \"coracle\""),
        };
        return Err(refused(change, &object, &why));
    }
    let Some(definition) = kind.definition() else { return Ok(object) };
    let found = strict::shape(&mut object, definition).map_err(|why| refused(change, &object, &why))?;
    let complaints: Vec<String> = found.unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    match options.field_validation {
        FieldValidation::Strict if !complaints.is_empty() => {
            let why = format!("strict decoding error: {}", complaints.join(", "));
            return Err(refused(change, &object, &why));
        }
        FieldValidation::Warn => {
            for complaint in complaints {
                options.warnings.push(complaint);
            }
        }
        _ => {}
    }
    Ok(object)
}

/// 422: what the patch made is no object of the kind.
fn refused(change: &Patch, object: &Value, why: &str) -> Status {
    let shown = match change {
        Patch::Strategic(patch) | Patch::Apply(patch) => patch.to_string(),
        Patch::Json(_) | Patch::Merge(_) => object.to_string(),
    };
    Status::invalid("", "", "", &[FieldError::invalid("patch", &json!(shown), why)])
}

/// What an apply made, as Go's structs would have it.
fn shaped(kind: &Kind, object: Value) -> Result<Value, Status> {
    let Some(definition) = kind.definition() else { return Ok(object) };
    let mut object = object;
    strict::shape(&mut object, definition).map_err(|why| Status::new(500, "", why))?;
    Ok(object)
}
