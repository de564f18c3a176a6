//! Who may have a say in a request, in which order, and what they are told of it.
//!
//! ```text
//! mutate (by rank) ─→ again, for those that ask for it, when somebody late changed the object ─→ … ─→ validate (by rank)
//! ```
//!
//! Requests whose body is not the stored object are reviewed as what was sent: a Scale for `/scale`, a Binding for
//! `pods/binding` ([`Objects::admit_virtual`]), the options of an exec ([`Objects::admit_connect`]).

use std::collections::BTreeMap;

use api::{Kind, Status, UserInfo, meta};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::options::{Annotations, DeleteOptions, Propagation, Sub, Warnings, WriteOptions};
use crate::{Charge, Objects, form};

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Create,
    Update,
    Delete,
    /// Somebody is to be connected: exec, attach, port-forward, proxy.
    Connect,
}

impl Operation {
    /// `CREATE`, `UPDATE`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// What those who change objects tell each other about a second round.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// This is the second round.
    pub again: bool,
    /// Somebody wants a second round.
    pub wanted: bool,
    /// What a rule keeps from the first round for the second, by a name of its own.
    pub memory: BTreeMap<String, Value>,
}

/// A request that is looked at before it happens.
pub struct Review<'a> {
    /// Everything else that is there.
    pub objects: &'a Objects,
    /// The kind of the object, as it is stored.
    pub kind: &'a Kind,
    /// The kind as the client named it; another version of `kind`, or the same.
    pub requested: &'a Kind,
    /// Its namespace, unless it is at cluster scope.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// What happens to it.
    pub operation: Operation,
    /// The part that is written.
    pub sub: Sub,
    /// Who asks.
    pub user: &'a UserInfo,
    /// `CreateOptions`, `UpdateOptions` or `DeleteOptions` of `meta.k8s.io/v1`; null for a connection.
    pub options: Value,
    /// Whether nothing will be written in the end: no side effects then.
    pub dry_run: bool,
    /// Where warnings for the client go.
    pub warnings: &'a Warnings,
    /// Where notes for an audit log go.
    pub annotations: &'a Annotations,
    /// What was sent: the object as it is to be written, or a virtual one (a Scale, a Binding, the options of an exec);
    /// null for a delete. Only `mutate` may change it. Its `apiVersion` and `kind` say which it is.
    pub object: Value,
    /// What is there now.
    pub old: Option<&'a Value>,
    /// About the second round of changes.
    pub rounds: Rounds,
}

impl Review<'_> {
    /// `Deployment` in `apps`, `v1`: what the object (or, for a delete, the old one) says it is: group, version, kind.
    pub fn object_kind(&self) -> (&str, &str, &str) {
        let told = if self.object.is_object() { &self.object } else { self.old.unwrap_or(&Value::Null) };
        let text = |field: &str| told.get(field).and_then(Value::as_str).unwrap_or_default();
        match (text("apiVersion"), text("kind")) {
            ("", _) | (_, "") => (&self.kind.group, &self.kind.version, &self.kind.kind),
            (api_version, kind) => {
                let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                (group, version, kind)
            }
        }
    }

    /// Whether what was sent is an object of the kind itself, and not a Scale, a Binding or the like.
    pub fn is_whole(&self) -> bool {
        let (group, _, kind) = self.object_kind();
        group == self.kind.group && kind == self.kind.kind
    }

    /// An object of the stored kind as `kind`, another version of it, shows it.
    ///
    /// # Errors
    /// Versions of custom resources that only a webhook can convert may not be had.
    pub async fn shown_as(&self, kind: &Kind, object: &Value) -> Result<Value, Status> {
        let mut shown = object.clone();
        if form::is_remote(kind) {
            shown = self.converted(kind, shown).await?;
        }
        form::from_stored(kind, &mut shown);
        Ok(shown)
    }

    async fn converted(&self, kind: &Kind, object: Value) -> Result<Value, Status> {
        let converted = self.objects.converted(kind, vec![object]).await?.pop();
        converted.ok_or_else(|| Status::internal("a conversion gave nothing"))
    }

    /// The way back: an object of `kind` as it is stored.
    ///
    /// # Errors
    /// See [`Self::shown_as`].
    pub async fn stored_from(&self, kind: &Kind, object: Value) -> Result<Value, Status> {
        if form::is_remote(kind) {
            return self.converted(self.kind, object).await;
        }
        let mut stored = object;
        form::to_stored(kind, &mut stored);
        Ok(stored)
    }

    /// Whether it is about this resource: `("", "pods")`.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.kind.group == group && self.kind.plural == plural
    }
}

