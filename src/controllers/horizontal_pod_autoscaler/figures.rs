//! What pods use, from `metrics.k8s.io`.

use std::collections::BTreeMap;

use client::Client;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v1::Scale;
use serde_json::Value;

/// What one pod used, by container and resource, in thousandths.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub at: Option<Timestamp>,
    pub window: SignedDuration,
    pub containers: BTreeMap<String, BTreeMap<String, i64>>,
}

/// By the names of the pods; or why there are none.
pub(super) type Samples = Result<BTreeMap<String, Sample>, String>;

/// Asks for the pods that a scale's selector means.
pub(super) async fn samples(client: &Client, namespace: &str, scale: &Scale) -> Samples {
    let selector = scale.status.as_ref().and_then(|status| status.selector.clone()).unwrap_or_default();
    let mut query = form_of(&selector);
    if !query.is_empty() {
        query = format!("?labelSelector={query}");
    }
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods{query}");
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    let list: Value = client
        .request(request)
        .await
        .map_err(|error| format!("unable to fetch metrics from resource metrics API: {}", client::explain(&error)))?;
    let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    if items.is_empty() {
        return Err("no metrics returned from resource metrics API".to_owned());
    }
    Ok(items.iter().filter_map(read).collect())
}

/// A selector as it stands in a query.
pub(super) fn form_of(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn read(item: &Value) -> Option<(String, Sample)> {
    let name = item.pointer("/metadata/name")?.as_str()?.to_owned();
    let containers = item.get("containers")?.as_array()?.iter().filter_map(|container| {
        let usage = container.get("usage")?.as_object()?;
        let read = |value: &Value| api::Quantity::from_json(value).ok().map(api::Quantity::milli_value);
        let usage = usage.iter().filter_map(|(resource, value)| Some((resource.clone(), read(value)?))).collect();
        Some((container.get("name")?.as_str()?.to_owned(), usage))
    });
    let at = item.get("timestamp").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let window = item.get("window").and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or_default();
    Some((name, Sample { at, window, containers: containers.collect() }))
}
