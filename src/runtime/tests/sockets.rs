//! Sockets: what listens and what connects, and the limits on both, on handles and on what one call carries.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use network::{AddressInUse, CallError, Connection, PodNetwork, Stream as Bytes, TcpListener, TcpOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Kept, MIB, PATIENCE, PLAIN, eventually, get, get_text, program, request, runtime, serve, text};
use crate::{Common, Exit, Handles, Mount, Reason, RunSpec, Running, Runtime, ServeSpec, Sockets, Stream};

/// The pod network without a policy.
struct Open(PodNetwork, IpAddr);

impl Sockets for Open {
    fn listen(&self, address: SocketAddr, options: TcpOptions) -> Result<TcpListener, AddressInUse> {
        self.0.listen_tcp(address, options)
    }
    fn is_bound(&self, address: SocketAddr) -> bool {
        self.0.is_bound(address)
    }
    fn free_port(&self) -> Option<u16> {
        self.0.free_port(self.1)
    }
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let (network, own) = (self.0.clone(), self.1);
        async move { network.connect(address, own).await }.boxed()
    }
    fn lookup(&self, name: String) -> BoxFuture<'static, Result<Vec<IpAddr>, CallError>> {
        let found = self.0.lookup(&name, "default", self.1);
        std::future::ready(Ok(found)).boxed()
    }
}

const SERVER: &str = "10.128.0.1";
const CLIENT: &str = "10.128.0.2";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

fn common(network: &PodNetwork, at: &str) -> Common {
    let sockets = Arc::new(Open(network.clone(), ip(at)));
    Common { address: ip(at), sockets: Some(sockets), ..Common::default() }
}

fn start(runtime: &Runtime, network: &PodNetwork, at: &str, args: &[&str]) -> (Running, Arc<Kept>) {
    let kept = Kept::new();
    let args = ["tcp-echo"].iter().chain(args).map(ToString::to_string).collect();
    let common = Common { args, output: Arc::clone(&kept) as _, ..common(network, at) };
    let spec = RunSpec { common, deadline: None };
    let running = runtime.run(&program(runtime, "tcp-echo", PLAIN), spec).unwrap_or_else(|error| panic!("{error}"));
    (running, kept)
}

async fn ended(running: &Running) -> Exit {
    tokio::time::timeout(PATIENCE, running.exit()).await.unwrap_or_else(|_| panic!("it does not end"))
}

