//! What a pod grants: configuration, stores, log lines and the request to stop.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http_body_util::BodyExt;
use network::{AddressInUse, CallError, Connection, HttpRequest, HttpResponse, TcpListener, TcpOptions};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{Kept, MIB, PATIENCE, PLAIN, eventually, program};
use crate::{
    Common, Config, Exit, Grants, LogLevel, Mount, Outbound, Place, Reason, RunSpec, Running, Runtime, Sockets,
    StartError, Stream, Target,
};

fn runtime(stores: &Path) -> Runtime {
    let config = Config::new(tokio::runtime::Handle::current(), base::metrics::Metrics::default());
    Runtime::new(Config { stores: Some(stores.to_owned()), pool_slots_max: 0, ..config })
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"))
}

fn embedded(scope: &str) -> Place {
    Place::Embedded { scope: scope.to_owned() }
}

fn stores(stores: &[(&str, Place)]) -> BTreeMap<String, Place> {
    stores.iter().map(|(name, place)| ((*name).to_owned(), place.clone())).collect()
}

/// Everything that the sample imports, so that it starts.
fn grants() -> Grants {
    Grants {
        config: Some(vec![("colour".to_owned(), "green".to_owned())]),
        keyvalue: stores(&[("default", embedded("team"))]),
        blobstore: stores(&[("files", embedded("team"))]),
        log_level: LogLevel::Info,
    }
}

fn start(runtime: &Runtime, common: Common, steps: &[&str]) -> (Running, Arc<Kept>) {
    let kept = Kept::new();
    let args = ["keeper"].iter().chain(steps).map(ToString::to_string).collect();
    let common = Common { args, output: kept.clone(), ..common };
    let started = runtime.run(&program(runtime, "keeper", PLAIN), RunSpec { common, deadline: None });
    (started.unwrap_or_else(|error| panic!("{error}")), kept)
}

async fn ended(running: &Running) -> Exit {
    tokio::time::timeout(PATIENCE, running.exit()).await.unwrap_or_else(|_| panic!("it does not end"))
}

