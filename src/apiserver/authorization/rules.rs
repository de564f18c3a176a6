//! RBAC's rules: what one allows, what it takes to cover one, how they are told to people. Pure.

use serde::Deserialize;

/// One rule of a Role or a ClusterRole.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// What may be done; `*` is everything.
    #[serde(deserialize_with = "listed")]
    pub verbs: Vec<String>,
    /// In which API groups; `*` is all.
    #[serde(deserialize_with = "listed")]
    pub api_groups: Vec<String>,
    /// To which resources: `pods`, `pods/log`, `*/scale`, `*`.
    #[serde(deserialize_with = "listed")]
    pub resources: Vec<String>,
    /// To objects with these names alone, when there are any.
    #[serde(deserialize_with = "listed")]
    pub resource_names: Vec<String>,
    /// Paths that are no resources; a `*` at the end stands for the rest.
    #[serde(rename = "nonResourceURLs", deserialize_with = "listed")]
    pub non_resource_urls: Vec<String>,
}

/// A list that may be null.
fn listed<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(from)?.unwrap_or_default())
}

const ALL: &str = "*";

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == wanted)
}

fn has_or_all(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

impl PolicyRule {
    /// Allows everything on every resource.
    pub fn all_resources() -> Self {
        let all = || vec![ALL.to_owned()];
        Self { verbs: all(), api_groups: all(), resources: all(), ..Self::default() }
    }

    /// Allows everything on every path.
    pub fn all_paths() -> Self {
        Self { verbs: vec![ALL.to_owned()], non_resource_urls: vec![ALL.to_owned()], ..Self::default() }
    }

    /// Whether the rule speaks for `verb` on a resource.
    pub fn allows(&self, verb: &str, group: &str, resource: &str, subresource: &str, name: &str) -> bool {
        has_or_all(&self.verbs, verb)
            && has_or_all(&self.api_groups, group)
            && self.resources.iter().any(|pattern| is_resource(pattern, resource, subresource))
            && (self.resource_names.is_empty() || has(&self.resource_names, name))
    }

    /// Whether the rule speaks for `verb` on a path.
    pub fn allows_path(&self, verb: &str, path: &str) -> bool {
        has_or_all(&self.verbs, verb) && self.non_resource_urls.iter().any(|pattern| is_path(pattern, path))
    }

    /// The smallest rules that together say the same.
    fn parts(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        let one = |text: &String| vec![text.clone()];
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let part =
                        Self { verbs: one(verb), api_groups: one(group), resources: one(resource), ..Self::default() };
                    if self.resource_names.is_empty() {
                        parts.push(part);
                        continue;
                    }
                    for name in &self.resource_names {
                        parts.push(Self { resource_names: one(name), ..part.clone() });
                    }
                }
            }
            for url in &self.non_resource_urls {
                parts.push(Self { verbs: one(verb), non_resource_urls: one(url), ..Self::default() });
            }
        }
        parts
    }

    /// Whether everything that `part` allows is allowed by this rule.
    fn covers(&self, part: &Self) -> bool {
        let all_in = |mine: &[String], theirs: &[String]| has(mine, ALL) || theirs.iter().all(|one| has(mine, one));
        let names = self.resource_names.is_empty()
            || !part.resource_names.is_empty()
                && part.resource_names.iter().all(|name| has(&self.resource_names, name));
        let resource = |theirs: &String| {
            has(&self.resources, theirs)
                || theirs
                    .split_once('/')
                    .is_some_and(|(_, sub)| self.resources.iter().any(|mine| is_any_with(mine, sub)))
        };
        let resources = has(&self.resources, ALL) || part.resources.iter().all(resource);
        let path = |theirs: &String| self.non_resource_urls.iter().any(|mine| is_path(mine, theirs));
        all_in(&self.verbs, &part.verbs)
            && all_in(&self.api_groups, &part.api_groups)
            && resources
            && part.non_resource_urls.iter().all(path)
            && names
    }

    /// `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}`
    fn described(&self) -> String {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<String> = lists
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", quoted(list)))
            .collect();
        format!("{{{}}}", shown.join(", "))
    }
}

/// `["a" "b"]`, as Go prints a list of quoted strings.
pub(crate) fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

fn is_resource(pattern: &str, resource: &str, subresource: &str) -> bool {
    if pattern == ALL {
        return true;
    }
    if subresource.is_empty() {
        return pattern == resource;
    }
    let exact = pattern.strip_prefix(resource).and_then(|rest| rest.strip_prefix('/')) == Some(subresource);
    exact || is_any_with(pattern, subresource)
}

/// `*/scale`
fn is_any_with(pattern: &str, subresource: &str) -> bool {
    pattern.strip_prefix("*/") == Some(subresource)
}

fn is_path(pattern: &str, path: &str) -> bool {
    pattern == ALL || pattern == path || pattern.ends_with('*') && path.starts_with(pattern.trim_end_matches('*'))
}

/// What of `wanted` is not covered by `held`, in the smallest parts.
pub(crate) fn missing(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let parts = wanted.iter().flat_map(PolicyRule::parts);
    parts.filter(|part| !held.iter().any(|rule| rule.covers(part))).collect()
}

