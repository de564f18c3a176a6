//! The ConfigMaps and Secrets that a pod refers to, and the tokens that it asks for, fetched when it starts.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use kube::Api;
use kube::Client;

use crate::machine::{LaunchError, LaunchFailure};
use crate::volumes::tokens::{self, Issued, Want};

/// What was fetched. `None` is an object that does not exist.
#[derive(Default)]
pub(crate) struct Sources {
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    pub secrets: BTreeMap<String, Option<Secret>>,
    /// Tokens of the pod's ServiceAccount, by what is asked for.
    pub tokens: BTreeMap<Want, Issued>,
}

impl Sources {
    pub fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(name)?.as_ref()
    }

    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)?.as_ref()
    }

    /// Fetches what `container` of `pod` needs.
    pub async fn fetch(client: &Client, pod: &Pod, container: &Container) -> Result<Self, LaunchError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let (config_maps, secrets) = names(pod, container);
        let config_maps = try_join_all(config_maps.into_iter().map(|name| {
            let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            async move { Ok::<_, kube::Error>((name.clone(), api.get_opt(&name).await?)) }
        }));
        let secrets = try_join_all(secrets.into_iter().map(|name| {
            let api = Api::<Secret>::namespaced(client.clone(), namespace);
            async move { Ok::<_, kube::Error>((name.clone(), api.get_opt(&name).await?)) }
        }));
        let tokens = tokens::wanted(pod, container).into_iter().map(async |want| {
            let issued = tokens::issue(client, pod, &want).await?;
            Ok((want, issued))
        });
        let fetched = futures::try_join!(config_maps, secrets, try_join_all(tokens));
        let (config_maps, secrets, tokens) = fetched.map_err(|error| LaunchError {
            reason: "CreateContainerConfigError",
            message: format!("cannot fetch what the container refers to: {error}"),
            class: LaunchFailure::Config,
        })?;
        Ok(Self {
            config_maps: config_maps.into_iter().collect(),
            secrets: secrets.into_iter().collect(),
            tokens: tokens.into_iter().collect(),
        })
    }
}

/// Names of the ConfigMaps and Secrets that the environment and the mounted volumes of a container come from.
fn names(pod: &Pod, container: &Container) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for from in container.env_from.iter().flatten() {
        config_maps.extend(from.config_map_ref.as_ref().map(|source| source.name.clone()));
        secrets.extend(from.secret_ref.as_ref().map(|source| source.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        config_maps.extend(source.config_map_key_ref.as_ref().map(|source| source.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|source| source.name.clone()));
    }
    let mounted: BTreeSet<&str> = container.volume_mounts.iter().flatten().map(|mount| mount.name.as_str()).collect();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for volume in volumes.filter(|volume| mounted.contains(volume.name.as_str())) {
        config_maps.extend(volume.config_map.as_ref().map(|source| source.name.clone()));
        secrets.extend(volume.secret.as_ref().and_then(|source| source.secret_name.clone()));
        for part in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            config_maps.extend(part.config_map.as_ref().map(|source| source.name.clone()));
            secrets.extend(part.secret.as_ref().map(|source| source.name.clone()));
        }
    }
    (config_maps, secrets)
}
