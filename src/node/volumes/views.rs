//! What one container sees of its pod's volumes: all of one, a folder in it, or a single file.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::VolumeError;
use super::pending::Pending;
use super::place::{Access, Placed};
use crate::environment::expand_all;
use crate::sandbox::Mount;

/// The mounts of `container`. `views` is a folder of its own, made anew.
pub(super) fn mounts(
    placed: &HashMap<String, Placed>,
    container: &Container,
    environment: &[(String, String)],
    views: &Path,
) -> Result<Vec<Mount>, VolumeError> {
    let mut seen = Seen { container: &container.name, mounts: Vec::new(), files: Vec::new() };
    if views.exists() {
        super::remove_tree(views);
    }
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = placed.get(&mount.name) else {
            let why =
                format!("volume mount {:?} of container {:?} names no volume of the pod", mount.name, container.name);
            return Err(VolumeError::View(why));
        };
        let sub_path = sub_path(mount, &container.name, environment)?;
        let folder = views.join(seen.mounts.len().to_string());
        seen.add(volume, mount, sub_path.as_deref(), &folder).map_err(|error| match error {
            AddError::Io(error) => seen.failed(mount, &error),
            AddError::Said(why) => VolumeError::View(why),
        })?;
    }
    seen.place_files(views)?;
    Ok(seen.mounts)
}

enum AddError {
    Io(io::Error),
    Said(String),
}

impl From<io::Error> for AddError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A single file that is mounted.
struct File {
    guest_path: String,
    from: Dir,
    path: PathBuf,
    read_only: bool,
    /// Its volume replaces it, and the mount keeps what it was.
    copied: bool,
}

struct Seen<'a> {
    container: &'a str,
    mounts: Vec<Mount>,
    files: Vec<File>,
}

impl Seen<'_> {
    fn failed(&self, mount: &VolumeMount, why: &dyn std::fmt::Display) -> VolumeError {
        let (volume, container) = (&mount.name, self.container);
        VolumeError::View(format!(
            "failed to prepare subPath for volumeMount {volume:?} of container {container:?}: {why}"
        ))
    }

    fn add(
        &mut self,
        volume: &Placed,
        mount: &VolumeMount,
        sub_path: Option<&Path>,
        view: &Path,
    ) -> Result<(), AddError> {
        let read_only = volume.access != Access::Writable || mount.read_only == Some(true);
        let guest_path = mount.mount_path.clone();
        let whole = volume.file.as_deref().map(Path::new);
        let Some(path) = sub_path.or(whole) else {
            let opened = volume.opened.as_ref().map(|dir| dir.try_clone()).transpose()?;
            let opened = opened.map(|dir| Arc::new(dir.into_std_file()));
            let made_by = volume.pending.as_ref().map(Pending::making);
            self.mounts.push(Mount { host_dir: volume.dir.clone(), opened, made_by, guest_path, read_only });
            return Ok(());
        };
        let root = volume.root()?;
        if sub_path.is_some() && whole.is_some() {
            return Err(AddError::Said(format!("volume {:?} is a file and has no subPath", mount.name)));
        }
        let there = match root.metadata(path) {
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let content = volume.access == Access::Content;
        if there.as_ref().is_some_and(cap_std::fs::Metadata::is_file) {
            self.files.push(File { guest_path, from: root, path: path.to_owned(), read_only, copied: content });
            return Ok(());
        }
        if there.is_none() {
            if volume.access != Access::Writable {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            root.create_dir_all(path)?;
        }
        let folder = root.open_dir(path)?;
        if content {
            // The volume forgets what it held when it changes; the container keeps what it was given.
            std::fs::create_dir_all(view)?;
            copy_tree(&folder, &Dir::open_ambient_dir(view, ambient_authority())?)?;
            self.mounts.push(Mount { host_dir: view.to_owned(), opened: None, made_by: None, guest_path, read_only });
        } else {
            let opened = Some(Arc::new(folder.into_std_file()));
            self.mounts.push(Mount { host_dir: volume.dir.join(path), opened, made_by: None, guest_path, read_only });
        }
        Ok(())
    }

    /// Gives each file a directory, or puts it into the mount that its path lies in.
    fn place_files(&mut self, views: &Path) -> Result<(), VolumeError> {
        let mut alone: BTreeMap<String, Vec<(String, File)>> = BTreeMap::new();
        for file in std::mem::take(&mut self.files) {
            let path = file.guest_path.trim_end_matches('/').to_owned();
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let parent = if parent.is_empty() { "/" } else { parent };
            match self.covering(parent) {
                None => alone.entry(parent.to_owned()).or_default().push((name.to_owned(), file)),
                Some((index, below)) => {
                    let target = below.join(name);
                    self.put_into(index, &target, &file).map_err(|why| {
                        let at = &self.mounts[index].guest_path;
                        VolumeError::View(format!("cannot mount the file {path:?} into the volume at {at:?}: {why}"))
                    })?;
                }
            }
        }
        for (number, (parent, files)) in alone.into_iter().enumerate() {
            let view = views.join(format!("files-{number}"));
            let read_only = files.iter().all(|(_, file)| file.read_only);
            let made = std::fs::create_dir_all(&view).and_then(|()| Dir::open_ambient_dir(&view, ambient_authority()));
            let made = made.and_then(|dir| files.iter().try_for_each(|(name, file)| put(&dir, Path::new(name), file)));
            made.map_err(|why| VolumeError::View(format!("cannot mount single files at {parent:?}: {why}")))?;
            self.mounts.push(Mount { host_dir: view, opened: None, made_by: None, guest_path: parent, read_only });
        }
        Ok(())
    }

    /// The writable mount that `parent` lies in, and the way there.
    fn covering(&self, parent: &str) -> Option<(usize, PathBuf)> {
        let below = |mount: &Mount| {
            let rest = Path::new(parent).strip_prefix(mount.guest_path.trim_end_matches('/')).ok()?;
            Some(rest.components().filter(|part| matches!(part, Component::Normal(_))).collect::<PathBuf>())
        };
        let all = self.mounts.iter().enumerate().filter_map(|(index, mount)| Some((index, below(mount)?)));
        // A folder below one that may only be read is a mount of its own; in the very same place there can be but one.
        let fitting = all.filter(|(index, rest)| !self.mounts[*index].read_only || rest.as_os_str().is_empty());
        fitting.max_by_key(|(index, _)| self.mounts[*index].guest_path.len())
    }

    fn put_into(&self, index: usize, target: &Path, file: &File) -> io::Result<()> {
        let mount = &self.mounts[index];
        if mount.read_only {
            return Err(io::Error::other(
                "that volume is read-only; mount it with the file in it, by a projected volume",
            ));
        }
        let dir = match &mount.opened {
            Some(opened) => Dir::from_std_file(opened.try_clone()?),
            None => Dir::open_ambient_dir(&mount.host_dir, ambient_authority())?,
        };
        if let Some(parent) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            dir.create_dir_all(parent)?;
        }
        put(&dir, target, file)
    }
}

