//! What is measured of pods and other objects, from `custom.metrics.k8s.io`, and of the world outside, from
//! `external.metrics.k8s.io`: whoever serves them.

use std::collections::BTreeMap;

use client::Client;
use k8s_openapi::api::autoscaling::v2::{CrossVersionObjectReference, MetricIdentifier, MetricSpec};
use kube::core::GroupVersionKind;
use serde_json::Value;

use crate::selector_text::shown;

/// What was read for one metric, in thousandths.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    /// By the names of pods.
    Pods(BTreeMap<String, i64>),
    /// Of one object, or the sum of what an external metric says.
    One(i64),
}

/// What was read for each metric of an autoscaler, in its order; nothing for those that `metrics.k8s.io` tells of.
pub(super) type Readings = Vec<Option<Result<Reading, String>>>;

/// Reads all that is neither of a resource nor of a container's.
pub(super) async fn readings(client: &Client, namespace: &str, selector: &str, metrics: &[MetricSpec]) -> Readings {
    let mut all = Vec::with_capacity(metrics.len());
    for metric in metrics {
        all.push(reading(client, namespace, selector, metric).await);
    }
    all
}

async fn reading(
    client: &Client,
    namespace: &str,
    selector: &str,
    metric: &MetricSpec,
) -> Option<Result<Reading, String>> {
    if let Some(source) = &metric.pods {
        let found = of_pods(client, namespace, selector, &source.metric).await;
        return Some(
            found.map(Reading::Pods).map_err(|why| format!("unable to get metric {}: {why}", source.metric.name)),
        );
    }
    if let Some(source) = &metric.object {
        let (what, metric) = (&source.described_object, &source.metric);
        let found = of_object(client, namespace, what, metric).await;
        let failed =
            |why| format!("unable to get metric {}: {} on {namespace} {}/{why}", metric.name, what.kind, what.name);
        return Some(found.map(Reading::One).map_err(failed));
    }
    let source = metric.external.as_ref()?;
    let found = external(client, namespace, &source.metric).await;
    let failed = |why| {
        let (name, selector) = (&source.metric.name, shown(source.metric.selector.as_ref()));
        format!("unable to get external metric {namespace}/{name}/{selector}: {why}")
    };
    Some(found.map(Reading::One).map_err(failed))
}

/// What a metric says of each pod that a selector means.
pub(crate) async fn of_pods(
    client: &Client,
    namespace: &str,
    selector: &str,
    metric: &MetricIdentifier,
) -> Result<BTreeMap<String, i64>, String> {
    let below = format!("namespaces/{namespace}/pods/*/{}", metric.name);
    let items = custom(client, &below, &[("labelSelector", selector), ("metricLabelSelector", &text(metric)?)]).await?;
    let read = |item: &Value| {
        let name = item.pointer("/describedObject/name")?.as_str()?.to_owned();
        Some((name, value(item)?))
    };
    Ok(items.iter().filter_map(read).collect())
}

async fn of_object(
    client: &Client,
    namespace: &str,
    what: &CrossVersionObjectReference,
    metric: &MetricIdentifier,
) -> Result<i64, String> {
    let (group, version) = match what.api_version.as_deref().unwrap_or("v1").split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), what.api_version.clone().unwrap_or_else(|| "v1".to_owned())),
    };
    let below = if what.kind == "Namespace" && group.is_empty() {
        format!("namespaces/{}/metrics/{}", what.name, metric.name)
    } else {
        let kind = GroupVersionKind::gvk(&group, &version, &what.kind);
        let found = kube::discovery::pinned_kind(client, &kind).await;
        let (resource, _) = found.map_err(|error| client::explain(&error))?;
        let plural = if group.is_empty() { resource.plural } else { format!("{}.{group}", resource.plural) };
        format!("namespaces/{namespace}/{plural}/{}/{}", what.name, metric.name)
    };
    let items = custom(client, &below, &[("metricLabelSelector", &text(metric)?)]).await?;
    items.first().and_then(value).ok_or_else(|| "no metrics returned from custom metrics API".to_owned())
}

async fn external(client: &Client, namespace: &str, metric: &MetricIdentifier) -> Result<i64, String> {
    let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{}", metric.name);
    let list = get(client, &path, &[("labelSelector", &text(metric)?)]).await;
    let list = list
        .map_err(|error| format!("unable to fetch metrics from external metrics API: {}", client::explain(&error)))?;
    let items = items(&list);
    if items.is_empty() {
        return Err("no metrics returned from external metrics API".to_owned());
    }
    Ok(items.iter().filter_map(value).sum())
}

/// The newer version first: adapters of old serve only the other.
async fn custom(client: &Client, below: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, String> {
    let path = |version: &str| format!("/apis/custom.metrics.k8s.io/{version}/{below}");
    let list = match get(client, &path("v1beta2"), query).await {
        Err(error) if client::is_not_found(&error) && !client::explain(&error).contains("the metric") => {
            get(client, &path("v1beta1"), query).await
        }
        other => other,
    };
    let list =
        list.map_err(|error| format!("unable to fetch metrics from custom metrics API: {}", client::explain(&error)))?;
    let items = items(&list);
    if items.is_empty() {
        return Err("no metrics returned from custom metrics API".to_owned());
    }
    Ok(items)
}

async fn get(client: &Client, path: &str, query: &[(&str, &str)]) -> Result<Value, kube::Error> {
    let given = query.iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<String> = given.map(|(name, value)| format!("{name}={}", super::figures::form_of(value))).collect();
    let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request(request).await
}

fn items(list: &Value) -> Vec<Value> {
    list.get("items").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn value(item: &Value) -> Option<i64> {
    api::Quantity::from_json(item.get("value")?).ok().map(api::Quantity::milli_value)
}

/// A metric's own selector as it stands in a query.
fn text(metric: &MetricIdentifier) -> Result<String, String> {
    let Some(selector) = &metric.selector else { return Ok(String::new()) };
    let read = kube::core::Selector::try_from(selector.clone()).map_err(|error| error.to_string())?;
    Ok(if read.selects_all() { String::new() } else { read.to_string() })
}