/// Where a rule stands among the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// What Kubernetes builds in.
    #[default]
    BuiltIn,
    /// Policies in CEL.
    Policy,
    /// Webhooks.
    Webhook,
    /// Quota: it counts what nobody else refused.
    Quota,
}

/// A rule about requests. A write may be reviewed more than once when it has to be tried again.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Where it stands among the others; in the order of [`Objects::add_admission`] within a rank.
    fn rank(&self) -> Rank {
        Rank::BuiltIn
    }
    /// May change the object; runs before defaults and validation. Called for every operation; there is nothing to change
    /// in a delete.
    async fn mutate(&self, _review: &mut Review<'_>) -> Result<(), Status> {
        Ok(())
    }
    /// Sees what will be written; runs after validation.
    async fn validate(&self, _review: &Review<'_>) -> Result<(), Status> {
        Ok(())
    }
    /// Whether [`Self::charge`] has anything to say about such a write: asked of every one, so it must cost nothing.
    fn charges(&self, _kind: &Kind, _namespace: Option<&str>, _operation: Operation, _sub: Sub) -> bool {
        false
    }
    /// What the write changes along, in its own transaction. Called once nobody has refused, and again when one of those
    /// objects was changed by somebody else in between.
    async fn charge(&self, _review: &Review<'_>) -> Result<Option<Charge>, Status> {
        Ok(None)
    }
}

/// What a request is about, for those who serve it by code of their own.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The kind of the object whose subresource it is.
    pub kind: &'a Kind,
    /// Its namespace.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// The subresource.
    pub sub: Sub,
}

impl Objects {
    /// Runs everything that has a say over a virtual object that somebody makes (`pods/binding`, `pods/eviction`,
    /// `serviceaccounts/token`): first those that change it, then those that only look. Answers what became of it. The write
    /// that follows is not to be reviewed a second time: set [`WriteOptions::admitted`].
    ///
    /// # Errors
    /// The refusal.
    pub async fn admit_virtual(
        &self,
        subject: Subject<'_>,
        operation: Operation,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        if options.admitted {
            return Ok(object);
        }
        let mut review = review(self, subject, operation, object, None, options);
        self.run_mutating(&mut review).await?;
        self.run_validating(&review).await?;
        Ok(review.object)
    }

    /// Asks everything that has a say whether somebody may be connected. `object` is what was asked for, as Kubernetes
    /// names it: a `PodExecOptions`, `PodAttachOptions`, `PodPortForwardOptions`, `PodProxyOptions`, …, with `apiVersion` and
    /// `kind`.
    ///
    /// # Errors
    /// The refusal.
    pub async fn admit_connect(
        &self,
        subject: Subject<'_>,
        object: Value,
        user: &UserInfo,
        warnings: &Warnings,
    ) -> Result<(), Status> {
        let options = WriteOptions { user: user.clone(), warnings: warnings.clone(), ..WriteOptions::default() };
        self.admit_virtual(subject, Operation::Connect, object, &options).await.map(drop)
    }

