//! A component file into the server's image store, over the OCI distribution protocol.

use std::path::Path;

use anyhow::{Context, bail};
use http::Method;

use crate::connection::{Call, Connection};

/// Pushes `file` as `name[:tag]` and answers the manifest's digest.
pub async fn push_file(connection: &Connection, file: &Path, name: &str) -> anyhow::Result<String> {
    let bytes = tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    push_bytes(connection, bytes, name).await.with_context(|| format!("cannot push {}", file.display()))
}

async fn push_bytes(connection: &Connection, bytes: Vec<u8>, name: &str) -> anyhow::Result<String> {
    let (name, tag) = split(name)?;
    let artifact = images::artifact::Artifact::from_wasm(bytes)?;
    for blob in [&artifact.config, &artifact.layer] {
        upload(connection, &name, blob).await?;
    }
    let path = format!("/v2/{name}/manifests/{tag}");
    let call = Call::new(Method::PUT, path)
        .body("application/vnd.oci.image.manifest.v1+json", artifact.manifest.bytes.to_vec());
    connection.send(call).await?;
    Ok(artifact.manifest.digest.to_string())
}

async fn upload(connection: &Connection, name: &str, blob: &images::artifact::Blob) -> anyhow::Result<()> {
    let known = Call::new(Method::HEAD, format!("/v2/{name}/blobs/{}", blob.digest));
    if connection.send(known).await.is_ok() {
        return Ok(());
    }
    let begun = connection.send(Call::new(Method::POST, format!("/v2/{name}/blobs/uploads/"))).await?;
    let location = begun
        .headers
        .get(http::header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .context("the image store gave no place to upload to")?;
    let uri: http::Uri = location.parse().context("the image store gave a place that is no URL")?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let joint = if path.contains('?') { '&' } else { '?' };
    let call = Call::new(Method::PUT, format!("{path}{joint}digest={}", blob.digest))
        .body("application/octet-stream", blob.bytes.to_vec());
    connection.send(call).await?;
    Ok(())
}

/// `hello:v1` → `hello`, `v1`; the host of the built-in store may stand before it.
fn split(name: &str) -> anyhow::Result<(String, String)> {
    let local = name.strip_prefix("coracle.local/").unwrap_or(name);
    if local.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':'])) {
        bail!("{name} is in another registry, and this verb fills the built-in one; write NAME[:TAG]");
    }
    let found: images::Reference = format!("{}/{local}", images::LOCAL_REGISTRY).parse()?;
    match (found.tag, found.digest) {
        (Some(tag), None) => Ok((found.repository, tag)),
        _ => bail!("{name} has a digest, which follows from the file; write NAME[:TAG]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_anything_is_sent() {
        for (text, expected) in [
            ("hello", Ok(("hello", "latest"))),
            ("hello:v1", Ok(("hello", "v1"))),
            ("coracle.local/team/hello:v1", Ok(("team/hello", "v1"))),
            ("Foo Bar", Err("a repository is lower-case letters")),
            ("", Err("a repository is lower-case letters")),
            ("docker.io/x", Err("is in another registry")),
            ("localhost:5000/x", Err("is in another registry")),
        ] {
            match (split(text), expected) {
                (Ok((name, tag)), Ok(wanted)) => assert_eq!((name.as_str(), tag.as_str()), wanted),
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
