//! All roles and bindings, arranged so that a request finds the rules that speak for its user.
//!
//! It is brought up to date by the request that finds it old: only what changed is read again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use objects::{Moved, Object, Objects, Revision, Shelf};
use parking_lot::RwLock;
use serde::Deserialize;

use super::rules::PolicyRule;

const GROUP: &str = "rbac.authorization.k8s.io";
const RESOURCES: [&str; 4] = ["clusterroles", "roles", "clusterrolebindings", "rolebindings"];

/// The rules of one role.
pub(super) type Rules = Arc<[PolicyRule]>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct RoleDocument {
    rules: Option<Vec<PolicyRule>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BindingDocument {
    role_ref: RoleRef,
    subjects: Option<Vec<Subject>>,
}

/// What a binding gives.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct RoleRef {
    pub kind: String,
    pub name: String,
}

/// To whom a binding gives it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Subject {
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

/// A binding, read.
#[derive(Debug)]
pub(super) struct Binding {
    pub name: String,
    /// Empty for a ClusterRoleBinding.
    pub namespace: String,
    pub role: RoleRef,
    pub subjects: Vec<Subject>,
}

/// Who a subject is to a request.
enum Who {
    User(String),
    Group(String),
}

impl Subject {
    fn who(&self, namespace: &str) -> Option<Who> {
        match self.kind.as_str() {
            "User" => Some(Who::User(self.name.clone())),
            "Group" => Some(Who::Group(self.name.clone())),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() { namespace } else { &self.namespace };
                let named = !namespace.is_empty() && !self.name.is_empty();
                named.then(|| Who::User(format!("system:serviceaccount:{namespace}:{}", self.name)))
            }
            _ => None,
        }
    }

    fn is(&self, user: &api::UserInfo, namespace: &str) -> bool {
        match self.who(namespace) {
            Some(Who::User(name)) => name == user.name,
            Some(Who::Group(name)) => user.is_in(&name),
            None => false,
        }
    }

    /// `Group "system:masters"`
    fn described(&self, namespace: &str) -> String {
        if self.kind == "ServiceAccount" {
            let namespace = if self.namespace.is_empty() { namespace } else { &self.namespace };
            return format!("{} {:?}", self.kind, format!("{}/{namespace}", self.name));
        }
        format!("{} {:?}", self.kind, self.name)
    }
}

impl Binding {
    /// How the reason of a decision names it: `ClusterRoleBinding "a" of ClusterRole "b" to User "c"`.
    pub fn described(&self, user: &api::UserInfo) -> String {
        let subject = self.subjects.iter().find(|subject| subject.is(user, &self.namespace));
        let subject = subject.map(|subject| subject.described(&self.namespace)).unwrap_or_default();
        let (kind, name) = if self.namespace.is_empty() {
            ("ClusterRoleBinding", self.name.clone())
        } else {
            ("RoleBinding", format!("{}/{}", self.name, self.namespace))
        };
        format!("{kind} {name:?} of {} {:?} to {subject}", self.role.kind, self.role.name)
    }
}

/// The bindings of one namespace, or those that hold everywhere, by whom they are for.
#[derive(Default)]
struct ByWho {
    users: HashMap<String, BTreeSet<Arc<str>>>,
    groups: HashMap<String, BTreeSet<Arc<str>>>,
}

impl ByWho {
    fn put(&mut self, who: Who, place: &Arc<str>) {
        let (map, name) = match who {
            Who::User(name) => (&mut self.users, name),
            Who::Group(name) => (&mut self.groups, name),
        };
        map.entry(name).or_default().insert(place.clone());
    }

    fn take(&mut self, who: &Who, place: &str) {
        let (map, name) = match who {
            Who::User(name) => (&mut self.users, name),
            Who::Group(name) => (&mut self.groups, name),
        };
        if let Some(places) = map.get_mut(name) {
            places.remove(place);
            if places.is_empty() {
                map.remove(name);
            }
        }
    }

    fn of(&self, user: &api::UserInfo) -> BTreeSet<&Arc<str>> {
        let mut found: BTreeSet<&Arc<str>> = self.users.get(&user.name).into_iter().flatten().collect();
        found.extend(user.groups.iter().filter_map(|group| self.groups.get(group)).flatten());
        found
    }
}

#[derive(Default)]
struct Arranged {
    /// How far each of [`RESOURCES`] was read; `None` before the first time.
    read: [Option<Revision>; 4],
    cluster_roles: HashMap<Arc<str>, Rules>,
    roles: HashMap<Arc<str>, Rules>,
    cluster_bindings: HashMap<Arc<str>, Arc<Binding>>,
    bindings: HashMap<Arc<str>, Arc<Binding>>,
    everywhere: ByWho,
    namespaces: HashMap<String, ByWho>,
}

/// Roles and bindings, always as new as the last write that was answered.
pub(super) struct Index {
    shelves: [Shelf; 4],
    arranged: RwLock<Arranged>,
}

