//! Request bodies: which form they have, and the object in them.

use api::strict::{self, ContentType, Expected, FieldValidation};
use api::{FieldError, Kind, Status};
use objects::Patch;
use serde_json::{Map, Value};

use crate::server::Call;

/// An object that came with a request.
pub(crate) struct Decoded {
    pub value: Value,
    pub warnings: Vec<String>,
}

/// The four forms of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchForm {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchForm {
    pub fn with(self, value: Value) -> Patch {
        match self {
            Self::Json => Patch::Json(value),
            Self::Merge => Patch::Merge(value),
            Self::Strategic => Patch::Strategic(value),
            Self::Apply => Patch::Apply(value),
        }
    }
}

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";
/// More operations than this in one JSON patch are an attack.
const MOST_OPERATIONS: usize = 10_000;

fn unknown_form(accepted: &[&str]) -> Status {
    Status::unsupported_media_type(format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    ))
}

fn content(media_type: &str) -> Result<ContentType, Status> {
    match media_type {
        "" | "application/json" => Ok(ContentType::Json),
        "application/yaml" => Ok(ContentType::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(ContentType::Protobuf),
        _ => Err(unknown_form(&["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"])),
    }
}

/// The form of a patch, from its media type.
pub(crate) fn patch_form(media_type: &str, strategic: bool) -> Result<PatchForm, Status> {
    match media_type {
        JSON_PATCH => Ok(PatchForm::Json),
        MERGE_PATCH => Ok(PatchForm::Merge),
        STRATEGIC_PATCH if strategic => Ok(PatchForm::Strategic),
        APPLY_PATCH => Ok(PatchForm::Apply),
        _ if strategic => Err(unknown_form(&[JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH])),
        _ => Err(unknown_form(&[JSON_PATCH, MERGE_PATCH, APPLY_PATCH])),
    }
}

/// `fieldValidation`; other values were refused with the other options.
pub(crate) fn validation(call: &Call) -> FieldValidation {
    match call.query.get("fieldValidation") {
        Some("Strict") => FieldValidation::Strict,
        Some("Ignore") => FieldValidation::Ignore,
        _ => FieldValidation::Warn,
    }
}

/// Reads an object of `kind`, with Kubernetes' checks of its fields.
pub(crate) async fn object(call: &mut Call, kind: &Kind) -> Result<Decoded, Status> {
    let content = content(call.content_type())?;
    let bytes = call.bytes().await?;
    strictly(call, &bytes, content, kind)
}

fn strictly(call: &Call, bytes: &[u8], content: ContentType, kind: &Kind) -> Result<Decoded, Status> {
    let definition = kind.definition();
    let expected = Expected { group: &kind.group, version: &kind.version, kind: &kind.kind, definition };
    let decoded = strict::decode(bytes, content, Some(expected), validation(call))?;
    Ok(Decoded { value: decoded.object, warnings: decoded.warnings })
}

/// Reads a patch.
pub(crate) async fn patch(call: &mut Call, form: PatchForm) -> Result<Decoded, Status> {
    let bytes = call.bytes().await?;
    if form == PatchForm::Apply {
        return wish(call, &bytes);
    }
    let (value, complaints) = strict::read(&bytes, ContentType::Json)
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    match (&value, form) {
        (Value::Array(operations), PatchForm::Json) if operations.len() > MOST_OPERATIONS => {
            return Err(Status::too_large(format!(
                "Request entity is too large: The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {}",
                operations.len()
            )));
        }
        (Value::Array(_), PatchForm::Json) | (Value::Object(_), PatchForm::Merge | PatchForm::Strategic) => {}
        (_, PatchForm::Json) => {
            return Err(Status::bad_request(
                "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
            ));
        }
        _ => {
            return Err(Status::bad_request(
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ));
        }
    }
    let complaints = if form == PatchForm::Json { unknown_parts(&value) } else { complaints };
    match validation(call) {
        FieldValidation::Strict if !complaints.is_empty() => {
            let why = format!("strict decoding error: {}", complaints.join(", "));
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Err(Status::invalid("", "", "", &[FieldError::invalid("patch", &Value::String(text), &why)]))
        }
        FieldValidation::Warn => Ok(Decoded { value, warnings: complaints }),
        _ => Ok(Decoded { value, warnings: Vec::new() }),
    }
}

/// What an apply wishes for stays as it was sent: an empty field is a wish too.
fn wish(call: &Call, bytes: &[u8]) -> Result<Decoded, Status> {
    // YAML holds JSON, but reading JSON as JSON is ten times as quick.
    let looks_like_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let content = if looks_like_json { ContentType::Json } else { ContentType::Yaml };
    let (value, complaints) =
        strict::read(bytes, content).map_err(|why| Status::bad_request(format!("error decoding YAML: {why}")))?;
    if !value.is_object() {
        let why = "json: cannot unmarshal a value that is no object into Go value of type map[string]interface {}";
        return Err(Status::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: {why}"
        )));
    }
    match validation(call) {
        FieldValidation::Strict if !complaints.is_empty() => {
            let prefix = if content == ContentType::Yaml { "error converting YAML to JSON: " } else { "" };
            Err(Status::bad_request(format!("error strict decoding YAML: {prefix}{}", complaints.join(", "))))
        }
        FieldValidation::Warn => Ok(Decoded { value, warnings: complaints.into_iter().map(strict::warning).collect() }),
        _ => Ok(Decoded { value, warnings: Vec::new() }),
    }
}

