//! `coracle push`

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use images::artifact::Artifact;
use images::remote::{Endpoint, Session};
use images::{Credential, Credentials, Reference};

use crate::args::PushArgs;
use crate::connection::Connection;
use crate::push::push_file;
use crate::terminal;

/// Pushes a component and prints the image's name.
pub async fn run(args: PushArgs) -> anyhow::Result<()> {
    if let Some(reference) = elsewhere(&args.name)? {
        return push_elsewhere(&args, &reference).await;
    }
    let connection = Connection::open(&args.connection).await?;
    let digest = push_file(&connection, &args.file, &args.name).await?;
    let name = args.name.strip_prefix("coracle.local/").unwrap_or(&args.name);
    terminal::line(&format!("coracle.local/{name}\n{digest}"));
    Ok(())
}

/// The image of another registry that a name means: only one whose first part can be a host.
fn elsewhere(name: &str) -> anyhow::Result<Option<Reference>> {
    let host = name.split_once('/').map(|(host, _)| host);
    if !host.is_some_and(|host| (host.contains(['.', ':']) && host != images::LOCAL_REGISTRY) || host == "localhost") {
        return Ok(None);
    }
    let reference: Reference = name.parse()?;
    if reference.digest.is_some() {
        bail!("{name} has a digest, which follows from the file; write REGISTRY/NAME[:TAG]");
    }
    Ok(Some(reference))
}

async fn push_elsewhere(args: &PushArgs, reference: &Reference) -> anyhow::Result<()> {
    let bytes = tokio::fs::read(&args.file).await.with_context(|| format!("cannot read {}", args.file.display()))?;
    let artifact = Artifact::from_wasm(bytes).with_context(|| format!("cannot push {}", args.file.display()))?;
    let insecure: Vec<String> = args.insecure.then(|| reference.registry.clone()).into_iter().collect();
    let endpoint = Endpoint::of(&reference.registry, &insecure);
    let session = Session::new(endpoint, &reference.repository, credential(args, reference)?)?;
    let tag = reference.tag.as_deref().unwrap_or("latest");
    session.push(&artifact, tag).await.with_context(|| format!("{} does not take the image", reference.registry))?;
    terminal::line(&format!("{reference}\n{}", artifact.manifest.digest));
    Ok(())
}

fn credential(args: &PushArgs, reference: &Reference) -> anyhow::Result<Option<Credential>> {
    if let Some(username) = &args.username {
        let mut password = String::new();
        std::io::stdin().read_to_string(&mut password).context("cannot read the password from standard input")?;
        return Ok(Some(Credential {
            registry: reference.registry.clone(),
            username: username.clone(),
            password: password.trim_end_matches(['\r', '\n']).to_owned(),
            identity_token: None,
        }));
    }
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE")).map(PathBuf::from);
    let file = folder.or_else(|| home.map(|home| home.join(".docker"))).map(|folder| folder.join("config.json"));
    let known = file.and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
    Ok(Credentials::from_docker_config(&known).matching(reference).first().map(|one| (*one).clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_before_the_name_means_another_registry() {
        for (name, registry) in [
            ("hello", None),
            ("team/hello:v1", None),
            ("coracle.local/hello", None),
            ("localhost:5000/hello", Some("localhost:5000")),
            ("ghcr.io/me/hello:v1", Some("ghcr.io")),
        ] {
            assert_eq!(elsewhere(name).unwrap().map(|found| found.registry).as_deref(), registry, "{name}");
        }
        assert!(elsewhere("ghcr.io/Me/hello").is_err());
        assert!(elsewhere(&format!("ghcr.io/me/hello@sha256:{}", "0".repeat(64))).is_err());
    }
}
