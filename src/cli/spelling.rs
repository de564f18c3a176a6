//! What a field that the server does not know may have meant.

use anyhow::Error;

use crate::connection::Refusal;
use crate::resources::Resource;

/// Adds to a refusal because of unknown fields which known ones are spelt nearly the same.
pub fn hinted(error: Error, resource: &Resource) -> Error {
    let Some(refusal) = error.downcast_ref::<Refusal>() else { return error };
    let Some(definition) = api::schema::lookup(&resource.group, &resource.version, &resource.kind) else {
        return error;
    };
    let hints: Vec<String> = unknown_fields(&refusal.message)
        .filter_map(|path| api::strict::did_you_mean(definition, path))
        .map(|name| format!("did you mean {name:?}?"))
        .collect();
    if hints.is_empty() { error } else { Error::msg(format!("{error}; {}", hints.join(" "))) }
}

/// The paths in `unknown field "spec.replicaz", unknown field "spec.foo"`.
fn unknown_fields(message: &str) -> impl Iterator<Item = &str> {
    message.split("unknown field \"").skip(1).filter_map(|rest| rest.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_nearly_right_is_named() {
        let message =
            "strict decoding error: unknown field \"spec.replicaz\", unknown field \"spec.template.spec.containerz\"";
        let paths: Vec<&str> = unknown_fields(message).collect();
        assert_eq!(paths, ["spec.replicaz", "spec.template.spec.containerz"]);
        let definition = api::schema::lookup("apps", "v1", "Deployment").unwrap();
        assert_eq!(api::strict::did_you_mean(definition, paths[0]).as_deref(), Some("replicas"));
        assert_eq!(api::strict::did_you_mean(definition, paths[1]).as_deref(), Some("containers"));
    }
}
