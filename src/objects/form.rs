//! Kinds that are stored as another kind's objects: shown and sent in their own form.

use std::sync::Arc;

use api::{Kind, Status};
use serde_json::Value;

use crate::object::encode;
use crate::{Object, Objects};

/// How the objects of a kind are seen by those who ask for that kind.
#[derive(Clone)]
pub(crate) struct View(Option<Arc<Kind>>);

impl View {
    pub fn of(kind: &Kind) -> Self {
        Self(kind.form.is_some().then(|| Arc::new(kind.clone())))
    }

    /// The object in the form that was asked for.
    pub fn see(&self, object: &Arc<Object>) -> Arc<Object> {
        match &self.0 {
            None => object.clone(),
            Some(kind) => shown(kind, object),
        }
    }
}

/// The object in the form of `kind`.
pub(crate) fn shown(kind: &Kind, object: &Arc<Object>) -> Arc<Object> {
    let Some(form) = &kind.form else { return object.clone() };
    let mut value = object.value();
    (form.from_stored)(&mut value);
    match Object::stored(&encode(&value), object.revision, Some(kind)) {
        Ok(shown) => Arc::new(shown),
        Err(error) => {
            tracing::error!(%error, ?kind, "an object cannot be shown in this form, it is shown as it is stored");
            object.clone()
        }
    }
}

pub(crate) fn to_stored(kind: &Kind, object: &mut Value) {
    if let Some(form) = &kind.form {
        (form.to_stored)(object);
    }
}

pub(crate) fn from_stored(kind: &Kind, object: &mut Value) {
    if let Some(form) = &kind.form {
        (form.from_stored)(object);
    }
}

impl Objects {
    /// The kind that objects of `kind` are stored as, when it is another one.
    pub(crate) fn stored_kind(&self, kind: &Kind) -> Result<Option<Arc<Kind>>, Status> {
        let Some(form) = &kind.form else { return Ok(None) };
        match self.kinds().by_resource(&form.group, &form.version, &form.plural) {
            Some(stored) => Ok(Some(stored.clone())),
            None => Err(Status::internal(format!("{kind:?} is stored as a kind that is not there"))),
        }
    }
}
