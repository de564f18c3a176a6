//! `terminationMessagePath`: where a container writes what it wants known of its end, and what becomes of it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::Making;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use k8s_openapi::api::core::v1::Container;

use crate::sandbox::Mount;

const DEFAULT_PATH: &str = "/dev/termination-log";
/// As much as a status takes.
const BYTES_MAX: u64 = 4096;
/// What the log lends to a message.
const LOG_LINES: u64 = 80;
const LOG_BYTES: usize = 2048;

/// Where the last words of one run are found.
#[derive(Clone, Debug)]
pub(crate) struct LastWords {
    /// The folder, out of which nothing leads.
    place: PathBuf,
    /// The same where it lies in a volume in which others may put a link in its stead.
    opened: Option<Arc<File>>,
    /// The file in it.
    file: PathBuf,
    /// A failure without words is told with the end of the log.
    from_log: bool,
}

impl LastWords {
    /// Finds the place: in one of `mounts`, or else below `folder`, where it is made once the container looks. Blocks for a
    /// moment.
    pub fn prepare(folder: &Path, container: &Container, mounts: &mut Vec<Mount>) -> Self {
        let path =
            container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH);
        let from_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        let path = format!("/{}", path.trim_matches('/'));
        let holder = mounts.iter().filter_map(|mount| Some((mount, below(&path, &mount.guest_path)?)));
        if let Some((mount, rest)) = holder.min_by_key(|(_, rest)| rest.len()) {
            return Self { place: mount.host_dir.clone(), opened: mount.opened.clone(), file: rest.into(), from_log };
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let host_dir = folder.to_owned();
        // Those of the run before. What the container made there that is no file is no words either.
        let _ = std::fs::remove_file(host_dir.join(name));
        let place = host_dir.clone();
        let made_by = Some(Making::new(move || std::fs::create_dir_all(&place)));
        let words = Self { place: host_dir.clone(), opened: None, file: name.into(), from_log };
        let guest_path = if parent.is_empty() { "/" } else { parent }.to_owned();
        mounts.push(Mount { host_dir, opened: None, made_by, guest_path, read_only: false });
        words
    }

    /// What the container wrote. Blocks for a moment.
    pub fn read(&self) -> Option<String> {
        // The container chose what lies here: nothing outside of its place is read, whatever links lead there.
        let place = match &self.opened {
            Some(opened) => Dir::from_std_file(opened.try_clone().ok()?),
            None => Dir::open_ambient_dir(&self.place, ambient_authority()).ok()?,
        };
        if !place.symlink_metadata(&self.file).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        place.open(&self.file).ok()?.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|text| !text.is_empty())
    }

    /// How much of the log's end stands for words that are missing.
    pub fn of_log(&self, failed: bool) -> Option<u64> {
        (failed && self.from_log).then_some(LOG_LINES)
    }

    /// The end of a log, as long as a message takes it.
    pub fn shortened(log: &[u8]) -> String {
        let from = log.len().saturating_sub(LOG_BYTES);
        String::from_utf8_lossy(&log[from..]).into_owned()
    }
}

/// The part of `path` below `folder`.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/')?;
    // A path that climbs is not followed on the host.
    Some(rest).filter(|rest| !rest.is_empty() && rest.split('/').all(|part| part != ".." && !part.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(path: &str, policy: &str) -> Container {
        Container {
            name: "app".to_owned(),
            termination_message_path: Some(path.to_owned()),
            termination_message_policy: Some(policy.to_owned()),
            ..Container::default()
        }
    }

    fn mount(host_dir: &Path, guest_path: &str) -> Mount {
        let (host_dir, guest_path) = (host_dir.to_owned(), guest_path.to_owned());
        Mount { host_dir, opened: None, made_by: None, guest_path, read_only: false }
    }

    #[test]
    fn words_lie_in_a_place_of_their_own_or_in_a_volume() {
        let dir = tempfile::tempdir().unwrap();
        let mut mounts = vec![mount(&dir.path().join("v"), "/data"), mount(&dir.path().join("w"), "/data/deep")];
        let words = LastWords::prepare(dir.path(), &container("/data/deep/end", "File"), &mut mounts);
        assert_eq!((words.place, words.file, mounts.len()), (dir.path().join("w"), "end".into(), 2));
        let words = LastWords::prepare(dir.path(), &container("", "File"), &mut mounts);
        assert_eq!((&*mounts[2].guest_path, words.read()), ("/dev", None));
        std::fs::write(dir.path().join("termination-log"), "gone for good").unwrap();
        assert_eq!(words.read().as_deref(), Some("gone for good"));
        // The next run begins without them, whatever lies there.
        let mut mounts = Vec::new();
        let words = LastWords::prepare(dir.path(), &container("/dev/termination-log", "File"), &mut mounts);
        assert_eq!(words.read(), None);
        std::fs::create_dir(dir.path().join("termination-log")).unwrap();
        let words = LastWords::prepare(dir.path(), &container("/dev/termination-log", "File"), &mut Vec::new());
        assert_eq!(words.read(), None);
    }

    #[cfg(unix)]
    #[test]
    fn the_place_is_the_directory_that_was_mounted_and_not_what_others_put_there_since() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place");
        std::fs::create_dir(&place).unwrap();
        let opened = Some(Arc::new(File::open(&place).unwrap()));
        let mut mounts = vec![Mount { opened, ..mount(&place, "/data") }];
        let words = LastWords::prepare(dir.path(), &container("/data/end", "File"), &mut mounts);
        std::fs::rename(&place, dir.path().join("moved")).unwrap();
        std::fs::write(dir.path().join("end"), "of the host").unwrap();
        std::os::unix::fs::symlink(".", &place).unwrap();
        assert_eq!(words.read(), None);
        std::fs::write(dir.path().join("moved/end"), "mine").unwrap();
        assert_eq!(words.read().as_deref(), Some("mine"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), "of the host").unwrap();
        let place = dir.path().join("place");
        std::fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink("../secret", place.join("link")).unwrap();
        std::os::unix::fs::symlink("..", place.join("up")).unwrap();
        for path in ["/data/link", "/data/up/secret"] {
            let mut mounts = vec![mount(&place, "/data")];
            let words = LastWords::prepare(dir.path(), &container(path, "File"), &mut mounts);
            assert_eq!(words.read(), None, "{path}");
        }
    }

    #[test]
    fn the_log_speaks_for_failures_that_say_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let asking = LastWords::prepare(dir.path(), &container("", "FallbackToLogsOnError"), &mut Vec::new());
        assert_eq!((asking.of_log(true), asking.of_log(false)), (Some(80), None));
        assert_eq!(LastWords::shortened(&[b'x'; 5000]).len(), 2048);
    }
}
