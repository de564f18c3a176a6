//! The query of a request, and the options that Kubernetes reads from it.

use std::str::FromStr;
use std::time::Duration;

use api::{FieldError, Status};
use serde_json::json;

/// The pairs of a query, in order. An option's first value counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Self(pairs.map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    /// The first value, when it is not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, value)| name == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }

    /// As Kubernetes reads booleans in queries: anything but `false` and `0` is true, also an empty value.
    pub fn flag(&self, key: &str) -> bool {
        let value = self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.to_ascii_lowercase());
        value.is_some_and(|value| value != "false" && value != "0")
    }

    pub fn optional_flag(&self, key: &str) -> Option<bool> {
        self.has(key).then(|| self.flag(key))
    }

    pub fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, Status> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let wrong = |_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax ({key})"));
        text.parse().map(Some).map_err(wrong)
    }

    /// `timeout=34s`, as client-go sends it, no more than `max`.
    pub fn timeout(&self, max: Duration) -> Result<Duration, Status> {
        let Some(text) = self.get("timeout") else { return Ok(max) };
        let wrong = || Status::bad_request(format!("invalid timeout specified in the request URL - {text:?}"));
        let asked = duration(text).ok_or_else(wrong)?;
        Ok(if asked.is_zero() { max } else { asked.min(max) })
    }

    pub fn dry_run(&self) -> Result<bool, FieldError> {
        dry_run(self.all("dryRun"))
    }
}

/// `All`, once or more, or nothing.
pub(crate) fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, FieldError> {
    let mut asked = false;
    for value in values {
        if value != "All" {
            return Err(FieldError::not_supported("dryRun", &json!([value]), &["All"]));
        }
        asked = true;
    }
    Ok(asked)
}

/// A sum of numbers with units as Go writes durations: `1m30s`, `500ms`, `0`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|letter: char| letter.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let seconds = match &rest[digits..unit_end] {
            "h" => number * 3600.0,
            "m" => number * 60.0,
            "s" => number,
            "ms" => number / 1e3,
            "us" | "µs" => number / 1e6,
            "ns" => number / 1e9,
            _ => return None,
        };
        sum = sum.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(sum)
}

/// Options are refused like objects: `ListOptions.meta.k8s.io "" is invalid: …`.
pub(crate) fn invalid_options(kind: &str, errors: &[FieldError]) -> Status {
    Status::invalid("meta.k8s.io", kind, "", errors)
}

/// What may not be combined in list and watch options.
pub(crate) fn check_list_options(query: &Query, watch: bool) -> Result<(), Status> {
    let mut errors = Vec::new();
    let matched = query.get("resourceVersionMatch");
    let version = query.get("resourceVersion");
    let initial = query.optional_flag("sendInitialEvents");
    if let Some(matched) = matched {
        if watch && initial.is_none() {
            errors.push(FieldError::forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        } else if !watch && version.is_none() {
            errors.push(FieldError::forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if query.get("continue").is_some() {
            errors.push(FieldError::forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if !matches!(matched, "Exact" | "NotOlderThan") {
            errors.push(FieldError::not_supported(
                "resourceVersionMatch",
                &json!(matched),
                &["Exact", "NotOlderThan", ""],
            ));
        } else if matched == "Exact" && version == Some("0") {
            errors.push(FieldError::forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        } else if watch && initial.is_some() && matched != "NotOlderThan" {
            errors.push(FieldError::not_supported("resourceVersionMatch", &json!(matched), &["NotOlderThan"]));
        }
    }
    if initial.is_some() {
        if !watch {
            errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        } else if matched.is_none() {
            errors.push(FieldError::forbidden(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(invalid_options("ListOptions", &errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_durations() {
        for (text, wanted) in [
            ("34s", Some(34_000)),
            ("1m30s", Some(90_000)),
            ("500ms", Some(500)),
            ("1.5s", Some(1_500)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1x", None),
        ] {
            assert_eq!(duration(text).map(|found| found.as_millis()), wanted, "{text}");
        }
    }

    #[test]
    fn flags_are_read_as_kubernetes_reads_them() {
        let query = Query::parse(Some("a=true&b=1&c=false&d=0&e&f="));
        let set: Vec<&str> = ["a", "b", "c", "d", "e", "f", "g"].into_iter().filter(|key| query.flag(key)).collect();
        assert_eq!(set, ["a", "b", "e", "f"]);
    }

    #[test]
    fn options_that_contradict_are_refused() {
        for (text, watch, wanted) in [
            ("resourceVersion=5&resourceVersionMatch=Exact", false, ""),
            ("resourceVersionMatch=Exact", false, "resourceVersionMatch: Forbidden"),
            ("resourceVersion=5&resourceVersionMatch=Some", false, "Unsupported value: \"Some\""),
            ("sendInitialEvents=true", false, "sendInitialEvents is forbidden for list"),
            ("sendInitialEvents=true", true, "sendInitialEvents requires setting"),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", true, ""),
            ("resourceVersionMatch=NotOlderThan", true, "is forbidden for watch unless"),
        ] {
            let message = check_list_options(&Query::parse(Some(text)), watch).err().map(|status| status.message);
            let message = message.unwrap_or_default();
            assert!(message.contains(wanted) && message.is_empty() == wanted.is_empty(), "{text}: {message}");
        }
    }
}
