//! What the scheduler is told to be: Kubernetes' `KubeSchedulerConfiguration`, as far as it has a meaning here.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{NodeAffinity, TopologySpreadConstraint};
use serde_json::Value;
use thiserror::Error;

use crate::ask::Spread;
use crate::labels::Matcher;
use crate::plugins::{ALL, ELSEWHERE};
use crate::profile::{Profile, Profiles, Shape, Strategy, Weighted};

/// How the scheduler behaves.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) profiles: Profiles,
    /// Decides between nodes that are equally good.
    pub seed: u64,
    pub(crate) backoff_first: Duration,
    pub(crate) backoff_max: Duration,
}

/// Why a configuration is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct ConfigError {
    field: String,
    problem: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            profiles: Profiles(vec![Arc::new(Profile::new("default-scheduler"))]),
            seed: 0,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(10),
        }
    }
}

type Read<T> = Result<T, ConfigError>;

fn error(field: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError { field: field.to_owned(), problem: problem.into() }
}

/// Fields that are read; those with `false` are known and have no meaning in this process.
const FIELDS: [(&str, bool); 11] = [
    ("apiVersion", true),
    ("kind", true),
    ("profiles", true),
    ("percentageOfNodesToScore", true),
    ("podInitialBackoffSeconds", true),
    ("podMaxBackoffSeconds", true),
    ("parallelism", false),
    ("leaderElection", false),
    ("clientConnection", false),
    ("enableProfiling", false),
    ("enableContentionProfiling", false),
];

impl Config {
    /// Reads a `KubeSchedulerConfiguration` of `kubescheduler.config.k8s.io/v1` in YAML or JSON.
    ///
    /// # Errors
    /// The first field that has no meaning, and why.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let value = api::yaml::parse(text).map_err(|why| error("configuration", why.to_string()))?;
        let Some(fields) = value.as_object() else { return Err(error("configuration", "must be an object")) };
        expect(&value, "apiVersion", "kubescheduler.config.k8s.io/v1")?;
        expect(&value, "kind", "KubeSchedulerConfiguration")?;
        for (field, content) in fields {
            if field == "extenders" && content.as_array().is_none_or(|list| !list.is_empty()) {
                return Err(error("extenders", "webhooks that extend the scheduler are not supported; remove them"));
            }
            if field != "extenders" && !FIELDS.iter().any(|(known, _)| known == field) {
                return Err(error(field, "unknown field"));
            }
        }
        let mut config = Self::default();
        let seconds = |field: &str, default: Duration| match value.get(field) {
            None | Some(Value::Null) => Ok(default),
            Some(number) => match number.as_u64() {
                Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
                _ => Err(error(field, "must be greater than 0")),
            },
        };
        config.backoff_first = seconds("podInitialBackoffSeconds", config.backoff_first)?;
        config.backoff_max = seconds("podMaxBackoffSeconds", config.backoff_max)?;
        if config.backoff_max < config.backoff_first {
            return Err(error("podMaxBackoffSeconds", "must be greater than or equal to PodInitialBackoffSeconds"));
        }
        let percentage = percentage(&value, "percentageOfNodesToScore")?;
        config.profiles = Profiles(profiles(value.get("profiles"), percentage)?);
        Ok(config)
    }

    /// The schedulers' names that pods may use.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.profiles.0.iter().map(|profile| profile.name.as_str())
    }
}

fn expect(value: &Value, field: &str, wanted: &str) -> Read<()> {
    match value.get(field).and_then(Value::as_str) {
        Some(found) if found == wanted => Ok(()),
        _ => Err(error(field, format!("must be {wanted}"))),
    }
}

fn percentage(value: &Value, field: &str) -> Read<Option<i64>> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(number) => match number.as_i64() {
            Some(percent @ 0..=100) => Ok(Some(percent).filter(|percent| *percent > 0)),
            _ => Err(error(field, "must be between 0 and 100")),
        },
    }
}

fn list<'a>(value: Option<&'a Value>, field: &str) -> Read<&'a [Value]> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(error(field, "must be a list")),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

