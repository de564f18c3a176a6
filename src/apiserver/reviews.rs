//! Questions about identity and access: objects that are posted, answered and never stored.

use std::sync::Arc;

use api::kind::Plain;
use api::{AccessRequest, FieldError, Kind, Scope, Status, UserInfo};
use serde_json::{Map, Value, json};

use crate::authentication::{Credentials, authenticate};
use crate::authorization::Rule;
use crate::path::Resource;
use crate::reply::Reply;
use crate::server::Call;
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
    let status = match review {
        Review::WhoAmI => json!({ "userInfo": shown(&call.user) }),
        Review::Token => token(&call, &object).await,
        Review::OwnRules => rules(&call, &object).await?,
        Review::OwnAccess => access(&call, &object, kind, call.user.clone()).await?,
        Review::Access => access(&call, &object, kind, subject(&object, kind)?).await?,
        Review::LocalAccess => {
            let asked = object.pointer("/spec/resourceAttributes/namespace").and_then(Value::as_str);
            if asked.unwrap_or_default() != resource.namespace.as_deref().unwrap_or_default() {
                let detail = "must match metadata.namespace";
                let value = json!(asked.unwrap_or_default());
                let error = FieldError::invalid("spec.resourceAttributes.namespace", &value, detail);
                return Err(Status::invalid(group, kind, "", &[error]));
            }
            access(&call, &object, kind, subject(&object, kind)?).await?
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

async fn token(call: &Call, object: &Value) -> Value {
    let token = object.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default();
    if token.is_empty() {
        return json!({ "user": {}, "error": "token review requires a token" });
    }
    match authenticate(&call.server.authenticators, &Credentials::token(token)).await {
        Ok(Some(user)) => json!({ "authenticated": true, "user": shown(&user) }),
        _ => json!({ "user": {}, "error": "the token is not known" }),
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whom an access review is about.
fn subject(object: &Value, kind: &str) -> Result<UserInfo, Status> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let name = spec.get("user").and_then(Value::as_str).unwrap_or_default().to_owned();
    let groups = texts(spec.get("groups"));
    if name.is_empty() && groups.is_empty() {
        let detail = "at least one of user or group must be specified";
        return Err(Status::invalid(AUTHORIZATION, kind, "", &[FieldError::required("spec.user", detail)]));
    }
    let extra = spec.get("extra").and_then(Value::as_object).into_iter().flatten();
    Ok(UserInfo {
        name,
        uid: spec.get("uid").and_then(Value::as_str).unwrap_or_default().to_owned(),
        groups,
        extra: extra.map(|(key, values)| (key.clone(), texts(Some(values)))).collect(),
    })
}

async fn access(call: &Call, object: &Value, kind: &str, user: UserInfo) -> Result<Value, Status> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let attributes = |name: &str| spec.get(name).and_then(Value::as_object);
    let text =
        |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let request = match (attributes("resourceAttributes"), attributes("nonResourceAttributes")) {
        (Some(asked), None) => AccessRequest {
            user,
            verb: text(asked, "verb"),
            group: text(asked, "group"),
            version: text(asked, "version"),
            resource: text(asked, "resource"),
            subresource: text(asked, "subresource"),
            namespace: text(asked, "namespace"),
            name: text(asked, "name"),
            ..AccessRequest::default()
        },
        (None, Some(asked)) => {
            AccessRequest { user, verb: text(asked, "verb"), path: text(asked, "path"), ..AccessRequest::default() }
        }
        _ => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            let error = FieldError::invalid("spec.resourceAttributes", &Value::Null, detail);
            return Err(Status::invalid(AUTHORIZATION, kind, "", &[error]));
        }
    };
    let decision = call.server.authorizer.authorize(&request).await;
    let mut status = json!({ "allowed": decision.is_allowed() });
    if matches!(decision, crate::authorization::Decision::Deny(_)) {
        status["denied"] = json!(true);
    }
    if !decision.reason().is_empty() {
        status["reason"] = json!(decision.reason());
    }
    Ok(status)
}

async fn rules(call: &Call, object: &Value) -> Result<Value, Status> {
    let namespace = object.pointer("/spec/namespace").and_then(Value::as_str).unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (rules, whole) = call.server.authorizer.rules(&call.user, namespace).await;
    let resource = |rule: &Rule| {
        json!({
            "verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources, "resourceNames": rule.names,
        })
    };
    let path = |rule: &Rule| json!({ "verbs": rule.verbs, "nonResourceURLs": rule.paths });
    let (paths, resources): (Vec<&Rule>, Vec<&Rule>) = rules.iter().partition(|rule| !rule.paths.is_empty());
    Ok(json!({
        "resourceRules": resources.into_iter().map(resource).collect::<Vec<_>>(),
        "nonResourceRules": paths.into_iter().map(path).collect::<Vec<_>>(),
        "incomplete": !whole,
    }))
}
