//! Changes to objects that are there.

use api::{FieldError, Kind, Status, meta};
use serde_json::Value;

use super::{ATTEMPTS, Managing, Outcome, Target, converted, envelope, is_finished};
use crate::admission::Operation;
use crate::managed_fields::{self, Tracker};
use crate::options::{Sub, WriteOptions, Written};
use crate::{Objects, form, keys, namespaces, refusal, scale, services};

/// How the next state of an object is made of the last one.
pub(super) type Change<'a> = &'a (dyn Fn(&Value) -> Result<Value, Status> + Send + Sync);

impl Objects {
    /// Puts `object` in place of what is there. Without a resourceVersion whatever is there is replaced, apart from
    /// kinds where Kubernetes insists on one; of some kinds what is not there is made.
    pub async fn update(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        sub: Sub,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        if sub == Sub::Scale {
            let change = |old: &Value| {
                let mut new = old.clone();
                scale::apply(kind, &mut new, &object).map(|()| new)
            };
            return self.rewrite(Target { kind, namespace, name }, sub, &change, options).await;
        }
        let sent = meta::name(&object);
        if !sent.is_empty() && sent != name {
            return Err(Status::bad_request(format!(
                "the name of the object ({sent}) does not match the name on the URL ({name})"
            )));
        }
        let target = Target { kind, namespace, name };
        let place = namespace.filter(|_| kind.namespaced());
        if sub == Sub::None
            && api::kinds::overwriting::creates_on_update(kind)
            && self.cached(kind, place, name).is_none()
        {
            match self.create_instead(target, &object, options).await {
                // Somebody else made it in between.
                Err(status) if status.reason == "AlreadyExists" => {}
                outcome => return outcome,
            }
        }
        self.rewrite(target, sub, &|_| Ok(object.clone()), options).await
    }

    /// An update of what is not there.
    async fn create_instead(
        &self,
        target: Target<'_>,
        object: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let Target { kind, namespace, name } = target;
        if let Some(refused) = &options.no_create {
            return Err(refused.clone());
        }
        if !meta::uid(object).is_empty() {
            return Err(refusal::precondition(kind, name, "UID", meta::uid(object), ""));
        }
        let mut object = object.clone();
        meta::set(&mut object, "name", name);
        meta::unset(&mut object, "resourceVersion");
        let object = self.create(kind, namespace, object, options).await?;
        Ok(Written { object, created: true })
    }

    /// Changes what is there by a function, which may be called more than once.
    pub async fn edit(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        sub: Sub,
        change: impl Fn(&mut Value) -> Result<(), Status> + Send + Sync,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let change = |old: &Value| {
            let mut new = old.clone();
            change(&mut new).map(|()| new)
        };
        self.rewrite(Target { kind, namespace, name }, sub, &change, options).await
    }

    /// Takes an object from its last state to the next, in whichever form `change` knows it.
    pub(super) async fn rewrite(
        &self,
        target: Target<'_>,
        sub: Sub,
        change: Change<'_>,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.rewrite_managed(target, sub, change, Managing::Record, options).await
    }

    /// The same, by a change that may see to the managers itself.
    pub(super) async fn rewrite_managed(
        &self,
        target: Target<'_>,
        sub: Sub,
        change: Change<'_>,
        managing: Managing,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let kind = target.kind;
        let Some(stored) = self.stored_kind(kind)? else {
            return self.rewrite_stored(target, sub, change, managing, options).await;
        };
        if form::is_remote(kind) {
            return self.rewrite_converted(target, &stored, (sub, change), managing, options).await;
        }
        let tracker = Tracker::new(self.kinds(), kind);
        let change = |old: &Value| {
            let mut old = old.clone();
            form::from_stored(kind, &mut old);
            let mut new = change(&old)?;
            envelope::settle(kind, target.namespace, &mut new)?;
            kind.behaviour.default(&mut new);
            if managing == Managing::Record {
                tracker.record(sub, &old, &mut new, options);
            }
            converted::check(target, sub, &new, &old)?;
            form::to_stored(kind, &mut new);
            Ok(new)
        };
        let (asked, stored) = (options.asked_for(kind), Target { kind: &stored, ..target });
        let mut written = self.rewrite_stored(stored, sub, &change, Managing::Done, &asked).await?;
        written.object = form::shown(kind, &written.object);
        Ok(written)
    }

    /// Takes an object from its last state to the next, again when somebody else was faster.
    pub(super) async fn rewrite_stored(
        &self,
        target: Target<'_>,
        sub: Sub,
        change: Change<'_>,
        managing: Managing,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let Target { kind, name, .. } = target;
        let target = Target { namespace: target.namespace.filter(|_| kind.namespaced()), ..target };
        self.fresh().await?;
        for _ in 0..ATTEMPTS {
            let current = self.cached(kind, target.namespace, name).ok_or_else(|| refusal::not_found(kind, name))?;
            let old = self.seen(kind, &current).await?.value();
            let new = change(&old)?;
            let new = self.next_state(target, sub, new, &old, (managing, options)).await?;
            if managed_fields::is_no_change(&old, &new) {
                return Ok(Written { object: current, created: false });
            }
            let outcome = if is_finished(kind, &new) {
                self.remove(target, &current, &new, options.dry_run).await?
            } else {
                let mut new = new;
                let claims = self.claim(target, &mut new, Some(&old))?;
                let charges = self.charges(target, (Operation::Update, sub), &new, Some(&old), options).await?;
                let claims = claims.with_charges(charges);
                let more = (&claims, options.dry_run);
                match self.put(target, &new, Some(current.revision), more, None).await? {
                    Outcome::Lost(key) if key.starts_with(keys::ALLOCATED) => {
                        claims.lost(target, &key)?;
                        continue;
                    }
                    outcome => outcome,
                }
            };
            if let Outcome::Done(object) = outcome {
                return Ok(Written { object, created: false });
            }
        }
        Err(refusal::modified(kind, name))
    }

