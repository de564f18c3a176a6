//! `coracle logs`

use anyhow::{Context, bail};
use http_body_util::BodyExt;
use serde_json::Value;

use super::get::encode;
use crate::args::LogsArgs;
use crate::connection::{Call, Connection};
use crate::resources::{Resource, Resources};
use crate::{terminal, timestamps};

/// Prints the output of one pod, or of every pod with the labels, one after the other.
pub async fn run(args: LogsArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.connection).await?;
    let pods = match (&args.selector, &args.pod) {
        (Some(labels), _) => pods_with(&connection, labels).await?,
        (None, Some(target)) => vec![pod_of(&connection, target).await?],
        (None, None) => bail!("name a pod: coracle logs POD"),
    };
    for pod in pods {
        print(&connection, &args, &pod).await?;
    }
    Ok(())
}

async fn print(connection: &Connection, args: &LogsArgs, pod: &str) -> anyhow::Result<()> {
    let mut query = vec![format!("follow={}", args.follow), format!("previous={}", args.previous)];
    query.push(format!("timestamps={}", args.timestamps));
    query.extend(args.container.iter().map(|name| format!("container={}", encode(name))));
    query.extend(args.tail.filter(|lines| *lines >= 0).map(|lines| format!("tailLines={lines}")));
    if let Some(since) = &args.since {
        query.push(format!("sinceSeconds={}", timestamps::seconds(since)?));
    }
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/log?{}", connection.namespace, query.join("&"));
    let mut body = connection.stream(Call::get(path).accept("*/*")).await?;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the log broke off")?;
        if let Some(bytes) = frame.data_ref()
            && !terminal::raw(bytes)
        {
            return Ok(());
        }
    }
    Ok(())
}

async fn pods_with(connection: &Connection, labels: &str) -> anyhow::Result<Vec<String>> {
    let path = format!("/api/v1/namespaces/{}/pods?labelSelector={}", connection.namespace, encode(labels));
    let list = connection.json(Call::get(path)).await?;
    let items = list.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let name = |item: &Value| item.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
    Ok(items.iter().filter_map(name).collect())
}

/// The pod that `POD` or `TYPE/NAME` means; of several, the first in order of names.
pub async fn pod_of(connection: &Connection, target: &str) -> anyhow::Result<String> {
    let Some((kind, name)) = target.split_once('/') else { return Ok(target.to_owned()) };
    let resources = Resources::discover(connection).await?;
    let resource: Resource = resources.named(kind)?.into_iter().next().context("no such type")?;
    if resource.group.is_empty() && resource.plural == "pods" {
        return Ok(name.to_owned());
    }
    let object = connection.json(Call::get(resource.object(&connection.namespace, name))).await?;
    let labels = object
        .pointer("/spec/selector/matchLabels")
        .or_else(|| object.pointer("/spec/selector"))
        .and_then(Value::as_object)
        .with_context(|| format!("{target} selects no pods"))?;
    let pairs: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    let pods = pods_with(connection, &pairs.join(",")).await?;
    pods.into_iter().next().with_context(|| format!("{target} has no pods"))
}
