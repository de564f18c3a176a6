//! What a container finds in its environment and its arguments.
//!
//! The order decides who wins: the host name, Services, then `envFrom`, then `env`. `$(NAME)` is replaced by what was defined before it;
//! `$$` is a dollar sign; a name that nobody defined stays as it is written.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use indexmap::IndexMap;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvFromSource, EnvVarSource, ObjectFieldSelector, Pod, ResourceFieldSelector, Secret, Service,
};
use thiserror::Error;

use crate::resources::quantity;
use crate::root::hostname;
use crate::sources::Sources;

mod env_file;
#[cfg(test)]
mod tests;

/// Everything that environments are made of.
pub(crate) struct Surroundings<'a> {
    pub pod: &'a Pod,
    pub pod_ip: IpAddr,
    pub host_ip: IpAddr,
    /// Services of the pod's namespace and the API's own.
    pub services: &'a [Arc<Service>],
    pub sources: &'a Sources,
    /// What the node has, for limits that are not set.
    pub allocatable: &'a BTreeMap<String, String>,
}

/// Why an environment cannot be made, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum EnvironmentError {
    #[error("configmap {0:?} not found")]
    NoConfigMap(String),
    #[error("secret {0:?} not found")]
    NoSecret(String),
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey { kind: &'static str, namespace: String, name: String, key: String },
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    #[error("unsupported container resource: {0}")]
    Resource(String),
    #[error("the value of {0} is not UTF-8 text")]
    NotText(String),
    #[error("couldn't parse env file: {0}")]
    File(String),
    #[error("environment variable key {key:?} not found in file {path:?}")]
    NoFileKey { key: String, path: String },
}

type Variables = IndexMap<String, String>;

/// The environment of a container, in order, without duplicates.
pub(crate) fn variables(
    container: &Container,
    around: &Surroundings<'_>,
) -> Result<Vec<(String, String)>, EnvironmentError> {
    let mut variables = Variables::new();
    variables.insert("HOSTNAME".to_owned(), hostname(around.pod));
    services(&mut variables, around);
    for from in container.env_from.iter().flatten() {
        all_of(&mut variables, from, around)?;
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (_, Some(source)) => match value_from(&variable.name, source, container, around)? {
                Some(value) => value,
                None => continue,
            },
            (value, None) => expand(value.as_deref().unwrap_or_default(), &variables),
        };
        // One that is defined again moves to the end, as later ones see it.
        variables.shift_remove(&variable.name);
        variables.insert(variable.name.clone(), value);
    }
    Ok(variables.into_iter().collect())
}

/// The argument vector: `command` (or the program's name) and `args`.
pub(crate) fn arguments(container: &Container, program: &str, environment: &[(String, String)]) -> Vec<String> {
    let variables: Variables = environment.iter().cloned().collect();
    let expanded = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|argument| expand(argument, &variables)).collect()
    };
    let mut arguments = expanded(&container.command);
    if arguments.is_empty() {
        arguments.push(program.to_owned());
    }
    arguments.extend(expanded(&container.args));
    arguments
}

/// `template` with its `$(NAME)` replaced; the first name that nobody defined when there is one.
pub(crate) fn expand_all(template: &str, environment: &[(String, String)]) -> Result<String, String> {
    let variables: Variables = environment.iter().cloned().collect();
    let mut rest = template;
    while let Some((_, tail)) = rest.split_once('$') {
        rest = tail.strip_prefix('$').unwrap_or(tail);
        if let Some((name, after)) = tail.strip_prefix('(').and_then(|tail| tail.split_once(')')) {
            if !variables.contains_key(name) {
                return Err(name.to_owned());
            }
            rest = after;
        }
    }
    Ok(expand(template, &variables))
}

fn expand(text: &str, variables: &Variables) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let name = tail.strip_prefix('(').and_then(|tail| tail.split_once(')'));
        rest = if let Some(tail) = tail.strip_prefix('$') {
            out.push('$');
            tail
        } else if let Some((name, after)) = name {
            match variables.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&rest[at..at + name.len() + 3]),
            }
            after
        } else {
            out.push('$');
            tail
        };
    }
    out.push_str(rest);
    out
}

