//! Questions about identity and access: objects that are posted, answered and never stored.

mod access;

use std::sync::Arc;

use api::kind::Plain;
use api::{FieldError, Kind, Scope, Status, UserInfo};
use serde_json::{Value, json};

use crate::authentication::{Credentials, authenticate};
use crate::authorization::Rule;
use crate::path::Resource;
use crate::reply::Reply;
use crate::server::Call;
use crate::tokens;
use crate::verbs::body;

/// One kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Review {
    WhoAmI,
    Token,
    OwnAccess,
    Access,
    LocalAccess,
    OwnRules,
}

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

const ALL: [(Review, &str, &str, &str); 6] = [
    (Review::WhoAmI, AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview"),
    (Review::Token, AUTHENTICATION, "tokenreviews", "TokenReview"),
    (Review::LocalAccess, AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview"),
    (Review::OwnAccess, AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    (Review::OwnRules, AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    (Review::Access, AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview"),
];

impl Review {
    fn kind(self) -> (&'static str, &'static str) {
        ALL.iter().find(|row| row.0 == self).map_or(("", ""), |row| (row.1, row.3))
    }
}

/// The question that a path is for.
pub(crate) fn find(resource: &Resource) -> Option<Review> {
    let row = ALL.iter().find(|row| row.1 == resource.group && row.2 == resource.plural)?;
    (resource.version == "v1" && resource.subresource.is_none()).then_some(row.0)
}

/// The rows that discovery lists for the questions.
pub(crate) fn kinds() -> impl Iterator<Item = Kind> {
    ALL.into_iter().map(|(review, group, plural, kind)| Kind {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_ascii_lowercase(),
        short_names: Vec::new(),
        categories: Vec::new(),
        scope: if review == Review::LocalAccess { Scope::Namespaced } else { Scope::Cluster },
        status: false,
        scale: None,
        verbs: vec!["create".to_owned()],
        extra_subresources: Vec::new(),
        columns: Vec::new(),
        strategic: true,
        form: None,
        custom: None,
        behaviour: Arc::new(Plain),
    })
}

pub(crate) async fn answer(mut call: Call, review: Review) -> Result<Reply, Status> {
    let resource = call.asked.resource.clone().unwrap_or_default();
    let placed = resource.namespace.is_some() == (review == Review::LocalAccess);
    if call.asked.verb != "create" || resource.name.is_some() || !placed {
        return Err(Status::method_not_allowed());
    }
    let encoding = call.plain()?;
    call.query.dry_run().map_err(|error| crate::query::invalid_options("CreateOptions", &[error]))?;
    let (group, kind) = review.kind();
    let mut object = body::virtual_object(&mut call, group, "v1", kind).await?;
    let namespace = resource.namespace.as_deref().unwrap_or_default();
    check_metadata(&object, review, namespace)?;
    let status = match review {
        Review::WhoAmI => json!({ "userInfo": shown(&call.user) }),
        Review::Token => token(&call, &object).await?,
        Review::OwnRules => rules(&call, &object).await?,
        Review::OwnAccess => access::answer(&call, &object, kind, call.user.clone()).await?,
        Review::Access => access::answer(&call, &object, kind, access::subject(&object, kind)?).await?,
        Review::LocalAccess => {
            access::check_local(&object, namespace, kind)?;
            access::answer(&call, &object, kind, access::subject(&object, kind)?).await?
        }
    };
    let fields = object.as_object_mut().ok_or_else(|| Status::bad_request("the body is no object"))?;
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("creationTimestamp".to_owned(), Value::Null);
    }
    fields.insert("status".to_owned(), status);
    Reply::document(201, encoding, object.to_string().into())
}

/// Questions about access have no name.
fn check_metadata(object: &Value, review: Review, namespace: &str) -> Result<(), Status> {
    let (group, kind) = review.kind();
    let said = |field: &str| object.pointer(&format!("/metadata/{field}")).is_some_and(|value| !empty(value));
    let named =
        ["name", "generateName", "labels", "annotations", "ownerReferences", "finalizers"].iter().any(|f| said(f));
    let told = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    let wrong =
        |detail: &str| Err(Status::invalid(group, kind, "", &[FieldError::invalid("metadata", metadata, detail)]));
    match review {
        Review::OwnAccess | Review::Access if named || !told.is_empty() => wrong("must be empty"),
        Review::LocalAccess if named => wrong("must be empty except for namespace"),
        Review::LocalAccess if !told.is_empty() && told != namespace => Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        _ => Ok(()),
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn shown(user: &UserInfo) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

async fn token(call: &Call, object: &Value) -> Result<Value, Status> {
    let token = object.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let wanted = texts(object.pointer("/spec/audiences"));
    let user = authenticate(&call.server.authenticators, &Credentials::token(token, wanted.clone())).await;
    // Tokens that do not say whom they are for are for this server.
    let meant = tokens::audiences(token).unwrap_or_else(|| vec![tokens::ISSUER.to_owned()]);
    let shared: Vec<&String> = wanted.iter().filter(|audience| meant.contains(audience)).collect();
    let refused = json!({ "user": {}, "error": "[invalid bearer token, token lookup failed]" });
    Ok(match user {
        Ok(Some(user)) if wanted.is_empty() => {
            let ours = meant.iter().any(|audience| audience == tokens::ISSUER);
            let audiences = if ours { vec![tokens::ISSUER] } else { Vec::new() };
            json!({ "authenticated": true, "user": shown(&user), "audiences": audiences })
        }
        Ok(Some(user)) if !shared.is_empty() => {
            json!({ "authenticated": true, "user": shown(&user), "audiences": shared })
        }
        _ => refused,
    })
}

fn texts(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn rules(call: &Call, object: &Value) -> Result<Value, Status> {
    let namespace = object.pointer("/spec/namespace").and_then(Value::as_str).unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (rules, whole) = call.server.authorizer.rules(&call.user, namespace).await;
    let resource = |rule: &Rule| {
        let mut shown = json!({ "verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources });
        if !rule.names.is_empty() {
            shown["resourceNames"] = json!(rule.names);
        }
        shown
    };
    let path = |rule: &Rule| json!({ "verbs": rule.verbs, "nonResourceURLs": rule.paths });
    let (paths, resources): (Vec<&Rule>, Vec<&Rule>) = rules.iter().partition(|rule| !rule.paths.is_empty());
    Ok(json!({
        "resourceRules": resources.into_iter().map(resource).collect::<Vec<_>>(),
        "nonResourceRules": paths.into_iter().map(path).collect::<Vec<_>>(),
        "incomplete": !whole,
    }))
}