/// What a client prints, on success and otherwise.
async fn outcome(runtime: &Runtime, network: &PodNetwork, at: &str, args: &[&str]) -> Vec<String> {
    let (client, kept) = start(runtime, network, at, args);
    let stream = if ended(&client).await.code == 0 { Stream::Stdout } else { Stream::Stderr };
    kept.lines(stream)
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::new(ip(SERVER), port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_reach_each_other_and_the_host_reaches_them() {
    let (runtime, network) = (runtime(), PodNetwork::new(network::Config::default()));
    let (server, lines) = start(&runtime, &network, SERVER, &["serve", "7000"]);
    eventually("it listens", || network.listening(address(7000))).await;
    eventually("it says so", || !lines.lines(Stream::Stdout).is_empty() || !lines.lines(Stream::Stderr).is_empty())
        .await;
    assert_eq!(lines.lines(Stream::Stdout), ["listening at 0.0.0.0:7000"], "{:?}", lines.lines(Stream::Stderr));
    assert_eq!(outcome(&runtime, &network, CLIENT, &["send", "10.128.0.1:7000", "hello"]).await, ["hello"]);
    assert_eq!(outcome(&runtime, &network, SERVER, &["send", "localhost:7000", "own"]).await, ["own"]);
    // Another container of the pod may not have the same port.
    let taken = outcome(&runtime, &network, SERVER, &["serve", "7000"]).await;
    assert!(taken[0].contains("cannot listen at 0.0.0.0:7000"), "{taken:?}");
    let refused = outcome(&runtime, &network, CLIENT, &["send", "10.128.0.1:7001", "x"]).await;
    assert!(refused[0].contains("connection refused"), "{refused:?}");
    let unknown = outcome(&runtime, &network, CLIENT, &["send", "nobody:1", "x"]).await;
    assert!(unknown[0].contains("cannot look nobody up"), "{unknown:?}");

    let mut stream = network.connect(address(7000), ip(CLIENT)).await.unwrap_or_else(|error| panic!("{error}"));
    let (many, mut back) = (vec![7u8; 3 << 20], vec![0u8; 3 << 20]);
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let (sent, read) = tokio::join!(writer.write_all(&many), reader.read_exact(&mut back));
    assert!(sent.is_ok() && read.is_ok() && many == back);
    drop(stream);
    server.stop(std::time::Duration::ZERO).await;
    eventually("nobody listens", || !network.is_bound(address(7000))).await;
    eventually("its memory is free", || server.stats().memory_bytes == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_and_sockets_meet() {
    let (runtime, network) = (runtime(), PodNetwork::new(network::Config::default()));
    let (_server, _) = start(&runtime, &network, SERVER, &["http", "8080"]);
    eventually("it listens", || network.listening(address(8080))).await;
    let mut ask = request("/some/path");
    *ask.body_mut() = network::body::full("body");
    let response = network.call(address(8080), ask, Connection::default()).await;
    let response = response.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(text(response).await, "GET /some/path HTTP/1.1 for test.local, 4 bytes\nbody");

    let hello = serve(&runtime, "hello", ServeSpec::default());
    let _listener = network.listen_http(address(80), Arc::new(hello)).unwrap_or_else(|error| panic!("{error}"));
    let answer = outcome(&runtime, &network, CLIENT, &["get", "10.128.0.1:80", "/"]).await;
    assert_eq!(answer[0], "HTTP/1.1 200 OK");
    assert!(answer.iter().any(|line| line.starts_with("Hello")), "{answer:?}");
}

#[tokio::test]
async fn without_a_network_sockets_are_denied() {
    let runtime = runtime();
    let chaos = serve(&runtime, "chaos", ServeSpec::default());
    assert_eq!(get_text(&chaos, "/sockets").await, "0 sockets, then access-denied\n");
}

/// A folder that is mounted at `/data`.
fn data(folder: &tempfile::TempDir) -> Mount {
    let (host_dir, guest_path) = (folder.path().to_owned(), "/data".to_owned());
    Mount { host_dir, opened: None, made_by: None, guest_path, read_only: false }
}

#[tokio::test]
async fn sockets_files_and_handles_past_their_limit_fail_and_cost_nobody_else() {
    let (runtime, network) = (runtime(), PodNetwork::new(network::Config::default()));
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let common = Common { mounts: vec![data(&folder)], ..common(&network, SERVER) };
    let chaos = serve(&runtime, "chaos", ServeSpec { common: common.clone(), ..ServeSpec::default() });
    assert_eq!(get_text(&chaos, "/sockets").await, "1024 sockets, then new-socket-limit\n");
    let files = get_text(&chaos, "/files").await;
    // One of them is the folder.
    assert_eq!(files, "1023 files, then insufficient-memory\n");
    let unread = get_text(&chaos, "/unread").await;
    assert!(unread.starts_with("1023 clients, 67043328 bytes under way, then new-socket-limit"), "{unread}");
    for (path, why) in [("/pollables", "coracle.dev/max-handles"), ("/random", ""), ("/hand-over", "")] {
        let failed = get(&chaos, path).await.err().map(|error| error.to_string());
        assert!(failed.as_ref().is_some_and(|failed| failed.contains(why)), "{path}: {failed:?}");
    }
    assert!(get_text(&chaos, "/random?mib=1").await.starts_with("1048576"));
    assert_eq!(get_text(&chaos, "/").await, "well behaved\n");
    eventually("all is given back", || chaos.stats().memory_bytes == 0).await;

    let handles = Handles { handles: 100, files: 5, sockets: 10, ..Handles::default() };
    let chaos = serve(&runtime, "chaos", ServeSpec { common: Common { handles, ..common }, ..ServeSpec::default() });
    assert_eq!(get_text(&chaos, "/sockets").await, "10 sockets, then new-socket-limit\n");
    assert_eq!(get_text(&chaos, "/files").await, "4 files, then insufficient-memory\n");
    assert!(get(&chaos, "/pollables").await.is_err());
}

#[tokio::test]
async fn what_handles_and_connections_hold_is_on_the_memory_account() {
    let (runtime, network) = (runtime(), PodNetwork::new(network::Config::default()));
    let common = Common { memory_bytes: Some(16 * MIB), ..common(&network, SERVER) };
    let unread = serve(&runtime, "chaos", ServeSpec { common: common.clone(), ..ServeSpec::default() });
    // What it fills its connections with leaves it no memory to go on with.
    assert!(get(&unread, "/unread").await.is_err());
    assert_eq!(unread.exit().await.reason, Reason::OomKilled);
    assert!((8 * MIB..=16 * MIB).contains(&unread.stats().memory_bytes_peak));
    eventually("all is given back", || unread.stats().memory_bytes == 0).await;

    let handles = Handles { handles: 10_000_000, ..Handles::default() };
    let spec = ServeSpec { common: Common { handles, ..common }, ..ServeSpec::default() };
    let pollables = serve(&runtime, "chaos", spec);
    assert!(get(&pollables, "/pollables").await.is_err());
    assert_eq!(pollables.exit().await.reason, Reason::OomKilled);
}

#[tokio::test]
async fn few_handles_that_hold_much_are_on_the_memory_account() {
    let (runtime, network) = (runtime(), PodNetwork::new(network::Config::default()));
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let common = Common { mounts: vec![data(&folder)], memory_bytes: Some(32 * MIB), ..common(&network, SERVER) };
    for (path, answer) in [
        ("/hoard/methods", Some("0 methods, then refused\n")),
        ("/hoard/listings?dir=/data", Some(" listings, then insufficient-memory\n")),
        ("/hoard/fields", None),
        ("/hoard/bodies", None),
    ] {
        let hoard = serve(&runtime, "chaos", ServeSpec { common: common.clone(), ..ServeSpec::default() });
        match answer {
            Some(answer) => {
                let found = get_text(&hoard, path).await;
                assert!(found.contains(answer), "{path}: {found}");
            }
            None => {
                assert!(get(&hoard, path).await.is_err(), "{path}");
                assert_eq!(hoard.exit().await.reason, Reason::OomKilled, "{path}");
            }
        }
        eventually("all is given back", || hoard.stats().memory_bytes == 0).await;
    }
}
