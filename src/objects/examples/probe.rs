//! Timing probe, not kept.
use std::sync::Arc;
use std::time::Instant;
use futures::StreamExt;
use objects::*;
use serde_json::json;
fn main() {
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    rt.block_on(async {
        for which in ["memory", "embedded"] {
            let dir = std::env::temp_dir().join(format!("probe-{}", std::process::id()));
            let store: store::SharedStore = if which == "memory" { Arc::new(store::Memory::new()) } else { Arc::new(store::Embedded::open(&dir).unwrap()) };
            let tasks = base::Tasks::new();
            let o = Objects::open(store, api::kinds::builtin(), Config::default(), &tasks).await.unwrap();
            let kinds = o.kinds();
            let ns = kinds.by_resource("", "v1", "namespaces").unwrap().clone();
            o.create(&ns, None, json!({"metadata":{"name":"default"}}), &WriteOptions::default()).await.unwrap();
            let pods = kinds.by_resource("", "v1", "pods").unwrap().clone();
            let pod = |n: usize| json!({"metadata":{"name":format!("p{n}"),"labels":{"app":"hello","pod-template-hash":"abc"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"x","uid":"00000000-0000-0000-0000-000000000000","controller":true,"blockOwnerDeletion":true}]},"spec":{"containers":[{"name":"a","image":"coracle.local/hello","ports":[{"containerPort":80}],"env":[{"name":"X","value":"y"}],"resources":{"requests":{"cpu":"1m","memory":"4Mi"}}}]}});
            let n = if which == "memory" { 5000 } else { 300 };
            let t = Instant::now();
            for i in 0..n { o.create(&pods, Some("default"), pod(i), &WriteOptions::default()).await.unwrap(); }
            println!("{which}: create sequential {:?} each", t.elapsed() / n as u32);
            let t = Instant::now();
            let m = 6400;
            futures::stream::iter(0..m).map(|i| { let o = o.clone(); let pods = pods.clone(); async move { o.create(&pods, Some("default"), pod(100_000 + i), &WriteOptions::default()).await.unwrap(); } }).buffer_unordered(64).collect::<Vec<_>>().await;
            println!("{which}: create 64 at once {:?} each, {:.0}/s", t.elapsed() / m as u32, m as f64 / t.elapsed().as_secs_f64());
            let t = Instant::now();
            for i in 0..1000 { o.edit(&pods, Some("default"), &format!("p{}", i % n), Sub::Status, |v| { v["status"]["podIP"] = json!(format!("10.1.0.{}", i % 250)); Ok(()) }, &WriteOptions::default()).await.unwrap(); }
            println!("{which}: status {:?} each", t.elapsed() / 1000);
            let t = Instant::now();
            for _ in 0..100 { o.list(&pods, None, &ListOptions::default()).await.unwrap(); }
            println!("{which}: list of {} {:?}", n + m, t.elapsed() / 100);
            let t = Instant::now();
            for i in 0..10000 { o.get(&pods, Some("default"), &format!("p{}", i % n), &Revisions::default()).await.unwrap(); }
            println!("{which}: get {:?}", t.elapsed() / 10000);
            let rss = std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4 / 1024;
            println!("{which}: rss {rss} MiB, object {} bytes", o.get(&pods, Some("default"), "p1", &Revisions::default()).await.unwrap().json.len());
            tasks.stop(std::time::Duration::from_secs(1)).await;
            let _ = std::fs::remove_dir_all(&dir);
        }
    });
}