fn all_of(variables: &mut Variables, from: &EnvFromSource, around: &Surroundings<'_>) -> Result<(), EnvironmentError> {
    let prefix = from.prefix.as_deref().unwrap_or_default();
    if let Some(source) = &from.config_map_ref {
        match around.sources.config_map(&source.name) {
            Some(map) => {
                for (key, value) in map.data.iter().flatten() {
                    variables.insert(format!("{prefix}{key}"), value.clone());
                }
            }
            None if source.optional == Some(true) => {}
            None => return Err(EnvironmentError::NoConfigMap(source.name.clone())),
        }
    }
    if let Some(source) = &from.secret_ref {
        match around.sources.secret(&source.name) {
            Some(secret) => {
                for (key, value) in secret.data.iter().flatten() {
                    let name = format!("{prefix}{key}");
                    let value = text(&name, &value.0)?;
                    variables.insert(name, value);
                }
            }
            None if source.optional == Some(true) => {}
            None => return Err(EnvironmentError::NoSecret(source.name.clone())),
        }
    }
    Ok(())
}

fn value_from(
    name: &str,
    source: &EnvVarSource,
    container: &Container,
    around: &Surroundings<'_>,
) -> Result<Option<String>, EnvironmentError> {
    let namespace = || around.pod.metadata.namespace.clone().unwrap_or_default();
    if let Some(key) = &source.config_map_key_ref {
        let optional = key.optional == Some(true);
        let map: Option<&ConfigMap> = around.sources.config_map(&key.name);
        let value = map.and_then(|map| map.data.as_ref()?.get(&key.key).cloned());
        return match (map, value) {
            (_, Some(value)) => Ok(Some(value)),
            _ if optional => Ok(None),
            (None, _) => Err(EnvironmentError::NoConfigMap(key.name.clone())),
            (Some(_), None) => Err(no_key("ConfigMap", namespace(), &key.name, &key.key)),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let optional = key.optional == Some(true);
        let secret: Option<&Secret> = around.sources.secret(&key.name);
        let value = secret.and_then(|secret| secret.data.as_ref()?.get(&key.key));
        return match (secret, value) {
            (_, Some(value)) => text(name, &value.0).map(Some),
            _ if optional => Ok(None),
            (None, _) => Err(EnvironmentError::NoSecret(key.name.clone())),
            (Some(_), None) => Err(no_key("Secret", namespace(), &key.name, &key.key)),
        };
    }
    if let Some(field) = &source.field_ref {
        return self::field(field, around).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return self::resource(resource, container, around).map(Some);
    }
    let Some(key) = &source.file_key_ref else { return Ok(Some(String::new())) };
    let optional = key.optional == Some(true);
    let text = match around.sources.files.get(&(key.volume_name.clone(), key.path.clone())) {
        Some(text) => text,
        None if optional => return Ok(None),
        None => return Err(EnvironmentError::File(format!("open {}: no such file or directory", key.path))),
    };
    let found = env_file::parsed(text).map_err(EnvironmentError::File)?.remove(&key.key);
    match found {
        None if !optional => Err(EnvironmentError::NoFileKey { key: key.key.clone(), path: key.path.clone() }),
        found => Ok(found),
    }
}

fn no_key(kind: &'static str, namespace: String, name: &str, key: &str) -> EnvironmentError {
    EnvironmentError::NoKey { kind, namespace, name: name.to_owned(), key: key.to_owned() }
}

fn text(name: &str, bytes: &[u8]) -> Result<String, EnvironmentError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| EnvironmentError::NotText(name.to_owned()))
}

