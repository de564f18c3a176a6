//! `custom.metrics.k8s.io`: the HTTP requests of pods, and of what stands before them, for autoscalers. An APIService that
//! somebody registers for the group takes its place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::kind::Plain;
use api::{Kind, LabelSelector, Quantity, Scope, Status, meta};
use jiff::Timestamp;
use objects::{ListOptions, Revisions};
use serde_json::{Value, json};

use crate::gateway::TrafficFigures;
use crate::path::Resource;
use crate::reply::Reply;
use crate::server::Call;

/// The group.
pub(crate) const GROUP: &str = "custom.metrics.k8s.io";
const VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];

/// What is measured, in thousandths; nothing where there is nothing to tell.
type Measure = fn(&TrafficFigures) -> Option<f64>;

const MEASURES: [(&str, Measure); 7] = [
    ("http_requests_per_second", |figures| Some(figures.requests_per_second)),
    ("http_requests_in_flight", |figures| Some(figures.in_flight as f64)),
    ("http_request_errors_per_second", |figures| Some(figures.errors_per_second)),
    ("http_requests_total", |figures| Some(figures.requests as f64)),
    ("http_request_errors_total", |figures| Some(figures.errors as f64)),
    ("http_request_duration_p99_seconds", |figures| figures.p99.map(|p99| p99.as_secs_f64())),
    ("http_idle_seconds", |figures| Some(figures.idle.as_secs_f64())),
];

/// What can be described: its name here, where it is stored, its kind, and how its pods are found.
struct Described {
    resource: &'static str,
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    pods: PodsOf,
}

#[derive(PartialEq)]
enum PodsOf {
    /// It is a pod.
    Itself,
    /// `spec.selector` is a map of labels.
    Labels,
    /// `spec.selector` is a LabelSelector.
    Selector,
    /// It is measured where requests come in.
    Ingress,
}

const DESCRIBED: [Described; 6] = [
    Described { resource: "pods", group: "", plural: "pods", kind: "Pod", pods: PodsOf::Itself },
    Described { resource: "services", group: "", plural: "services", kind: "Service", pods: PodsOf::Labels },
    Described {
        resource: "ingresses.networking.k8s.io",
        group: "networking.k8s.io",
        plural: "ingresses",
        kind: "Ingress",
        pods: PodsOf::Ingress,
    },
    Described {
        resource: "deployments.apps",
        group: "apps",
        plural: "deployments",
        kind: "Deployment",
        pods: PodsOf::Selector,
    },
    Described {
        resource: "replicasets.apps",
        group: "apps",
        plural: "replicasets",
        kind: "ReplicaSet",
        pods: PodsOf::Selector,
    },
    Described {
        resource: "statefulsets.apps",
        group: "apps",
        plural: "statefulsets",
        kind: "StatefulSet",
        pods: PodsOf::Selector,
    },
];

/// The rows of discovery: a metric of each kind of object.
pub(crate) fn kinds() -> impl Iterator<Item = Kind> {
    let rows = |version: &'static str| {
        DESCRIBED.iter().flat_map(move |described| MEASURES.iter().map(move |(name, _)| row(version, described, name)))
    };
    VERSIONS.into_iter().flat_map(rows)
}

fn row(version: &str, described: &Described, metric: &str) -> Kind {
    Kind {
        group: GROUP.to_owned(),
        version: version.to_owned(),
        kind: "MetricValueList".to_owned(),
        plural: format!("{}/{metric}", described.resource),
        singular: String::new(),
        short_names: Vec::new(),
        categories: Vec::new(),
        scope: Scope::Namespaced,
        status: false,
        scale: None,
        verbs: vec!["get".to_owned()],
        extra_subresources: Vec::new(),
        columns: Vec::new(),
        strategic: false,
        form: None,
        custom: None,
        behaviour: Arc::new(Plain),
    }
}

pub(crate) async fn answer(call: Call) -> Result<Reply, Status> {
    let resource = call.asked.resource.clone().unwrap_or_default();
    if !VERSIONS.contains(&resource.version.as_str()) {
        return Err(Status::no_such_path());
    }
    if call.asked.verb != "get" {
        return Err(Status::method_not_allowed());
    }
    let encoding = call.plain()?;
    let (namespace, name) = (resource.namespace.clone().unwrap_or_default(), resource.name().to_owned());
    let metric = resource.subresource().to_owned();
    let found = DESCRIBED.iter().find(|one| one.resource == resource.plural || one.plural == resource.plural);
    let measure = MEASURES.iter().find(|(known, _)| *known == metric).map(|(_, measure)| *measure);
    let (Some(described), Some(measure), false) = (found, measure, namespace.is_empty()) else {
        return Err(unknown(&resource));
    };
    let items = values(&call, described, &namespace, &name, measure).await?;
    if items.is_empty() && name != "*" {
        return Err(unknown(&resource));
    }
    let (window, now) = (call.server.traffic.read().clone().window(), Timestamp::now());
    let shown = |(name, value): (String, f64)| {
        let about = about(described, &namespace, &name);
        value_of(&resource.version, &metric, about, value, window, now)
    };
    let list = json!({
        "kind": "MetricValueList", "apiVersion": format!("{GROUP}/{}", resource.version), "metadata": {},
        "items": items.into_iter().map(shown).collect::<Vec<_>>(),
    });
    Reply::document(200, encoding, list.to_string().into())
}