/// Puts a file into a directory: itself where it can be written, a copy otherwise.
fn put(dir: &Dir, name: &Path, file: &File) -> io::Result<()> {
    match dir.symlink_metadata(name) {
        Ok(meta) if meta.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => dir.remove_file(name)?,
        Err(_) => {}
    }
    if !file.copied {
        // The way to it may run over links; the link that is made must be of the file itself.
        let path = file.from.canonicalize(&file.path)?;
        match file.from.hard_link(path, dir, name) {
            Ok(()) => return Ok(()),
            Err(error) if !file.read_only => return Err(error),
            Err(_) => {}
        }
    }
    file.from.copy(&file.path, dir, name).map(drop)
}

fn copy_tree(from: &Dir, to: &Dir) -> io::Result<()> {
    for entry in from.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        // Content is links to files; the copy holds the files.
        let meta = from.metadata(&name)?;
        if meta.is_dir() {
            to.create_dir_all(&name)?;
            copy_tree(&from.open_dir(&name)?, &to.open_dir(&name)?)?;
        } else {
            from.copy(&name, to, &name)?;
        }
    }
    Ok(())
}

impl Placed {
    /// The directory of the volume, with all that belongs there.
    pub fn root(&self) -> io::Result<Dir> {
        if let Some(pending) = &self.pending {
            pending.make()?;
        }
        match &self.opened {
            Some(opened) => opened.try_clone(),
            None => Dir::open_ambient_dir(&self.dir, ambient_authority()),
        }
    }
}

/// What `subPath` or `subPathExpr` name in the volume, `None` for all of it.
fn sub_path(
    mount: &VolumeMount,
    container: &str,
    environment: &[(String, String)],
) -> Result<Option<PathBuf>, VolumeError> {
    let given = match (&mount.sub_path, &mount.sub_path_expr) {
        (_, Some(template)) if !template.is_empty() => {
            let missing = |name: &str| {
                VolumeError::View(format!(
                    "failed to prepare subPath for volumeMount {:?} of container {container:?}: missing value for {name:?}",
                    mount.name
                ))
            };
            expand_all(template, environment).map_err(|name| missing(&name))?
        }
        (Some(path), _) => path.clone(),
        _ => String::new(),
    };
    if given.is_empty() {
        return Ok(None);
    }
    let path = Path::new(&given);
    if path.is_absolute() || given.starts_with('/') {
        return Err(VolumeError::View(format!("error SubPath `{given}` must not be an absolute path")));
    }
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(VolumeError::View(format!("unable to provision SubPath `{given}`: must not contain '..'")));
    }
    let path: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    Ok(Some(path).filter(|path| !path.as_os_str().is_empty()))
}
