//! What volumes hold and what containers see of them, through real folders.

use std::collections::{BTreeMap, HashMap};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::{Value, json};

use super::place::Access;
use super::*;
use crate::environment::Surroundings;
use crate::sources::Sources;

fn files(volume: Value) -> Result<content::Files, String> {
    let mut volume = volume;
    volume["name"] = json!("v");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "p", "labels": { "a": "b" } },
        "spec": { "volumes": [volume], "containers": [
            { "name": "c", "image": "i", "resources": { "limits": { "memory": "64Mi" } } },
        ] },
    }))
    .unwrap();
    let map: ConfigMap =
        serde_json::from_value(json!({ "data": { "color": "red", "size": "big" }, "binaryData": { "raw": "AAE=" } }))
            .unwrap();
    let secret: Secret = serde_json::from_value(json!({ "data": { "key": "c2VjcmV0" } })).unwrap();
    let sources = Sources {
        config_maps: BTreeMap::from([("map".to_owned(), Some(map))]),
        secrets: BTreeMap::from([("secret".to_owned(), Some(secret))]),
        ..Sources::default()
    };
    let around = Surroundings {
        pod: &pod,
        pod_ip: "10.128.0.2".parse().unwrap(),
        host_ip: "127.0.0.1".parse().unwrap(),
        services: &[],
        sources: &sources,
        allocatable: &BTreeMap::new(),
    };
    let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
    content::files(volume, &around).map_err(|error| error.to_string())
}

fn told(files: &content::Files) -> Vec<String> {
    files
        .iter()
        .map(|(path, file)| format!("{path}={} {:o}", String::from_utf8_lossy(&file.bytes), file.mode))
        .collect()
}

#[test]
fn files_come_from_what_a_volume_names() {
    let items = json!([{ "key": "color", "path": "deep/hue", "mode": 256 }]);
    let labels = json!({ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } });
    let memory = json!({ "path": "mem", "resourceFieldRef": { "containerName": "c", "resource": "limits.memory", "divisor": "1Mi" } });
    for (volume, wanted) in [
        (json!({ "configMap": { "name": "map" } }), vec!["color=red 644", "raw=\0\u{1} 644", "size=big 644"]),
        (json!({ "configMap": { "name": "map", "items": items } }), vec!["deep/hue=red 400"]),
        (json!({ "configMap": { "name": "none", "optional": true } }), vec![]),
        (json!({ "secret": { "secretName": "secret", "defaultMode": 384 } }), vec!["key=secret 600"]),
        (json!({ "downwardAPI": { "items": [labels, memory] } }), vec!["labels=a=\"b\" 644", "mem=64 644"]),
        (
            json!({ "projected": { "defaultMode": 292, "sources": [
                { "secret": { "name": "secret" } }, { "downwardAPI": { "items": [labels] } },
            ] } }),
            vec!["key=secret 444", "labels=a=\"b\" 444"],
        ),
    ] {
        assert_eq!(told(&files(volume.clone()).unwrap()), wanted, "{volume}");
    }
}

#[test]
fn what_is_missing_is_said_as_kubernetes_says_it() {
    let items = json!([{ "key": "none", "path": "x" }]);
    for (volume, wanted) in [
        (json!({ "configMap": { "name": "none" } }), "configmap \"none\" not found"),
        (json!({ "secret": { "secretName": "none" } }), "secret \"none\" not found"),
        (
            json!({ "configMap": { "name": "map", "items": items } }),
            "configmap references non-existent config key: none",
        ),
        (json!({ "secret": { "secretName": "secret", "items": items } }), "references non-existent secret key: none"),
    ] {
        assert_eq!(files(volume.clone()).unwrap_err(), wanted, "{volume}");
    }
}

fn given(all: &[(&str, &str)]) -> content::Files {
    let file = |text: &str| content::File { bytes: text.as_bytes().to_vec(), mode: 0o644 };
    all.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
}

