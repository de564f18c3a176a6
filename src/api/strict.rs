//! Decoding of request bodies with Kubernetes' field validation.
//!
//! A body becomes what Go's decoder would have made of it: fields that the kind does not have are dropped and told (or
//! refused), nulls are unset, wrong types are refused in Go's words.

mod json;
mod path;
mod shape;
#[cfg(test)]
mod tests;
pub(crate) mod time;

use serde_json::{Map, Value};

use crate::schema::{self, Definition};
use crate::status::Status;
use crate::{protobuf, yaml};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// `?fieldValidation=`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Unknown and duplicate fields are dropped in silence.
    Ignore,
    /// They give warnings: the server's default.
    #[default]
    Warn,
    /// They are refused.
    Strict,
}

impl FieldValidation {
    /// The query's word; empty is the default.
    pub fn parse(word: &str) -> Result<Self, Status> {
        match word {
            "" | "Warn" => Ok(Self::Warn),
            "Ignore" => Ok(Self::Ignore),
            "Strict" => Ok(Self::Strict),
            other => Err(Status::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// What a body is expected to hold.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The API group, empty for core.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// The definition to check against; `None` looks the built-in one up.
    pub definition: Option<&'a Definition>,
}

/// A decoded body.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object; `apiVersion` and `kind` are filled in from what was expected when the body has none.
    pub object: Value,
    /// For the `Warning:` header.
    pub warnings: Vec<String>,
}

/// What checking an object's shape found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Paths of fields that the definition does not have; they are gone from the object.
    pub unknown: Vec<String>,
}

/// Reads `body` as an object of the expected kind (or of the kind that it says, when none is expected).
pub fn decode(
    body: &[u8],
    content: ContentType,
    expected: Option<Expected<'_>>,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let (value, mut complaints) = parse(body, content).map_err(|why| unrecognized(body, expected, &why))?;
    let Value::Object(mut fields) = value else {
        let why = "couldn't get version/kind; json parse error: json: cannot unmarshal a value that is no object";
        return Err(unrecognized(body, expected, why));
    };
    let (api_version, kind) = identify(&mut fields, expected, body)?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let wanted = expected.map_or(kind.as_str(), |expected| expected.kind);
    let definition = match expected.and_then(|expected| expected.definition) {
        Some(definition) => Some(definition),
        None => schema::lookup(group, version, &kind),
    };
    let mut object = Value::Object(fields);
    if let Some(definition) = definition {
        let found = shape(&mut object, definition).map_err(|why| unhandled(&kind, version, wanted, &why))?;
        complaints.extend(found.unknown.iter().map(|path| format!("unknown field {path:?}")));
    }
    let warnings = match validation {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn => complaints.into_iter().map(warning).collect(),
        FieldValidation::Strict if complaints.is_empty() => Vec::new(),
        FieldValidation::Strict => {
            let why = format!("strict decoding error: {}", complaints.join(", "));
            return Err(unhandled(&kind, version, wanted, &why));
        }
    };
    Ok(Decoded { object, warnings })
}

/// Reads a body as it stands, with what strict decoding says of it (repeated fields). The error is a sentence.
pub fn read(body: &[u8], content: ContentType) -> Result<(Value, Vec<String>), String> {
    match content {
        ContentType::Json => {
            let (value, repeated) = json::read(body).map_err(|why| why.to_string())?;
            Ok((value, repeated.iter().map(|path| format!("duplicate field {path:?}")).collect()))
        }
        _ => parse(body, content),
    }
}

/// Checks the object's types against `definition` and drops what it does not know; the error is Go's sentence. For
/// objects that were patched.
pub fn shape(object: &mut Value, definition: &Definition) -> Result<Shape, String> {
    let Value::Object(fields) = object else {
        return Err(format!(
            "json: cannot unmarshal a value that is no object into Go value of type {}",
            definition.go_type()
        ));
    };
    let mut walk = shape::Walk::new();
    walk.object(fields, definition)?;
    Ok(Shape { unknown: walk.unknown })
}

/// The field of `definition` that a mistyped `unknown` path (`spec.replica`) may have meant, for people.
pub fn did_you_mean(definition: &Definition, unknown: &str) -> Option<String> {
    let mut here = definition;
    let mut steps = unknown.split('.').peekable();
    while let Some(step) = steps.next() {
        let name = step.split('[').next().unwrap_or(step);
        if steps.peek().is_none() {
            let best = here
                .fields
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(&a.name, name).total_cmp(&strsim::jaro_winkler(&b.name, name)))?;
            return (strsim::jaro_winkler(&best.name, name) > 0.8).then(|| best.name.to_string());
        }
        let schema = &here.field(name)?.schema;
        here = schema.list().map_or(schema, |list| &list.items).definition()?;
    }
    None
}

