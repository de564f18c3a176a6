//! A kind is data: one row of the table that every other room is driven by.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::custom::Custom;
use crate::schema::Definition;
use crate::status::FieldError;

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `/namespaces/NAMESPACE/PLURAL/NAME`
    Namespaced,
    /// `/PLURAL/NAME`
    Cluster,
}

/// Where the `scale` subresource finds its three values, as JSON pointers.
#[derive(Clone, Debug)]
pub struct Scale {
    /// `/spec/replicas`
    pub spec_replicas: String,
    /// `/status/replicas`
    pub status_replicas: String,
    /// `/spec/selector` (a LabelSelector or a plain map), or a string pointer for custom resources.
    pub selector: Option<String>,
}

/// How the text of one printed cell is found.
#[derive(Clone)]
pub enum Cell {
    /// A function of the object's JSON and the time of asking.
    Computed(fn(&Value, Timestamp) -> Value),
    /// kubectl's JSONPath, for custom resources.
    Path(String),
}

impl fmt::Debug for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Computed(_) => out.write_str("Computed"),
            Self::Path(path) => write!(out, "Path({path})"),
        }
    }
}

/// One column of a kind's table (`metav1.TableColumnDefinition`).
#[derive(Clone, Debug)]
pub struct Column {
    /// The heading as Kubernetes writes it: `Name`, `Ready`, `Node Selector`.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: String,
    /// `name` for the first column, mostly empty.
    pub format: String,
    /// What the column tells.
    pub description: String,
    /// 0 is always shown, above that only with `-o wide`.
    pub priority: i32,
    /// The value.
    pub cell: Cell,
}

/// What a kind does beyond being stored. Every method has the answer of a kind that does nothing special.
///
/// Objects are JSON as decoded from the request, after strict checks and before the envelope (uid, resourceVersion, …)
/// is filled in by `objects`.
pub trait Behaviour: Send + Sync + 'static {
    /// Fills in the defaults that Kubernetes' `SetDefaults_*` fill in. Must be idempotent.
    fn default(&self, _object: &mut Value) {}
    /// Before a create: drops what a client may not set, gives the first status.
    fn prepare_create(&self, object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            map.remove("status");
        }
    }
    /// Before an update through the main resource: by default the status stays as it was.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "status");
    }
    /// Before an update through `/status`: by default only the status (and metadata's labels, annotations as sent) changes.
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    /// All that is wrong with the object; `old` is there for an update. Immutable fields are checked here. Metadata is
    /// checked elsewhere ([`crate::meta::validate`]), but the rule for the *name* is [`Behaviour::validate_name`].
    fn validate(&self, _object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        Vec::new()
    }
    /// Before an update through a subresource of this name that shows a part of the object (`resize` of pods).
    fn prepare_subresource(&self, _name: &str, _object: &mut Value, _old: &Value) {}
    /// What is wrong with what came in through it.
    fn validate_subresource(&self, _name: &str, _object: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }
    /// Whether an update through it counts for `metadata.generation`.
    fn counts_generation(&self, _subresource: &str) -> bool {
        true
    }
    /// What is wrong with the status that comes in through `/status`.
    fn validate_status(&self, _object: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }
    /// Why `name` may not be used, or nothing. A DNS subdomain by default.
    fn validate_name(&self, name: &str) -> Vec<String> {
        crate::meta::dns_subdomain_errors(name)
    }
    /// Field selectors beyond `metadata.name` and `metadata.namespace`: `("status.phase", "Running")`.
    fn selectable_fields(&self, _object: &Value) -> Vec<(Cow<'static, str>, String)> {
        Vec::new()
    }
    /// The field labels that may be selected by, beyond `metadata.name` and `metadata.namespace`.
    fn field_labels(&self) -> Vec<&str> {
        Vec::new()
    }
    /// Parts of the object other than metadata and status that do not count for `metadata.generation`; a kind whose
    /// objects carry no generation (Pod before 1.33, ConfigMap, …) answers `false`.
    fn has_generation(&self) -> bool {
        true
    }
    /// Whether the status counts for `metadata.generation` as other parts do (custom resources without `/status`).
    fn status_counts(&self) -> bool {
        false
    }
    /// What a delete writes into the object beside the time, `now` (finalizers that hold it).
    fn prepare_delete(&self, _object: &mut Value, _now: &str) {}
    /// What is said whenever objects of the kind are asked for: that its version is deprecated.
    fn deprecation(&self) -> Option<&str> {
        None
    }
    /// The schema that OpenAPI shows, for a kind that is not in [`crate::schema`].
    fn published_schema(&self) -> Option<&Value> {
        None
    }
    /// Seconds that a delete waits for somebody to confirm (pods: `terminationGracePeriodSeconds`), given the object.
    /// `None`: deleted at once.
    fn grace_seconds(&self, _object: &Value) -> Option<i64> {
        None
    }
    /// Whether dependents stay when the object is deleted and nobody says what is to become of them, as for the oldest
    /// kinds of Kubernetes.
    fn orphans_dependents(&self) -> bool {
        false
    }
    /// What a client is told that deletes and does not say what is to become of dependents.
    fn deletion_warning(&self) -> Option<&'static str> {
        None
    }
    /// Warnings for the `Warning:` header.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }
    /// The same for an object that takes the place of `old`. By default as if it were new.
    fn warnings_on_update(&self, object: &Value, _old: &Value) -> Vec<String> {
        self.warnings(object)
    }
}

