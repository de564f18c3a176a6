//! Changes that say only what differs.

use api::strict::{ContentType, Expected, FieldValidation};
use api::{Kind, Status, meta, patch, schema};
use serde_json::{Value, json};

use super::Target;
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
        if let Patch::Apply(wish) = &patch
            && sub == Sub::None
            && self.cached(kind, namespace.filter(|_| kind.namespaced()), name).is_none()
        {
            match self.create_applied(kind, namespace, name, wish, options).await {
                // Somebody else made it in between.
                Err(status) if status.reason == "AlreadyExists" => {}
                outcome => return outcome,
            }
        }
        let change = |old: &Value| {
            let (mut new, view) = match sub {
                Sub::Scale => (scale::of(kind, old).ok_or_else(Status::no_such_path)?, true),
                _ => (old.clone(), false),
            };
            let was = new.clone();
            apply(kind, &mut new, &patch, view)?;
            same_name(&new, name)?;
            // What a patch did not say about the revision is not a wish to overwrite blindly.
            if meta::resource_version(&new).is_empty() {
                meta::set(&mut new, "resourceVersion", meta::resource_version(old));
            }
            if view {
                let mut scaled = old.clone();
                return scale::apply(kind, &mut scaled, &new).map(|()| scaled);
            }
            if new == was { Ok(new) } else { checked(kind, new, options) }
        };
        self.rewrite(Target { kind, namespace, name }, sub, &change, options).await
    }

    async fn create_applied(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        wish: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let mut object = wish.clone();
        same_name(&object, name)?;
        meta::set(&mut object, "name", name);
        let object = checked(kind, object, options)?;
        let object = self.create(kind, namespace, object, options).await?;
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
        (Patch::Strategic(_), None) => Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
        (Patch::Apply(wish), Some(definition)) => patch::strategic(object, &without_identity(wish), definition),
        (Patch::Apply(wish), None) => {
            patch::merge(object, &without_identity(wish));
            Ok(())
        }
    }
}

/// A wish may repeat what the server wrote into the metadata; it never changes it.
fn without_identity(wish: &Value) -> Value {
    let mut wish = wish.clone();
    for field in ["uid", "creationTimestamp", "managedFields", "generation", "selfLink"] {
        meta::unset(&mut wish, field);
    }
    wish
}

/// The result of a patch is read as strictly as a body is.
fn checked(kind: &Kind, object: Value, options: &WriteOptions) -> Result<Value, Status> {
    if kind.definition().is_none() {
        return Ok(object);
    }
    let mut object = object;
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    let expected =
        Expected { group: &kind.group, version: &kind.version, kind: &kind.kind, definition: kind.definition() };
    let body = serde_json::to_vec(&object).map_err(|error| Status::internal(error.to_string()))?;
    let decoded = api::strict::decode(&body, ContentType::Json, Some(expected), options.field_validation)?;
    if options.field_validation == FieldValidation::Warn {
        for warning in decoded.warnings {
            options.warnings.push(warning);
        }
    }
    Ok(decoded.object)
}
