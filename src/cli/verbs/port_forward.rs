//! `coracle port-forward`: local connections into a pod, over the server's WebSocket.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::logs::pod_of;
use crate::args::PortForwardArgs;
use crate::connection::{Call, Connection};
use crate::terminal;

/// Listens until it is interrupted.
pub async fn run(args: PortForwardArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.connection).await?;
    let pod = pod_of(&connection, &args.target).await?;
    // A name that is wrong is said now, not at the first connection.
    connection.json(Call::get(format!("/api/v1/namespaces/{}/pods/{pod}", connection.namespace))).await?;
    let mut listeners = Vec::new();
    for ports in &args.ports {
        let (local, remote) = parse(ports)?;
        let remote = target_port(&connection, &args.target, &pod, remote).await?;
        let address = SocketAddr::new(args.address, local);
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        terminal::line(&format!("Forwarding from {} -> {remote}", listener.local_addr()?));
        listeners.push((listener, remote));
    }
    let pods: Api<Pod> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let loops = listeners.into_iter().map(|(listener, remote)| accept(listener, pods.clone(), pod.clone(), remote));
    futures::future::try_join_all(loops).await?;
    Ok(())
}

fn parse(ports: &str) -> anyhow::Result<(u16, u16)> {
    let (local, remote) = ports.split_once(':').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().with_context(|| format!("{ports:?} is not [LOCAL:]REMOTE"));
    Ok((if local.is_empty() { 0 } else { number(local)? }, number(remote)?))
}

/// For `service/NAME` the port is the Service's, and the pod listens on its target.
async fn target_port(connection: &Connection, target: &str, pod: &str, port: u16) -> anyhow::Result<u16> {
    let Some(("svc" | "service" | "services", name)) = target.split_once('/') else { return Ok(port) };
    let path = format!("/api/v1/namespaces/{}/services/{name}", connection.namespace);
    let service = connection.json(Call::get(path)).await?;
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let found = ports.iter().find(|row| row.get("port").and_then(Value::as_u64) == Some(u64::from(port)));
    match found.map(|row| row.get("targetPort").unwrap_or(&Value::Null)) {
        None => bail!("service {name} has no port {port}"),
        Some(Value::String(named)) => named_port(connection, pod, named).await,
        Some(number) => Ok(number.as_u64().and_then(|number| u16::try_from(number).ok()).unwrap_or(port)),
    }
}

async fn named_port(connection: &Connection, pod: &str, name: &str) -> anyhow::Result<u16> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}", connection.namespace);
    let object = connection.json(Call::get(path)).await?;
    let containers = object.pointer("/spec/containers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let ports = containers.iter().filter_map(|container| container.get("ports")?.as_array()).flatten();
    ports
        .filter(|port| port.get("name").and_then(Value::as_str) == Some(name))
        .find_map(|port| port.get("containerPort")?.as_u64()?.try_into().ok())
        .with_context(|| format!("pod {pod} has no port named {name}"))
}

async fn accept(listener: TcpListener, pods: Api<Pod>, pod: String, remote: u16) -> anyhow::Result<()> {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        terminal::line(&format!("Handling connection for {}", listener.local_addr()?.port()));
        let (pods, pod) = (pods.clone(), pod.clone());
        connections.spawn(async move {
            if let Err(error) = forward(stream, pods, &pod, remote).await {
                terminal::complain(&format!("{error:#}"));
            }
        });
    }
}

async fn forward(mut local: TcpStream, pods: Api<Pod>, pod: &str, remote: u16) -> anyhow::Result<()> {
    let mut forwarder = pods.portforward(pod, &[remote]).await.context("the server refused the connection")?;
    let mut stream = forwarder.take_stream(remote).context("the server opened no stream")?;
    let refusal = forwarder.take_error(remote);
    // An end without a farewell on either side is how many clients end a connection.
    let _ = tokio::io::copy_bidirectional(&mut local, &mut stream).await;
    drop(stream);
    // What the pod's side has to say comes on a channel of its own; how the transport ends says nothing more.
    let ended = forwarder.join();
    match refusal {
        Some(refusal) => tokio::select! {
            Some(why) = refusal => bail!("port {remote} of pod {pod}: {why}"),
            _ = ended => Ok(()),
        },
        None => Ok(()),
    }
}
