//! The class that claims get which name none: volumes on the nodes' own disks, made when the first pod needs them.

use serde_json::{Value, json};

use super::Facts;

pub(super) fn objects(_: &Facts) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {
                "name": "local-path",
                "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
            },
            "provisioner": "coracle.dev/local-path",
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
            "allowVolumeExpansion": true,
        }),
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver",
            "metadata": { "name": "local-path.coracle.dev" },
            "spec": { "attachRequired": false, "podInfoOnMount": false, "volumeLifecycleModes": ["Persistent"] },
        }),
    ]
}
