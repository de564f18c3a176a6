//! scratch
use network::{Connection, HttpEndpoint};
use runtime::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
fn rss() -> u64 {
    let s = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    s.lines()
        .find(|l| l.starts_with("VmRSS"))
        .and_then(|l| l.split_whitespace().nth(1))
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let r0 = rss();
    rt.block_on(async {
        let runtime = Runtime::new(Config::new(tokio::runtime::Handle::current(), base::metrics::Metrics::default()));
        let bytes = std::fs::read("workloads/prebuilt/hello.wasm").unwrap();
        let t = Instant::now();
        let path = std::env::temp_dir().join(format!("bench-{}.cwasm", runtime.engine_key(Form::default()).unwrap()));
        if !path.exists() {
            std::fs::write(&path, runtime.compile(&bytes, Form::default()).unwrap()).unwrap();
            eprintln!("compile {:?}", t.elapsed());
        }
        let r1 = rss();
        let t = Instant::now();
        let program = runtime.load(&path, Form::default()).unwrap();
        eprintln!("load {:?} rss start {} engine {} loaded {}", t.elapsed(), r0, r1, rss());
        for reuse in [false, true] {
            let server = runtime.serve(&program, ServeSpec { reuse, ..ServeSpec::default() }).unwrap();
            let t = Instant::now();
            for i in 0..20000u32 {
                if i == 1 {
                    eprintln!("first {:?}", t.elapsed());
                }
                let req = http::Request::builder().uri("/").header("host", "x").body(network::body::empty()).unwrap();
                let res = server.call(req, Connection::default()).await.unwrap();
                let b = http_body_util::BodyExt::collect(res.into_body()).await.unwrap();
                assert!(b.to_bytes().len() > 10);
            }
            eprintln!("reuse={reuse} {:?}/req rss {}", t.elapsed() / 20000, rss());
        }
        let server = runtime.serve(&program, ServeSpec::default()).unwrap();
        for _ in 0..20 {
            let t = Instant::now();
            let all: Vec<_> = (0..200)
                .map(|_| {
                    let s = server.clone();
                    tokio::spawn(async move {
                        let req =
                            http::Request::builder().uri("/").header("host", "x").body(network::body::empty()).unwrap();
                        s.call(req, Connection::default()).await.unwrap();
                    })
                })
                .collect();
            for a in all {
                a.await.unwrap();
            }
            let _ = t;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        eprintln!("end rss {}", rss());
        let _ = Arc::new(0);
    });
}
