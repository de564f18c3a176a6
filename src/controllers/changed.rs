//! An object with a part of it changed, to be written over the one that was read: for who may update and not patch.

use kube::Resource;
use kube::api::{Api, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Writes `object` with `change` merged into it (or its status). Somebody else's change in between is a conflict.
pub(crate) async fn write<K>(api: &Api<K>, object: &K, is_status: bool, change: &Value) -> Result<K, kube::Error>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let mut value = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
    api::patch::merge(&mut value, change);
    let changed: K = serde_json::from_value(value).map_err(kube::Error::SerdeError)?;
    let (name, params) = (object.meta().name.as_deref().unwrap_or_default(), PostParams::default());
    if is_status {
        api.replace_status(name, &params, &changed).await
    } else {
        api.replace(name, &params, &changed).await
    }
}