    /// Lets the rules that change objects do so, twice where a late one asked for it.
    pub(crate) async fn run_mutating(&self, review: &mut Review<'_>) -> Result<(), Status> {
        let rules = self.inner.admission.load_full();
        let before = Identity::of(&review.object);
        for rule in rules.iter() {
            rule.mutate(review).await?;
        }
        if std::mem::take(&mut review.rounds.wanted) {
            review.rounds.again = true;
            for rule in rules.iter() {
                rule.mutate(review).await?;
            }
        }
        before.keep(&mut review.object)
    }

    /// Lets the rules that only look say no.
    pub(crate) async fn run_validating(&self, review: &Review<'_>) -> Result<(), Status> {
        let rules = self.inner.admission.load_full();
        for rule in rules.iter() {
            rule.validate(review).await?;
        }
        Ok(())
    }
}

/// What nobody may make of an object: another one.
struct Identity {
    name: String,
    namespace: String,
    uid: Option<Value>,
}

impl Identity {
    fn of(object: &Value) -> Self {
        Self {
            name: meta::name(object).to_owned(),
            namespace: meta::namespace(object).to_owned(),
            uid: meta::metadata(object).get("uid").cloned(),
        }
    }

    fn keep(self, object: &mut Value) -> Result<(), Status> {
        if !object.is_object() {
            return Ok(());
        }
        let (name, namespace) = (meta::name(object), meta::namespace(object));
        if name != self.name {
            let was = self.name;
            return Err(Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the request ({was}): admission changed it"
            )));
        }
        if namespace != self.namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if meta::metadata(object).get("uid") != self.uid.as_ref() {
            match self.uid {
                Some(uid) => meta::set(object, "uid", uid),
                None => meta::unset(object, "uid"),
            }
        }
        Ok(())
    }
}

/// What is told of a request to those who have a say in it.
pub(crate) fn review<'a>(
    objects: &'a Objects,
    subject: Subject<'a>,
    operation: Operation,
    object: Value,
    old: Option<&'a Value>,
    options: &'a WriteOptions,
) -> Review<'a> {
    let Subject { kind, namespace, name, sub } = subject;
    Review {
        objects,
        kind,
        requested: options.requested.as_deref().unwrap_or(kind),
        namespace,
        name,
        operation,
        sub,
        user: &options.user,
        options: sent_options(operation, options),
        dry_run: options.dry_run,
        warnings: &options.warnings,
        annotations: &options.annotations,
        object,
        old,
        rounds: Rounds::default(),
    }
}

/// The options as the client could have sent them.
fn sent_options(operation: Operation, options: &WriteOptions) -> Value {
    if options.sent.get("kind").is_some() {
        return options.sent.clone();
    }
    let kind = match operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut sent = json!({ "kind": kind, "apiVersion": "meta.k8s.io/v1" });
    if options.dry_run {
        sent["dryRun"] = json!(["All"]);
    }
    match options.sent.as_object() {
        Some(told) => told.iter().for_each(|(field, value)| sent[field] = value.clone()),
        None if options.field_manager.is_empty() => {}
        None => sent["fieldManager"] = json!(options.field_manager),
    }
    sent
}

/// The same for a delete.
pub(crate) fn sent_delete_options(options: &DeleteOptions) -> Value {
    let mut sent = json!({ "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1" });
    if let Some(seconds) = options.grace_seconds {
        sent["gracePeriodSeconds"] = json!(seconds);
    }
    if let Some(uid) = &options.uid {
        sent["preconditions"]["uid"] = json!(uid);
    }
    if let Some(revision) = &options.resource_version {
        sent["preconditions"]["resourceVersion"] = json!(revision);
    }
    if let Some(propagation) = options.propagation {
        sent["propagationPolicy"] = json!(match propagation {
            Propagation::Foreground => "Foreground",
            Propagation::Background => "Background",
            Propagation::Orphan => "Orphan",
        });
    }
    if options.dry_run {
        sent["dryRun"] = json!(["All"]);
    }
    sent
}
