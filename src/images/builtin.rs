//! Images that this program brings with it: a table of names and bytes, handed in by whoever puts the process together.
//!
//! A name of the table is never asked of a registry. What somebody pushed into the built-in registry under the same name
//! wins, so that a component that comes with the program can be replaced by a better one.

use std::sync::{Arc, OnceLock};

use crate::artifact::Artifact;
use crate::store::blocking;
use crate::{Digest, ImageStore, PullError, Reference};

/// One component that needs no pull.
pub struct Builtin {
    patterns: Vec<String>,
    component: &'static [u8],
    packed: OnceLock<Result<Artifact, crate::WasmError>>,
}

impl Builtin {
    /// `component` (or a core module for WASI 0.1) under every name that one of `patterns` fits.
    ///
    /// A pattern is a whole repository, `docker.io/library/busybox`, or one that ends in `*`, `coracle.local/tools/*`. Any
    /// tag fits unless the pattern has one of its own: `docker.io/library/busybox:musl`.
    pub fn new<S: Into<String>>(patterns: impl IntoIterator<Item = S>, component: &'static [u8]) -> Self {
        Self { patterns: patterns.into_iter().map(Into::into).collect(), component, packed: OnceLock::new() }
    }

    fn fits(&self, reference: &Reference) -> bool {
        reference.digest.is_none() && self.patterns.iter().any(|pattern| fits(pattern, reference))
    }
}

impl std::fmt::Debug for Builtin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builtin").field("patterns", &self.patterns).finish_non_exhaustive()
    }
}

fn fits(pattern: &str, reference: &Reference) -> bool {
    let name = reference.name();
    if let Some(start) = pattern.strip_suffix('*') {
        return name.starts_with(start);
    }
    let after_slash = pattern.rfind('/').map_or(0, |at| at + 1);
    match pattern[after_slash..].split_once(':') {
        Some((last, tag)) => {
            reference.tag.as_deref() == Some(tag) && name == format!("{}{last}", &pattern[..after_slash])
        }
        None => name == pattern,
    }
}

impl ImageStore {
    /// Says which images come with the program. The first call counts.
    pub fn set_builtin(&self, table: Vec<Builtin>) {
        let _ = self.inner.builtin.set(table.into_iter().map(Arc::new).collect());
    }

    /// Whether `reference` is answered by the table.
    pub fn is_builtin(&self, reference: &Reference) -> bool {
        self.builtin_of(reference).is_some()
    }

    fn builtin_of(&self, reference: &Reference) -> Option<Arc<Builtin>> {
        let found = self.inner.builtin.get()?.iter().find(|entry| entry.fits(reference))?;
        let pushed = reference.is_local() && self.find_local(reference).is_some();
        (!pushed).then(|| Arc::clone(found))
    }

    /// The digest of the table's image that `reference` names, made whole in the store.
    pub(crate) async fn fetch_builtin(&self, reference: &Reference) -> Result<Option<Digest>, PullError> {
        let Some(entry) = self.builtin_of(reference) else { return Ok(None) };
        let (store, image) = (self.clone(), reference.clone());
        blocking(move || store.keep_builtin(&entry, &image)).await.map(Some)
    }

    fn keep_builtin(&self, entry: &Builtin, image: &Reference) -> Result<Digest, PullError> {
        let packed = entry.packed.get_or_init(|| Artifact::from_wasm(entry.component));
        let artifact = packed.as_ref().map_err(|why| PullError::Wasm { image: image.to_string(), why: why.clone() })?;
        let digest = artifact.manifest.digest.clone();
        let name = image.to_string();
        if self.index().pulled.get(&name) != Some(&digest) || !self.has(&artifact.layer.digest) {
            self.keep(artifact).map_err(|error| PullError::store(image, error))?;
            let (component, manifest) = (artifact.layer.digest.clone(), digest.clone());
            let remembered = self.change(|index| {
                index.pulled.insert(name, manifest.clone());
                index.components.insert(manifest, component);
            });
            remembered.map_err(|error| PullError::store(image, error))?;
        }
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Credentials, PullPolicy};

    #[test]
    fn patterns_fit_repositories_and_tags() {
        for (pattern, image, wanted) in [
            ("docker.io/library/busybox", "busybox", true),
            ("docker.io/library/busybox", "busybox:1.36", true),
            ("docker.io/library/busybox:musl", "busybox:musl", true),
            ("docker.io/library/busybox:musl", "busybox:1.36", false),
            ("docker.io/library/busybox", "me/busybox", false),
            ("coracle.local/tools/*", "coracle.local/tools/sh:v1", true),
            ("coracle.local/tools/*", "coracle.local/other", false),
        ] {
            let reference = image.parse::<Reference>().unwrap();
            assert_eq!(fits(pattern, &reference), wanted, "{pattern} {image}");
        }
    }

    #[tokio::test]
    async fn a_builtin_image_needs_no_registry_and_gives_way_to_a_pushed_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path()).unwrap();
        let bytes: &'static [u8] = Box::leak(wat::parse_str("(component)").unwrap().into_boxed_slice());
        store.set_builtin(vec![Builtin::new(["docker.io/library/busybox", "coracle.local/toolbox"], bytes)]);
        for image in ["busybox", "busybox:1.36", "coracle.local/toolbox"] {
            let found = store.resolve(image, PullPolicy::Always, &Credentials::default()).await.unwrap();
            assert_eq!(std::fs::read(found.path).unwrap(), bytes);
        }
        let own = wat::parse_str("(component (component))").unwrap();
        let digest = store.push("toolbox", "latest", own.into()).await.unwrap();
        let found =
            store.resolve("coracle.local/toolbox", PullPolicy::IfNotPresent, &Credentials::default()).await.unwrap();
        assert_eq!(found.digest, digest);
    }
}