fn parse(body: &[u8], content: ContentType) -> Result<(Value, Vec<String>), String> {
    match content {
        ContentType::Json => {
            let (value, repeated) =
                json::read(body).map_err(|why| format!("couldn't get version/kind; json parse error: {why}"))?;
            Ok((value, repeated.iter().map(|path| format!("duplicate field {path:?}")).collect()))
        }
        ContentType::Yaml => {
            let text = std::str::from_utf8(body).map_err(|_| "yaml: invalid UTF-8".to_owned())?;
            let (value, repeated) =
                yaml::parse_lenient(text).map_err(|why| format!("error converting YAML to JSON: yaml: {why}"))?;
            Ok((value, repeated.iter().map(repeated_key).collect()))
        }
        ContentType::Protobuf => protobuf::decode(body).map(|value| (value, Vec::new())).map_err(|why| why.to_string()),
    }
}

/// A complaint as a warning says it: in one line.
pub fn warning(complaint: String) -> String {
    match complaint.strip_prefix(UNMARSHAL) {
        Some(rest) => rest.trim().to_owned(),
        None => complaint,
    }
}

const UNMARSHAL: &str = "yaml: unmarshal errors:\n";

/// A key that a YAML map has twice, in the words of Go's decoder.
fn repeated_key(why: &yaml::YamlError) -> String {
    match why.message.strip_prefix("duplicate mapping key: ") {
        Some(key) => format!("{UNMARSHAL}  line {}: key {key:?} already set in map", why.line),
        None => format!("yaml: {why}"),
    }
}

/// The body's `apiVersion` and `kind`, filled in where they are missing and compared with what is expected.
fn identify(
    fields: &mut Map<String, Value>,
    expected: Option<Expected<'_>>,
    body: &[u8],
) -> Result<(String, String), Status> {
    let found = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => {
            let why = format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal a value that is no string into Go struct field .{name} of type string"
            );
            Err(unrecognized(body, expected, &why))
        }
    };
    let (mut api_version, mut kind) = (found("apiVersion")?, found("kind")?);
    if let Some(expected) = expected {
        let wanted = join(expected.group, expected.version);
        if api_version.is_empty() {
            api_version.clone_from(&wanted);
        }
        if kind.is_empty() {
            expected.kind.clone_into(&mut kind);
        }
        let version = api_version.rsplit('/').next().unwrap_or_default();
        // Options are the same in every group version, and clients send them with any.
        if kind != expected.kind {
            let known = schema::lookup(api_version.split_once('/').map_or("", |(group, _)| group), version, &kind);
            let why = match known {
                Some(_) => format!(
                    "converting ({version}.{kind}) to ({}.{}): unknown conversion",
                    expected.version, expected.kind
                ),
                None => format!("no kind {kind:?} is registered for version {api_version:?} in scheme \"coracle\""),
            };
            return Err(unhandled(&kind, version, expected.kind, &why));
        }
        if api_version != wanted && kind != "DeleteOptions" {
            return Err(Status::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
            )));
        }
    } else {
        let missing = if kind.is_empty() { "Kind" } else { "apiVersion" };
        if kind.is_empty() || api_version.is_empty() {
            let shown = String::from_utf8_lossy(body.get(..body.len().min(200)).unwrap_or_default());
            return Err(Status::bad_request(format!("Object '{missing}' is missing in '{shown}'")));
        }
    }
    fields.insert("apiVersion".to_owned(), Value::String(api_version.clone()));
    fields.insert("kind".to_owned(), Value::String(kind.clone()));
    Ok((api_version, kind))
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn unhandled(kind: &str, version: &str, wanted: &str, why: &str) -> Status {
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {wanted}: {why}"))
}

fn unrecognized(body: &[u8], expected: Option<Expected<'_>>, why: &str) -> Status {
    const SHOWN: usize = 30;
    let start = body.get(..body.len().min(SHOWN)).unwrap_or_default();
    let mut shown = if body.first() == Some(&b'{') {
        String::from_utf8_lossy(start).into_owned()
    } else {
        start.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    if body.len() > SHOWN {
        shown.push_str(" ...");
    }
    let wanted = expected.map_or_else(String::new, |expected| format!(" (must be of type {})", expected.kind));
    Status::bad_request(format!("the object provided is unrecognized{wanted}: {why} ({shown})"))
}
