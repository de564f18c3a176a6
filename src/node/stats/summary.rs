//! `/stats/summary`: what the node, its pods and their containers use, as the kubelet tells it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use base::os::Room;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ContainerFigures, NodeFigures, Shared};
use crate::logs::LogOf;

pub(super) fn page(shared: &Shared, figures: &NodeFigures) -> Value {
    let disk = base::os::disk(&shared.folder).unwrap_or_default();
    let memory = base::os::memory();
    let mut node = json!({
        "nodeName": shared.name,
        "startTime": time(shared.context.figures.since),
        "cpu": cpu(figures.taken, figures.cpu_nanocores, figures.process.cpu_time),
        "memory": self::memory(figures.taken, figures.process.memory_bytes, Some(memory.available)),
        "fs": file_system(figures.taken, disk, disk.total.saturating_sub(disk.available)),
        "runtime": { "imageFs": file_system(figures.taken, disk, disk.total.saturating_sub(disk.available)) },
    });
    if let Some(processes) = base::os::processes() {
        let running = processes.total.saturating_sub(processes.available);
        node["rlimit"] = json!({ "time": figures.taken.to_string(), "maxpid": processes.total, "curproc": running });
    }
    json!({ "node": node, "pods": pods(shared, figures, disk) })
}

fn pods(shared: &Shared, figures: &NodeFigures, disk: Room) -> Vec<Value> {
    let mut by_pod: BTreeMap<&str, Vec<&ContainerFigures>> = BTreeMap::new();
    for one in &figures.containers {
        by_pod.entry(&one.present.id.uid).or_default().push(one);
    }
    let claims = super::claims(&shared.pods);
    let pods = by_pod.into_iter().filter_map(|(uid, mut containers)| {
        containers.sort_by(|one, other| one.present.id.container.cmp(&other.present.id.container));
        let id = &containers.first()?.present.id;
        let since = containers.iter().map(|one| one.present.since).min()?;
        let nanocores = containers.iter().map(|one| one.cpu_nanocores).sum();
        let used: Duration = containers.iter().map(|one| one.stats.cpu_time).sum();
        let bytes = containers.iter().map(|one| one.stats.memory_bytes).sum();
        let volumes = shared.context.volumes.sizes(uid);
        let mut written: u64 = volumes.iter().map(|(_, size)| size).sum();
        let all: Vec<Value> = containers
            .iter()
            .map(|one| {
                let logs = shared.context.logs.size(&LogOf::from(one.present.id.clone()));
                written += logs;
                container(figures.taken, one, disk, logs)
            })
            .collect();
        let volumes: Vec<Value> = volumes
            .into_iter()
            .map(|(name, size)| {
                let mut volume = file_system(figures.taken, disk, size);
                if let Some((namespace, claim)) = claims.get(&(uid.to_owned(), name.clone())) {
                    volume["pvcRef"] = json!({ "name": claim, "namespace": namespace });
                }
                volume["name"] = json!(name);
                volume
            })
            .collect();
        let mut pod = json!({
            "podRef": { "name": id.pod, "namespace": id.namespace, "uid": uid },
            "startTime": time(since),
            "containers": all,
            "cpu": cpu(figures.taken, nanocores, used),
            "memory": memory(figures.taken, bytes, None),
            "ephemeral-storage": file_system(figures.taken, disk, written),
        });
        if !volumes.is_empty() {
            pod["volume"] = json!(volumes);
        }
        Some(pod)
    });
    pods.collect()
}

fn container(taken: Timestamp, one: &ContainerFigures, disk: Room, logs: u64) -> Value {
    let limit = one.present.limits.memory_bytes;
    json!({
        "name": one.present.id.container,
        "startTime": time(one.present.since),
        "cpu": cpu(taken, one.cpu_nanocores, one.stats.cpu_time),
        "memory": memory(taken, one.stats.memory_bytes, limit.map(|limit| limit.saturating_sub(one.stats.memory_bytes))),
        "rootfs": file_system(taken, disk, 0),
        "logs": file_system(taken, disk, logs),
    })
}

fn cpu(taken: Timestamp, nanocores: u64, used: Duration) -> Value {
    let used = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
    json!({ "time": taken.to_string(), "usageNanoCores": nanocores, "usageCoreNanoSeconds": used })
}

fn memory(taken: Timestamp, bytes: u64, available: Option<u64>) -> Value {
    let mut memory = json!({
        "time": taken.to_string(), "usageBytes": bytes, "workingSetBytes": bytes, "rssBytes": bytes,
        "pageFaults": 0, "majorPageFaults": 0,
    });
    if let Some(available) = available {
        memory["availableBytes"] = json!(available);
    }
    memory
}

fn file_system(taken: Timestamp, disk: Room, used: u64) -> Value {
    json!({
        "time": taken.to_string(), "availableBytes": disk.available, "capacityBytes": disk.total, "usedBytes": used,
    })
}

fn time(at: SystemTime) -> String {
    Timestamp::try_from(at).map(|at| at.to_string()).unwrap_or_default()
}
