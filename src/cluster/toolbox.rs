//! The toolbox: a shell and everyday commands, one component that comes with this program.
//!
//! It is the image `coracle.dev/toolbox`, and what manifests call `busybox`: Docker's is made for Linux and could never run
//! here, so the name is not asked of a registry. And it is what `kubectl exec`, `cp` and `debug`, exec probes and hooks run
//! in any container when they name one of its commands. It is compiled when it is first used.

use std::sync::Arc;

use images::{Builtin, Credentials, ImageStore, PullPolicy, Resolved};

/// The component.
const COMPONENT: &[u8] = include_bytes!("../../workloads/prebuilt/toolbox.wasm");
/// Its commands, a name a line.
const COMMANDS: &str = include_str!("../../workloads/toolbox/commands.txt");
const IMAGE: &str = "coracle.dev/toolbox";
/// What is answered with the toolbox, whatever its tag.
const NAMES: [&str; 9] = [
    IMAGE,
    "coracle.local/toolbox",
    "docker.io/library/busybox",
    "registry.k8s.io/busybox",
    "registry.k8s.io/e2e-test-images/busybox",
    "gcr.io/google-containers/busybox",
    "public.ecr.aws/docker/library/busybox",
    "registry.k8s.io/pause",
    "k8s.gcr.io/pause",
];
/// Folders in which people expect commands.
const FOLDERS: [&str; 6] = ["/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The row of the table of images.
pub(crate) fn builtin() -> Builtin {
    Builtin::new(NAMES, COMPONENT)
}

/// Whether a command is one of the toolbox', by itself or by its usual path.
pub(crate) fn has(command: &str) -> bool {
    let name = match command.rsplit_once('/') {
        Some((folder, name)) if FOLDERS.contains(&folder) => name,
        Some(_) => return false,
        None => command,
    };
    COMMANDS.lines().any(|known| known == name)
}

/// Where the component lies.
pub(crate) async fn resolve(images: &ImageStore) -> Result<Resolved, images::PullError> {
    images.resolve(IMAGE, PullPolicy::IfNotPresent, &Credentials::default()).await
}

/// What Kubernetes' runtimes say of a command that is not there, and the exit code that goes with it.
pub(crate) fn not_found(command: &str) -> (i32, String) {
    let (code, why) = if command.is_empty() {
        (126, "no command specified".to_owned())
    } else if command.contains('/') {
        (127, format!("exec: {command:?}: stat {command}: no such file or directory"))
    } else {
        (127, format!("exec: {command:?}: executable file not found in $PATH"))
    };
    (code, format!("OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown"))
}

/// The folder that a toolbox finds at `/`: a place to write, the points where volumes are mounted, and where it begins.
pub(crate) fn make_root(root: &node::Root, common: &runtime::Common) -> std::io::Result<runtime::Mount> {
    let mounts = common.mounts.iter().map(|mount| mount.guest_path.as_str());
    root.make(mounts.chain(common.working_dir.as_deref()))?;
    Ok(runtime::Mount {
        host_dir: root.folder.clone(),
        opened: None,
        made_by: None,
        guest_path: "/".to_owned(),
        read_only: root.read_only,
    })
}

/// Adds to an environment what a runtime of containers sets for an image like this one.
pub(crate) fn complete(env: &mut Vec<(String, String)>, tty: bool) {
    let usual = [("PATH", PATH), ("HOME", "/root"), ("TERM", "xterm")];
    for (name, value) in usual.into_iter().filter(|(name, _)| tty || *name != "TERM") {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// Whether an image is the toolbox itself.
pub(crate) fn is(image: &Resolved) -> bool {
    static DIGEST: std::sync::OnceLock<Arc<images::Digest>> = std::sync::OnceLock::new();
    **DIGEST.get_or_init(|| Arc::new(images::Digest::of(COMPONENT))) == image.component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_known_by_name_and_by_path() {
        for (command, wanted) in [
            ("sh", true),
            ("/bin/sh", true),
            ("/usr/bin/env", true),
            ("[", true),
            ("/opt/sh", false),
            ("./sh", false),
            ("nosuch", false),
            ("", false),
        ] {
            assert_eq!(has(command), wanted, "{command}");
        }
        assert_eq!(not_found("x").0, 127);
    }
}
