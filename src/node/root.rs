//! What a container finds at `/`, where its program asks for it: a place to write, and the files that every container of
//! Kubernetes has in `/etc`.
//!
//! Components see volumes and nothing else. The toolbox (a shell and everyday commands) needs what its users expect of a
//! container, so whoever runs it makes a folder out of this. It goes with the pod; a restart begins with a new one.

use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod};

/// A container's own folder, made when it is first needed.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// Where it lies.
    pub folder: PathBuf,
    /// Names in `/etc`, and what is in them.
    pub files: Vec<(&'static str, String)>,
    /// `readOnlyRootFilesystem`
    pub read_only: bool,
}

impl Root {
    pub(crate) fn of(folder: PathBuf, pod: &Pod, container: &Container, address: IpAddr) -> Self {
        let security = container.security_context.as_ref();
        let hostname = hostname(pod);
        let files = vec![
            ("hosts", hosts(pod, &hostname, address)),
            ("hostname", format!("{hostname}\n")),
            ("resolv.conf", resolver(pod)),
            ("passwd", "root:x:0:0:root:/root:/bin/sh\n".to_owned()),
            ("group", "root:x:0:\n".to_owned()),
        ];
        let read_only = security.and_then(|context| context.read_only_root_filesystem) == Some(true);
        Self { folder, files, read_only }
    }
}

fn hostname(pod: &Pod) -> String {
    let given = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
    given.or_else(|| pod.metadata.name.clone()).unwrap_or_default()
}

fn hosts(pod: &Pod, hostname: &str, address: IpAddr) -> String {
    let spec = pod.spec.as_ref();
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    match spec.and_then(|spec| spec.subdomain.as_deref()).filter(|subdomain| !subdomain.is_empty()) {
        Some(subdomain) => {
            text.push_str(&format!("{address}\t{hostname}.{subdomain}.{namespace}.svc.cluster.local\t{hostname}\n"));
        }
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
        let file = |name: &str| root.files.iter().find(|(known, _)| *known == name).unwrap().1.clone();
        assert!(file("hosts").contains("10.0.0.9\tweb-0.web.shop.svc.cluster.local\tweb-0\n"));
        assert!(file("hosts").ends_with("# Entries added by HostAliases.\n10.1.2.3\tdb\tdb.example\n"));
        assert_eq!(file("hostname"), "web-0\n");
        assert_eq!(
            file("resolv.conf"),
            "search shop.svc.cluster.local svc.cluster.local cluster.local example.com\nnameserver 127.0.0.1\nnameserver 1.1.1.1\noptions ndots:2\n"
        );
    }
}