fn unknown(resource: &Resource) -> Status {
    let (metric, plural) = (resource.subresource(), &resource.plural);
    let what = match resource.name() {
        "*" | "" => plural.clone(),
        name => format!("{plural} {name}"),
    };
    Status::new(404, "NotFound", format!("the server could not find the metric {metric} for {what}"))
}

fn about(described: &Described, namespace: &str, name: &str) -> Value {
    let version = if described.group.is_empty() { "/v1".to_owned() } else { format!("{}/v1", described.group) };
    json!({ "kind": described.kind, "namespace": namespace, "name": name, "apiVersion": version })
}

fn value_of(version: &str, metric: &str, about: Value, value: f64, window: Duration, now: Timestamp) -> Value {
    let mut item = json!({
        "describedObject": about,
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "windowSeconds": window.as_secs(),
        "value": Quantity::from_millis((value * 1000.0).round() as i64).to_string(),
    });
    if version == "v1beta1" {
        item["metricName"] = json!(metric);
        item["selector"] = Value::Null;
    } else {
        item["metric"] = json!({ "name": metric, "selector": null });
    }
    item
}

/// The values of the named object, or of all that the query selects.
async fn values(
    call: &Call,
    described: &Described,
    namespace: &str,
    name: &str,
    measure: Measure,
) -> Result<Vec<(String, f64)>, Status> {
    let source = call.server.traffic.read().clone();
    let objects = objects(call, described, namespace, name).await?;
    if described.pods == PodsOf::Ingress {
        let figures = source.ingresses();
        let of = |object: &Value| {
            let own = figures.get(&format!("{namespace}/{}", meta::name(object))).copied().unwrap_or_default();
            Some((meta::name(object).to_owned(), measure(&own)?))
        };
        return Ok(objects.iter().filter_map(of).collect());
    }
    let figures = source.pods();
    if described.pods == PodsOf::Itself {
        let of = |pod: &Value| Some((meta::name(pod).to_owned(), measure(&of_pod(pod, &figures)?)?));
        return Ok(objects.iter().filter_map(of).collect());
    }
    let mut values = Vec::new();
    for object in &objects {
        let selector = object.pointer("/spec/selector");
        let selector = match described.pods {
            PodsOf::Labels => LabelSelector::from_plain_json(selector),
            _ => LabelSelector::from_json(selector)?,
        };
        let pods = listed(call, ("", "pods"), namespace, selector).await?;
        let own = pods.iter().filter_map(|pod| of_pod(pod, &figures));
        let sum = own.reduce(|sum, one| together(&sum, &one));
        if sum.is_none() && pods.iter().any(is_running) {
            // They run where nobody here counts: that is not the same as no request.
            continue;
        }
        let sum = sum.unwrap_or_default();
        values.extend(measure(&sum).map(|value| (meta::name(object).to_owned(), value)));
    }
    Ok(values)
}

async fn objects(call: &Call, described: &Described, namespace: &str, name: &str) -> Result<Vec<Value>, Status> {
    let at = (described.group, described.plural);
    if name == "*" {
        let text = call.query.get("labelSelector").unwrap_or_default();
        let selector: LabelSelector = text.parse().map_err(Status::from)?;
        return listed(call, at, namespace, selector).await;
    }
    let kind = stored(call, at)?;
    let found = call.server.objects.get(&kind, Some(namespace), name, &Revisions::default()).await;
    found.map(|object| vec![object.value()])
}

fn stored(call: &Call, (group, plural): (&str, &str)) -> Result<Arc<Kind>, Status> {
    call.kinds.by_resource(group, "v1", plural).cloned().ok_or_else(Status::no_such_path)
}

async fn listed(
    call: &Call,
    at: (&str, &str),
    namespace: &str,
    label_selector: LabelSelector,
) -> Result<Vec<Value>, Status> {
    let kind = stored(call, at)?;
    let options = ListOptions { label_selector, ..ListOptions::default() };
    let found = call.server.objects.list(&kind, Some(namespace), &options).await?;
    Ok(found.items.iter().map(|item| item.value()).collect())
}

fn of_pod(pod: &Value, figures: &HashMap<IpAddr, TrafficFigures>) -> Option<TrafficFigures> {
    let address: IpAddr = pod.pointer("/status/podIP")?.as_str()?.parse().ok()?;
    figures.get(&address).copied()
}

fn is_running(pod: &Value) -> bool {
    pod.pointer("/status/phase").and_then(Value::as_str) == Some("Running")
}

fn together(one: &TrafficFigures, other: &TrafficFigures) -> TrafficFigures {
    TrafficFigures {
        requests: one.requests + other.requests,
        errors: one.errors + other.errors,
        requests_per_second: one.requests_per_second + other.requests_per_second,
        errors_per_second: one.errors_per_second + other.errors_per_second,
        in_flight: one.in_flight + other.in_flight,
        idle: one.idle.min(other.idle),
        p99: one.p99.max(other.p99),
    }
}
