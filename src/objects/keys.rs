//! Where things lie in the store.
//!
//! | key | holds |
//! |---|---|
//! | `/registry/GROUP/PLURAL/NAMESPACE/NAME` | a namespaced object; the core group is `core` |
//! | `/registry/GROUP/PLURAL/NAME` | an object at cluster scope |
//! | `/allocated/clusterips/ADDRESS` | `NAMESPACE/NAME` of the Service that has the address |
//! | `/allocated/nodeports/PORT` | `NAMESPACE/NAME` of the Service that has the port |
//!
//! The version of a kind is not part of its key: versions that share storage share their objects, and a kind that is only a form of
//! another one has that one's key.

use api::Kind;

/// What every object's key begins with.
pub(crate) const OBJECTS: &str = "/registry/";
/// What the keys begin with that make an address or a port belong to one Service.
pub(crate) const ALLOCATED: &str = "/allocated/";

/// `core/pods`: what objects of a kind are kept under.
pub(crate) fn resource(kind: &Kind) -> String {
    match &kind.form {
        Some(form) => resource_of(&form.group, &form.plural),
        None => resource_of(&kind.group, &kind.plural),
    }
}

pub(crate) fn resource_of(group: &str, plural: &str) -> String {
    format!("{}/{plural}", if group.is_empty() { "core" } else { group })
}

/// `NAMESPACE/NAME`, or `NAME` at cluster scope: an object's place among its kind.
pub(crate) fn place(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// The whole key.
pub(crate) fn object(kind: &Kind, namespace: Option<&str>, name: &str) -> String {
    format!("{OBJECTS}{}/{}", resource(kind), place(namespace, name))
}

/// Takes a key of [`OBJECTS`] apart: resource and place.
pub(crate) fn parts(key: &str) -> Option<(&str, &str)> {
    let rest = key.strip_prefix(OBJECTS)?;
    let group_end = rest.find('/')?;
    let plural_end = group_end + 1 + rest.get(group_end + 1..)?.find('/')?;
    Some((rest.get(..plural_end)?, rest.get(plural_end + 1..)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_key_comes_apart_as_it_was_put_together() {
        assert_eq!(super::parts("/registry/core/pods/default/a"), Some(("core/pods", "default/a")));
        assert_eq!(super::parts("/registry/core/nodes/n"), Some(("core/nodes", "n")));
        assert_eq!(super::parts("/registry/core"), None);
        assert_eq!(super::parts("/allocated/nodeports/1"), None);
    }
}
