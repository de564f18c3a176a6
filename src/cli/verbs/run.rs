//! `coracle run`: one component file becomes a Deployment, a Service and an Ingress.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::apply::{Again, apply_object};
use crate::args::RunArgs;
use crate::connection::{Call, Connection};
use crate::resources::Resources;
use crate::{image_paths, push, terminal};

/// How long to wait for the ingress to say where it listens.
const ADDRESS_WAIT: Duration = Duration::from_secs(5);

/// Pushes the file, applies the three objects and prints the URL.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.connection).await?;
    let resources = Resources::discover(&connection).await?;
    let here = Path::new(".");
    let file = image_paths::as_path(&args.image, here)
        .or_else(|| Path::new(&args.image).is_file().then(|| here.join(&args.image)));
    let name = match (&args.name, &file) {
        (Some(name), _) => name.clone(),
        (None, Some(path)) => image_paths::name_of(path),
        (None, None) => bail!("give it a name: coracle run {} --name NAME", args.image),
    };
    let image = match file {
        Some(path) => format!("coracle.local/{name}@{}", push::push_file(&connection, &path, &name).await?),
        None => args.image.clone(),
    };
    let host = args.host.clone().unwrap_or_else(|| format!("{name}.localhost"));
    let env: Vec<Value> = args.env.iter().map(|pair| variable(pair)).collect::<anyhow::Result<_>>()?;
    for object in objects(&name, &image, &host, args.replicas, &env) {
        let applied = apply_object(&connection, &resources, object, Again::Restore).await?;
        terminal::line(&format!("{} {}", applied.name, applied.outcome.word()));
    }
    terminal::line(&url(&connection, &name, &host).await?);
    Ok(())
}

fn variable(pair: &str) -> anyhow::Result<Value> {
    let (name, value) = pair.split_once('=').with_context(|| format!("--env {pair}: write NAME=VALUE"))?;
    Ok(json!({ "name": name, "value": value }))
}

fn objects(name: &str, image: &str, host: &str, replicas: i64, env: &[Value]) -> [Value; 3] {
    let labels = json!({ "app": name });
    [
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": name, "labels": labels },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{
                        "name": name, "image": image, "env": env,
                        "ports": [{ "name": "http", "containerPort": 80 }],
                        "resources": { "requests": { "cpu": "1m", "memory": "4Mi" } },
                    }] },
                },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": name, "labels": labels },
            "spec": { "selector": labels, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": { "name": name, "labels": labels },
            "spec": { "rules": [{ "host": host, "http": { "paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": { "service": { "name": name, "port": { "name": "http" } } },
            }] } }] },
        }),
    ]
}

/// The URL of a host, once the ingress has written where it listens.
async fn url(connection: &Connection, name: &str, host: &str) -> anyhow::Result<String> {
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{}/ingresses/{name}", connection.namespace);
    let started = Instant::now();
    loop {
        let ingress = connection.json(Call::get(&path)).await?;
        let port = ingress.pointer("/status/loadBalancer/ingress/0/ports/0/port").and_then(Value::as_u64);
        match port {
            Some(80) => return Ok(format!("http://{host}/")),
            Some(port) => return Ok(format!("http://{host}:{port}/")),
            None if started.elapsed() > ADDRESS_WAIT => return Ok(format!("http://{host}/")),
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
