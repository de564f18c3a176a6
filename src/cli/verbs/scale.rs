//! `coracle scale`

use anyhow::bail;
use http::Method;
use serde_json::json;

use crate::args::ScaleArgs;
use crate::connection::{Call, Connection};
use crate::resources::{Resources, Targets};
use crate::terminal;

/// Sets the replicas of each named object through its scale subresource.
pub async fn run(args: ScaleArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.connection).await?;
    let resources = Resources::discover(&connection).await?;
    let patch = json!({ "spec": { "replicas": args.replicas } });
    for (resource, names) in Targets::parse(&resources, &args.what)?.wanted {
        if names.is_empty() {
            bail!("name what to scale: coracle scale {}/NAME --replicas={}", resource.plural, args.replicas);
        }
        for name in names {
            let path = format!("{}/scale", resource.object(&connection.namespace, &name));
            let call =
                Call::new(Method::PATCH, path).body("application/merge-patch+json", patch.to_string().into_bytes());
            connection.json(call).await?;
            terminal::line(&format!("{} scaled", resource.display(&name)));
        }
    }
    Ok(())
}
