//! `coracle delete`

use std::time::Duration;

use anyhow::bail;
use http::Method;
use serde_json::{Value, json};

use super::get::encode;
use crate::args::DeleteArgs;
use crate::connection::{Call, Connection, is_not_found};
use crate::manifests;
use crate::resources::{Resource, Resources, Targets};
use crate::terminal;

/// How often to look whether an object is gone.
const POLL: Duration = Duration::from_millis(100);

struct Victim {
    resource: Resource,
    namespace: String,
    name: String,
}

/// Deletes what is named, and waits until it is gone.
pub async fn run(args: DeleteArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.connection).await?;
    let resources = Resources::discover(&connection).await?;
    let mut waiting = Vec::new();
    let mut refused = Vec::new();
    for victim in victims(&connection, &resources, &args).await? {
        match delete(&connection, &args, &victim).await {
            Ok(()) => {
                terminal::line(&format!("{} deleted", quoted(&victim)));
                waiting.push(victim);
            }
            Err(error) if is_not_found(&error) && args.ignore_not_found => {}
            Err(error) => refused.push(format!("{error:#}")),
        }
    }
    if args.wait {
        for victim in &waiting {
            until_gone(&connection, victim).await?;
        }
    }
    if refused.is_empty() { Ok(()) } else { bail!(refused.join("\n")) }
}

fn quoted(victim: &Victim) -> String {
    let kind = api::status::qualified(&victim.resource.group, &victim.resource.kind.to_lowercase());
    format!("{kind} {:?}", victim.name)
}

async fn victims(connection: &Connection, resources: &Resources, args: &DeleteArgs) -> anyhow::Result<Vec<Victim>> {
    let mut victims = Vec::new();
    if !args.filenames.is_empty() {
        for manifest in manifests::read(&args.filenames)? {
            let text =
                |pointer: &str| manifest.object.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
            let resource = resources.of(&text("/apiVersion"), &text("/kind"))?.clone();
            let namespace = Some(text("/metadata/namespace")).filter(|name| !name.is_empty());
            let namespace = namespace.unwrap_or_else(|| connection.namespace.clone());
            victims.push(Victim { resource, namespace, name: text("/metadata/name") });
        }
        return Ok(victims);
    }
    for (resource, mut names) in Targets::parse(resources, &args.what)?.wanted {
        if names.is_empty() {
            if !args.all && args.selector.is_none() {
                bail!("name what to delete, or say which of all {} with -l SELECTOR or --all", resource.plural);
            }
            names = matching(connection, &resource, args.selector.as_deref()).await?;
        }
        let namespace = &connection.namespace;
        victims.extend(names.into_iter().map(|name| Victim {
            resource: resource.clone(),
            namespace: namespace.clone(),
            name,
        }));
    }
    Ok(victims)
}

async fn matching(connection: &Connection, resource: &Resource, labels: Option<&str>) -> anyhow::Result<Vec<String>> {
    let query = labels.map(|labels| format!("?labelSelector={}", encode(labels))).unwrap_or_default();
    let list = connection.json(Call::get(format!("{}{query}", resource.path(Some(&connection.namespace))))).await?;
    let items = list.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let name = |item: &Value| item.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
    Ok(items.iter().filter_map(name).collect())
}

async fn delete(connection: &Connection, args: &DeleteArgs, victim: &Victim) -> anyhow::Result<()> {
    let policy = match args.cascade.as_str() {
        "foreground" => "Foreground",
        "orphan" => "Orphan",
        _ => "Background",
    };
    let mut options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy });
    if let Some(seconds) = args.grace_period.filter(|seconds| *seconds >= 0) {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    let path = victim.resource.object(&victim.namespace, &victim.name);
    connection.send(Call::new(Method::DELETE, path).json(&options)).await.map(drop)
}

async fn until_gone(connection: &Connection, victim: &Victim) -> anyhow::Result<()> {
    let path = victim.resource.object(&victim.namespace, &victim.name);
    let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
    let mut first = None;
    loop {
        match connection.json(Call::get(&path)).await {
            Ok(object) if first.is_none() => first = uid(&object),
            Ok(object) if first != uid(&object) => return Ok(()),
            Ok(_) => {}
            Err(error) if is_not_found(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(POLL).await;
    }
}
