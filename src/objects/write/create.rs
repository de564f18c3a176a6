//! New objects.

use std::sync::Arc;

use api::{Kind, Status, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::{Managing, Outcome, Target, converted, envelope};
use crate::admission::Operation;
use crate::managed_fields::{self, Tracker};
use crate::options::{Sub, WriteOptions};
use crate::{Object, Objects, form, services};

/// How many names are tried for `generateName`.
const NAMES: usize = 8;
/// How often an address or a port is picked anew.
const PICKS: usize = 64;

impl Objects {
    /// Makes a new object.
    pub async fn create(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.create_managed(kind, namespace, object, Managing::Record, options).await
    }

    /// The same, of an object that may have its managers already.
    pub(super) async fn create_managed(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        object: Value,
        managing: Managing,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let mut object = object;
        envelope::settle(kind, namespace, &mut object)?;
        if let Some(stored) = self.stored_kind(kind)? {
            kind.behaviour.default(&mut object);
            if managing == Managing::Record {
                Tracker::new(self.kinds(), kind).record(Sub::None, &Value::Null, &mut object, options);
            }
            let name = meta::name(&object).to_owned();
            Target { kind, namespace, name: &name }.invalid(&kind.behaviour.validate(&object, None))?;
            if form::is_remote(kind) {
                object = self.converted(&stored, vec![object]).await?.pop().unwrap_or_default();
            }
            form::to_stored(kind, &mut object);
            let options = options.asked_for(kind);
            let made = self.create_stored(&stored, namespace, object, Managing::Done, &options).await?;
            return self.seen(kind, &made).await;
        }
        self.create_stored(kind, namespace, object, managing, options).await
    }

    async fn create_stored(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        object: Value,
        managing: Managing,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        if !matches!(meta::resource_version(&object), "" | "0") {
            return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let prefix = meta::generate_name_prefix(&object).to_owned();
        if !meta::name(&object).is_empty() || prefix.is_empty() {
            return self.create_named(kind, namespace, object, managing, options).await;
        }
        let mut refused = None;
        for _ in 0..NAMES {
            let mut named = object.clone();
            meta::set(&mut named, "name", meta::generate_name(&prefix, rand::random()));
            match self.create_named(kind, namespace, named, managing, options).await {
                Err(status) if status.reason == "AlreadyExists" => refused = Some(status),
                outcome => return outcome,
            }
        }
        let mut refused = refused.unwrap_or_else(|| Status::internal("no free name was found"));
        refused.message.push_str(", the server was not able to generate a unique name for the object");
        refused.retry_after_seconds = 1;
        Err(refused)
    }

    async fn create_named(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        object: Value,
        managing: Managing,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let name = meta::name(&object).to_owned();
        let target = Target { kind, namespace: namespace.filter(|_| kind.namespaced()), name: &name };
        let namespace_key = self.check_namespace(kind, namespace, &name).await?;
        let mut object = object;
        envelope::stamp(kind, &mut object, Timestamp::now());
        kind.behaviour.default(&mut object);
        if managing == Managing::Record {
            Tracker::new(self.kinds(), kind).record(Sub::None, &Value::Null, &mut object, options);
        }
        let managers = managed_fields::kept(&object);
        let mut object = self.mutate(target, Sub::None, object, None, options).await?;
        kind.behaviour.prepare_create(&mut object);
        managed_fields::restore(&mut object, managers);
        let mut errors = meta::validate(kind, &object, None);
        errors.extend(converted::faults(kind, &object, None, options));
        target.invalid(&errors)?;
        for warning in kind.behaviour.warnings(&object) {
            options.warnings.push(warning);
        }
        let object = self.admit(target, (Operation::Create, Sub::None), object, None, options).await?;
        for _ in 0..PICKS {
            let mut complete = object.clone();
            let claims = self.claim(target, &mut complete, None)?;
            let charges = self.charges(target, (Operation::Create, Sub::None), &complete, None, options).await?;
            let claims = claims.with_charges(charges);
            let more = (&claims, options.dry_run);
            match self.put(target, &complete, None, more, namespace_key.clone()).await? {
                Outcome::Done(object) => return Ok(object),
                Outcome::Lost(key) if claims.concerns(&key) => claims.lost(target, &key)?,
                Outcome::Lost(key) if Some(&key) == namespace_key.as_ref() => {
                    let namespace = namespace.unwrap_or_default();
                    return Err(Status::not_found("", "namespaces", namespace));
                }
                Outcome::Lost(_) => return Err(Status::already_exists(&kind.group, &kind.plural, &name)),
            }
        }
        Err(services::exhausted())
    }
}
