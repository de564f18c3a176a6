//! Content negotiation: which form of an answer a client can read. Pure.
//!
//! Parameters of a media type are matched exactly: a client that asks for discovery `v2beta1` cannot read `v2`.

use api::Status;
use api::discovery::Aggregated;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    #[default]
    Json,
    /// For people.
    PrettyJson,
    Yaml,
}

impl Encoding {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::PrettyJson => "application/json",
            Self::Yaml => "application/yaml",
        }
    }
}

/// What an answer shows of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object itself.
    #[default]
    Whole,
    /// `meta.k8s.io/v1` Table.
    Table,
    /// `meta.k8s.io/v1` PartialObjectMetadata, or its List.
    Metadata,
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub encoding: Encoding,
    pub form: Form,
}

/// One clause of an `Accept` header.
#[derive(Debug)]
struct Clause<'a> {
    kind: &'a str,
    subkind: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Clause<'_> {
    fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| *value)
    }

    fn encoding(&self) -> Option<Encoding> {
        match (self.kind, self.subkind) {
            ("*" | "application", "*") | ("application", "json") if self.parameter("pretty") == "1" => {
                Some(Encoding::PrettyJson)
            }
            ("*" | "application", "*") | ("application", "json") => Some(Encoding::Json),
            ("application", "yaml") => Some(Encoding::Yaml),
            _ => None,
        }
    }
}

/// The clauses of all `Accept` headers, most wanted first.
fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut found: Vec<(f32, Clause<'_>)> = header
        .split(',')
        .filter_map(|text| {
            let mut parts = text.split(';').map(str::trim);
            let (kind, subkind) = parts.next()?.split_once('/')?;
            let mut quality = 1.0;
            let mut parameters = Vec::new();
            for part in parts {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                let (key, value) = (key.trim(), value.trim().trim_matches('"'));
                if key.eq_ignore_ascii_case("q") {
                    quality = value.parse().unwrap_or(0.0);
                } else {
                    parameters.push((key, value));
                }
            }
            (quality > 0.0).then_some((quality, Clause { kind: kind.trim(), subkind: subkind.trim(), parameters }))
        })
        .collect();
    // Stable: what is wanted equally stays in the order of the header.
    found.sort_by(|left, right| right.0.total_cmp(&left.0));
    found.into_iter().map(|(_, clause)| clause).collect()
}

fn refused() -> Status {
    Status::not_acceptable("application/json, application/yaml, application/vnd.kubernetes.protobuf")
}

/// Agrees on how objects are answered. Lists ask for `PartialObjectMetadataList`, single objects for
/// `PartialObjectMetadata`; either name is taken in both places, as watches use the single one.
pub(crate) fn objects(header: Option<&str>) -> Result<Agreed, Status> {
    let Some(header) = header.filter(|text| !text.trim().is_empty()) else { return Ok(Agreed::default()) };
    for clause in clauses(header) {
        let Some(encoding) = clause.encoding() else { continue };
        let form = match (clause.parameter("as"), clause.parameter("g"), clause.parameter("v")) {
            ("", ..) => Form::Whole,
            ("Table", "meta.k8s.io", "v1") => Form::Table,
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => Form::Metadata,
            _ => continue,
        };
        return Ok(Agreed { encoding, form });
    }
    Err(refused())
}

/// Agrees on how something that has one form only is answered.
pub(crate) fn plain(header: Option<&str>) -> Result<Encoding, Status> {
    let Some(header) = header.filter(|text| !text.trim().is_empty()) else { return Ok(Encoding::Json) };
    let found =
        clauses(header).into_iter().find_map(|clause| clause.encoding().filter(|_| clause.parameter("as").is_empty()));
    found.ok_or_else(refused)
}

/// Whether the OpenAPI v2 document is wanted as protobuf and not as JSON.
pub(crate) fn openapi_v2(header: Option<&str>) -> Result<bool, Status> {
    let Some(header) = header.filter(|text| !text.trim().is_empty()) else { return Ok(false) };
    let found = clauses(header).into_iter().find_map(|clause| {
        // kubectl writes `v2@v1.0`; both are the one document.
        let protobuf = clause.kind == "application"
            && api::openapi::V2_PROTOBUF.ends_with(&format!("/{}", clause.subkind.replace('@', ".")));
        if protobuf { Some(true) } else { clause.encoding().map(|_| false) }
    });
    found.ok_or_else(refused)
}

/// Watches are written as lines of JSON: YAML has no such form.
pub(crate) fn watch(header: Option<&str>) -> Result<Form, Status> {
    let agreed = objects(header)?;
    if agreed.encoding == Encoding::Yaml { Err(refused()) } else { Ok(agreed.form) }
}

/// How `/api` and `/apis` are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discovery {
    /// `apidiscovery.k8s.io` APIGroupDiscoveryList.
    Aggregated(Aggregated),
    /// APIVersions, APIGroupList.
    Plain(Encoding),
}

/// Agrees on how `/api` and `/apis` are answered.
pub(crate) fn discovery(header: Option<&str>) -> Result<Discovery, Status> {
    let Some(header) = header.filter(|text| !text.trim().is_empty()) else {
        return Ok(Discovery::Plain(Encoding::Json));
    };
    for clause in clauses(header) {
        let Some(encoding) = clause.encoding() else { continue };
        match (clause.parameter("as"), clause.parameter("g"), clause.parameter("v")) {
            ("", ..) => return Ok(Discovery::Plain(encoding)),
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", version) if encoding != Encoding::Yaml => match version {
                "v2" => return Ok(Discovery::Aggregated(Aggregated::V2)),
                "v2beta1" => return Ok(Discovery::Aggregated(Aggregated::V2Beta1)),
                _ => {}
            },
            _ => {}
        }
    }
    Err(refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_clause_that_can_be_made_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for (header, wanted) in [
            ("", Some((Encoding::Json, Form::Whole))),
            ("*/*", Some((Encoding::Json, Form::Whole))),
            ("application/*", Some((Encoding::Json, Form::Whole))),
            ("application/yaml", Some((Encoding::Yaml, Form::Whole))),
            ("application/vnd.kubernetes.protobuf", None),
            ("application/vnd.kubernetes.protobuf,application/json", Some((Encoding::Json, Form::Whole))),
            (table, Some((Encoding::Json, Form::Table))),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", None),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some((Encoding::Json, Form::Whole))),
            ("application/json;q=0.5,application/yaml", Some((Encoding::Yaml, Form::Whole))),
            ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Some((Encoding::Json, Form::Metadata))),
            ("application/json; charset=utf-8", Some((Encoding::Json, Form::Whole))),
            ("text/html", None),
            ("application/json;q=0", None),
        ] {
            let found = objects(Some(header)).ok().map(|agreed| (agreed.encoding, agreed.form));
            assert_eq!(found, wanted, "{header}");
        }
    }

    #[test]
    fn discovery_versions_are_matched_exactly() {
        let ask =
            |version: &str| format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let (v2, beta) = (Discovery::Aggregated(Aggregated::V2), Discovery::Aggregated(Aggregated::V2Beta1));
        for (header, wanted) in [
            (ask("v2"), Some(v2)),
            (format!("{},application/json", ask("v2beta1")), Some(beta)),
            (format!("{},{},application/json", ask("v2"), ask("v2beta1")), Some(v2)),
            (format!("{},application/json", ask("v3")), Some(Discovery::Plain(Encoding::Json))),
            (ask("v3"), None),
        ] {
            assert_eq!(discovery(Some(&header)).ok(), wanted, "{header}");
        }
    }
}
