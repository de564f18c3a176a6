//! Acting as somebody else: `Impersonate-User`, `-Group`, `-Uid` and `-Extra-KEY`, each allowed one by one.

use api::{AccessRequest, Status, UserInfo};
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::authorization::{Authorizer, refusal};

const PREFIX: &str = "impersonate-";
const EXTRA: &str = "impersonate-extra-";
const REVIEWS: &str = "authentication.k8s.io";

/// One thing that somebody wants to be.
struct Wish {
    group: &'static str,
    resource: &'static str,
    subresource: String,
    namespace: String,
    name: String,
}

impl Wish {
    fn new(group: &'static str, resource: &'static str, name: &str) -> Self {
        Self { group, resource, subresource: String::new(), namespace: String::new(), name: name.to_owned() }
    }
}

/// Who a request is made as: `user`, or whom its headers name and `user` may be.
///
/// # Errors
/// 403 for the first thing that `user` may not be.
pub(crate) async fn acting(
    headers: &HeaderMap,
    user: UserInfo,
    authorizer: &dyn Authorizer,
) -> Result<UserInfo, Status> {
    if !headers.keys().any(|name| name.as_str().starts_with(PREFIX)) {
        return Ok(user);
    }
    let mut whom = UserInfo::default();
    let wishes = wishes(headers, &mut whom)?;
    for wish in wishes {
        let request = AccessRequest {
            user: user.clone(),
            verb: "impersonate".to_owned(),
            group: wish.group.to_owned(),
            version: if wish.group.is_empty() { String::new() } else { "v1".to_owned() },
            resource: wish.resource.to_owned(),
            subresource: wish.subresource,
            namespace: wish.namespace,
            name: wish.name,
            ..AccessRequest::default()
        };
        let decision = authorizer.authorize(&request).await;
        if !decision.is_allowed() {
            return Err(refusal(&request, &decision));
        }
    }
    tracing::debug!(user = %user.name, acting_as = %whom.name, "impersonation");
    Ok(whom)
}

/// Reads the headers into `whom`, and lists what has to be allowed for it.
fn wishes(headers: &HeaderMap, whom: &mut UserInfo) -> Result<Vec<Wish>, Status> {
    let values = |name: &str| -> Vec<String> {
        let all = headers.get_all(name).iter();
        all.filter_map(|value| value.to_str().ok()).filter(|value| !value.is_empty()).map(str::to_owned).collect()
    };
    let mut wishes = Vec::new();
    whom.name = values("impersonate-user").into_iter().next().unwrap_or_default();
    let mut implied = Vec::new();
    match whom.as_service_account() {
        Some((namespace, name)) => {
            let mut wish = Wish::new("", "serviceaccounts", name);
            namespace.clone_into(&mut wish.namespace);
            wishes.push(wish);
            implied = UserInfo::service_account(namespace, name).groups;
        }
        None if !whom.name.is_empty() => wishes.push(Wish::new("", "users", &whom.name)),
        None => {}
    }
    whom.groups = values("impersonate-group");
    wishes.extend(whom.groups.iter().map(|group| Wish::new("", "groups", group)));
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
        let key = percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), |key| key.to_lowercase());
        let Ok(value) = value.to_str() else { continue };
        let wish = Wish { subresource: key.clone(), ..Wish::new(REVIEWS, "userextras", value) };
        wishes.push(wish);
        whom.extra.entry(key).or_default().push(value.to_owned());
    }
    whom.uid = values("impersonate-uid").into_iter().next().unwrap_or_default();
    if !whom.uid.is_empty() {
        wishes.push(Wish::new(REVIEWS, "uids", &whom.uid));
    }
    if whom.name.is_empty() {
        let asked: Vec<String> = wishes.iter().map(|wish| format!("{} {:?}", wish.resource, wish.name)).collect();
        return Err(Status::internal(format!("requested [{}] without impersonating a user", asked.join(" "))));
    }
    if whom.groups.is_empty() {
        whom.groups = implied;
    }
    complete_groups(whom);
    Ok(wishes)
}

/// Everybody is either authenticated or not.
fn complete_groups(whom: &mut UserInfo) {
    let anonymous = whom.name == UserInfo::ANONYMOUS;
    let known = whom.is_in(UserInfo::UNAUTHENTICATED) || !anonymous && whom.is_in(UserInfo::AUTHENTICATED);
    if !known {
        let group = if anonymous { UserInfo::UNAUTHENTICATED } else { UserInfo::AUTHENTICATED };
        whom.groups.push(group.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let mut whom = UserInfo::default();
        match wishes(&headers, &mut whom) {
            Err(status) => status.message,
            Ok(wishes) => {
                let wishes: Vec<String> = wishes
                    .iter()
                    .map(|wish| format!("{}/{}:{}:{}", wish.resource, wish.subresource, wish.namespace, wish.name))
                    .collect();
                format!("{} {:?} {:?} | {}", whom.name, whom.groups, whom.extra, wishes.join(" "))
            }
        }
    }

    #[test]
    fn headers_are_read_as_wishes() {
        for (lines, wanted) in [
            (vec![("impersonate-user", "jane")], r#"jane ["system:authenticated"] {} | users/::jane"#),
            (
                vec![("impersonate-user", "system:anonymous")],
                r#"system:anonymous ["system:unauthenticated"] {} | users/::system:anonymous"#,
            ),
            (
                vec![("impersonate-user", "system:serviceaccount:a:b")],
                r#"system:serviceaccount:a:b ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"] {} | serviceaccounts/:a:b"#,
            ),
            (
                vec![("impersonate-user", "j"), ("impersonate-group", "dev"), ("impersonate-group", "ops")],
                r#"j ["dev", "ops", "system:authenticated"] {} | users/::j groups/::dev groups/::ops"#,
            ),
            (
                vec![("impersonate-user", "j"), ("impersonate-extra-acme.com%2fproject", "x")],
                r#"j ["system:authenticated"] {"acme.com/project": ["x"]} | users/::j userextras/acme.com/project::x"#,
            ),
            (
                vec![("impersonate-group", "dev")],
                r#"Internal error occurred: requested [groups "dev"] without impersonating a user"#,
            ),
        ] {
            assert_eq!(asked(&lines), wanted);
        }
    }
}
