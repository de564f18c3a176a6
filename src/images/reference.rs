//! What an image is called.
//!
//! The rules are Docker's: `hello` is `docker.io/library/hello:latest`; the part before the first slash is a registry when
//! it holds a dot or a colon or is `localhost`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::Digest;

/// The host that the built-in image store answers for.
pub const LOCAL_REGISTRY: &str = "coracle.local";
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const NAME_BYTES_MAX: usize = 255;

/// A reference with everything that it left out filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// `docker.io`, `coracle.local`, `localhost:5000`…
    pub registry: String,
    /// `library/hello`
    pub repository: String,
    /// The tag; `latest` when neither tag nor digest is given.
    pub tag: Option<String>,
    /// The digest of the manifest. It wins over the tag.
    pub digest: Option<Digest>,
}

/// A text that cannot name an image.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// It names a file.
    #[error(
        "couldn't parse image name {0:?}: it is a path, and a node has no such file; put it into the image store with \
         `coracle push {0} NAME`, or let `coracle apply` do so"
    )]
    Path(String),
    /// It is nothing that the rules allow.
    #[error("couldn't parse image name {0:?}: invalid reference format: {1}")]
    Invalid(String, &'static str),
}

impl Reference {
    /// Whether the built-in store answers for it.
    pub fn is_local(&self) -> bool {
        self.registry == LOCAL_REGISTRY
    }

    /// Whether the tag is `latest`, or none and no digest: such images are pulled always unless the spec says otherwise.
    pub fn is_latest(&self) -> bool {
        self.digest.is_none() && self.tag.as_deref().is_none_or(|tag| tag == DEFAULT_TAG)
    }

    /// `registry/repository`
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// `registry/repository@digest`
    pub fn at(&self, digest: &Digest) -> String {
        format!("{}/{}@{digest}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if is_path(text) {
            return Err(ReferenceError::Path(text.to_owned()));
        }
        let invalid = |why| ReferenceError::Invalid(text.to_owned(), why);
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| invalid("the digest is not sha256:<64 hex digits>"))?))
            }
            None => (text, None),
        };
        let (registry, rest) = split_registry(rest);
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_repository(repository) {
            return Err(invalid("a repository is lower-case letters and digits, separated by '.', '_', '-' and '/'"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid(
                "a tag is up to 128 letters, digits, '_', '.' and '-', and starts with none of the last two",
            ));
        }
        if !is_registry(registry) {
            return Err(invalid("the registry is not HOST or HOST:PORT"));
        }
        let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// Whether people mean a file by this.
fn is_path(text: &str) -> bool {
    let windows_drive = text.as_bytes().get(1) == Some(&b':') && matches!(text.as_bytes().get(2), Some(b'\\' | b'/'));
    let file_name = text.ends_with(".wasm") && !text.contains([':', '/']);
    text.starts_with(['.', '/', '~', '\\']) || text.starts_with("file:") || windows_drive || file_name
}

fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (if first == "index.docker.io" { DEFAULT_REGISTRY } else { first }, rest)
        }
        _ => (DEFAULT_REGISTRY, text),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let host_fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }),
    };
    host_fits && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Whether `text` can name a repository.
pub(crate) fn is_repository(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && text.split('/').all(is_component)
}

/// Runs of letters and digits with one separator between them: `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return false;
    }
    text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

/// Whether `text` can be a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::of(b"x")
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let digest = digest();
        let rows = [
            ("hello", "docker.io/library/hello:latest"),
            ("me/hello:v1", "docker.io/me/hello:v1"),
            ("coracle.local/hello", "coracle.local/hello:latest"),
            ("coracle.local/a/b/c:v1.2-x", "coracle.local/a/b/c:v1.2-x"),
            ("localhost:5000/hello", "localhost:5000/hello:latest"),
            ("localhost/hello", "localhost/hello:latest"),
            ("[::1]:5000/hello:v1", "[::1]:5000/hello:v1"),
            ("index.docker.io/library/x", "docker.io/library/x:latest"),
        ];
        for (text, whole) in rows {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), whole, "{text}");
        }
        let pinned = format!("coracle.local/hello@{digest}");
        assert_eq!(pinned.parse::<Reference>().unwrap().to_string(), pinned);
        let both = format!("coracle.local/hello:v1@{digest}");
        assert_eq!(both.parse::<Reference>().unwrap().digest, Some(digest));
    }

    #[test]
    fn a_path_is_told_how_to_become_an_image() {
        for path in ["./x.wasm", "../x.wasm", "/x", "file:x.wasm", "file:///x", "~/x.wasm", r"C:\x.wasm", "x.wasm"] {
            let error = path.parse::<Reference>().unwrap_err();
            assert!(matches!(error, ReferenceError::Path(_)), "{path}");
            assert!(error.to_string().contains("coracle push"), "{error}");
        }
    }

    #[test]
    fn what_the_rules_forbid_is_refused() {
        let long = "a".repeat(300);
        let texts = ["", "Hello", "a//b", "-a", "a-", "a..b", "a:", "a:-v", "a@sha256:12", "re_g.io:x/y", "a b", "ä"];
        for text in texts.into_iter().chain([long.as_str()]) {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
