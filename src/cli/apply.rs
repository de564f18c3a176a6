//! kubectl's client-side apply: three-way strategic merge with the last applied configuration as an annotation.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use crate::connection::{Call, Connection, is_not_found};
use crate::image_paths;
use crate::manifests::{self, Manifest};
use crate::resources::{Resource, Resources};
use crate::spelling;

/// kubectl's annotation; sharing it lets both tools apply the same object.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The query that names us as the writer and refuses unknown fields.
const QUERY: &str = "?fieldManager=coracle-apply&fieldValidation=Strict";

/// What became of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was there and differed.
    Configured,
    /// It was there as wanted.
    Unchanged,
}

impl Outcome {
    /// kubectl's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One object after apply.
#[derive(Clone, Debug)]
pub struct Applied {
    /// `deployment.apps/hello`
    pub name: String,
    /// What happened.
    pub outcome: Outcome,
}

/// How to treat an object whose manifest is the one that was applied last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Bring it back to what the manifest says, as `kubectl apply` does.
    Restore,
    /// Leave it: what people changed since then, with `kubectl scale` for example, stays.
    Leave,
}

/// Applies everything in `filenames`. Goes on after an object that was refused, and fails at the end.
///
/// # Errors
/// The refusals, one a line, with file and line.
pub async fn apply_files(
    connection: &Connection,
    filenames: &[String],
    again: Again,
    mut told: impl FnMut(&Applied),
) -> anyhow::Result<()> {
    let manifests = manifests::read(filenames)?;
    let resources = Resources::discover(connection).await?;
    let mut refused = Vec::new();
    for manifest in manifests {
        let origin = manifest.origin.clone();
        match apply_one(connection, &resources, manifest, again).await {
            Ok(applied) => told(&applied),
            Err(error) => refused.push(format!("{origin}: {error:#}")),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(anyhow::anyhow!(refused.join("\n"))) }
}

async fn apply_one(
    connection: &Connection,
    resources: &Resources,
    manifest: Manifest,
    again: Again,
) -> anyhow::Result<Applied> {
    let Manifest { mut object, folder, .. } = manifest;
    image_paths::resolve(connection, &mut object, &folder).await?;
    apply_object(connection, resources, object, again).await
}

/// Applies one object whose images are references.
pub async fn apply_object(
    connection: &Connection,
    resources: &Resources,
    mut object: Value,
    again: Again,
) -> anyhow::Result<Applied> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let resource = resources.of(&api_version, &kind)?.clone();
    if name.is_empty() {
        anyhow::bail!(
            "resource name may not be empty; write metadata.name (generateName works with create, not with apply)"
        );
    }
    let namespace =
        Some(text("/metadata/namespace")).filter(|name| !name.is_empty()).unwrap_or(connection.namespace.clone());
    if resource.namespaced {
        object["metadata"]["namespace"] = json!(namespace);
    }
    let path = resource.object(&namespace, &name);
    let display = resource.display(&name);
    let wanted = with_last_applied(object);
    let outcome = match connection.json(Call::get(&path)).await {
        Ok(current) => change(connection, &resource, &path, &current, &wanted, again).await,
        Err(error) if is_not_found(&error) => {
            let collection = resource.path(Some(&namespace));
            let created = connection.json(Call::new(Method::POST, format!("{collection}{QUERY}")).json(&wanted)).await;
            created.map(|_| Outcome::Created)
        }
        Err(error) => Err(error),
    };
    let outcome = outcome.map_err(|error| spelling::hinted(error, &resource))?;
    Ok(Applied { name: display, outcome })
}

async fn change(
    connection: &Connection,
    resource: &Resource,
    path: &str,
    current: &Value,
    wanted: &Value,
    again: Again,
) -> anyhow::Result<Outcome> {
    let annotation = format!("/metadata/annotations/{}", LAST_APPLIED.replace('/', "~1"));
    let last = current.pointer(&annotation).and_then(Value::as_str);
    if again == Again::Leave && last.is_some() && last == wanted.pointer(&annotation).and_then(Value::as_str) {
        return Ok(Outcome::Unchanged);
    }
    // What was never applied deletes nothing.
    let original = last.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| json!({}));
    let (patch, content_type) = match api::schema::lookup(&resource.group, &resource.version, &resource.kind) {
        Some(definition) => (
            api::patch::three_way(&original, wanted, current, definition)
                .map_err(|status| anyhow::anyhow!("{status}"))?,
            "application/strategic-merge-patch+json",
        ),
        None => (api::patch::three_way_merge(&original, wanted, current), "application/merge-patch+json"),
    };
    if patch.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(Outcome::Unchanged);
    }
    let call = Call::new(Method::PATCH, format!("{path}{QUERY}")).body(content_type, patch.to_string().into_bytes());
    let after = connection.json(call).await?;
    let revision = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
    Ok(if revision(&after) == revision(current) { Outcome::Unchanged } else { Outcome::Configured })
}

/// The object with its own text, without that annotation, as the annotation.
fn with_last_applied(mut object: Value) -> Value {
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    if object.pointer("/metadata/annotations").is_none_or(Value::is_null) {
        object["metadata"]["annotations"] = json!({});
    }
    let text = format!("{object}\n");
    object["metadata"]["annotations"][LAST_APPLIED] = json!(text);
    object
}

/// Paths as arguments, for those who have `Path`s.
pub fn as_arguments(paths: &[impl AsRef<Path>]) -> Vec<String> {
    paths.iter().map(|path| path.as_ref().display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_applied_text_is_the_object_without_that_text() {
        let object = json!({ "kind": "ConfigMap", "metadata": { "name": "a", "annotations": { "x": "y", LAST_APPLIED: "old" } } });
        let with = with_last_applied(object);
        let text = with["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
        let inner: Value = serde_json::from_str(text).unwrap();
        assert_eq!(inner["metadata"]["annotations"], json!({ "x": "y" }));
        assert!(text.ends_with('\n'), "kubectl writes a line break too");
        // Applying what came out of the server again says the same.
        assert_eq!(with_last_applied(with.clone()), with);
        let bare = with_last_applied(json!({ "metadata": { "name": "a", "annotations": null } }));
        assert!(bare["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap().contains("\"annotations\":{}"));
    }
}
