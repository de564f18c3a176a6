//! From what a pod asks for to what its container is granted: objects read, paths found.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;

use crate::environment::EnvironmentError;
use crate::machine::{LaunchError, LaunchFailure};
use crate::sandbox::{Grants, Mount, Place};
use crate::settings;

/// The keys of a Secret for a server that wants a name and a password.
const NAMES: [&str; 2] = ["username", "AWS_ACCESS_KEY_ID"];
/// See [`NAMES`].
const PASSWORDS: [&str; 2] = ["password", "AWS_SECRET_ACCESS_KEY"];

fn refused(message: impl ToString) -> LaunchError {
    LaunchError { reason: "CreateContainerConfigError", message: message.to_string(), class: LaunchFailure::Config }
}

/// Reads what `asked` names in `namespace`. `mounts` are the container's volumes.
pub(crate) async fn resolve(
    client: &kube::Client,
    namespace: &str,
    asked: &settings::Grants,
    mounts: &[Mount],
) -> Result<Grants, LaunchError> {
    let objects = Objects { client, namespace };
    let mut config = Vec::new();
    for source in &asked.config {
        config.extend(objects.config(source).await?);
    }
    // What comes later counts.
    config.reverse();
    let mut grants = Grants {
        config: (!asked.config.is_empty()).then_some(config),
        log_level: asked.log_level,
        ..Grants::default()
    };
    for (name, place) in &asked.keyvalue {
        grants.keyvalue.insert(name.clone(), objects.place(place, mounts).await?);
    }
    for (name, place) in &asked.blobstore {
        grants.blobstore.insert(name.clone(), objects.place(place, mounts).await?);
    }
    Ok(grants)
}

struct Objects<'a> {
    client: &'a kube::Client,
    namespace: &'a str,
}

impl Objects<'_> {
    async fn secret(&self, name: &str) -> Result<Secret, LaunchError> {
        let api = Api::<Secret>::namespaced(self.client.clone(), self.namespace);
        let found = api.get_opt(name).await.map_err(|error| refused(format!("cannot read secret {name}: {error}")))?;
        found.ok_or_else(|| refused(EnvironmentError::NoSecret(name.to_owned())))
    }

    async fn config_map(&self, name: &str) -> Result<ConfigMap, LaunchError> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), self.namespace);
        let found =
            api.get_opt(name).await.map_err(|error| refused(format!("cannot read configmap {name}: {error}")))?;
        found.ok_or_else(|| refused(EnvironmentError::NoConfigMap(name.to_owned())))
    }

    async fn config(&self, source: &settings::ConfigSource) -> Result<Vec<(String, String)>, LaunchError> {
        match source {
            settings::ConfigSource::ConfigMap(name) => {
                Ok(self.config_map(name).await?.data.unwrap_or_default().into_iter().collect())
            }
            settings::ConfigSource::Secret(name) => {
                let data = self.secret(name).await?.data.unwrap_or_default();
                // Answers are text; a key that is none cannot be asked for.
                Ok(data.into_iter().filter_map(|(key, value)| Some((key, String::from_utf8(value.0).ok()?))).collect())
            }
        }
    }

    async fn place(&self, place: &settings::Place, mounts: &[Mount]) -> Result<Place, LaunchError> {
        match place {
            settings::Place::Embedded => Ok(Place::Embedded),
            settings::Place::Directory(path) => directory(path, mounts),
            settings::Place::Remote { url, secret: None } => {
                Ok(Place::Remote { url: url.clone(), user: String::new(), password: String::new() })
            }
            settings::Place::Remote { url, secret: Some(name) } => {
                let data = self.secret(name).await?.data.unwrap_or_default();
                let first = |keys: [&str; 2]| {
                    let found = keys.iter().find_map(|key| data.get(*key));
                    found.and_then(|value| String::from_utf8(value.0.clone()).ok()).unwrap_or_default()
                };
                Ok(Place::Remote { url: url.clone(), user: first(NAMES), password: first(PASSWORDS) })
            }
        }
    }
}

/// The volume that the container sees at `path`.
fn directory(path: &str, mounts: &[Mount]) -> Result<Place, LaunchError> {
    let mount = mounts.iter().find(|mount| mount.guest_path.trim_end_matches('/') == path.trim_end_matches('/'));
    let Some(mount) = mount else {
        return Err(refused(format!(
            "no volume is mounted at {path}, which the annotation coracle.dev/blobstore names; give the mountPath of a volume"
        )));
    };
    Ok(Place::Mounted(mount.guest_path.clone()))
}
