//! `serviceaccounts/token`: a token on request.

use api::{FieldError, Status};
use jiff::{SignedDuration, Timestamp};
use objects::{Object, Operation, Revisions, Sub, Subject};
use serde_json::{Map, Value, json};

use super::{Grant, ISSUER, Named};
use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::{self, Target, body};

const GROUP: &str = "authentication.k8s.io";
const HOUR: i64 = 3600;
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;
/// What is asked for by nodes for the volumes of pods that did not ask for anything: such a token lives longer than it
/// says, for programs that read it once.
const WATCHED: i64 = HOUR + 7;
const YEAR: i64 = 365 * 24 * HOUR;

pub(crate) async fn answer(mut call: Call, target: Target) -> Result<Reply, Status> {
    let encoding = call.plain()?;
    let options = verbs::write_options(&call, "CreateOptions", false)?;
    let Some(issuer) = call.server.issuer.clone() else {
        return Err(Status::new(501, "NotImplemented", "this server has no key to sign tokens with"));
    };
    let object = body::virtual_object(&mut call, GROUP, "v1", "TokenRequest").await?;
    let account = get(&call, "serviceaccounts", target.namespace(), target.name()).await?;
    let mut object = complete(object, &target)?;
    validate(&object)?;
    let subject =
        Subject { kind: &target.kind, namespace: target.namespace(), name: target.name(), sub: Sub::Named("token") };
    object = call.server.objects.admit_virtual(subject, Operation::Create, object, &options).await?;
    let now = Timestamp::now();
    let seconds = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(HOUR);
    let mut grant = Grant {
        namespace: target.namespace().unwrap_or_default(),
        account: named(&account),
        audiences: super::texts(&object["spec"]["audiences"]),
        seconds,
        ..Grant::default()
    };
    bind(&call, &object, &mut grant).await?;
    let ours = grant.audiences.iter().any(|audience| audience == ISSUER);
    if grant.pod.is_some() && seconds == WATCHED && ours {
        (grant.seconds, grant.warn_after) = (YEAR, Some(seconds));
    }
    let token =
        issuer.bound(&grant, now).map_err(|why| Status::internal(format!("failed to generate token: {why}")))?;
    let end = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
    object["status"] = json!({ "expirationTimestamp": api::meta::time_text(end), "token": token });
    if options.dry_run {
        object["status"]["token"] = json!("");
    }
    Reply::document(201, encoding, object.to_string().into()).map(|reply| reply.with_warnings(options.warnings.take()))
}

async fn get(call: &Call, plural: &str, namespace: Option<&str>, name: &str) -> Result<std::sync::Arc<Object>, Status> {
    let kind = call.kinds.by_resource("", "v1", plural).cloned().ok_or_else(Status::no_such_path)?;
    call.server.objects.get(&kind, namespace, name, &Revisions::default()).await
}

fn named(object: &Object) -> Named {
    Named { name: object.meta.name.to_string(), uid: object.meta.uid.to_string() }
}

/// Fills in what was left out.
fn complete(mut object: Value, target: &Target) -> Result<Value, Status> {
    let fields = object.as_object_mut().ok_or_else(|| Status::bad_request("the body is no object"))?;
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        fill(metadata, "name", target.name())?;
        fill(metadata, "namespace", target.namespace().unwrap_or_default())?;
        metadata.insert("creationTimestamp".to_owned(), Value::Null);
    }
    let spec = fields.entry("spec").or_insert_with(|| json!({}));
    if !spec.is_object() {
        *spec = json!({});
    }
    if super::texts(&spec["audiences"]).is_empty() {
        spec["audiences"] = json!([ISSUER]);
    }
    if spec["expirationSeconds"].is_null() {
        spec["expirationSeconds"] = json!(HOUR);
    }
    if spec.get("boundObjectRef").is_none() {
        spec["boundObjectRef"] = Value::Null;
    }
    Ok(object)
}

fn fill(metadata: &mut Map<String, Value>, field: &str, wanted: &str) -> Result<(), Status> {
    let said = metadata.get(field).and_then(Value::as_str).unwrap_or_default();
    if !said.is_empty() && said != wanted {
        return Err(Status::bad_request(format!(
            "the {field} of the object ({said}) does not match the {field} on the request ({wanted})"
        )));
    }
    metadata.insert(field.to_owned(), json!(wanted));
    Ok(())
}

fn validate(object: &Value) -> Result<(), Status> {
    let seconds = &object["spec"]["expirationSeconds"];
    let field = "spec.expirationSeconds";
    let wrong = match seconds.as_i64() {
        Some(number) if number < SHORTEST => "may not specify a duration less than 10 minutes",
        Some(number) if number > LONGEST => "may not specify a duration larger than 2^32 seconds",
        Some(_) => return Ok(()),
        None => return Err(Status::bad_request(format!("{field} must be a whole number"))),
    };
    Err(Status::invalid(GROUP, "TokenRequest", "", &[FieldError::invalid(field, seconds, wrong)]))
}

/// Looks up what the token is to be bound to.
async fn bind(call: &Call, object: &Value, grant: &mut Grant<'_>) -> Result<(), Status> {
    let reference = &object["spec"]["boundObjectRef"];
    if reference.is_null() {
        return Ok(());
    }
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (kind, name, version) = (text("kind"), text("name"), text("apiVersion"));
    let namespace = Some(grant.namespace);
    let found = match (version.contains('/'), kind) {
        (false, "Pod") => {
            let pod = get(call, "pods", namespace, name).await?;
            let value = pod.value();
            let spec = |field: &str| value["spec"][field].as_str().unwrap_or_default().to_owned();
            let account = spec("serviceAccountName");
            if account != grant.account.name {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    grant.account.name
                )));
            }
            let node = spec("nodeName");
            if !node.is_empty() {
                let there = get(call, "nodes", None, &node).await.ok();
                grant.node = Some(there.map_or_else(|| Named { name: node, ..Named::default() }, |node| named(&node)));
            }
            grant.pod = Some(named(&pod));
            pod
        }
        (false, "Secret") => {
            let secret = get(call, "secrets", namespace, name).await?;
            grant.secret = Some(named(&secret));
            secret
        }
        (false, "Node") => {
            let node = get(call, "nodes", None, name).await?;
            grant.node = Some(named(&node));
            node
        }
        _ => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let uid = text("uid");
    if !uid.is_empty() && *found.meta.uid != *uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        );
        return Err(Status::conflict("", kind, name, &why));
    }
    Ok(())
}
