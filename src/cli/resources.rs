//! What the server calls things: `deploy`, `deployments.apps`, `all` → resources.

use anyhow::{Context, bail};
use futures::future::try_join_all;
use serde_json::Value;

use crate::connection::{Call, Connection};

/// One resource that the server serves.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The API group, empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The plural.
    pub plural: String,
    /// Whether it lives in namespaces.
    pub namespaced: bool,
    names: Vec<String>,
    categories: Vec<String>,
}

impl Resource {
    /// `deployments.apps`, `pods`
    pub fn qualified(&self) -> String {
        api::status::qualified(&self.group, &self.plural)
    }
    /// `deployment.apps/hello`: how kubectl names an object in a sentence.
    pub fn display(&self, name: &str) -> String {
        format!("{}/{name}", api::status::qualified(&self.group, &self.kind.to_lowercase()))
    }
    /// The path of the collection; all namespaces when `namespace` is `None`.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let base = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace {
            Some(namespace) if self.namespaced => format!("{base}/namespaces/{namespace}/{}", self.plural),
            _ => format!("{base}/{}", self.plural),
        }
    }
    /// The path of one object.
    pub fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.path(Some(namespace)))
    }
}

/// Everything that the server serves, in its order of preference.
pub struct Resources {
    all: Vec<Resource>,
}

impl Resources {
    /// Asks the server.
    pub async fn discover(connection: &Connection) -> anyhow::Result<Self> {
        let groups = connection.json(Call::get("/apis")).await.context("cannot read what the server serves")?;
        let mut versions = vec![(String::new(), "v1".to_owned())];
        for group in array(&groups, "groups") {
            for version in array(group, "versions") {
                versions.push((text(group, "name"), text(version, "version")));
            }
        }
        let lists = versions.iter().map(|(group, version)| async move {
            let path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
            // An aggregated API that is down must not take the others with it.
            let list = connection.json(Call::get(path)).await.unwrap_or_default();
            anyhow::Ok(array(&list, "resources").iter().filter_map(|row| read(group, version, row)).collect::<Vec<_>>())
        });
        let all: Vec<Resource> = try_join_all(lists).await?.into_iter().flatten().collect();
        if all.is_empty() {
            bail!("the server {} lists no resources", connection.server);
        }
        Ok(Self { all })
    }

    /// The resources that a word means: a plural, singular, short name, kind, `plural.group`, category, or several of
    /// these with commas.
    pub fn named(&self, words: &str) -> anyhow::Result<Vec<Resource>> {
        let mut found = Vec::new();
        for word in words.split(',') {
            match self.one(word) {
                Some(resource) => found.push(resource.clone()),
                None => found.extend(self.category(word)?),
            }
        }
        Ok(found)
    }

    fn one(&self, word: &str) -> Option<&Resource> {
        let word = word.to_lowercase();
        self.all.iter().find(|resource| {
            resource.names.contains(&word)
                || word.split_once('.').is_some_and(|(name, group)| {
                    resource.names.iter().any(|known| known == name)
                        && (group == resource.group || group == format!("{}.{}", resource.version, resource.group))
                })
        })
    }

    fn category(&self, word: &str) -> anyhow::Result<Vec<Resource>> {
        let members: Vec<Resource> =
            self.all.iter().filter(|resource| resource.categories.iter().any(|name| name == word)).cloned().collect();
        if members.is_empty() {
            bail!("the server doesn't have a resource type {word:?}");
        }
        Ok(members)
    }

    /// The resource of an object's apiVersion and kind.
    pub fn of(&self, api_version: &str, kind: &str) -> anyhow::Result<&Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.all
            .iter()
            .find(|resource| resource.group == group && resource.version == version && resource.kind == kind)
            .with_context(|| format!("the server serves no kind {kind:?} in version {api_version:?}"))
    }
}

fn read(group: &str, version: &str, row: &Value) -> Option<Resource> {
    let plural = text(row, "name");
    if plural.contains('/') || !array(row, "verbs").iter().any(|verb| verb == "get" || verb == "list") {
        return None;
    }
    let kind = text(row, "kind");
    let mut names = vec![plural.clone(), kind.to_lowercase()];
    names.extend(Some(text(row, "singularName")).filter(|name| !name.is_empty()));
    names.extend(array(row, "shortNames").iter().filter_map(|name| name.as_str().map(str::to_owned)));
    Some(Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind,
        plural,
        namespaced: row.get("namespaced").and_then(Value::as_bool).unwrap_or(false),
        names,
        categories: array(row, "categories").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
    })
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn array<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What a person named: resources, and names of objects in them (none: all).
pub struct Targets {
    /// Each resource with the names asked for.
    pub wanted: Vec<(Resource, Vec<String>)>,
}

