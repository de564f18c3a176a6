//! What a container finds at `/`, where its program asks for it: a place to write, and the files that every container of
//! Kubernetes has in `/etc`.
//!
//! Components see volumes and nothing else. The toolbox (a shell and everyday commands) needs what its users expect of a
//! container, so whoever runs it makes a folder out of this. It goes with the pod; a restart begins with a new one.

use std::io;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::identity::Identity;

/// A container's own folder, made when it is first needed.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// Where it lies.
    pub folder: PathBuf,
    /// The files that are there from the start, from the root on, and what is in them.
    pub files: Vec<(&'static str, String)>,
    /// `readOnlyRootFilesystem`
    pub read_only: bool,
}

/// Folders that everybody expects.
const FOLDERS: [&str; 3] = ["etc", "root", "tmp"];

impl Root {
    pub(crate) fn of(folder: PathBuf, pod: &Pod, container: &Container, address: IpAddr) -> Self {
        let security = container.security_context.as_ref();
        let hostname = hostname(pod);
        let files = vec![
            ("etc/hosts", hosts(pod, &short(pod), address)),
            ("etc/hostname", format!("{hostname}\n")),
            ("etc/resolv.conf", resolver(pod)),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n".to_owned()),
            ("etc/group", "root:x:0:\n".to_owned()),
            ("proc/self/status", Identity::of(pod, container).status()),
        ];
        let read_only = security.and_then(|context| context.read_only_root_filesystem) == Some(true);
        Self { folder, files, read_only }
    }

    /// Makes the folder, unless it is there, with its files and with `places` in it, given as paths of the guest. Blocks for a
    /// moment.
    ///
    /// Somebody may run in it already, so that no link in it is followed out of it.
    ///
    /// # Errors
    /// What the folder or a file cannot be made for.
    pub fn make<'a>(&self, places: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        if self.folder.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder)?;
        let root = Dir::open_ambient_dir(&self.folder, ambient_authority())?;
        for name in FOLDERS {
            root.create_dir_all(name)?;
        }
        for (name, text) in &self.files {
            if let Some(parent) = Path::new(name).parent() {
                root.create_dir_all(parent)?;
            }
            root.write(name, text)?;
        }
        for place in places {
            let place = Path::new(place.trim_matches('/'));
            let plain = place.components().all(|part| matches!(part, Component::Normal(_)));
            // One that is taken is no reason not to start.
            if plain && !place.as_os_str().is_empty() && !place.starts_with("etc") {
                let _ = root.create_dir_all(place);
            }
        }
        Ok(())
    }
}

/// The host name that a pod has within.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let whole = spec.is_some_and(|spec| spec.set_hostname_as_fqdn == Some(true));
    if let Some(domain) = domain(pod).filter(|_| whole) {
        return format!("{}.{domain}", short(pod));
    }
    short(pod)
}

fn short(pod: &Pod) -> String {
    let given = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
    given.or_else(|| pod.metadata.name.clone()).unwrap_or_default()
}

/// What a pod with a subdomain is in.
fn domain(pod: &Pod) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty())?;
    Some(format!("{subdomain}.{}.svc.cluster.local", pod.metadata.namespace.as_deref().unwrap_or("default")))
}

fn hosts(pod: &Pod, hostname: &str, address: IpAddr) -> String {
    let spec = pod.spec.as_ref();
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    match domain(pod) {
        Some(domain) => text.push_str(&format!("{address}\t{hostname}.{domain}\t{hostname}\n")),
        None => text.push_str(&format!("{address}\t{hostname}\n")),
    }
    let aliases = spec.and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default();
        text.push_str(&format!("{}\t{}\n", alias.ip, names.join("\t")));
    }
    text
}

/// Names are the host's to look up; the file says what they are looked up in.
fn resolver(pod: &Pod) -> String {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let spec = pod.spec.as_ref();
    let config = spec.and_then(|spec| spec.dns_config.as_ref());
    let own = spec.and_then(|spec| spec.dns_policy.as_deref()) == Some("None");
    let mut servers = config.and_then(|config| config.nameservers.clone()).unwrap_or_default();
    let mut searches = Vec::new();
    if !own {
        servers.insert(0, "127.0.0.1".to_owned());
        searches = [format!("{namespace}.svc"), "svc".to_owned(), String::new()]
            .map(|part| format!("{part}.cluster.local").trim_start_matches('.').to_owned())
            .to_vec();
    }
    searches.extend(config.and_then(|config| config.searches.clone()).unwrap_or_default());
    let mut options = if own { Vec::new() } else { vec!["ndots:5".to_owned()] };
    for option in config.and_then(|config| config.options.as_deref()).unwrap_or_default() {
        let name = option.name.clone().unwrap_or_default();
        let text = option.value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}:{value}"));
        options.retain(|known| known.split(':').next() != Some(name.as_str()));
        options.push(text);
    }
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !searches.is_empty() {
        text.insert_str(0, &format!("search {}\n", searches.join(" ")));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_files_in_etc_say_what_the_pod_says() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web-0", "namespace": "shop" },
            "spec": {
                "containers": [],
                "hostname": "web-0",
                "subdomain": "web",
                "hostAliases": [{ "ip": "10.1.2.3", "hostnames": ["db", "db.example"] }],
                "dnsConfig": { "nameservers": ["1.1.1.1"], "searches": ["example.com"], "options": [{ "name": "ndots", "value": "2" }] },
            },
        }))
        .unwrap();
        let root = Root::of(PathBuf::new(), &pod, &Container::default(), Ipv4Addr::new(10, 0, 0, 9).into());
        let file =
            |name: &str| root.files.iter().find(|(known, _)| known.ends_with(&format!("/{name}"))).unwrap().1.clone();
        assert!(file("hosts").contains("10.0.0.9\tweb-0.web.shop.svc.cluster.local\tweb-0\n"));
        assert!(file("hosts").ends_with("# Entries added by HostAliases.\n10.1.2.3\tdb\tdb.example\n"));
        assert_eq!(file("hostname"), "web-0\n");
        let mut whole = pod.clone();
        whole.spec.as_mut().unwrap().set_hostname_as_fqdn = Some(true);
        assert_eq!(hostname(&whole), "web-0.web.shop.svc.cluster.local");
        assert_eq!(
            file("resolv.conf"),
            "search shop.svc.cluster.local svc.cluster.local cluster.local example.com\nnameserver 127.0.0.1\nnameserver 1.1.1.1\noptions ndots:2\n"
        );
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_made_or_written_outside_whatever_was_put_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root { folder: dir.path().join("root"), ..root(&json!({ "containers": [] })) };
        root.make(["/data/deep", "/etc/mine", "../out", "/"]).unwrap();
        assert!(root.folder.join("data/deep").is_dir() && root.folder.join("tmp").is_dir());
        assert!(!dir.path().join("out").exists() && !root.folder.join("etc/mine").exists());
        // Its owner takes everything away, and leads the folder's name elsewhere.
        std::fs::remove_dir_all(root.folder.join("etc")).unwrap();
        std::fs::remove_dir_all(root.folder.join("tmp")).unwrap();
        std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", root.folder.join("etc")).unwrap();
        root.make(["/etc/x"]).unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("elsewhere")).unwrap().count(), 0);
    }

    fn root(spec: &serde_json::Value) -> Root {
        let pod: Pod = serde_json::from_value(json!({ "metadata": { "name": "web-0" }, "spec": spec })).unwrap();
        Root::of(PathBuf::new(), &pod, &Container::default(), Ipv4Addr::LOCALHOST.into())
    }
}