/// The files of a volume as a guest finds them.
fn found(dir: &Path) -> BTreeMap<String, String> {
    fn walk(dir: &Dir, at: &str, found: &mut BTreeMap<String, String>) {
        for entry in dir.entries().unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.starts_with("..") {
                continue;
            }
            let path = if at.is_empty() { name.clone() } else { format!("{at}/{name}") };
            match dir.open_dir(&name) {
                Ok(below) => walk(&below, &path, found),
                Err(_) => {
                    found.insert(path, dir.read_to_string(&name).unwrap());
                }
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(&Dir::open_ambient_dir(dir, ambient_authority()).unwrap(), "", &mut all);
    all
}

#[test]
fn content_is_replaced_as_a_whole_and_nothing_is_left_behind() {
    type Write = fn(&Path, &content::Files) -> io::Result<()>;
    let ways: [(&str, Write); 2] = [("links", payload::write), ("files", payload::elsewhere::write)];
    for (way, write) in ways {
        let dir = tempfile::tempdir().unwrap();
        for all in [
            given(&[("a", "1"), ("deep/b", "2")]),
            given(&[("a", "3"), ("deep/b", "2"), ("deep/c", "4")]),
            given(&[("new", "5")]),
            given(&[]),
        ] {
            write(dir.path(), &all).unwrap();
            let wanted: BTreeMap<String, String> =
                all.iter().map(|(path, file)| (path.clone(), String::from_utf8(file.bytes.clone()).unwrap())).collect();
            assert_eq!(found(dir.path()), wanted, "{way}");
        }
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert!(left <= 2, "{way}: {left} entries");
    }
}

#[test]
fn files_that_nobody_looks_at_are_not_written_and_may_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let volume = dir.path().join("volume");
    let pending = super::pending::Pending::new(volume.clone(), given(&[("key", "old")]));
    assert_eq!(pending.read("key"), Some(b"old".to_vec()));
    assert_eq!(pending.replace(given(&[("key", "new")])), Ok(()));
    assert!(!volume.exists());
    for _ in 0..2 {
        pending.making().make().unwrap();
        assert_eq!(std::fs::read_to_string(volume.join("key")).unwrap(), "new");
    }
    assert_eq!((pending.read("key"), pending.replace(given(&[])).is_err()), (None, true));
}

fn placed(dir: &Path, access: Access) -> HashMap<String, Placed> {
    let one = Placed::own(dir.to_owned(), access);
    HashMap::from([("v".to_owned(), one)])
}

struct Seen {
    mounts: Vec<Mount>,
    _views: tempfile::TempDir,
}

impl Seen {
    /// What a guest reads at a path, by the longest mount that it lies in.
    fn read(&self, path: &str) -> Option<String> {
        let inside = |mount: &&Mount| Path::new(path).starts_with(&mount.guest_path);
        let mount = self.mounts.iter().filter(inside).max_by_key(|mount| mount.guest_path.len())?;
        let dir = match &mount.opened {
            Some(opened) => Dir::from_std_file(opened.try_clone().unwrap()),
            None => Dir::open_ambient_dir(&mount.host_dir, ambient_authority()).unwrap(),
        };
        dir.read_to_string(Path::new(path).strip_prefix(&mount.guest_path).unwrap()).ok()
    }
}

fn see(volumes: &HashMap<String, Placed>, mounts: Value) -> Result<Seen, String> {
    let mut mounts = mounts;
    for mount in mounts.as_array_mut().unwrap() {
        if mount.get("name").is_none() {
            mount["name"] = json!("v");
        }
    }
    let container = serde_json::from_value(json!({ "name": "c", "volumeMounts": mounts })).unwrap();
    let views = tempfile::tempdir().unwrap();
    let environment = [("NAME".to_owned(), "p-0".to_owned())];
    let mounts = views::mounts(volumes, &container, &environment, &views.path().join("c"));
    mounts.map(|mounts| Seen { mounts, _views: views }).map_err(|error| error.to_string())
}

#[test]
fn a_container_sees_a_volume_a_part_of_it_or_one_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("part")).unwrap();
    std::fs::write(dir.path().join("part/file"), "one").unwrap();
    let writable = placed(dir.path(), Access::Writable);
    for (mount, path, read_only) in [
        (json!({ "mountPath": "/data" }), "/data/part/file", false),
        (json!({ "mountPath": "/data", "readOnly": true }), "/data/part/file", true),
        (json!({ "mountPath": "/data", "subPath": "part" }), "/data/file", false),
        (json!({ "mountPath": "/etc/app/settings", "subPath": "part/file" }), "/etc/app/settings", false),
    ] {
        let seen = see(&writable, json!([mount.clone()])).unwrap();
        assert_eq!(seen.read(path).as_deref(), Some("one"), "{mount}");
        assert_eq!(seen.mounts[0].read_only, read_only, "{mount}");
    }
    let seen = see(&writable, json!([{ "mountPath": "/data", "subPathExpr": "of/$(NAME)" }])).unwrap();
    assert!(dir.path().join("of/p-0").is_dir() && seen.mounts[0].opened.is_some());
}