fn profiles(value: Option<&Value>, general: Option<i64>) -> Read<Vec<Arc<Profile>>> {
    let mut profiles: Vec<Arc<Profile>> = Vec::new();
    for (index, written) in list(value, "profiles")?.iter().enumerate() {
        let path = format!("profiles[{index}]");
        let name = text(written, "schedulerName").unwrap_or("default-scheduler");
        if profiles.iter().any(|other| other.name == name) {
            return Err(error(&format!("{path}.schedulerName"), format!("Duplicate value: {name:?}")));
        }
        let mut profile = Profile::new(name);
        profile.percentage = percentage(written, "percentageOfNodesToScore")?.or(general);
        if let Some(plugins) = written.get("plugins").filter(|plugins| !plugins.is_null()) {
            read_plugins(&mut profile, plugins, &format!("{path}.plugins"))?;
        }
        for (index, written) in list(written.get("pluginConfig"), "pluginConfig")?.iter().enumerate() {
            read_args(&mut profile, written, &format!("{path}.pluginConfig[{index}]"))?;
        }
        profiles.push(Arc::new(profile));
    }
    if profiles.is_empty() {
        let mut profile = Profile::new("default-scheduler");
        profile.percentage = general;
        profiles.push(Arc::new(profile));
    }
    Ok(profiles)
}

/// Where plug-ins can be switched: `multiPoint` first, so that what is said of one place counts more.
const POINTS: [&str; 13] = [
    "multiPoint",
    "preEnqueue",
    "queueSort",
    "preFilter",
    "filter",
    "postFilter",
    "preScore",
    "score",
    "reserve",
    "permit",
    "preBind",
    "bind",
    "postBind",
];

fn read_plugins(profile: &mut Profile, plugins: &Value, path: &str) -> Read<()> {
    let Some(fields) = plugins.as_object() else { return Err(error(path, "must be an object")) };
    if let Some(unknown) = fields.keys().find(|field| !POINTS.contains(&field.as_str())) {
        return Err(error(&format!("{path}.{unknown}"), "unknown field"));
    }
    for point in POINTS {
        let Some(set) = fields.get(point) else { continue };
        let path = format!("{path}.{point}");
        for off in list(set.get("disabled"), &path)? {
            switch(profile, point, text(off, "name").unwrap_or_default(), None, &path)?;
        }
        for on in list(set.get("enabled"), &path)? {
            let weight = on.get("weight").and_then(Value::as_i64);
            switch(profile, point, text(on, "name").unwrap_or_default(), Some(weight), &path)?;
        }
    }
    Ok(())
}

/// Switches a plug-in on (with a weight, if one is named) or off at a point.
fn switch(profile: &mut Profile, point: &str, name: &str, on: Option<Option<i64>>, path: &str) -> Read<()> {
    let rows: Vec<usize> = (0..ALL.len()).filter(|row| name == "*" || ALL[*row].name == name).collect();
    if rows.is_empty() && !ELSEWHERE.contains(&name) {
        return Err(error(path, format!("plugin {name:?} does not exist")));
    }
    if let Some(Some(weight)) = on
        && !(0..=i64::from(i32::MAX)).contains(&weight)
    {
        return Err(error(path, format!("the weight of {name} is out of range")));
    }
    for row in rows {
        if matches!(point, "multiPoint" | "filter" | "preFilter") && ALL[row].filter.is_some() {
            let bit = 1 << row;
            profile.filters = if on.is_some() { profile.filters | bit } else { profile.filters & !bit };
        }
        if matches!(point, "multiPoint" | "score") && ALL[row].score.is_some() {
            let usual = ALL[row].weight;
            let given = |weight: Option<i64>| weight.filter(|weight| *weight > 0).unwrap_or(usual);
            profile.weights[row] = on.map_or(0, given);
        }
    }
    if matches!(point, "multiPoint" | "postFilter") && matches!(name, "DefaultPreemption" | "*") {
        profile.preempts = on.is_some();
    }
    Ok(())
}

fn read_args(profile: &mut Profile, written: &Value, path: &str) -> Read<()> {
    let name = text(written, "name").unwrap_or_default();
    let none = Value::Object(serde_json::Map::new());
    let args = written.get("args").filter(|args| !args.is_null()).unwrap_or(&none);
    let path = format!("{path}.args");
    match name {
        "NodeResourcesFit" => {
            if let Some(strategy) = args.get("scoringStrategy").filter(|strategy| !strategy.is_null()) {
                profile.strategy = strategy_of(strategy, &format!("{path}.scoringStrategy"))?;
            }
        }
        "NodeResourcesBalancedAllocation" => {
            let resources = weighted(args.get("resources"), &path)?;
            if !resources.is_empty() {
                profile.balanced = resources.into_iter().map(|resource| resource.name).collect();
            }
        }
        "PodTopologySpread" => profile.spread = spread_of(profile, args, &path)?,
        "InterPodAffinity" => {
            if let Some(weight) = args.get("hardPodAffinityWeight").and_then(Value::as_i64) {
                if !(0..=100).contains(&weight) {
                    return Err(error(&format!("{path}.hardPodAffinityWeight"), "not in valid range [0, 100]"));
                }
                profile.hard_affinity_weight = weight;
            }
            let ignores = args.get("ignorePreferredTermsOfExistingPods").and_then(Value::as_bool);
            profile.ignores_others_preferences = ignores.unwrap_or(false);
        }
        "NodeAffinity" => {
            let added = args.get("addedAffinity").filter(|added| !added.is_null()).cloned();
            let read = added.map(serde_json::from_value::<NodeAffinity>).transpose();
            profile.added_affinity = read.map_err(|why| error(&format!("{path}.addedAffinity"), why.to_string()))?;
        }
        "DefaultPreemption" => {
            let number = |field: &str, usual: i64| args.get(field).and_then(Value::as_i64).unwrap_or(usual);
            let (percent, least) = profile.candidates;
            let percent = number("minCandidateNodesPercentage", percent);
            if !(0..=100).contains(&percent) {
                return Err(error(&format!("{path}.minCandidateNodesPercentage"), "not in valid range [0, 100]"));
            }
            profile.candidates = (percent, number("minCandidateNodesAbsolute", least).max(0));
        }
        "VolumeBinding" => {}
        other => return Err(error(&path, format!("plugin {other:?} takes no arguments"))),
    }
    Ok(())
}