    /// Everything between what was sent and what is written.
    async fn next_state(
        &self,
        target: Target<'_>,
        sub: Sub,
        sent: Value,
        old: &Value,
        (managing, options): (Managing, &WriteOptions),
    ) -> Result<Value, Status> {
        let Target { kind, namespace, name } = target;
        let mut new = sent;
        envelope::settle(kind, namespace, &mut new)?;
        check_preconditions(kind, name, &mut new, old)?;
        meta::carry_over(&mut new, old);
        kind.behaviour.default(&mut new);
        if managing == Managing::Record {
            Tracker::new(self.kinds(), kind).record(sub, old, &mut new, options);
        }
        let managers = managed_fields::kept(&new);
        if sub == Sub::Finalize {
            new = finalized(old, &new);
        } else if namespaces::is_namespace(kind) {
            keep_finalizers(&mut new, old);
        }
        let mut new = self.mutate(target, sub, new, Some(old), options).await?;
        match sub {
            Sub::None | Sub::Scale => {
                kind.behaviour.prepare_update(&mut new, old);
                services::carry_over(kind, &mut new, old);
            }
            Sub::Status => kind.behaviour.prepare_status(&mut new, old),
            Sub::Named(name) => kind.behaviour.prepare_subresource(name, &mut new, old),
            Sub::Finalize => {}
        }
        managed_fields::restore(&mut new, managers);
        if sub != Sub::Status && kind.behaviour.counts_generation(sub.name()) {
            envelope::bump(kind, &mut new, old);
        }
        let mut errors = meta::validate(kind, &new, Some(old));
        match sub {
            Sub::None | Sub::Scale => errors.extend(converted::faults(kind, &new, Some(old), options)),
            Sub::Status if kind.custom.is_some() => errors.extend(converted::faults(kind, &new, Some(old), options)),
            Sub::Status => errors.extend(kind.behaviour.validate_status(&new, old)),
            Sub::Named(name) => errors.extend(kind.behaviour.validate_subresource(name, &new, old)),
            Sub::Finalize => {}
        }
        target.invalid(&errors)?;
        if sub == Sub::None && new != *old {
            for warning in kind.behaviour.warnings_on_update(&new, old) {
                options.warnings.push(warning);
            }
        }
        self.admit(target, (Operation::Update, sub), new, Some(old), options).await
    }
}

/// Compares uid and resourceVersion where they were sent; fills the latter in where it was not.
fn check_preconditions(kind: &Kind, name: &str, new: &mut Value, old: &Value) -> Result<(), Status> {
    let (uid, had) = (meta::uid(new), meta::uid(old));
    if !uid.is_empty() && uid != had {
        return Err(refusal::precondition(kind, name, "UID", uid, had));
    }
    let (sent, newest) = (meta::resource_version(new), meta::resource_version(old));
    if sent.is_empty() || sent == "0" {
        if api::kinds::overwriting::needs_revision(kind) {
            let error = FieldError {
                field: "metadata.resourceVersion".to_owned(),
                reason: "FieldValueInvalid",
                message: "Invalid value: 0x0: must be specified for an update".to_owned(),
            };
            return Err(Status::invalid(&kind.group, &kind.kind, name, &[error]));
        }
        let newest = newest.to_owned();
        meta::set(new, "resourceVersion", newest);
        return Ok(());
    }
    if sent != newest {
        return Err(refusal::modified(kind, name));
    }
    Ok(())
}

/// `finalize` changes nothing but who still holds the namespace.
fn finalized(old: &Value, sent: &Value) -> Value {
    let mut new = old.clone();
    let wanted = sent.pointer("/spec/finalizers").cloned();
    if !new["spec"].is_object() {
        new["spec"] = Value::Object(serde_json::Map::new());
    }
    if let Some(spec) = new["spec"].as_object_mut() {
        match wanted {
            Some(Value::Array(list)) if !list.is_empty() => spec.insert("finalizers".to_owned(), list.into()),
            _ => spec.remove("finalizers"),
        };
    }
    new
}

/// Only `finalize` may change who holds a namespace.
fn keep_finalizers(new: &mut Value, old: &Value) {
    if let Some(kept) = old.pointer("/spec/finalizers") {
        if !new["spec"].is_object() {
            new["spec"] = Value::Object(serde_json::Map::new());
        }
        new["spec"]["finalizers"] = kept.clone();
    } else if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("finalizers");
    }
}