#[tokio::test]
async fn exit_with_code_delivers_its_code() {
    let folder = folder();
    let runtime = runtime(folder.path());
    let component = wat::parse_str(
        r#"(component
            (import "wasi:cli/exit@0.2.12" (instance $exit (export "exit-with-code" (func (param "status-code" u8)))))
            (core func $exit (canon lower (func $exit "exit-with-code")))
            (core module $m
                (import "host" "exit" (func $exit (param i32)))
                (func (export "run") (result i32) i32.const 42 call $exit i32.const 0))
            (core instance $i (instantiate $m (with "host" (instance (export "exit" (func $exit))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $cli (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $cli)))"#,
    );
    let program =
        super::load(&runtime, &component.unwrap_or_default(), PLAIN).unwrap_or_else(|error| panic!("{error}"));
    let running = runtime.run(&program, RunSpec::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(ended(&running).await.code, 42);
}

#[tokio::test]
async fn a_command_of_0_2_hears_that_it_should_stop() {
    let folder = folder();
    let runtime = runtime(folder.path());
    let (running, kept) = start(&runtime, granted(grants()), &["until-stopped"]);
    eventually("it waits", || kept.lines(Stream::Stdout) == ["waiting"]).await;
    running.stop(Duration::from_secs(60)).await;
    let exit = ended(&running).await;
    assert_eq!((exit.code, exit.reason), (0, Reason::Completed), "{exit:?}");
    assert_eq!(kept.lines(Stream::Stdout), ["waiting", "asked: true"]);
}

/// Runs steps to their end and returns what they said.
async fn said(runtime: &Runtime, common: Common, steps: &[&str]) -> Vec<String> {
    let (running, kept) = start(runtime, common, steps);
    let exit = ended(&running).await;
    let lines = kept.lines(Stream::Stdout);
    assert_eq!(exit.code, 0, "{exit:?} {lines:?} {:?}", kept.lines(Stream::Stderr));
    lines
}

fn granted(grants: Grants) -> Common {
    Common { grants, ..Common::default() }
}

#[tokio::test]
async fn what_is_not_granted_refuses_the_start_with_the_annotation_to_add() {
    let folder = folder();
    let runtime = runtime(folder.path());
    let program = program(&runtime, "keeper", PLAIN);
    for (missing, annotation) in [
        (Grants { config: None, ..grants() }, "coracle.dev/config: \"configmap/NAME\""),
        (Grants { keyvalue: BTreeMap::new(), ..grants() }, "coracle.dev/keyvalue: \"default\""),
        (Grants { blobstore: BTreeMap::new(), ..grants() }, "coracle.dev/blobstore: \"NAME\""),
    ] {
        let refused = runtime.run(&program, RunSpec { common: granted(missing), deadline: None }).err();
        let Some(error @ StartError::NotGranted { .. }) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains(annotation), "{error}");
    }
}

#[tokio::test]
async fn configuration_and_log_lines_with_levels() {
    let folder = folder();
    let runtime = runtime(folder.path());
    let (running, kept) = start(
        &runtime,
        granted(grants()),
        &["config:colour", "config:taste", "configs", "log:debug:unseen", "log:error:two\nlines"],
    );
    assert_eq!(ended(&running).await.code, 0);
    assert_eq!(kept.lines(Stream::Stdout), ["Some(\"green\")", "None", "[(\"colour\", \"green\")]"]);
    assert_eq!(kept.lines(Stream::Stderr), ["ERROR keeper: two\\nlines"]);
}

#[tokio::test]
async fn an_embedded_store_lasts_and_is_its_namespaces_own() {
    let folder = folder();
    {
        let runtime = runtime(folder.path());
        let steps = ["set::name:coracle", "count::visits:5", "count::visits:-2", "swap:default:name:boat", "many::100"];
        let wanted = ["5", "3", "was Some(\"coracle\")", "late one refused", "100 of 100"];
        assert_eq!(said(&runtime, granted(grants()), &steps).await, wanted);
        let other = Grants { keyvalue: stores(&[("default", embedded("others"))]), ..grants() };
        assert_eq!(said(&runtime, granted(other), &["get::name", "keys:"]).await, ["None", "0 keys, first None"]);
        let (running, kept) = start(&runtime, granted(grants()), &["get:elsewhere:x"]);
        assert_eq!(ended(&running).await.reason, Reason::Error);
        assert_eq!(kept.lines(Stream::Stdout), ["get:elsewhere:x: no such store"]);
    }
    // After a restart.
    let runtime = runtime(folder.path());
    let steps = ["get::name", "get::visits", "keys:"];
    let wanted = ["Some(\"boat\")", "Some(\"3\")", "52 keys, first Some(\"many-00050\")"];
    assert_eq!(said(&runtime, granted(grants()), &steps).await, wanted);
}

#[tokio::test]
async fn counters_of_many_guests_at_once_lose_nothing() {
    let folder = folder();
    let runtime = runtime(folder.path());
    let counts: Vec<_> = (0..10).map(|_| start(&runtime, granted(grants()), &["count::n:1", "count::n:1"])).collect();
    for (running, _) in &counts {
        assert_eq!(ended(running).await.code, 0);
    }
    assert_eq!(said(&runtime, granted(grants()), &["get::n"]).await, ["Some(\"20\")"]);
}

#[tokio::test]
async fn a_store_that_is_flooded_refuses_more_and_stays_usable() {
    let folder = folder();
    let runtime = runtime(folder.path());
    let steps = ["set::kept:yes", "flood::8000000", "get::kept", "flood::9000000"];
    let lines = said(&runtime, granted(grants()), &steps).await;
    assert!(lines[0].starts_with("refused after 33: the stores of this namespace are full"), "{lines:?}");
    assert_eq!(lines[1], "Some(\"yes\")");
    assert!(lines[2].contains("a call carries at most"), "{lines:?}");
    let used = std::fs::metadata(folder.path().join("keyvalue/team.redb")).map_or(0, |file| file.len());
    assert!(used < 1024 * MIB, "{used}");
}

const BLOBS: [&str; 6] = [
    "put:files:a/one:some bytes",
    "put:files:two:",
    "read:files:a/one",
    "copy:files:a/one:b",
    "list:files",
    "remove:files:two",
];
const BLOBS_SAID: [&str; 4] =
    ["10 bytes: some bytes", "part: ome", "info: 10", "[\"a/one\", \"b\", \"two\"], ended: true"];

#[tokio::test]
async fn objects_in_the_nodes_own_folder_and_in_a_volume() {
    let folder = folder();
    let runtime = runtime(folder.path());
    assert_eq!(said(&runtime, granted(grants()), &BLOBS).await, BLOBS_SAID);
    assert_eq!(said(&runtime, granted(grants()), &["list:files"]).await, ["[\"a/one\", \"b\"], ended: true"]);

    let volume = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let mount = |read_only| Mount {
        host_dir: volume.path().to_owned(),
        guest_path: "/data".to_owned(),
        read_only,
        opened: None,
        made_by: None,
    };
    let in_volume = |read_only| Common {
        mounts: vec![mount(read_only)],
        grants: Grants { blobstore: stores(&[("files", Place::Mounted("/data".to_owned()))]), ..grants() },
        ..Common::default()
    };
    assert_eq!(said(&runtime, in_volume(false), &BLOBS).await, BLOBS_SAID);
    assert_eq!(std::fs::read_to_string(volume.path().join("a/one")).ok().as_deref(), Some("some bytes"));
    for (read_only, step, why) in [
        (true, "put:files:x:y", "read-only"),
        (false, "put:files:../x:y", "is no name of an object"),
        (false, "read:files:none", "No such file"),
        (false, "put:others:x:y", "coracle.dev/blobstore"),
    ] {
        let (running, kept) = start(&runtime, in_volume(read_only), &[step]);
        assert_ne!(ended(&running).await.code, 0);
        let lines = kept.lines(Stream::Stdout);
        assert!(lines.iter().any(|line| line.contains(why)), "{step}: {lines:?}");
    }
    #[cfg(unix)]
    {
        assert!(std::os::unix::fs::symlink("/etc/passwd", volume.path().join("link")).is_ok());
        let (running, kept) = start(&runtime, in_volume(false), &["read:files:link"]);
        assert_ne!(ended(&running).await.code, 0, "{:?}", kept.lines(Stream::Stdout));
    }
}

/// A server that speaks as much S3 as a bucket needs.
#[derive(Default)]
struct Bucket {
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    unsigned: Mutex<Vec<String>>,
}

impl Outbound for Bucket {
    fn call(
        &self,
        target: Target,
        request: HttpRequest,
        _connection: Connection,
    ) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        assert_eq!((target.host.as_str(), target.port), ("store.team", 9000));
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        if !query.contains("X-Amz-Signature=") || !query.contains("X-Amz-Credential=me%2F") {
            self.unsigned.lock().push(parts.uri.to_string());
        }
        let key = parts.uri.path().trim_start_matches("/things").trim_start_matches('/').to_owned();
        let answer = {
            let mut objects = self.objects.lock();
            match parts.method.as_str() {
                "DELETE" => {
                    objects.remove(&key);
                    answer(204, Vec::new())
                }
                "GET" if key.is_empty() => {
                    let contents: String = objects.iter().map(|(key, value)| format!(
                        "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag>\
                         <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>", value.len())).collect();
                    answer(200, format!(
                        "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                         <Name>things</Name><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{contents}\
                         </ListBucketResult>").into_bytes())
                }
                "GET" | "HEAD" => match objects.get(&key) {
                    Some(value) => {
                        let range = parts
                            .headers
                            .get("range")
                            .and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
                        let (from, to) = range.map_or((0, value.len()), |(from, to)| {
                            (from.parse().unwrap_or(0), to.parse::<usize>().map_or(value.len(), |to| to + 1))
                        });
                        answer(200, value[from..to.min(value.len())].to_vec())
                    }
                    None => answer(404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
                },
                _ => answer(200, Vec::new()),
            }
        };
        if parts.method != http::Method::PUT {
            return Box::pin(std::future::ready(Ok(answer)));
        }
        let objects = Arc::clone(&self.objects);
        Box::pin(async move {
            let body = body.collect().await.map_err(|error| CallError::Guest(error.to_string()))?;
            objects.lock().insert(key, body.to_bytes().to_vec());
            Ok(answer)
        })
    }
}

fn answer(status: u16, body: Vec<u8>) -> HttpResponse {
    let builder = http::Response::builder().status(status).header("content-length", body.len());
    builder.body(network::body::full(body)).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn objects_of_a_server_that_speaks_s3() {
    let folder = folder();
    let runtime = runtime(folder.path());
    let bucket = Arc::new(Bucket::default());
    let place = Place::Remote {
        url: "s3://things?endpoint=http://store.team:9000&region=here".to_owned(),
        user: "me".to_owned(),
        password: "secret".to_owned(),
    };
    let common = || Common {
        outbound: Some(bucket.clone()),
        grants: Grants { blobstore: stores(&[("files", place.clone())]), ..grants() },
        ..Common::default()
    };
    assert_eq!(said(&runtime, common(), &BLOBS).await, BLOBS_SAID);
    assert_eq!(bucket.objects.lock().keys().cloned().collect::<Vec<_>>(), ["a/one", "b"]);
    assert!(bucket.unsigned.lock().is_empty(), "{:?}", bucket.unsigned.lock());
    let (running, kept) = start(&runtime, common(), &["read:files:none"]);
    assert_ne!(ended(&running).await.code, 0);
    assert!(kept.lines(Stream::Stdout)[0].contains("404 Not Found NoSuchKey"), "{:?}", kept.lines(Stream::Stdout));
}

/// A way to one server that speaks as much Redis as the sample asks for.
#[derive(Default)]
struct RedisServer {
    values: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    commands: Arc<Mutex<Vec<String>>>,
}

impl Sockets for RedisServer {
    fn listen(&self, _address: SocketAddr, _options: TcpOptions) -> Result<TcpListener, AddressInUse> {
        panic!("nobody listens here")
    }
    fn is_bound(&self, _address: SocketAddr) -> bool {
        false
    }
    fn free_port(&self) -> Option<u16> {
        None
    }
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, Result<network::Stream, CallError>> {
        assert_eq!(address, SocketAddr::from(([10, 0, 0, 9], 6380)));
        let (ours, theirs) = network::Stream::pair(SocketAddr::from(([10, 0, 0, 1], 1)), address);
        let (values, commands) = (Arc::clone(&self.values), Arc::clone(&self.commands));
        tokio::spawn(answer_redis(theirs, values, commands));
        Box::pin(std::future::ready(Ok(ours)))
    }
    fn lookup(&self, name: String) -> BoxFuture<'static, Result<Vec<IpAddr>, CallError>> {
        assert_eq!(name, "cache");
        Box::pin(std::future::ready(Ok(vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9))])))
    }
}

