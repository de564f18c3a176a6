//! `coracle images`

use serde_json::Value;

use crate::args::ImagesArgs;
use crate::connection::{Call, Connection};
use crate::terminal;

/// Prints every tag in the built-in image store.
pub async fn run(args: ImagesArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.connection).await?;
    let catalog = connection.json(Call::get("/v2/_catalog?n=1000")).await?;
    let mut rows = vec![["IMAGE", "TAG", "DIGEST", "SIZE"].map(str::to_owned).to_vec()];
    for name in strings(&catalog, "repositories") {
        let tags = connection.json(Call::get(format!("/v2/{name}/tags/list"))).await?;
        for tag in strings(&tags, "tags") {
            rows.push(row(&connection, &name, &tag).await?);
        }
    }
    terminal::raw(terminal::columns(&rows).as_bytes());
    Ok(())
}

async fn row(connection: &Connection, name: &str, tag: &str) -> anyhow::Result<Vec<String>> {
    let call = Call::get(format!("/v2/{name}/manifests/{tag}")).accept("application/vnd.oci.image.manifest.v1+json");
    let answer = connection.send(call).await?;
    let digest = answer.headers.get("docker-content-digest").and_then(|value| value.to_str().ok()).unwrap_or("");
    let manifest: Value = serde_json::from_slice(&answer.body)?;
    let layers = manifest.get("layers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let size: u64 = layers.iter().filter_map(|layer| layer.get("size").and_then(Value::as_u64)).sum();
    let short: String = digest.chars().take("sha256:".len() + 12).collect();
    Ok(vec![format!("coracle.local/{name}"), tag.to_owned(), short, format!("{} KiB", size.div_ceil(1024))])
}

fn strings(value: &Value, field: &str) -> Vec<String> {
    let found = value.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    found.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
