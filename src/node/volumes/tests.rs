//! Volumes through real folders.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::sources::Sources;

fn check(volume: Value, mount: Value) -> Result<(tempfile::TempDir, Mount), VolumeError> {
    let mut volume = volume;
    volume["name"] = json!("v");
    let mut mount = mount;
    mount["name"] = json!("v");
    mount["mountPath"] = json!("/data");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "p", "labels": { "a": "b" } },
        "spec": { "volumes": [volume], "containers": [{ "name": "c", "volumeMounts": [mount] }] },
    }))
    .unwrap();
    let map = serde_json::from_value(json!({ "data": { "color": "red", "size": "big" } })).unwrap();
    let sources = Sources { config_maps: BTreeMap::from([("map".to_owned(), Some(map))]), ..Sources::default() };
    let around = Surroundings {
        pod: &pod,
        pod_ip: "10.128.0.2".parse().unwrap(),
        host_ip: "127.0.0.1".parse().unwrap(),
        services: &[],
        sources: &sources,
        allocatable: &BTreeMap::new(),
    };
    let dir = tempfile::tempdir().unwrap();
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let mut mounts = mounts(dir.path(), container, &around)?;
    Ok((dir, mounts.remove(0)))
}

#[test]
fn an_empty_volume_can_be_written_and_has_folders_in_it() {
    let (_dir, mount) = check(json!({ "emptyDir": {} }), json!({ "subPath": "a/b" })).unwrap();
    assert!(mount.host_dir.is_dir() && mount.host_dir.ends_with("v/a/b") && !mount.read_only);
    let (_dir, mount) = check(json!({ "emptyDir": {} }), json!({ "readOnly": true })).unwrap();
    assert!(mount.read_only && mount.guest_path == "/data");
}

#[test]
fn given_content_becomes_files_that_can_only_be_read() {
    let items = json!([{ "key": "color", "path": "deep/hue" }]);
    let (_dir, mount) = check(json!({ "configMap": { "name": "map", "items": items } }), json!({})).unwrap();
    assert!(mount.read_only);
    assert_eq!(std::fs::read(mount.host_dir.join("deep/hue")).unwrap(), b"red");
    assert!(!mount.host_dir.join("size").exists());
    let projected = json!({ "projected": { "sources": [
        { "configMap": { "name": "map" } },
        { "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
    ] } });
    let (_dir, mount) = check(projected, json!({})).unwrap();
    assert_eq!(std::fs::read(mount.host_dir.join("labels")).unwrap(), b"a=\"b\"");
    assert_eq!(std::fs::read(mount.host_dir.join("size")).unwrap(), b"big");
}

#[test]
fn what_is_missing_or_leads_out_is_refused() {
    let rows = [
        (json!({ "configMap": { "name": "none" } }), json!({}), "configmap \"none\" not found"),
        (json!({ "secret": { "secretName": "none" } }), json!({}), "secret \"none\" not found"),
        (json!({ "hostPath": { "path": "/" } }), json!({}), "does not offer"),
        (json!({ "emptyDir": {} }), json!({ "subPath": "../up" }), "leads out"),
    ];
    for (volume, mount, text) in rows {
        let error = check(volume, mount).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
