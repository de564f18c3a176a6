//! `metrics.k8s.io/v1beta1`: what nodes and pods use, made when asked for out of what is measured.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::kind::{Cell, Plain};
use api::table::{self, name_column};
use api::{Column, Kind, Scope, Status, meta};
use jiff::{SignedDuration, Timestamp};
use objects::{ListOptions, Revisions};
use serde_json::{Value, json};

use crate::accept::Form;
use crate::gateway::{ContainerUsage, NodeUsage};
use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::{include, list_options};

/// The group.
pub(crate) const GROUP: &str = "metrics.k8s.io";
const VERSION: &str = "v1beta1";

/// The two kinds, for discovery and tables.
pub(crate) fn kinds() -> impl Iterator<Item = Kind> {
    [("NodeMetrics", "nodes", Scope::Cluster), ("PodMetrics", "pods", Scope::Namespaced)].into_iter().map(
        |(kind, plural, scope)| Kind {
            group: GROUP.to_owned(),
            version: VERSION.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            singular: String::new(),
            short_names: Vec::new(),
            categories: Vec::new(),
            scope,
            status: false,
            scale: None,
            verbs: vec!["get".to_owned(), "list".to_owned()],
            extra_subresources: Vec::new(),
            columns: columns(),
            strategic: false,
            form: None,
            custom: None,
            behaviour: Arc::new(Plain),
        },
    )
}

fn columns() -> Vec<Column> {
    let column = |name: &str, cell: fn(&Value, Timestamp) -> Value| Column {
        name: name.to_owned(),
        kind: "string".to_owned(),
        format: String::new(),
        description: format!("What is used of {name}, or the time that it was measured over."),
        priority: 0,
        cell: Cell::Computed(cell),
    };
    vec![
        name_column(),
        column("cpu", |object, _| json!(used(object, "cpu"))),
        column("memory", |object, _| json!(used(object, "memory"))),
        column("window", |object, _| object.get("window").cloned().unwrap_or_default()),
    ]
}

/// The sum over the containers, or the node's own figure, as it is written in objects.
fn used(object: &Value, resource: &str) -> String {
    let unit = if resource == "cpu" { "n" } else { "Ki" };
    let number = |usage: Option<&Value>| -> u64 {
        let text = usage.and_then(|usage| usage.get(resource)).and_then(Value::as_str).unwrap_or_default();
        text.trim_end_matches(unit).parse().unwrap_or(0)
    };
    let containers = object.get("containers").and_then(Value::as_array).into_iter().flatten();
    let sum: u64 = containers.map(|container| number(container.get("usage"))).sum();
    quantity(sum + number(object.get("usage")), unit)
}