/// A field of the pod, as `fieldRef` names it.
pub(crate) fn field(selector: &ObjectFieldSelector, around: &Surroundings<'_>) -> Result<String, EnvironmentError> {
    let (meta, spec) = (&around.pod.metadata, around.pod.spec.as_ref());
    let of = |text: Option<&String>| text.cloned().unwrap_or_default();
    let path = selector.field_path.as_str();
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        return match map {
            "metadata.labels" => Ok(of(meta.labels.as_ref().and_then(|labels| labels.get(key)))),
            "metadata.annotations" => Ok(of(meta.annotations.as_ref().and_then(|map| map.get(key)))),
            _ => Err(EnvironmentError::Field(path.to_owned())),
        };
    }
    let found = match path {
        "metadata.name" => of(meta.name.as_ref()),
        "metadata.namespace" => of(meta.namespace.as_ref()),
        "metadata.uid" => of(meta.uid.as_ref()),
        "metadata.labels" => pairs(meta.labels.as_ref()),
        "metadata.annotations" => pairs(meta.annotations.as_ref()),
        "spec.nodeName" => of(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => of(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.podIP" | "status.podIPs" => around.pod_ip.to_string(),
        "status.hostIP" | "status.hostIPs" => around.host_ip.to_string(),
        _ => return Err(EnvironmentError::Field(path.to_owned())),
    };
    Ok(found)
}

/// `key="value"` lines, as the downward API writes maps.
fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// A limit or request in units of the divisor, rounded up.
pub(crate) fn resource(
    selector: &ResourceFieldSelector,
    container: &Container,
    around: &Surroundings<'_>,
) -> Result<String, EnvironmentError> {
    let unknown = || EnvironmentError::Resource(selector.resource.clone());
    let (list, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let others =
        || around.pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => others().find(|other| other.name == name).ok_or_else(unknown)?,
        None => container,
    };
    let resources = container.resources.clone().unwrap_or_default();
    let value = match list {
        "limits" => quantity(resources.limits.as_ref(), name).or_else(|| around.allocatable.get(name)?.parse().ok()),
        "requests" => quantity(resources.requests.as_ref(), name),
        _ => return Err(unknown()),
    };
    let divisor = selector.divisor.as_ref().and_then(|divisor| divisor.0.parse::<api::quantity::Quantity>().ok());
    let divisor = divisor.map(api::quantity::Quantity::as_f64).filter(|divisor| *divisor > 0.0).unwrap_or(1.0);
    let units = value.map_or(0.0, api::quantity::Quantity::as_f64) / divisor;
    Ok(format!("{:.0}", units.ceil()))
}

/// The variables by which Services were found before there were names.
fn services(variables: &mut Variables, around: &Surroundings<'_>) {
    let own = around.pod.metadata.namespace.as_deref();
    let links = around.pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false);
    for service in around.services {
        let (name, namespace) =
            (service.metadata.name.as_deref().unwrap_or_default(), service.metadata.namespace.as_deref());
        let api = name == "kubernetes" && namespace == Some("default");
        let linked = api || (links && namespace == own);
        if !linked {
            continue;
        }
        let Some(spec) = &service.spec else { continue };
        let Some(address) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { continue };
        let Some(first) = spec.ports.as_ref().and_then(|ports| ports.first()) else { continue };
        let prefix = shout(name);
        variables.insert(format!("{prefix}_SERVICE_HOST"), address.to_owned());
        variables.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
        let url = |protocol: &str, port: i32| format!("{}://{address}:{port}", protocol.to_lowercase());
        let first_protocol = first.protocol.as_deref().unwrap_or("TCP");
        variables.insert(format!("{prefix}_PORT"), url(first_protocol, first.port));
        for port in spec.ports.iter().flatten() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                variables.insert(format!("{prefix}_SERVICE_PORT_{}", shout(name)), port.port.to_string());
            }
            let port_prefix = format!("{prefix}_PORT_{}_{protocol}", port.port);
            variables.insert(port_prefix.clone(), url(protocol, port.port));
            variables.insert(format!("{port_prefix}_PROTO"), protocol.to_lowercase());
            variables.insert(format!("{port_prefix}_PORT"), port.port.to_string());
            variables.insert(format!("{port_prefix}_ADDR"), address.to_owned());
        }
    }
}

fn shout(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
