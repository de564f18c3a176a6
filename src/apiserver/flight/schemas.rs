//! Which FlowSchema a request falls under. Pure.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use api::{AccessRequest, UserInfo};
use serde_json::Value;

use super::levels::{Plan, Queuing};

const EXEMPT: &str = "exempt";
const CATCH_ALL: &str = "catch-all";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// All schemas in the order in which they are asked, and the levels.
pub(super) struct Schemas {
    schemas: Vec<Schema>,
    /// Takes what no other matches.
    last: Schema,
    pub plans: Vec<Plan>,
    uids: HashMap<Arc<str>, Arc<str>>,
}

/// One FlowSchema.
pub(super) struct Schema {
    order: (i64, String),
    pub uid: Arc<str>,
    pub level: Arc<str>,
    distinguisher: Distinguisher,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Distinguisher {
    None,
    User,
    Namespace,
}

struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<Resources>,
    paths: Vec<Paths>,
}

enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

struct Resources {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    namespaces: Vec<String>,
    cluster: bool,
}

struct Paths {
    verbs: Vec<String>,
    paths: Vec<String>,
}

impl Default for Schemas {
    /// What every server has, whatever was configured.
    fn default() -> Self {
        Self::read(&[], &[])
    }
}

impl Schemas {
    /// Reads the objects of both kinds. The two levels and schemas that Kubernetes calls mandatory are there in any case.
    pub fn read(schemas: &[Value], levels: &[Value]) -> Self {
        let mut plans: Vec<Plan> = levels.iter().filter_map(plan).collect();
        let mut uids: HashMap<Arc<str>, Arc<str>> = levels
            .iter()
            .map(|level| (text(level, "/metadata/name").into(), text(level, "/metadata/uid").into()))
            .collect();
        for (name, exempt) in [(EXEMPT, true), (CATCH_ALL, false)] {
            if !plans.iter().any(|plan| &*plan.name == name) {
                plans.push(Plan { name: name.into(), exempt, shares: 5, ..Plan::default() });
                uids.insert(name.into(), "".into());
            }
        }
        let mut schemas: Vec<Schema> = schemas.iter().map(Schema::read).collect();
        // A schema whose level is not there matches nothing.
        schemas.retain(|schema| uids.contains_key(&schema.level));
        if !schemas.iter().any(|schema| schema.order.1 == EXEMPT) {
            schemas.push(Schema::exempt());
        }
        let last = schemas.iter().position(|schema| schema.order.1 == CATCH_ALL);
        let last = last.map_or_else(Schema::catch_all, |at| schemas.swap_remove(at));
        schemas.sort_by(|one, other| one.order.cmp(&other.order));
        Self { schemas, last, plans, uids }
    }

    /// The first schema that matches.
    pub fn find(&self, access: &AccessRequest) -> &Schema {
        self.schemas.iter().find(|schema| schema.matches(access)).unwrap_or(&self.last)
    }

    pub fn level_uid(&self, level: &str) -> Arc<str> {
        self.uids.get(level).cloned().unwrap_or_else(|| "".into())
    }
}

impl Schema {
    fn read(object: &Value) -> Self {
        let precedence = object.pointer("/spec/matchingPrecedence").and_then(Value::as_i64).unwrap_or(1000);
        Self {
            order: (precedence, text(object, "/metadata/name").to_owned()),
            uid: text(object, "/metadata/uid").into(),
            level: text(object, "/spec/priorityLevelConfiguration/name").into(),
            distinguisher: match text(object, "/spec/distinguisherMethod/type") {
                "ByUser" => Distinguisher::User,
                "ByNamespace" => Distinguisher::Namespace,
                _ => Distinguisher::None,
            },
            rules: list(object, "/spec/rules").iter().map(Rule::read).collect(),
        }
    }

    fn exempt() -> Self {
        let all = || vec!["*".to_owned()];
        let resources = Resources { verbs: all(), groups: all(), resources: all(), namespaces: all(), cluster: true };
        let rule = Rule {
            subjects: vec![Subject::Group(UserInfo::MASTERS.to_owned())],
            resources: vec![resources],
            paths: vec![Paths { verbs: all(), paths: all() }],
        };
        Self {
            order: (1, EXEMPT.to_owned()),
            uid: "".into(),
            level: EXEMPT.into(),
            distinguisher: Distinguisher::None,
            rules: vec![rule],
        }
    }

    fn catch_all() -> Self {
        Self {
            order: (10_000, CATCH_ALL.to_owned()),
            uid: "".into(),
            level: CATCH_ALL.into(),
            distinguisher: Distinguisher::User,
            rules: Vec::new(),
        }
    }

    fn matches(&self, access: &AccessRequest) -> bool {
        self.rules.iter().any(|rule| rule.matches(access))
    }