fn weighted(value: Option<&Value>, path: &str) -> Read<Vec<Weighted>> {
    let read = |written: &Value| {
        let name = text(written, "name").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| error(&format!("{path}.resources"), "a resource has no name"))?.to_owned();
        let weight = written.get("weight").and_then(Value::as_i64).filter(|weight| *weight > 0).unwrap_or(1);
        if weight > 100 {
            return Err(error(
                &format!("{path}.resources"),
                format!("resource weight of {name} not in valid range [1, 100]"),
            ));
        }
        Ok(Weighted { name, weight })
    };
    list(value, path)?.iter().map(read).collect()
}

fn strategy_of(value: &Value, path: &str) -> Read<Strategy> {
    let mut resources = weighted(value.get("resources"), path)?;
    if resources.is_empty() {
        resources = ["cpu", "memory"].map(|name| Weighted { name: name.to_owned(), weight: 1 }).to_vec();
    }
    match text(value, "type").unwrap_or("LeastAllocated") {
        "LeastAllocated" => Ok(Strategy::Least(resources)),
        "MostAllocated" => Ok(Strategy::Most(resources)),
        "RequestedToCapacityRatio" => {
            let path = format!("{path}.requestedToCapacityRatio.shape");
            let points = list(value.pointer("/requestedToCapacityRatio/shape"), &path)?;
            let point = |point: &Value| {
                let number = |field: &str| point.get(field).and_then(Value::as_i64).unwrap_or(0);
                // Written as 0 to 10.
                (number("utilization"), number("score") * 10)
            };
            let points: Vec<(i64, i64)> = points.iter().map(point).collect();
            if points.is_empty() {
                return Err(error(&path, "at least one point must be specified"));
            }
            if !points.windows(2).all(|pair| pair[0].0 < pair[1].0) {
                return Err(error(&path, "utilization values must be sorted in increasing order"));
            }
            if !points.iter().all(|(at, score)| (0..=100).contains(at) && (0..=100).contains(score)) {
                return Err(error(&path, "utilization is 0 to 100 and score 0 to 10"));
            }
            Ok(Strategy::Shaped(resources, Shape(points)))
        }
        other => Err(error(&format!("{path}.type"), format!("unsupported scoring strategy type {other:?}"))),
    }
}

fn spread_of(profile: &Profile, args: &Value, path: &str) -> Read<Vec<Spread>> {
    let written = list(args.get("defaultConstraints"), &format!("{path}.defaultConstraints"))?;
    let is_list = text(args, "defaultingType") == Some("List");
    if !written.is_empty() && !is_list {
        return Err(error(
            &format!("{path}.defaultingType"),
            "when .defaultingType is 'System', the constraints must be empty",
        ));
    }
    if !is_list {
        return Ok(profile.spread.clone());
    }
    let read = |written: &Value| {
        let constraint: TopologySpreadConstraint = serde_json::from_value(written.clone())
            .map_err(|why| error(&format!("{path}.defaultConstraints"), why.to_string()))?;
        if constraint.label_selector.is_some() {
            return Err(error(&format!("{path}.defaultConstraints"), "constraint must not define a selector"));
        }
        Ok(Spread {
            topology: constraint.topology_key,
            max_skew: constraint.max_skew.into(),
            min_domains: constraint.min_domains.unwrap_or(1).into(),
            is_hard: constraint.when_unsatisfiable == "DoNotSchedule",
            matcher: Matcher::everything(),
            honors_affinity: true,
            honors_taints: false,
        })
    };
    written.iter().map(read).collect()
}
