//! What a pod asks to be granted: sources of configuration, and stores.

use std::collections::BTreeMap;

use crate::sandbox::LogLevel;

pub(super) const CONFIG_FORM: &str = "a list as in configmap/NAME,secret/NAME";
pub(super) const KEYVALUE_FORM: &str =
    "a list of NAME, NAME=embedded or NAME=redis://HOST:PORT/DB, after which ?secret=NAME may say who to log in as";
pub(super) const BLOBSTORE_FORM: &str = "a list of NAME, NAME=embedded, NAME=/A/MOUNTED/DIRECTORY or \
     NAME=s3://BUCKET?endpoint=URL&region=NAME&secret=NAME";

/// What the annotations of a container ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Where the answers of `wasi:config` come from; of equal keys the last one counts.
    pub config: Vec<ConfigSource>,
    /// Stores of `wasi:keyvalue` by name.
    pub keyvalue: BTreeMap<String, Place>,
    /// Containers of `wasi:blobstore` by name.
    pub blobstore: BTreeMap<String, Place>,
    /// The least that `wasi:logging` writes.
    pub log_level: LogLevel,
}

/// An object whose keys are configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A ConfigMap of the pod's namespace.
    ConfigMap(String),
    /// A Secret of the pod's namespace.
    Secret(String),
}

/// Where a store lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// With the node, apart from other namespaces.
    Embedded,
    /// At a path of the container, in one of its volumes.
    Directory(String),
    /// With a server.
    Remote {
        /// Where, without what names the Secret.
        url: String,
        /// The Secret that says who to log in as.
        secret: Option<String>,
    },
}

fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty())
}

pub(super) fn config(value: &str) -> Option<Vec<ConfigSource>> {
    let sources: Option<Vec<_>> = items(value)
        .map(|item| match item.split_once('/')? {
            ("configmap", name) if !name.is_empty() => Some(ConfigSource::ConfigMap(name.to_owned())),
            ("secret", name) if !name.is_empty() => Some(ConfigSource::Secret(name.to_owned())),
            _ => None,
        })
        .collect();
    sources.filter(|sources| !sources.is_empty())
}

pub(super) fn places(value: &str, allowed: fn(&Place) -> bool) -> Option<BTreeMap<String, Place>> {
    let places: Option<BTreeMap<_, _>> = items(value)
        .map(|item| {
            let (name, place) = item.split_once('=').unwrap_or((item, "embedded"));
            let place = place_of(place.trim())?;
            (is_name(name.trim()) && allowed(&place)).then(|| (name.trim().to_owned(), place))
        })
        .collect();
    places.filter(|places| !places.is_empty())
}

/// Names become files, so they are as Kubernetes' own.
fn is_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 63 && name.chars().all(plain) && !name.starts_with('.')
}

fn place_of(text: &str) -> Option<Place> {
    if text == "embedded" {
        return Some(Place::Embedded);
    }
    if text.starts_with('/') {
        return Some(Place::Directory(text.to_owned()));
    }
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let mut secret = None;
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("secret=") {
            Some(name) => secret = Some(name.to_owned()),
            None => rest.push(pair),
        }
    }
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Some(Place::Remote { url, secret })
}

pub(super) fn is_keyvalue(place: &Place) -> bool {
    match place {
        Place::Embedded => true,
        Place::Directory(_) => false,
        Place::Remote { url, .. } => has_host(url, "redis://") || has_host(url, "rediss://"),
    }
}

pub(super) fn is_blobstore(place: &Place) -> bool {
    match place {
        Place::Embedded | Place::Directory(_) => true,
        Place::Remote { url, .. } => has_host(url, "s3://"),
    }
}

fn has_host(url: &str, scheme: &str) -> bool {
    url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_places_are_read() {
        let remote =
            |url: &str, secret: Option<&str>| Place::Remote { url: url.to_owned(), secret: secret.map(str::to_owned) };
        let rows: [(&str, &[(&str, Place)]); 4] = [
            ("default", &[("default", Place::Embedded)]),
            (
                "a=embedded, cache = redis://r:6379/1?secret=login",
                &[("a", Place::Embedded), ("cache", remote("redis://r:6379/1", Some("login")))],
            ),
            ("tls=rediss://r", &[("tls", remote("rediss://r", None))]),
            ("", &[]),
        ];
        for (text, wanted) in rows {
            let wanted: BTreeMap<_, _> =
                wanted.iter().map(|(name, place)| ((*name).to_owned(), place.clone())).collect();
            assert_eq!(places(text, is_keyvalue).unwrap_or_default(), wanted, "{text}");
        }
        let found = places("b=s3://bucket?endpoint=http://h:1&secret=k&region=x\nd=/data", is_blobstore);
        let found = found.unwrap_or_default();
        assert_eq!(found.get("b"), Some(&remote("s3://bucket?endpoint=http://h:1&region=x", Some("k"))));
        assert_eq!(found.get("d"), Some(&Place::Directory("/data".to_owned())));
        for bad in ["../x", "a=/dir", "a=redis://", "a b=embedded"] {
            assert_eq!(places(bad, is_keyvalue), None, "{bad}");
        }
    }

    #[test]
    fn sources_of_configuration_are_read() {
        let found = config("configmap/app, secret/app-login");
        let wanted = vec![ConfigSource::ConfigMap("app".to_owned()), ConfigSource::Secret("app-login".to_owned())];
        assert_eq!(found, Some(wanted));
        for bad in ["", "app", "configmap/", "volume/x"] {
            assert_eq!(config(bad), None, "{bad}");
        }
    }
}