fn keep(object: &mut Value, old: &Value, field: &str) {
    let Some(map) = object.as_object_mut() else { return };
    match old.get(field) {
        Some(kept) => map.insert(field.to_owned(), kept.clone()),
        None => map.remove(field),
    };
}

/// A kind with no rules of its own.
pub struct Plain;
impl Behaviour for Plain {}

/// One row of the table.
#[derive(Clone)]
pub struct Kind {
    /// The API group, empty for core.
    pub group: String,
    /// The version that is served and stored.
    pub version: String,
    /// `Deployment`
    pub kind: String,
    /// `deployments`
    pub plural: String,
    /// `deployment`
    pub singular: String,
    /// `deploy`
    pub short_names: Vec<String>,
    /// `all`
    pub categories: Vec<String>,
    /// Namespaced or not.
    pub scope: Scope,
    /// Whether `/status` is served.
    pub status: bool,
    /// Whether `/scale` is served, and from where.
    pub scale: Option<Scale>,
    /// The verbs that discovery lists; all eight unless said otherwise.
    pub verbs: Vec<String>,
    /// Subresources that `apiserver` serves by its own code (`pods/log`), for discovery: name, kind, verbs, and the
    /// group-version when it is another one than the kind's.
    pub extra_subresources: Vec<Subresource>,
    /// The printed columns; the first is the name.
    pub columns: Vec<Column>,
    /// Whether strategic merge patch is understood (built-in kinds) or not (custom resources).
    pub strategic: bool,
    /// Set where the objects are stored as another kind's, and this is only how they are shown and sent here.
    pub form: Option<Form>,
    /// What a kind of custom resources has; the fields of a built-in kind are found in [`crate::schema`].
    pub custom: Option<Arc<Custom>>,
    /// Whatever the kind does beyond being stored.
    pub behaviour: Arc<dyn Behaviour>,
}

/// Another form of a stored kind: both have the same objects.
#[derive(Clone, Debug)]
pub struct Form {
    /// The group of the kind that is stored.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its plural.
    pub plural: String,
    /// Turns an object of this form into the stored one.
    pub to_stored: fn(&mut Value),
    /// The way back.
    pub from_stored: fn(&mut Value),
}

/// A row of discovery for a subresource with code of its own.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Subresource {
    pub name: String,
    pub kind: String,
    pub group: String,
    pub version: String,
    pub verbs: Vec<String>,
}

impl fmt::Debug for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Kind({} {})", self.api_version(), self.kind)
    }
}

impl Kind {
    /// `v1`, `apps/v1`
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
    /// `PodList`
    pub fn list_kind(&self) -> String {
        match &self.custom {
            Some(custom) => custom.list_kind.clone(),
            None => format!("{}List", self.kind),
        }
    }
    /// The fields that its objects have.
    pub fn definition(&self) -> Option<&Definition> {
        match &self.custom {
            Some(custom) => Some(&custom.definition),
            None => crate::schema::lookup(&self.group, &self.version, &self.kind),
        }
    }
    /// Whether objects of the kind live in namespaces.
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}

/// All kinds that are served at one moment. Immutable: a new one is swapped in when a CustomResourceDefinition changes.
#[derive(Clone, Debug, Default)]
pub struct KindSet {
    rows: Vec<Arc<Kind>>,
    by_resource: HashMap<(String, String, String), usize>,
    by_kind: HashMap<(String, String, String), usize>,
    /// The rows that objects are stored as, whether or not they are served: `core/pods`.
    by_storage: HashMap<String, Arc<Kind>>,
}

impl KindSet {
    /// A table of `rows`, in the order in which discovery lists them.
    pub fn new(rows: impl IntoIterator<Item = Arc<Kind>>) -> Self {
        let mut set = Self::default();
        for row in rows {
            let at = set.rows.len();
            set.by_resource.insert((row.group.clone(), row.version.clone(), row.plural.clone()), at);
            set.by_kind.insert((row.group.clone(), row.version.clone(), row.kind.clone()), at);
            let stored = match (&row.form, row.custom.as_ref().and_then(|custom| custom.stored.as_ref())) {
                (None, _) => Some(&row),
                (Some(_), stored) => stored,
            };
            if let Some(stored) = stored {
                let group = if stored.group.is_empty() { "core" } else { &stored.group };
                set.by_storage.entry(format!("{group}/{}", stored.plural)).or_insert_with(|| Arc::clone(stored));
            }
            set.rows.push(row);
        }
        set
    }
    /// The row of a path: group, version, plural.
    pub fn by_resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let at = self.by_resource.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))?;
        self.rows.get(*at)
    }
    /// The row of an object: group, version, kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Kind>> {
        let at = self.by_kind.get(&(group.to_owned(), version.to_owned(), kind.to_owned()))?;
        self.rows.get(*at)
    }
    /// The row that objects under `GROUP/PLURAL` are stored as (`core/pods`).
    pub fn by_storage(&self, resource: &str) -> Option<&Arc<Kind>> {
        self.by_storage.get(resource)
    }
    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.rows.iter()
    }
}