/// Reads commands and answers them, one connection.
async fn answer_redis(
    stream: network::Stream,
    values: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    commands: Arc<Mutex<Vec<String>>>,
) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let mut queued: Option<Vec<Vec<String>>> = None;
    while let Some(command) = read_command(&mut reader).await {
        commands.lock().push(command[0].clone());
        let answer = match (command[0].as_str(), &mut queued) {
            ("MULTI", _) => {
                queued = Some(Vec::new());
                "+OK\r\n".to_owned()
            }
            ("EXEC", _) => {
                let all = queued.take().unwrap_or_default();
                let answers: String = all.iter().map(|command| carry_out(command, &values)).collect();
                format!("*{}\r\n{answers}", all.len())
            }
            (_, Some(queue)) => {
                queue.push(command);
                "+QUEUED\r\n".to_owned()
            }
            _ => carry_out(&command, &values),
        };
        if writer.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_command(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<String>> {
    let mut line = String::new();
    reader.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let count: usize = line.trim().strip_prefix('*')?.parse().ok()?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let mut length = String::new();
        reader.read_line(&mut length).await.ok()?;
        let length: usize = length.trim().strip_prefix('$')?.parse().ok()?;
        let mut bytes = vec![0; length + 2];
        reader.read_exact(&mut bytes).await.ok()?;
        parts.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
    }
    Some(parts)
}

fn bulk(value: Option<&Vec<u8>>) -> String {
    value.map_or("$-1\r\n".to_owned(), |value| format!("${}\r\n{}\r\n", value.len(), String::from_utf8_lossy(value)))
}

fn carry_out(command: &[String], values: &Mutex<BTreeMap<String, Vec<u8>>>) -> String {
    let mut values = values.lock();
    let part = |number: usize| command.get(number).cloned().unwrap_or_default();
    match part(0).as_str() {
        "AUTH" if command[1..] == ["me", "secret"] => "+OK\r\n".to_owned(),
        "AUTH" => "-WRONGPASS\r\n".to_owned(),
        "SELECT" => "+OK\r\n".to_owned(),
        "SET" => {
            values.insert(part(1), part(2).into_bytes());
            "+OK\r\n".to_owned()
        }
        "DEL" => format!(":{}\r\n", i32::from(values.remove(&part(1)).is_some())),
        "MGET" => {
            let found: String = command[1..].iter().map(|key| bulk(values.get(key))).collect();
            format!("*{}\r\n{found}", command.len() - 1)
        }
        "INCRBY" => {
            let before = values.get(&part(1)).map_or(0, |text| String::from_utf8_lossy(text).parse().unwrap_or(0));
            let sum: i64 = before + part(2).parse::<i64>().unwrap_or(0);
            values.insert(part(1), sum.to_string().into_bytes());
            format!(":{sum}\r\n")
        }
        "EVAL" => {
            // Script, 1, key, new, and the old one if there is one.
            let old = command.get(5).map(|old| old.clone().into_bytes());
            if values.get(&part(3)).cloned() != old {
                return ":0\r\n".to_owned();
            }
            values.insert(part(3), part(4).into_bytes());
            ":1\r\n".to_owned()
        }
        "SCAN" => {
            let keys: String = values.keys().map(|key| bulk(Some(&key.clone().into_bytes()))).collect();
            format!("*2\r\n{}*{}\r\n{keys}", bulk(Some(&b"0".to_vec())), values.len())
        }
        other => format!("-ERR unknown command {other}\r\n"),
    }
}

#[tokio::test]
async fn a_redis_server_keeps_a_store() {
    let folder = folder();
    let runtime = runtime(folder.path());
    let server = Arc::new(RedisServer::default());
    let common = |password: &str| Common {
        sockets: Some(server.clone()),
        grants: Grants {
            keyvalue: stores(&[(
                "default",
                Place::Remote {
                    url: "redis://cache:6380/2".to_owned(),
                    user: "me".to_owned(),
                    password: password.to_owned(),
                },
            )]),
            ..grants()
        },
        ..Common::default()
    };
    let steps = ["set::name:coracle", "get::name", "get::none", "count::n:7", "swap::name:boat", "many::10", "keys:"];
    let wanted = [
        "Some(\"coracle\")",
        "None",
        "7",
        "was Some(\"coracle\")",
        "late one refused",
        "10 of 10",
        "7 keys, first Some(\"many-00005\")",
    ];
    assert_eq!(said(&runtime, common("secret"), &steps).await, wanted);
    let commands = server.commands.lock().clone();
    assert!(commands.starts_with(&["AUTH".to_owned(), "SELECT".to_owned()]), "{commands:?}");
    assert!(commands.contains(&"MULTI".to_owned()));
    let (running, kept) = start(&runtime, common("wrong"), &["get::name"]);
    assert_ne!(ended(&running).await.code, 0);
    assert!(kept.lines(Stream::Stdout)[0].starts_with("get::name: "), "{:?}", kept.lines(Stream::Stdout));
}