    /// Requests with the same number take turns with others as one.
    pub fn flow(&self, access: &AccessRequest) -> u64 {
        let mut hash = DefaultHasher::new();
        self.order.1.hash(&mut hash);
        match self.distinguisher {
            Distinguisher::None => {}
            Distinguisher::User => access.user.name.hash(&mut hash),
            Distinguisher::Namespace => access.namespace.hash(&mut hash),
        }
        hash.finish()
    }
}

impl Rule {
    fn read(rule: &Value) -> Self {
        Self {
            subjects: list(rule, "/subjects").iter().filter_map(Subject::read).collect(),
            resources: list(rule, "/resourceRules").iter().map(Resources::read).collect(),
            paths: list(rule, "/nonResourceRules")
                .iter()
                .map(|rule| Paths { verbs: texts(rule, "/verbs"), paths: texts(rule, "/nonResourceURLs") })
                .collect(),
        }
    }

    fn matches(&self, access: &AccessRequest) -> bool {
        if !self.subjects.iter().any(|subject| subject.matches(&access.user)) {
            return false;
        }
        if access.resource.is_empty() {
            self.paths.iter().any(|paths| paths.matches(access))
        } else {
            self.resources.iter().any(|resources| resources.matches(access))
        }
    }
}

impl Subject {
    fn read(subject: &Value) -> Option<Self> {
        let name = |pointer| text(subject, pointer).to_owned();
        match text(subject, "/kind") {
            "User" => Some(Self::User(name("/user/name"))),
            "Group" => Some(Self::Group(name("/group/name"))),
            "ServiceAccount" => Some(Self::ServiceAccount {
                namespace: name("/serviceAccount/namespace"),
                name: name("/serviceAccount/name"),
            }),
            _ => None,
        }
    }

    fn matches(&self, user: &UserInfo) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == user.name,
            Self::Group(group) => group == "*" || user.is_in(group),
            Self::ServiceAccount { namespace, name } => user
                .name
                .strip_prefix(SERVICE_ACCOUNT)
                .and_then(|rest| rest.split_once(':'))
                .is_some_and(|(own, account)| own == namespace && (name == "*" || account == name)),
        }
    }
}

impl Resources {
    fn read(rule: &Value) -> Self {
        Self {
            verbs: texts(rule, "/verbs"),
            groups: texts(rule, "/apiGroups"),
            resources: texts(rule, "/resources"),
            namespaces: texts(rule, "/namespaces"),
            cluster: rule.pointer("/clusterScope").and_then(Value::as_bool).unwrap_or_default(),
        }
    }

    fn matches(&self, access: &AccessRequest) -> bool {
        let resource = |entry: &String| match entry.split_once('/') {
            None => entry == "*" || (*entry == access.resource && access.subresource.is_empty()),
            Some((resource, subresource)) => resource == access.resource && subresource == access.subresource,
        };
        let place = if access.namespace.is_empty() { self.cluster } else { names(&self.namespaces, &access.namespace) };
        place
            && names(&self.verbs, &access.verb)
            && names(&self.groups, &access.group)
            && self.resources.iter().any(resource)
    }
}

impl Paths {
    fn matches(&self, access: &AccessRequest) -> bool {
        let fits = |path: &String| match path.strip_suffix('*') {
            Some(start) => access.path.starts_with(start),
            None => *path == access.path,
        };
        names(&self.verbs, &access.verb) && self.paths.iter().any(fits)
    }
}

fn names(list: &[String], one: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == one)
}

fn plan(level: &Value) -> Option<Plan> {
    let exempt = text(level, "/spec/type") == "Exempt";
    let part = if exempt { "/spec/exempt" } else { "/spec/limited" };
    let number = |field: &str| level.pointer(&format!("{part}/{field}")).and_then(Value::as_u64);
    let queuing = |field: &str| {
        let value = level.pointer(&format!("/spec/limited/limitResponse/queuing/{field}"));
        value.and_then(Value::as_u64).and_then(|value| usize::try_from(value).ok())
    };
    let waits = text(level, "/spec/limited/limitResponse/type") == "Queue";
    Some(Plan {
        name: text(level, "/metadata/name").into(),
        exempt,
        shares: number("nominalConcurrencyShares").unwrap_or(if exempt { 0 } else { 30 }),
        lendable_percent: number("lendablePercent").unwrap_or_default(),
        borrowing_limit_percent: number("borrowingLimitPercent"),
        queuing: waits.then(|| Queuing {
            queues: queuing("queues").unwrap_or(64).clamp(1, 10_000),
            hand: queuing("handSize").unwrap_or(8).max(1),
            length: queuing("queueLengthLimit").unwrap_or(50).max(1),
        }),
    })
    .filter(|plan| !plan.name.is_empty())
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(object: &Value, pointer: &str) -> Vec<String> {
    list(object, pointer).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