/// Parts of a JSON patch's operations that operations do not have.
fn unknown_parts(patch: &Value) -> Vec<String> {
    let operations = patch.as_array().into_iter().flatten().enumerate();
    let parts = operations.flat_map(|(number, operation)| {
        let names = operation.as_object().into_iter().flat_map(Map::keys);
        names.map(move |name| (number, name))
    });
    parts
        .filter(|(_, name)| !matches!(name.as_str(), "op" | "path" | "from" | "value"))
        .map(|(number, name)| format!("json patch unknown field \"[{number}].{name}\""))
        .collect()
}

/// Options that may come in the body of a request. `None`: there is no body.
pub(crate) async fn options(call: &mut Call, kind: &str) -> Result<Option<Value>, Status> {
    let bytes = call.bytes().await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let value = loosely(&bytes, content(call.content_type())?)?;
    match value.get("kind").and_then(Value::as_str) {
        Some(other) if !other.is_empty() && other != kind => Err(Status::bad_request(format!(
            "the kind in the data ({other}) does not match the expected kind ({kind})"
        ))),
        _ if value.is_object() => Ok(Some(value)),
        _ => Err(Status::bad_request(format!("the body of the request is no {kind}"))),
    }
}

/// Reads an object that is never stored (a Scale, a review): kind and version are filled in when the body has none.
pub(crate) async fn virtual_object(call: &mut Call, group: &str, version: &str, kind: &str) -> Result<Value, Status> {
    let content = content(call.content_type())?;
    let bytes = call.bytes().await?;
    let mut value = loosely(&bytes, content)?;
    let fields =
        value.as_object_mut().ok_or_else(|| Status::bad_request(format!("the body of the request is no {kind}")))?;
    let wanted = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    expect(fields, "apiVersion", &wanted, |said| {
        format!("the API version in the data ({said}) does not match the expected API version ({wanted})")
    })?;
    expect(fields, "kind", kind, |said| format!("{said} in version {wanted:?} cannot be handled as a {kind}"))?;
    Ok(value)
}

fn expect(
    fields: &mut Map<String, Value>,
    field: &str,
    wanted: &str,
    message: impl FnOnce(&str) -> String,
) -> Result<(), Status> {
    match fields.get(field).and_then(Value::as_str) {
        None | Some("") => {
            fields.insert(field.to_owned(), wanted.into());
            Ok(())
        }
        Some(said) if said == wanted => Ok(()),
        Some(said) => Err(Status::bad_request(message(said))),
    }
}

fn loosely(bytes: &[u8], content: ContentType) -> Result<Value, Status> {
    match content {
        ContentType::Json => {
            serde_json::from_slice(bytes).map_err(|error| Status::bad_request(format!("the body is no JSON: {error}")))
        }
        ContentType::Yaml => {
            let text = std::str::from_utf8(bytes).map_err(|_| Status::bad_request("the body is no UTF-8 text"))?;
            api::yaml::parse(text).map_err(|error| {
                Status::bad_request(format!(
                    "the body is no YAML: {error} (line {}, column {})",
                    error.line, error.column
                ))
            })
        }
        ContentType::Protobuf => api::protobuf::decode(bytes).map_err(|error| Status::bad_request(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_told_apart_by_their_media_type() {
        for (media_type, strategic, wanted) in [
            (JSON_PATCH, true, Some(PatchForm::Json)),
            (MERGE_PATCH, false, Some(PatchForm::Merge)),
            (STRATEGIC_PATCH, true, Some(PatchForm::Strategic)),
            (STRATEGIC_PATCH, false, None),
            (APPLY_PATCH, true, Some(PatchForm::Apply)),
            ("application/json", true, None),
        ] {
            let found = patch_form(media_type, strategic);
            assert_eq!(found.as_ref().ok().copied(), wanted, "{media_type}");
            assert!(found.is_ok() || found.is_err_and(|status| status.code == 415));
        }
    }
}