#[test]
fn what_is_written_to_a_single_file_is_written_to_its_volume() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "one").unwrap();
    let seen = see(&placed(dir.path(), Access::Writable), json!([{ "mountPath": "/x/y", "subPath": "file" }])).unwrap();
    std::fs::write(seen.mounts[0].host_dir.join("y"), "two").unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("file")).unwrap(), "two");
}

#[test]
fn single_files_share_a_directory_and_lie_in_the_volume_that_is_mounted_there() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    payload::write(dir.path(), &given(&[("a", "1"), ("b", "2")])).unwrap();
    std::fs::write(other.path().join("own"), "3").unwrap();
    let mut volumes = placed(dir.path(), Access::Content);
    let one = |key| json!({ "mountPath": format!("/etc/app/{key}"), "subPath": key });
    let seen = see(&volumes, json!([one("a"), one("b")])).unwrap();
    assert_eq!((seen.read("/etc/app/a").as_deref(), seen.read("/etc/app/b").as_deref()), (Some("1"), Some("2")));
    assert_eq!((seen.mounts.len(), seen.mounts[0].read_only), (1, true));
    volumes.extend(placed(other.path(), Access::Writable).into_values().map(|placed| ("w".to_owned(), placed)));
    let seen = see(&volumes, json!([one("a"), { "name": "w", "mountPath": "/etc" }])).unwrap();
    assert_eq!((seen.read("/etc/app/a").as_deref(), seen.read("/etc/own").as_deref()), (Some("1"), Some("3")));
    // What was given stays as it was when its source changes.
    payload::write(dir.path(), &given(&[("a", "new")])).unwrap();
    assert_eq!(seen.read("/etc/app/a").as_deref(), Some("1"));
}

#[test]
fn mounts_that_cannot_be_are_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let writable = placed(dir.path(), Access::Writable);
    let read_only = placed(dir.path(), Access::ReadOnly);
    for (volumes, mount, text) in [
        (&writable, json!({ "mountPath": "/x", "subPath": "../up" }), "must not contain '..'"),
        (&writable, json!({ "mountPath": "/x", "subPathExpr": "/abs" }), "must not be an absolute path"),
        (&writable, json!({ "mountPath": "/x", "subPathExpr": "$(NONE)" }), "missing value for \"NONE\""),
        (&writable, json!({ "mountPath": "/x", "name": "other" }), "names no volume"),
        (&read_only, json!({ "mountPath": "/x", "subPath": "none" }), "failed to prepare subPath"),
    ] {
        let error = see(volumes, json!([mount])).err().unwrap();
        assert!(error.contains(text), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_sub_path_that_is_a_link_stays_in_the_volume() {
    use std::os::unix::fs::symlink;
    let host = tempfile::tempdir().unwrap();
    let volume = host.path().join("volume");
    std::fs::create_dir_all(volume.join("real")).unwrap();
    std::fs::create_dir(host.path().join("secret")).unwrap();
    std::fs::write(host.path().join("secret/file"), "bait").unwrap();
    symlink("real", volume.join("fine")).unwrap();
    symlink("../secret", volume.join("out")).unwrap();
    symlink("/etc", volume.join("etc")).unwrap();
    let volumes = placed(&volume, Access::Writable);
    let mount = |path: &str| see(&volumes, json!([{ "mountPath": "/x", "subPath": path }]));
    assert!(mount("fine").is_ok());
    for path in ["out", "out/file", "out/new", "etc", "etc/passwd"] {
        assert!(mount(path).is_err(), "{path}");
    }
    assert!(!host.path().join("secret/new").exists());
    // A directory that was looked at and then replaced by a link is still the directory.
    let seen = mount("real").unwrap();
    std::fs::write(volume.join("real/mine"), "mine").unwrap();
    std::fs::rename(volume.join("real"), volume.join("moved")).unwrap();
    symlink("../secret", volume.join("real")).unwrap();
    assert_eq!((seen.read("/x/mine").as_deref(), seen.read("/x/file")), (Some("mine"), None));
}

#[test]
fn sizes_count_what_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/a"), vec![1u8; 100_000]).unwrap();
    let size = || usage::size(&Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap()).unwrap();
    let one = size();
    assert!((100_000..130_000).contains(&one), "{one}");
    std::fs::hard_link(dir.path().join("d/a"), dir.path().join("b")).unwrap();
    if cfg!(unix) {
        assert_eq!(size(), one);
    }
    std::fs::write(dir.path().join("c"), vec![1u8; 50_000]).unwrap();
    assert!(size() >= one + 50_000);
}
