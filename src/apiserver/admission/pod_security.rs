//! The levels that a namespace's labels ask of pods: privileged, baseline, restricted; to enforce, to audit, to warn.
//!
//! A component in a sandbox has no kernel to break out to, yet the levels are held to: a namespace that says `restricted`
//! means that its manifests are fit for every Kubernetes.

use std::collections::BTreeMap;

use api::{FieldError, Status, meta};
use async_trait::async_trait;
use objects::{Admission, Operation, Reader, Review, Sub};
use serde_json::{Value, json};

use super::forbidden;

mod baseline;
mod checks;
mod restricted;
#[cfg(test)]
mod tests;

use checks::Violation;

pub(super) struct PodSecurity(pub Reader);

const LABEL: &str = "pod-security.kubernetes.io/";
/// More existing pods than this are not looked at when a namespace's level changes.
const PODS_MAX: usize = 3000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    #[default]
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Privileged, Self::Baseline, Self::Restricted].into_iter().find(|level| level.name() == text)
    }
}

/// What one mode asks for: `restricted:latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standard {
    level: Level,
    version: String,
}

impl std::fmt::Display for Standard {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}", self.level.name(), self.version)
    }
}

impl Standard {
    /// What the labels of a namespace say of a mode. A level that is none counts as the strictest.
    fn of(mode: &str, label: impl Fn(&str) -> Option<String>) -> Self {
        let level = match label(&format!("{LABEL}{mode}")) {
            Some(text) => Level::parse(&text).unwrap_or(Level::Restricted),
            None => Level::Privileged,
        };
        let version = label(&format!("{LABEL}{mode}-version")).filter(|text| is_version(text));
        Self { level, version: version.unwrap_or_else(|| "latest".to_owned()) }
    }

    fn violations(&self, metadata: &Value, spec: &Value) -> Vec<Violation> {
        match self.level {
            Level::Privileged => Vec::new(),
            Level::Baseline => baseline::violations(metadata, spec, false),
            Level::Restricted => {
                let mut all = baseline::violations(metadata, spec, true);
                all.extend(restricted::violations(spec));
                all
            }
        }
    }
}

