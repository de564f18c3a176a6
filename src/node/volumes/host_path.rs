//! Folders and files of the host, where the operator allows it.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use thiserror::Error;

use super::place::{Access, Counted, Placed};

/// The folders of the host that pods may mount, with all that is in them. Nothing by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed(Vec<PathBuf>);

/// Why a path of the host is not mounted.
#[derive(Debug, Error)]
pub(super) enum HostPathError {
    #[error(
        "hostPath {0:?} is not allowed on this node; start coracle with --allow-host-path={0} (or a folder that it is in)"
    )]
    Denied(String),
    #[error("hostPath type check failed: {0} is not {1}")]
    Kind(String, &'static str),
    #[error("hostPath type {0} is not offered: a component sees folders and files alone")]
    Unsupported(String),
    #[error("hostPath {path:?}: {source}")]
    Io { path: String, source: io::Error },
}

impl Allowed {
    /// These and what is in them.
    pub fn new(prefixes: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(prefixes.into_iter().collect())
    }

    /// The allowed folder that `path` is in, open, and the way from there to it.
    fn reach(&self, path: &Path) -> Option<io::Result<(Dir, PathBuf)>> {
        if path.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        let prefix =
            self.0.iter().filter(|prefix| path.starts_with(prefix)).max_by_key(|prefix| prefix.as_os_str().len())?;
        let rest = path.strip_prefix(prefix).ok()?.to_owned();
        Some(Dir::open_ambient_dir(prefix, ambient_authority()).map(|dir| (dir, rest)))
    }
}

/// Opens what `path` names on the host, as `kind` says. Links on the way may lead anywhere in the allowed folder and not out of it.
pub(super) fn open(allowed: &Allowed, path: &str, kind: &str) -> Result<Placed, HostPathError> {
    let failed = |source| HostPathError::Io { path: path.to_owned(), source };
    let (root, rest) =
        allowed.reach(Path::new(path)).ok_or_else(|| HostPathError::Denied(path.to_owned()))?.map_err(failed)?;
    let is_root = rest.as_os_str().is_empty();
    let there = if is_root { root.dir_metadata().map(Some) } else { found(&root, &rest) }.map_err(failed)?;
    let (is_dir, is_file) =
        (there.as_ref().is_some_and(|meta| meta.is_dir()), there.as_ref().is_some_and(|meta| meta.is_file()));
    let wrong = |what| Err(HostPathError::Kind(path.to_owned(), what));
    match kind {
        "" if is_file => as_file(&root, &rest).map_err(failed),
        "" | "DirectoryOrCreate" if there.is_none() => {
            root.create_dir_all(&rest).map_err(failed)?;
            as_dir(&root, &rest, is_root).map_err(failed)
        }
        "" | "DirectoryOrCreate" | "Directory" if is_dir => as_dir(&root, &rest, is_root).map_err(failed),
        "" | "DirectoryOrCreate" | "Directory" => wrong("a directory"),
        "FileOrCreate" if there.is_none() => {
            root.create(&rest).map_err(failed)?;
            as_file(&root, &rest).map_err(failed)
        }
        "FileOrCreate" | "File" if is_file => as_file(&root, &rest).map_err(failed),
        "FileOrCreate" | "File" => wrong("a file"),
        other => Err(HostPathError::Unsupported(other.to_owned())),
    }
}

fn found(root: &Dir, rest: &Path) -> io::Result<Option<cap_std::fs::Metadata>> {
    match root.metadata(rest) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn as_dir(root: &Dir, rest: &Path, is_root: bool) -> io::Result<Placed> {
    let opened = if is_root { root.try_clone()? } else { root.open_dir(rest)? };
    Ok(placed(opened, rest, None))
}

fn as_file(root: &Dir, rest: &Path) -> io::Result<Placed> {
    let name = rest.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    let parent = rest.parent().filter(|parent| !parent.as_os_str().is_empty());
    let opened = parent.map_or_else(|| root.try_clone(), |parent| root.open_dir(parent))?;
    Ok(placed(opened, rest, Some(name.to_owned())))
}

fn placed(opened: Dir, rest: &Path, file: Option<String>) -> Placed {
    let opened = Some(Arc::new(opened));
    Placed { opened, file, counted: Counted::Nowhere, ..Placed::own(rest.to_owned(), Access::Writable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_allowed_is_reached_and_its_kind_is_checked() {
        let host = tempfile::tempdir().unwrap();
        let free = host.path().join("free");
        std::fs::create_dir_all(free.join("here")).unwrap();
        std::fs::create_dir_all(host.path().join("freedom")).unwrap();
        std::fs::write(free.join("note"), "hi").unwrap();
        let allowed = Allowed::new([free.clone()]);
        let at = |path: &str, kind: &str| {
            let path = host.path().join(path);
            open(&allowed, path.to_str().unwrap(), kind).map(|placed| placed.file).map_err(|error| error.to_string())
        };
        for (path, kind) in
            [("free", ""), ("free/here", "Directory"), ("free/new/deep", "DirectoryOrCreate"), ("free/x", "")]
        {
            assert_eq!(at(path, kind), Ok(None), "{path}");
        }
        for (path, kind, name) in
            [("free/note", "", "note"), ("free/note", "File", "note"), ("free/made", "FileOrCreate", "made")]
        {
            assert_eq!(at(path, kind), Ok(Some(name.to_owned())), "{path}");
        }
        for (path, kind, text) in [
            ("freedom", "", "--allow-host-path="),
            ("free/../freedom", "", "not allowed"),
            ("free/none", "Directory", "is not a directory"),
            ("free/here", "File", "is not a file"),
            ("free/note", "Directory", "is not a directory"),
            ("free/note", "Socket", "not offered"),
        ] {
            let error = at(path, kind).unwrap_err();
            assert!(error.contains(text), "{path}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_an_allowed_folder_does_not_lead_out_of_it() {
        let host = tempfile::tempdir().unwrap();
        let free = host.path().join("free");
        std::fs::create_dir(&free).unwrap();
        std::fs::create_dir(host.path().join("secret")).unwrap();
        std::os::unix::fs::symlink("../secret", free.join("out")).unwrap();
        std::os::unix::fs::symlink("/etc", free.join("etc")).unwrap();
        let allowed = Allowed::new([free.clone()]);
        for path in ["out", "etc", "etc/passwd", "out/new"] {
            assert!(open(&allowed, free.join(path).to_str().unwrap(), "").is_err(), "{path}");
        }
        assert!(!host.path().join("secret/new").exists());
    }
}