pub(crate) async fn answer(call: Call) -> Result<Reply, Status> {
    let resource = call.asked.resource.clone().unwrap_or_default();
    let found = call.kinds.by_resource(GROUP, &resource.version, &resource.plural).cloned();
    let kind = found.ok_or_else(Status::no_such_path)?;
    let namespaced = kind.namespaced();
    if resource.subresource.is_some() || (resource.namespace.is_some() && !namespaced) {
        return Err(Status::no_such_path());
    }
    if !matches!(call.asked.verb, "get" | "list")
        || (resource.name.is_some() && namespaced && resource.namespace.is_none())
    {
        return Err(Status::method_not_allowed());
    }
    let agreed = call.agreed()?;
    let source = call.server.usage.read().clone();
    let usage = source.usage();
    let namespace = resource.namespace.as_deref();
    let now = Timestamp::now();
    if let Some(name) = &resource.name {
        let object = if namespaced {
            let pod = get(&call, "pods", namespace, name).await?;
            pod_metrics(&pod, &by_pod(&usage))
        } else {
            let node = get(&call, "nodes", None, name).await?;
            node_metrics(&node, &usage)
        };
        let missing = || {
            let (what, name) = match namespace {
                Some(namespace) => ("podmetrics", format!("{namespace}/{name}")),
                None => ("nodemetrics", name.clone()),
            };
            Status::not_found(GROUP, what, &name)
        };
        let object = object.ok_or_else(missing)?;
        let shown = match agreed.form {
            Form::Whole => object,
            Form::Metadata => table::partial_metadata(&object),
            Form::Table => table::table_of_one(&kind, &object, include(&call.query)?, now, true),
        };
        return Reply::document(200, agreed.encoding, shown.to_string().into());
    }
    let items = list(&call, &kind, namespace, &usage).await?;
    let shown = match agreed.form {
        Form::Whole => {
            let (kind, version) = (kind.list_kind(), kind.api_version());
            json!({ "kind": kind, "apiVersion": version, "metadata": {}, "items": items })
        }
        Form::Metadata => {
            let items: Vec<Value> = items.iter().map(table::partial_metadata).collect();
            let kind = "PartialObjectMetadataList";
            json!({ "kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items })
        }
        Form::Table => {
            let include = include(&call.query)?;
            let rows = items.iter().map(|item| table::row(&kind, item, include, now)).collect();
            table::table(&kind, rows, json!({}), true)
        }
    };
    Reply::document(200, agreed.encoding, shown.to_string().into())
}

fn measured(call: &Call, plural: &str) -> Result<Arc<Kind>, Status> {
    call.kinds.by_resource("", "v1", plural).cloned().ok_or_else(Status::no_such_path)
}

async fn get(call: &Call, plural: &str, namespace: Option<&str>, name: &str) -> Result<Value, Status> {
    let kind = measured(call, plural)?;
    let found = call.server.objects.get(&kind, namespace, name, &Revisions::default()).await;
    found.map(|object| object.value()).map_err(|status| match status.code {
        404 if plural == "pods" => {
            Status::not_found(GROUP, "podmetrics", &format!("{}/{name}", namespace.unwrap_or_default()))
        }
        404 => Status::not_found(GROUP, "nodemetrics", name),
        _ => status,
    })
}

async fn list(call: &Call, kind: &Kind, namespace: Option<&str>, usage: &[NodeUsage]) -> Result<Vec<Value>, Status> {
    let of = measured(call, &kind.plural)?;
    let asked = list_options(call, &of)?;
    let options = ListOptions {
        label_selector: asked.label_selector,
        field_selector: asked.field_selector,
        ..ListOptions::default()
    };
    let found = call.server.objects.list(&of, namespace, &options).await?;
    let objects = found.items.iter().map(|item| item.value());
    if !kind.namespaced() {
        return Ok(objects.filter_map(|node| node_metrics(&node, usage)).collect());
    }
    let usage = by_pod(usage);
    Ok(objects.filter_map(|pod| pod_metrics(&pod, &usage)).collect())
}

type ByPod<'a> = BTreeMap<&'a str, (&'a NodeUsage, Vec<&'a ContainerUsage>)>;

fn by_pod(usage: &[NodeUsage]) -> ByPod<'_> {
    let mut pods: ByPod<'_> = BTreeMap::new();
    for node in usage {
        for container in &node.containers {
            pods.entry(&container.uid).or_insert_with(|| (node, Vec::new())).1.push(container);
        }
    }
    pods
}

fn node_metrics(node: &Value, usage: &[NodeUsage]) -> Option<Value> {
    let found = usage.iter().find(|usage| usage.node == meta::name(node))?;
    let mut object = about("NodeMetrics", node, found);
    object["usage"] = figures(found.cpu_nanocores, found.memory_bytes);
    Some(object)
}

/// Pods that have nothing running are left out.
fn pod_metrics(pod: &Value, usage: &ByPod<'_>) -> Option<Value> {
    let (node, containers) = usage.get(meta::uid(pod))?;
    let containers: Vec<Value> = containers
        .iter()
        .map(|one| json!({ "name": one.container, "usage": figures(one.cpu_nanocores, one.memory_bytes) }))
        .collect();
    let mut object = about("PodMetrics", pod, node);
    object["metadata"]["namespace"] = json!(meta::namespace(pod));
    object["containers"] = Value::Array(containers);
    Some(object)
}

fn about(kind: &str, of: &Value, usage: &NodeUsage) -> Value {
    let time = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut metadata = json!({ "name": meta::name(of), "creationTimestamp": time(Timestamp::now()) });
    if let Some(labels) = of.pointer("/metadata/labels") {
        metadata["labels"] = labels.clone();
    }
    json!({
        "kind": kind, "apiVersion": format!("{GROUP}/{VERSION}"), "metadata": metadata,
        "timestamp": time(usage.taken), "window": window(usage.window),
    })
}

fn figures(nanocores: u64, bytes: u64) -> Value {
    json!({ "cpu": quantity(nanocores, "n"), "memory": quantity(bytes.div_ceil(1024), "Ki") })
}

fn quantity(amount: u64, unit: &str) -> String {
    if amount == 0 { "0".to_owned() } else { format!("{amount}{unit}") }
}

/// As Go writes a duration.
fn window(window: std::time::Duration) -> String {
    let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::ZERO);
    let (minutes, rest) = (window.as_secs() / 60, window.as_secs() % 60);
    let millis = window.subsec_millis();
    let seconds = if millis == 0 { format!("{rest}s") } else { format!("{rest}.{millis:03}s") };
    if minutes == 0 { seconds } else { format!("{minutes}m{seconds}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn windows_are_written_as_go_writes_them() {
        for (millis, wanted) in [(15_000, "15s"), (10_062, "10.062s"), (75_000, "1m15s")] {
            assert_eq!(window(Duration::from_millis(millis)), wanted);
        }
    }

    #[test]
    fn a_pods_containers_are_added_up_for_the_table() {
        let object = json!({ "containers": [
            { "name": "a", "usage": { "cpu": "5n", "memory": "2Ki" } }, { "name": "b", "usage": { "cpu": "7n", "memory": "1Ki" } },
        ] });
        assert_eq!((used(&object, "cpu").as_str(), used(&object, "memory").as_str()), ("12n", "3Ki"));
        let object = json!({ "usage": figures(0, 0) });
        assert_eq!((used(&object, "cpu").as_str(), used(&object, "memory").as_str()), ("0", "0"));
    }
}