impl Index {
    pub fn new(objects: &Objects) -> Self {
        let shelves = RESOURCES.map(|plural| objects.shelf(GROUP, plural));
        Self { shelves, arranged: RwLock::default() }
    }

    /// The bindings that speak for `user` in `namespace` (everywhere when empty), with the rules that they give, in order;
    /// `None` in place of rules that are nowhere. Stops when `each` says so.
    pub fn visit(&self, user: &api::UserInfo, namespace: &str, mut each: impl FnMut(&Binding, Option<&Rules>) -> bool) {
        self.refresh();
        let arranged = self.arranged.read();
        let here = arranged.namespaces.get(namespace).filter(|_| !namespace.is_empty());
        let everywhere =
            arranged.everywhere.of(user).into_iter().filter_map(|place| arranged.cluster_bindings.get(place));
        let here = here.into_iter().flat_map(|who| who.of(user)).filter_map(|place| arranged.bindings.get(place));
        for binding in everywhere.chain(here) {
            if !each(binding, arranged.rules(&binding.role, &binding.namespace)) {
                return;
            }
        }
    }

    /// The rules of a role that a binding in `namespace` names.
    pub fn rules(&self, role: &RoleRef, namespace: &str) -> Option<Rules> {
        self.refresh();
        self.arranged.read().rules(role, namespace).cloned()
    }

    fn refresh(&self) {
        let is_new = |arranged: &Arranged| {
            let read = arranged.read.iter().zip(&self.shelves);
            read.into_iter().all(|(read, shelf)| read.is_some_and(|read| read >= shelf.last_change()))
        };
        if is_new(&self.arranged.read()) {
            return;
        }
        let mut arranged = self.arranged.write();
        for (at, shelf) in self.shelves.iter().enumerate() {
            let changes = match arranged.read[at] {
                Some(read) if read >= shelf.last_change() => continue,
                Some(read) => shelf.since(read),
                None => None,
            };
            let (changes, reached) = changes.unwrap_or_else(|| {
                arranged.forget(at);
                shelf.all()
            });
            for change in changes {
                arranged.take_in(at, change);
            }
            arranged.read[at] = Some(reached);
        }
    }
}

impl Arranged {
    fn rules(&self, role: &RoleRef, namespace: &str) -> Option<&Rules> {
        match role.kind.as_str() {
            "ClusterRole" => self.cluster_roles.get(role.name.as_str()),
            "Role" if !namespace.is_empty() => self.roles.get(format!("{namespace}/{}", role.name).as_str()),
            _ => None,
        }
    }

    fn forget(&mut self, at: usize) {
        match at {
            0 => self.cluster_roles.clear(),
            1 => self.roles.clear(),
            2 => {
                self.cluster_bindings.clear();
                self.everywhere = ByWho::default();
            }
            _ => {
                self.bindings.clear();
                self.namespaces.clear();
            }
        }
    }

    fn take_in(&mut self, at: usize, change: Moved) {
        let Moved { place, object } = change;
        match at {
            0 => put(&mut self.cluster_roles, place, object.map(|object| rules(&object))),
            1 => put(&mut self.roles, place, object.map(|object| rules(&object))),
            2 => self.take_in_binding(place, object, true),
            _ => self.take_in_binding(place, object, false),
        }
    }

    fn take_in_binding(&mut self, place: Arc<str>, object: Option<Arc<Object>>, cluster: bool) {
        let bindings = if cluster { &mut self.cluster_bindings } else { &mut self.bindings };
        if let Some(old) = bindings.remove(&place) {
            let by = if cluster { Some(&mut self.everywhere) } else { self.namespaces.get_mut(&old.namespace) };
            if let Some(by) = by {
                old.subjects
                    .iter()
                    .filter_map(|subject| subject.who(&old.namespace))
                    .for_each(|who| by.take(&who, &place));
                if !cluster && by.users.is_empty() && by.groups.is_empty() {
                    self.namespaces.remove(&old.namespace);
                }
            }
        }
        let Some(object) = object else { return };
        let document: BindingDocument = serde_json::from_slice(&object.json).unwrap_or_default();
        let binding = Binding {
            name: object.meta.name.to_string(),
            namespace: object.meta.namespace.to_string(),
            role: document.role_ref,
            subjects: document.subjects.unwrap_or_default(),
        };
        let by =
            if cluster { &mut self.everywhere } else { self.namespaces.entry(binding.namespace.clone()).or_default() };
        binding
            .subjects
            .iter()
            .filter_map(|subject| subject.who(&binding.namespace))
            .for_each(|who| by.put(who, &place));
        bindings.insert(place, Arc::new(binding));
    }
}

fn put(map: &mut HashMap<Arc<str>, Rules>, place: Arc<str>, rules: Option<Rules>) {
    match rules {
        Some(rules) => map.insert(place, rules),
        None => map.remove(&place),
    };
}

fn rules(object: &Object) -> Rules {
    let document: RoleDocument = serde_json::from_slice(&object.json).unwrap_or_default();
    document.rules.unwrap_or_default().into()
}