fn is_version(text: &str) -> bool {
    let minor = text.strip_prefix("v1.");
    text == "latest"
        || minor.is_some_and(|minor| {
            minor.len() <= 4 && !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// Where the kinds that make pods keep their template.
fn template_of(group: &str, plural: &str) -> Option<&'static str> {
    Some(match (group, plural) {
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => "/spec/template",
        ("batch", "cronjobs") => "/spec/jobTemplate/spec/template",
        ("", "podtemplates") => "/template",
        _ => return None,
    })
}

fn sentence(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[async_trait]
impl Admission for PodSecurity {
    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        if !matches!(review.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        if review.is("", "pods") {
            let looked_at = matches!(review.sub, Sub::None | Sub::Named("ephemeralcontainers"));
            return if looked_at { self.pod(review) } else { Ok(()) };
        }
        if review.sub != Sub::None {
            return Ok(());
        }
        if review.is("", "namespaces") {
            return self.namespace(review);
        }
        if let Some(template) = template_of(&review.kind.group, &review.kind.plural) {
            self.template(review, template);
        }
        Ok(())
    }
}

impl PodSecurity {
    fn standard(&self, namespace: &str, mode: &str) -> Standard {
        let found = self.0.get("", "namespaces", None, namespace);
        Standard::of(mode, |label| found.as_ref()?.meta.labels.get(label).map(str::to_owned))
    }

    fn pod(&self, review: &Review<'_>) -> Result<(), Status> {
        let (metadata, spec) = (meta::metadata(&review.object), review.object.get("spec").unwrap_or(&Value::Null));
        // Only what changes what the pod may do is looked at again.
        if let Some(old) = review.old
            && old.get("spec") == Some(spec)
            && meta::metadata(old).get("annotations") == metadata.get("annotations")
        {
            return Ok(());
        }
        let namespace = review.namespace.unwrap_or_default();
        let enforced = self.standard(namespace, "enforce");
        let violations = enforced.violations(metadata, spec);
        review.annotations.add(format!("{LABEL}enforce-policy"), enforced.to_string());
        if !violations.is_empty() {
            let why = format!("violates PodSecurity {:?}: {}", enforced.to_string(), sentence(&violations));
            return Err(forbidden(review.kind, review.name, &why));
        }
        self.tell(review, metadata, spec);
        Ok(())
    }

    /// What makes pods is never refused, only talked about: its pods are refused when they come.
    fn template(&self, review: &Review<'_>, at: &str) {
        let Some(template) = review.object.pointer(at) else { return };
        if review.old.and_then(|old| old.pointer(at)) == Some(template) {
            return;
        }
        let none = json!({});
        self.tell(review, template.get("metadata").unwrap_or(&none), template.get("spec").unwrap_or(&none));
    }

    fn tell(&self, review: &Review<'_>, metadata: &Value, spec: &Value) {
        let namespace = review.namespace.unwrap_or_default();
        let would = |mode: &str| {
            let standard = self.standard(namespace, mode);
            let violations = standard.violations(metadata, spec);
            let text = format!("would violate PodSecurity {:?}: {}", standard.to_string(), sentence(&violations));
            (!violations.is_empty()).then_some(text)
        };
        if let Some(text) = would("audit") {
            review.annotations.add(format!("{LABEL}audit-violations"), text);
        }
        if let Some(text) = would("warn") {
            review.warnings.push(text);
        }
    }

    fn namespace(&self, review: &Review<'_>) -> Result<(), Status> {
        let faults = label_faults(&review.object);
        // A label that was wrong before does not keep the namespace from changing.
        if !faults.is_empty() && review.old.is_none_or(|old| label_faults(old) != faults) {
            return Err(Status::invalid("", "Namespace", review.name, &faults));
        }
        let Some(old) = review.old else { return Ok(()) };
        let of = |object: &Value| Standard::of("enforce", |label| meta::label(object, label).map(str::to_owned));
        let (new, was) = (of(&review.object), of(old));
        if new == was || new.level == Level::Privileged || new.level < was.level {
            return Ok(());
        }
        self.tell_of_existing(review, &new);
        Ok(())
    }

    /// Warns of the pods that are there and would not be let in any more.
    fn tell_of_existing(&self, review: &Review<'_>, standard: &Standard) {
        let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pod in self.0.list("", "pods", Some(review.name)).iter().take(PODS_MAX) {
            let value = pod.value();
            let spec = value.get("spec").unwrap_or(&Value::Null);
            let violations = standard.violations(meta::metadata(&value), spec);
            if !violations.is_empty() {
                let reasons = violations.iter().map(|violation| violation.reason).collect::<Vec<_>>().join(", ");
                by_reason.entry(reasons).or_default().push(pod.meta.name.to_string());
            }
        }
        if by_reason.is_empty() {
            return;
        }
        review.warnings.push(format!(
            "existing pods in namespace {:?} violate the new PodSecurity enforce level {:?}",
            review.name,
            standard.to_string()
        ));
        let mut lines: Vec<String> = by_reason.iter().filter_map(|(reasons, pods)| line(reasons, pods)).collect();
        lines.sort();
        for line in lines {
            review.warnings.push(line);
        }
    }
}

fn line(reasons: &str, pods: &[String]) -> Option<String> {
    let (first, rest) = pods.split_first()?;
    Some(match rest.len() {
        0 => format!("{first}: {reasons}"),
        1 => format!("{first} (and 1 other pod): {reasons}"),
        more => format!("{first} (and {more} other pods): {reasons}"),
    })
}

fn label_faults(namespace: &Value) -> Vec<FieldError> {
    let mut faults = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let (level, version) = (format!("{LABEL}{mode}"), format!("{LABEL}{mode}-version"));
        if let Some(text) = meta::label(namespace, &level).filter(|text| Level::parse(text).is_none()) {
            let detail = "must be one of privileged, baseline, restricted";
            faults.push(FieldError::invalid(format!("metadata.labels[{level}]"), &json!(text), detail));
        }
        if let Some(text) = meta::label(namespace, &version).filter(|text| !is_version(text)) {
            let detail = "must be \"latest\" or \"v1.x\"";
            faults.push(FieldError::invalid(format!("metadata.labels[{version}]"), &json!(text), detail));
        }
    }
    faults
}
