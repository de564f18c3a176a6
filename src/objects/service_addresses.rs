//! The IPAddress objects that say which Service has which address. They are written and removed together with what makes
//! an address belong to one Service.

use api::meta;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use crate::keys;
use crate::object::encode;

/// The key of the object that stands for an address.
pub(crate) fn key(address: &str) -> String {
    format!("{}{}/{address}", keys::OBJECTS, keys::resource_of("networking.k8s.io", "ipaddresses"))
}

/// The object for an address that `owner` (`NAMESPACE/NAME`) has.
pub(crate) fn object(address: &str, owner: &str) -> Bytes {
    let (namespace, name) = owner.split_once('/').unwrap_or(("", owner));
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": address,
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": meta::time_text(Timestamp::now()),
            "generation": 1,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": { "parentRef": { "group": "", "resource": "services", "namespace": namespace, "name": name } },
    });
    encode(&object).into()
}