/// The lines that tell people about `rules`: those on the same resource are put together.
pub(crate) fn descriptions(rules: Vec<PolicyRule>) -> Vec<String> {
    let mut compact: Vec<PolicyRule> = Vec::new();
    for rule in rules {
        let simple = rule.non_resource_urls.is_empty();
        let same = |known: &&mut PolicyRule| {
            known.non_resource_urls.is_empty()
                && known.api_groups == rule.api_groups
                && known.resources == rule.resources
                && known.resource_names == rule.resource_names
        };
        match compact.iter_mut().find(same).filter(|_| simple) {
            Some(known) => known.verbs.extend(rule.verbs),
            None => compact.push(rule),
        }
    }
    let mut lines: Vec<String> = compact.iter().map(PolicyRule::described).collect();
    lines.sort();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(|word| if word == "core" { String::new() } else { word.to_owned() }).collect()
    }

    fn rule(text: &str) -> PolicyRule {
        let mut parts = text.split('|').map(list);
        let mut next = || parts.next().unwrap_or_default();
        PolicyRule {
            verbs: next(),
            api_groups: next(),
            resources: next(),
            resource_names: next(),
            non_resource_urls: next(),
        }
    }

    #[test]
    fn a_rule_allows_what_it_names() {
        for (text, request, wanted) in [
            ("get | core | pods", "get core pods - -", true),
            ("get | core | pods", "list core pods - -", false),
            ("* | * | *", "anything x.y z sub name", true),
            ("get | apps | pods", "get core pods - -", false),
            ("get | core | pods", "get core pods log -", false),
            ("get | core | pods/log", "get core pods log -", true),
            ("get | core | pods/log", "get core pods - -", false),
            ("get | * | */scale", "get apps deployments scale -", true),
            ("get | * | */scale", "get apps scale - -", false),
            ("get | * | *", "get apps deployments scale -", true),
            ("get | core | pods | a b", "get core pods - b", true),
            ("get | core | pods | a b", "get core pods - c", false),
            ("list | core | pods | a", "list core pods - -", false),
        ] {
            let words = list(request);
            let word = |at: usize| if words[at] == "-" { "" } else { words[at].as_str() };
            let found = rule(text).allows(word(0), word(1), word(2), word(3), word(4));
            assert_eq!(found, wanted, "{text}: {request}");
        }
    }

    #[test]
    fn a_rule_allows_paths() {
        for (pattern, path, wanted) in [
            ("/metrics", "/metrics", true),
            ("/metrics", "/metrics/x", false),
            ("/api/*", "/api/v1", true),
            ("/api/*", "/api", false),
            ("/api*", "/apis", true),
            ("*", "/anything", true),
        ] {
            let rule = rule(&format!("get |||| {pattern}"));
            assert_eq!(rule.allows_path("get", path), wanted, "{pattern} {path}");
            assert!(!rule.allows_path("post", path));
        }
    }

    #[test]
    fn what_is_missing_is_told_in_kubernetes_words() {
        for (held, wanted, lines) in [
            ("* | * | *", "get list | core apps | pods", vec![]),
            ("get | core | pods", "get | core | pods | a", vec![]),
            (
                "get | core | pods | a",
                "get | core | pods",
                vec![r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#],
            ),
            ("get | core | */scale", "get | core | pods/scale", vec![]),
            ("get | core | pods", "* | core | pods", vec![r#"{APIGroups:[""], Resources:["pods"], Verbs:["*"]}"#]),
            ("get |||| /api/*", "get |||| /api/v1", vec![]),
            ("get |||| /api", "get |||| /api/v1", vec![r#"{NonResourceURLs:["/api/v1"], Verbs:["get"]}"#]),
            (
                "get | core | pods",
                "get list watch | core | pods | x",
                vec![r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["x"], Verbs:["list" "watch"]}"#],
            ),
        ] {
            assert_eq!(descriptions(missing(&[rule(held)], &[rule(wanted)])), lines, "{held} / {wanted}");
        }
    }

    fn words(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(prop::sample::select(of).prop_map(str::to_owned), 0..3)
    }

    fn any_rule() -> impl Strategy<Value = PolicyRule> {
        let resources = words(&["*", "pods", "pods/log", "*/scale", "deployments/scale"]);
        (words(&["*", "get", "list"]), words(&["*", "", "apps"]), resources, words(&["a", "b"])).prop_map(
            |(verbs, api_groups, resources, resource_names)| PolicyRule {
                verbs,
                api_groups,
                resources,
                resource_names,
                ..PolicyRule::default()
            },
        )
    }

    proptest! {
        /// Whatever is not missing is allowed: nobody can grant what they may not do.
        #[test]
        fn covered_rules_allow_nothing_new(held in prop::collection::vec(any_rule(), 0..4), wanted in any_rule()) {
            prop_assume!(missing(&held, std::slice::from_ref(&wanted)).is_empty());
            for verb in ["get", "list", "*"] {
                for group in ["", "apps"] {
                    for (resource, sub) in [("pods", ""), ("pods", "log"), ("deployments", "scale"), ("x", "scale")] {
                        for name in ["", "a", "b"] {
                            if wanted.allows(verb, group, resource, sub, name) {
                                prop_assert!(held.iter().any(|rule| rule.allows(verb, group, resource, sub, name)));
                            }
                        }
                    }
                }
            }
        }

        #[test]
        fn every_rule_covers_itself(rule in any_rule()) {
            prop_assert!(missing(std::slice::from_ref(&rule), std::slice::from_ref(&rule)).is_empty());
        }
    }
}
