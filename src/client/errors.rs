//! What an error of the API means.

/// Whether the server answered that the object is not there.
pub fn is_not_found(error: &kube::Error) -> bool {
    status_code(error) == Some(404)
}

/// Whether the server answered with a conflict: a stale revision, or a name that is taken (see [`is_taken`]).
pub fn is_conflict(error: &kube::Error) -> bool {
    status_code(error) == Some(409)
}

/// Whether the server refused a creation because the name is taken.
pub fn is_taken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

/// The HTTP status that the server answered with, when it answered.
pub fn status_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the server takes nothing new because the namespace is being deleted: there is nothing left to do then.
pub fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// The error for people: what the server said, or why it could not be asked.
pub fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.message.is_empty() => format!("the server answered {}", status.code),
        kube::Error::Api(status) => status.message.clone(),
        other => base::report(other),
    }
}