impl Targets {
    /// Reads `TYPE`, `TYPE NAME…` and `TYPE/NAME…`.
    pub fn parse(resources: &Resources, words: &[String]) -> anyhow::Result<Self> {
        let mut wanted: Vec<(Resource, Vec<String>)> = Vec::new();
        if words.iter().any(|word| word.contains('/')) {
            for word in words {
                let (kind, name) =
                    word.split_once('/').with_context(|| format!("{word:?} is not TYPE/NAME like the others"))?;
                for resource in resources.named(kind)? {
                    wanted.push((resource, vec![name.to_owned()]));
                }
            }
        } else if let Some((kinds, names)) = words.split_first() {
            for resource in resources.named(kinds)? {
                wanted.push((resource, names.to_vec()));
            }
        }
        Ok(Self { wanted })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resources() -> Resources {
        let row = |group: &str, row: Value| read(group, "v1", &row).unwrap();
        Resources {
            all: vec![
                row(
                    "",
                    json!({ "name": "pods", "kind": "Pod", "singularName": "pod", "shortNames": ["po"], "namespaced": true, "verbs": ["get"], "categories": ["all"] }),
                ),
                row(
                    "",
                    json!({ "name": "events", "kind": "Event", "shortNames": ["ev"], "namespaced": true, "verbs": ["list"] }),
                ),
                row(
                    "apps",
                    json!({ "name": "deployments", "kind": "Deployment", "singularName": "deployment", "shortNames": ["deploy"], "namespaced": true, "verbs": ["get"], "categories": ["all"] }),
                ),
                row(
                    "events.k8s.io",
                    json!({ "name": "events", "kind": "Event", "namespaced": true, "verbs": ["list"] }),
                ),
                row(
                    "",
                    json!({ "name": "nodes", "kind": "Node", "shortNames": ["no"], "namespaced": false, "verbs": ["get"] }),
                ),
            ],
        }
    }

    #[test]
    fn a_word_means_a_resource_or_several() {
        let resources = resources();
        for (words, wanted) in [
            ("po", &["pods"][..]),
            ("Deployment", &["deployments.apps"]),
            ("deploy,no", &["deployments.apps", "nodes"]),
            ("deployments.apps", &["deployments.apps"]),
            ("deployments.v1.apps", &["deployments.apps"]),
            ("ev", &["events"]),
            ("events.events.k8s.io", &["events.events.k8s.io"]),
            ("all", &["pods", "deployments.apps"]),
        ] {
            let found: Vec<String> = resources.named(words).unwrap().iter().map(Resource::qualified).collect();
            assert_eq!(found, wanted, "{words}");
        }
        assert!(resources.named("pod,nonsense").is_err());
    }

    #[test]
    fn paths_and_names_are_kubernetes() {
        let resources = resources();
        let deployment = resources.of("apps/v1", "Deployment").unwrap();
        assert_eq!(deployment.object("team", "a"), "/apis/apps/v1/namespaces/team/deployments/a");
        assert_eq!(deployment.path(None), "/apis/apps/v1/deployments");
        assert_eq!(deployment.display("a"), "deployment.apps/a");
        assert_eq!(resources.of("v1", "Node").unwrap().object("team", "a"), "/api/v1/nodes/a");
        assert!(resources.of("v2", "Node").is_err());
        assert!(read("", "v1", &json!({ "name": "pods/log", "kind": "Pod", "verbs": ["get"] })).is_none());
    }

    #[test]
    fn targets_are_types_with_names() {
        let resources = resources();
        let parse =
            |words: &[&str]| Targets::parse(&resources, &words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        let shown = |words: &[&str]| -> Vec<String> {
            let wanted = parse(words).unwrap().wanted;
            wanted.iter().map(|(resource, names)| format!("{}:{}", resource.plural, names.join("+"))).collect()
        };
        assert_eq!(shown(&["pods"]), ["pods:"]);
        assert_eq!(shown(&["pods", "a", "b"]), ["pods:a+b"]);
        assert_eq!(shown(&["po/a", "deploy/b"]), ["pods:a", "deployments:b"]);
        assert!(parse(&["po/a", "b"]).is_err());
    }
}
