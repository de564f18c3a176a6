//! From what is measured of pods' requests, of objects and of the world outside to a number of replicas. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{
    ExternalMetricStatus, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricStatus,
    PodsMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::custom::Reading;
use super::plan::{Groups, Seen, milli, near, rounded};
use crate::selector_text::shown;

/// What one metric asks for.
pub(super) struct Wish {
    pub replicas: i32,
    pub status: MetricStatus,
    pub metric: String,
}

/// What a metric that is no resource asks for.
pub(super) fn ask(
    metric: &MetricSpec,
    reading: &Result<Reading, String>,
    seen: &Seen<'_>,
    tolerance: (f64, f64),
) -> Result<Wish, String> {
    if let Some(source) = &metric.pods {
        let target = amount(source.target.average_value.as_ref())?;
        let (replicas, average) = of_pods(reading, seen, target, tolerance, &source.metric.name)?;
        let current = MetricValueStatus { average_value: Some(milli(average)), ..MetricValueStatus::default() };
        let pods = PodsMetricStatus { metric: source.metric.clone(), current };
        let status = MetricStatus { type_: metric.type_.clone(), pods: Some(pods), ..MetricStatus::default() };
        return Ok(Wish { replicas, status, metric: format!("pods metric {}", source.metric.name) });
    }
    let Reading::One(value) = reading.as_ref().map_err(Clone::clone)? else {
        return Err("no metrics returned from custom metrics API".to_owned());
    };
    if let Some(source) = &metric.object {
        let (replicas, current) = of_one(*value, &source.target, seen, tolerance)?;
        let name = match current.value {
            Some(_) => format!("{} metric {}", source.described_object.kind, source.metric.name),
            None => format!("external metric {}({})", source.metric.name, shown(source.metric.selector.as_ref())),
        };
        let (described_object, metric_of) = (source.described_object.clone(), source.metric.clone());
        let object = ObjectMetricStatus { current, described_object, metric: metric_of };
        let status = MetricStatus { type_: metric.type_.clone(), object: Some(object), ..MetricStatus::default() };
        return Ok(Wish { replicas, status, metric: name });
    }
    let Some(source) = &metric.external else { return Err(format!("unknown metric source type {:?}", metric.type_)) };
    let (replicas, current) = of_one(*value, &source.target, seen, tolerance)?;
    let name = format!("external metric {}({})", source.metric.name, shown(source.metric.selector.as_ref()));
    let external = ExternalMetricStatus { current, metric: source.metric.clone() };
    let status = MetricStatus { type_: metric.type_.clone(), external: Some(external), ..MetricStatus::default() };
    Ok(Wish { replicas, status, metric: name })
}

fn amount(quantity: Option<&Quantity>) -> Result<i64, String> {
    let text = quantity.map(|quantity| quantity.0.as_str()).unwrap_or_default();
    Ok(text.parse::<api::Quantity>().map_err(|error| error.to_string())?.milli_value().max(1))
}

/// As for resources, with what each pod has of the metric.
fn of_pods(
    reading: &Result<Reading, String>,
    seen: &Seen<'_>,
    target: i64,
    tolerance: (f64, f64),
    metric: &str,
) -> Result<(i32, i64), String> {
    // Who sleeps is woken by requests; until then there is nothing to measure. Who was idle for long enough is so, whatever
    // the window of a rate still holds.
    if seen.current == 0 || (seen.is_idle && metric.starts_with("http_")) {
        return Ok((0, 0));
    }
    let Reading::Pods(by_pod) = reading.as_ref().map_err(Clone::clone)? else {
        return Err("no metrics returned from custom metrics API".to_owned());
    };
    let groups = Groups::of_values(seen.pods, by_pod);
    if groups.used.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
    }
    let ratio =
        |used: &BTreeMap<&str, i64>| used.values().sum::<i64>() as f64 / used.len().max(1) as f64 / target as f64;
    let average = groups.used.values().sum::<i64>() / i64::try_from(groups.used.len()).unwrap_or(1).max(1);
    Ok((groups.replicas(seen.current, tolerance, ratio, |_| target), average))
}

/// One value for all pods: held against one target, or shared among them.
fn of_one(
    value: i64,
    target: &MetricTarget,
    seen: &Seen<'_>,
    tolerance: (f64, f64),
) -> Result<(i32, MetricValueStatus), String> {
    if let Some(average) = &target.average_value {
        let target = amount(Some(average))? as f64;
        let ratio = value as f64 / (target * f64::from(seen.existing));
        let replicas = if near(ratio, tolerance) { seen.existing } else { rounded(value as f64 / target) };
        let each = (value as f64 / f64::from(seen.existing.max(1))).ceil() as i64;
        return Ok((replicas, MetricValueStatus { average_value: Some(milli(each)), ..MetricValueStatus::default() }));
    }
    let ratio = value as f64 / amount(target.value.as_ref())? as f64;
    let replicas = match seen.current {
        0 => rounded(ratio),
        current if near(ratio, tolerance) => current,
        _ => rounded(ratio * seen.ready() as f64),
    };
    Ok((replicas, MetricValueStatus { value: Some(milli(value)), ..MetricValueStatus::default() }))
}
