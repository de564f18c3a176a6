//! Kinds that are stored as another kind's objects, and versions of custom resources: shown and sent in their own form.

use std::sync::Arc;

use api::custom::Custom;
use api::{Kind, Status};
use serde_json::{Value, json};

use crate::object::encode;
use crate::{Object, Objects};

/// How the objects of a kind are seen by those who ask for that kind.
#[derive(Clone)]
pub(crate) struct View(Option<Arc<Kind>>);

impl View {
    pub fn of(kind: &Kind) -> Self {
        Self((kind.form.is_some() || kind.custom.is_some()).then(|| Arc::new(kind.clone())))
    }

    /// The object in the form that was asked for. What only a webhook can convert stays as it is.
    pub fn see(&self, object: &Arc<Object>) -> Arc<Object> {
        match &self.0 {
            None => object.clone(),
            Some(kind) => shown(kind, object),
        }
    }
}

/// Whether an object can be shown with its stored bytes.
pub(crate) fn is_as_stored(kind: &Kind, object: &Object) -> bool {
    match &kind.custom {
        None => kind.form.is_none(),
        // Whatever is written now is pruned and has its defaults already.
        Some(custom) => object.revision.0 >= custom.since && is_in_version(kind, object),
    }
}

/// Whether the bytes say the kind's own version. They begin with it.
pub(crate) fn is_in_version(kind: &Kind, object: &Object) -> bool {
    let rest = object.json.strip_prefix(b"{\"apiVersion\":\"").unwrap_or_default();
    let rest = rest.strip_prefix(kind.group.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
    rest.and_then(|rest| rest.strip_prefix(kind.version.as_bytes())).is_some_and(|rest| rest.first() == Some(&b'"'))
}

/// Whether versions of the kind are converted by somebody else.
pub(crate) fn is_remote(kind: &Kind) -> bool {
    kind.custom.as_ref().is_some_and(|custom| custom.webhook.is_some())
}

/// The object in the form of `kind`; as it is stored where only a webhook can convert it.
pub(crate) fn shown(kind: &Kind, object: &Arc<Object>) -> Arc<Object> {
    if is_as_stored(kind, object) || (is_remote(kind) && !is_in_version(kind, object)) {
        return object.clone();
    }
    let mut value = object.value();
    from_stored(kind, &mut value);
    reshaped(kind, object, &value).unwrap_or_else(|status| {
        tracing::error!(%status, ?kind, "an object cannot be shown in this form, it is shown as it is stored");
        object.clone()
    })
}

/// The same object with other content.
pub(crate) fn reshaped(kind: &Kind, object: &Object, value: &Value) -> Result<Arc<Object>, Status> {
    Object::stored(&encode(value), object.revision, Some(kind))
        .map(Arc::new)
        .map_err(|error| Status::internal(format!("the object cannot be read back: {error}")))
}

pub(crate) fn to_stored(kind: &Kind, object: &mut Value) {
    if let Some(form) = &kind.form {
        (form.to_stored)(object);
    }
    if let Some(stored) = kind.custom.as_deref().and_then(|custom: &Custom| custom.stored.as_deref()) {
        object["apiVersion"] = json!(stored.api_version());
    }
}

pub(crate) fn from_stored(kind: &Kind, object: &mut Value) {
    if let Some(form) = &kind.form {
        (form.from_stored)(object);
    }
    if kind.custom.is_some() {
        object["apiVersion"] = json!(kind.api_version());
        kind.behaviour.default(object);
    }
}

impl Objects {
    /// The kind that objects of `kind` are stored as, when it is another one.
    pub(crate) fn stored_kind(&self, kind: &Kind) -> Result<Option<Arc<Kind>>, Status> {
        let Some(form) = &kind.form else { return Ok(None) };
        if let Some(stored) = kind.custom.as_deref().and_then(|custom| custom.stored.as_ref()) {
            return Ok(Some(Arc::clone(stored)));
        }
        match self.kinds().by_resource(&form.group, &form.version, &form.plural) {
            Some(stored) => Ok(Some(stored.clone())),
            None => Err(Status::internal(format!("{kind:?} is stored as a kind that is not there"))),
        }
    }

    /// The object in the form of `kind`, whoever has to convert it.
    pub(crate) async fn seen(&self, kind: &Kind, object: &Arc<Object>) -> Result<Arc<Object>, Status> {
        if !is_remote(kind) || is_in_version(kind, object) {
            return Ok(shown(kind, object));
        }
        let mut seen = self.seen_all(kind, vec![object.clone()]).await?;
        seen.pop().ok_or_else(|| Status::internal("a conversion gave nothing"))
    }

    /// The same for many: a webhook is asked once.
    pub(crate) async fn seen_all(&self, kind: &Kind, objects: Vec<Arc<Object>>) -> Result<Vec<Arc<Object>>, Status> {
        if !is_remote(kind) {
            return Ok(objects.iter().map(|object| shown(kind, object)).collect());
        }
        let foreign: Vec<Value> =
            objects.iter().filter(|object| !is_in_version(kind, object)).map(|object| object.value()).collect();
        let mut converted = self.converted(kind, foreign).await?.into_iter();
        let mut out = Vec::with_capacity(objects.len());
        for object in &objects {
            if is_in_version(kind, object) {
                out.push(shown(kind, object));
                continue;
            }
            let mut value = converted.next().ok_or_else(|| Status::internal("a conversion gave too little"))?;
            from_stored(kind, &mut value);
            out.push(reshaped(kind, object, &value)?);
        }
        Ok(out)
    }
}
