//! Which requests a webhook or a policy is about: rules, selectors, and other versions of the same objects.

use std::sync::Arc;

use api::{Kind, KindSet, LabelSelector, Status};
use objects::{Operation, Review};
use serde_json::Value;

/// `rules`, `resourceRules` and `excludeResourceRules`: one of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    names: Vec<String>,
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    let list = value.get(field).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Rule {
    fn read(rule: &Value) -> Self {
        Self {
            operations: texts(rule, "operations"),
            groups: texts(rule, "apiGroups"),
            versions: texts(rule, "apiVersions"),
            resources: texts(rule, "resources"),
            scope: rule.get("scope").and_then(Value::as_str).unwrap_or_default().to_owned(),
            names: texts(rule, "resourceNames"),
        }
    }

    /// Reads a list of rules.
    pub fn list(rules: Option<&Value>) -> Vec<Self> {
        rules.and_then(Value::as_array).into_iter().flatten().map(Self::read).collect()
    }

    fn takes(&self, asked: &Asked<'_>, kind: &Kind) -> bool {
        let any = |list: &[String], word: &str| list.iter().any(|entry| entry == "*" || entry == word);
        any(&self.operations, asked.review.operation.name())
            && any(&self.groups, &kind.group)
            && any(&self.versions, &kind.version)
            && self.resources.iter().any(|resource| takes_resource(resource, &kind.plural, asked.review.sub.name()))
            && self.takes_scope(asked)
            && (self.names.is_empty() || self.names.iter().any(|name| name == asked.review.name))
    }

    /// A Namespace is at the cluster scope, although requests about it carry its name as their namespace.
    fn takes_scope(&self, asked: &Asked<'_>) -> bool {
        let cluster = asked.namespace.is_empty() || asked.is_namespace;
        match self.scope.as_str() {
            "Cluster" => cluster,
            "Namespaced" => !cluster,
            _ => true,
        }
    }

    /// The groups, versions and resources that it names, unless it says `*` for one of them; subresources are left out.
    pub fn named(&self) -> Option<(Vec<&str>, Vec<&str>, Vec<&str>)> {
        let plain = |list: &'_ [String]| !list.iter().any(|entry| entry.contains('*'));
        if !plain(&self.groups) || !plain(&self.versions) {
            return None;
        }
        let resources = self.resources.iter().map(String::as_str).filter(|name| !name.contains(['*', '/'])).collect();
        Some((
            self.groups.iter().map(String::as_str).collect(),
            self.versions.iter().map(String::as_str).collect(),
            resources,
        ))
    }
}

/// `pods`, `pods/exec`, `*`, `*/*`, `*/scale`, `pods/*`: whether that takes in a resource with this subresource.
fn takes_resource(pattern: &str, plural: &str, sub: &str) -> bool {
    let (resource, wanted) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == plural) && (wanted == "*" || wanted == sub)
}

/// What the request is, looked up once for all webhooks and policies.
pub(super) struct Asked<'a> {
    pub review: &'a Review<'a>,
    pub kinds: Arc<KindSet>,
    /// The namespace as admission speaks of it: a Namespace's own name for itself.
    pub namespace: &'a str,
    pub is_namespace: bool,
    /// Other versions and groups that the same objects are served as.
    equivalents: Vec<Arc<Kind>>,
}

/// Where the objects of a kind are kept: kinds that have that in common are the same objects.
fn storage(kind: &Kind) -> (&str, &str) {
    match &kind.form {
        Some(form) => (&form.group, &form.plural),
        None => (&kind.group, &kind.plural),
    }
}

impl<'a> Asked<'a> {
    pub fn new(review: &'a Review<'a>) -> Self {
        let kinds = review.objects.kinds();
        let is_namespace = review.is("", "namespaces");
        let namespace = if is_namespace { review.name } else { review.namespace.unwrap_or_default() };
        let own = review.requested;
        let equivalents = kinds
            .iter()
            .filter(|kind| storage(kind) == storage(own))
            .filter(|kind| (&kind.group, &kind.version) != (&own.group, &own.version))
            .cloned()
            .collect();
        Self { review, kinds, namespace, is_namespace, equivalents }
    }

    /// The stored Namespace that the request is in; `None` at the cluster scope and for Namespaces themselves.
    pub async fn namespace_object(&self) -> Result<Option<Value>, Status> {
        if self.namespace.is_empty() || self.is_namespace {
            return Ok(None);
        }
        self.stored_namespace().await.map(Some)
    }

    async fn stored_namespace(&self) -> Result<Value, Status> {
        let reader = self.review.objects.reader();
        if let Some(found) = reader.get("", "namespaces", None, self.namespace) {
            return Ok(found.value());
        }
        reader.catch_up().await;
        let found = reader.get("", "namespaces", None, self.namespace);
        found.map(|found| found.value()).ok_or_else(|| Status::not_found("", "namespaces", self.namespace))
    }

