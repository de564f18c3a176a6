//! The ConfigMaps and Secrets that a pod refers to, and the tokens that it asks for, fetched when they are needed.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Volume};
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
    /// Files of the pod's volumes, by volume and path; those that do not exist are missing.
    pub files: BTreeMap<(String, String), String>,
}

/// Names of the objects that something is made of.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    pub tokens: BTreeSet<Want>,
}

impl Names {
    /// What the environment of a container is made of.
    fn of_environment(container: &Container) -> Self {
        let mut names = Self::default();
        for from in container.env_from.iter().flatten() {
            names.config_maps.extend(from.config_map_ref.as_ref().map(|source| source.name.clone()));
            names.secrets.extend(from.secret_ref.as_ref().map(|source| source.name.clone()));
        }
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            names.config_maps.extend(source.config_map_key_ref.as_ref().map(|source| source.name.clone()));
            names.secrets.extend(source.secret_key_ref.as_ref().map(|source| source.name.clone()));
        }
        names
    }

    /// What a volume is made of.
    pub fn of_volume(volume: &Volume) -> Self {
        let mut names = Self::default();
        names.config_maps.extend(volume.config_map.as_ref().map(|source| source.name.clone()));
        names.secrets.extend(volume.secret.as_ref().and_then(|source| source.secret_name.clone()));
        for part in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            names.config_maps.extend(part.config_map.as_ref().map(|source| source.name.clone()));
            names.secrets.extend(part.secret.as_ref().map(|source| source.name.clone()));
            names.tokens.extend(part.service_account_token.as_ref().map(Want::of));
        }
        names
    }

    /// These and those.
    pub fn and(mut self, other: Self) -> Self {
        self.config_maps.extend(other.config_maps);
        self.secrets.extend(other.secrets);
        self.tokens.extend(other.tokens);
        self
    }
}

impl Sources {
    pub fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(name)?.as_ref()
    }

    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)?.as_ref()
    }

    /// Fetches what the environment of `container` is made of.
    pub async fn fetch(client: &Client, pod: &Pod, container: &Container) -> Result<Self, LaunchError> {
        Self::named(client, pod, Names::of_environment(container)).await.map_err(|error| LaunchError {
            reason: "CreateContainerConfigError",
            message: format!("cannot fetch what the container refers to: {error}"),
            class: LaunchFailure::Config,
        })
    }

    /// Fetches what is named.
    pub async fn named(client: &Client, pod: &Pod, names: Names) -> Result<Self, kube::Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let config_maps = try_join_all(names.config_maps.into_iter().map(|name| {
            let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            async move { Ok::<_, kube::Error>((name.clone(), api.get_opt(&name).await?)) }
        }));
        let secrets = try_join_all(names.secrets.into_iter().map(|name| {
            let api = Api::<Secret>::namespaced(client.clone(), namespace);
            async move { Ok::<_, kube::Error>((name.clone(), api.get_opt(&name).await?)) }
        }));
        let tokens = names.tokens.into_iter().map(async |want| {
            let issued = tokens::issue(client, pod, &want).await?;
            Ok((want, issued))
        });
        let (config_maps, secrets, tokens) = futures::try_join!(config_maps, secrets, try_join_all(tokens))?;
        Ok(Self {
            config_maps: config_maps.into_iter().collect(),
            secrets: secrets.into_iter().collect(),
            tokens: tokens.into_iter().collect(),
            files: BTreeMap::new(),
        })
    }
}