    async fn namespace_fits(&self, selector: &LabelSelector) -> Result<bool, Status> {
        if self.namespace.is_empty() || selector.is_everything() {
            // What is at the cluster scope is never exempted.
            return Ok(true);
        }
        let review = self.review;
        let writes = matches!(review.operation, Operation::Create | Operation::Update);
        if self.is_namespace && writes && review.sub == objects::Sub::None {
            return Ok(selector.matches_object(&review.object));
        }
        Ok(selector.matches_object(&self.stored_namespace().await?))
    }

    fn object_fits(&self, selector: &LabelSelector) -> bool {
        let fits = |object: &Value| object.is_object() && selector.matches_object(object);
        selector.is_everything() || fits(&self.review.object) || self.review.old.is_some_and(fits)
    }
}

/// The kind whose words a rule was written in.
#[derive(Clone)]
pub(super) enum Matched {
    /// The one that was asked for.
    Requested,
    /// Another version of it.
    Equivalent(Arc<Kind>),
}

impl Matched {
    pub fn kind<'a>(&'a self, review: &'a Review<'_>) -> &'a Kind {
        match self {
            Self::Requested => review.requested,
            Self::Equivalent(kind) => kind,
        }
    }
}

/// Everything that says which requests are meant, CEL apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Matcher {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    namespaces: LabelSelector,
    objects: LabelSelector,
    exact: bool,
    /// Whether no rule at all means everything (policies), or nothing (webhooks).
    open: bool,
}

impl Matcher {
    /// Of a webhook.
    pub fn of_webhook(webhook: &Value) -> Result<Self, Status> {
        let mut matcher = Self::selectors(webhook)?;
        matcher.rules = Rule::list(webhook.get("rules"));
        Ok(matcher)
    }

    /// Of `matchConstraints` or `matchResources`.
    pub fn of_policy(resources: Option<&Value>) -> Result<Self, Status> {
        let resources = resources.unwrap_or(&Value::Null);
        let mut matcher = Self::selectors(resources)?;
        matcher.rules = Rule::list(resources.get("resourceRules"));
        matcher.excluded = Rule::list(resources.get("excludeResourceRules"));
        matcher.open = true;
        Ok(matcher)
    }

    fn selectors(value: &Value) -> Result<Self, Status> {
        let selector = |field: &str| match value.get(field).filter(|selector| selector.is_object()) {
            None => Ok(LabelSelector::default()),
            some => LabelSelector::from_json(some).map_err(Status::from),
        };
        Ok(Self {
            namespaces: selector("namespaceSelector")?,
            objects: selector("objectSelector")?,
            exact: value.get("matchPolicy").and_then(Value::as_str) == Some("Exact"),
            ..Self::default()
        })
    }

    fn by_rules(&self, rules: &[Rule], asked: &Asked<'_>) -> Option<Matched> {
        if rules.iter().any(|rule| rule.takes(asked, asked.review.requested)) {
            return Some(Matched::Requested);
        }
        if self.exact {
            return None;
        }
        let mut found = rules.iter().filter_map(|rule| asked.equivalents.iter().find(|kind| rule.takes(asked, kind)));
        found.next().cloned().map(Matched::Equivalent)
    }

    /// Whether the request is meant, and in which version it is to be shown.
    ///
    /// # Errors
    /// The Namespace of the request is not there, which is only asked for where the labels of Namespaces count.
    pub async fn matches(&self, asked: &Asked<'_>) -> Result<Option<Matched>, Status> {
        let matched = if self.open && self.rules.is_empty() {
            Matched::Requested
        } else {
            match self.by_rules(&self.rules, asked) {
                Some(matched) => matched,
                None => return Ok(None),
            }
        };
        if self.by_rules(&self.excluded, asked).is_some() || !asked.object_fits(&self.objects) {
            return Ok(None);
        }
        Ok(asked.namespace_fits(&self.namespaces).await?.then_some(matched))
    }
}

#[cfg(test)]
mod tests {
    use super::takes_resource;

    #[test]
    fn patterns_take_in_subresources_only_where_they_say_so() {
        for (pattern, plural, sub, wanted) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "exec", false),
            ("pods/exec", "pods", "exec", true),
            ("pods/exec", "pods", "", false),
            ("pods/*", "pods", "", true),
            ("pods/*", "pods", "exec", true),
            ("*", "pods", "", true),
            ("*", "pods", "exec", false),
            ("*/*", "pods", "exec", true),
            ("*/*", "pods", "", true),
            ("*/scale", "deployments", "scale", true),
            ("*/scale", "deployments", "", false),
            ("services", "pods", "", false),
        ] {
            assert_eq!(takes_resource(pattern, plural, sub), wanted, "{pattern} {plural} {sub}");
        }
    }
}
