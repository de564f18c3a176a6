//! `wget`, `nslookup`, `nc`: what the pod network and the cluster's names look like from inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::BodyExt;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{ErrorCode, IpAddress};
use wstd::http::{Body, Client, Request, Response, Uri};
use wstd::io::{AsyncRead, AsyncWrite};
use wstd::iter::AsyncIterator;
use wstd::net::{TcpListener, TcpStream};
use wstd::runtime::AsyncPollable;

use crate::io::Output;
use crate::process::{Ended, Fail, Options, Process, why};

const REDIRECTS_MAX: usize = 10;

pub async fn wget(process: &Process) -> Ended {
    let long = [("output-document", 'O'), ("quiet", 'q'), ("server-response", 'S'), ("spider", 's'), ("header", 'H'), ("post-data", 'D'), ("timeout", 'T'), ("tries", 't'), ("no-check-certificate", 'k'), ("user-agent", 'U'), ("method", 'M'), ("body-data", 'D'), ("no-verbose", 'n')];
    let options = Options::of(&process.args, "O:qSsH:D:T:t:kU:M:cP:n", &long)?;
    let Some(address) = options.rest.first() else { return Err("missing URL".to_owned().into()) };
    let seconds = options.number('T')?.unwrap_or(900).max(1);
    match super::within(Duration::from_secs(seconds), fetch(process, &options, address)).await {
        Some(ended) => ended,
        None => Err("download timed out".to_owned().into()),
    }
}

async fn fetch(process: &Process, options: &Options, address: &str) -> Ended {
    let mut url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let quiet = options.has('q');
    for _ in 0..REDIRECTS_MAX {
        let uri: Uri = url.parse().map_err(|_| format!("bad address '{address}'"))?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        if !quiet {
            process.stderr.write(format!("Connecting to {host}\n").as_bytes()).await?;
        }
        let response = send(options, uri.clone()).await.map_err(|error| unreachable(&host, &error))?;
        let status = response.status();
        if options.has('S') {
            let mut head = format!("  HTTP/1.1 {} {}\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
            for (name, value) in response.headers() {
                head.push_str(&format!("  {name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
            }
            process.stderr.write(head.as_bytes()).await?;
        }
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        if let Some(location) = location.filter(|_| status.is_redirection()) {
            url = joined(&uri, location);
            continue;
        }
        if !status.is_success() {
            let reason = status.canonical_reason().unwrap_or_default();
            return Err(format!("server returned error: HTTP/1.1 {} {reason}", status.as_u16()).into());
        }
        if options.has('s') {
            return Ok(0);
        }
        return save(process, options, &uri, response).await;
    }
    Err("too many redirections".to_owned().into())
}

async fn send(options: &Options, uri: Uri) -> Result<Response<Body>, wstd::http::Error> {
    let body = options.value('D');
    let method = options.value('M').unwrap_or(if body.is_some() { "POST" } else { "GET" });
    let mut request = Request::builder().method(method).uri(uri);
    request = request.header("user-agent", options.value('U').unwrap_or("Wget"));
    for header in options.values('H') {
        if let Some((name, value)) = header.split_once(':') {
            request = request.header(name.trim(), value.trim());
        }
    }
    if body.is_some() && !options.values('H').any(|header| header.to_lowercase().starts_with("content-type")) {
        request = request.header("content-type", "application/x-www-form-urlencoded");
    }
    let body = body.map_or_else(Body::empty, |text| Body::from(text.to_owned()));
    Client::new().send(request.body(body)?).await
}

fn unreachable(host: &str, error: &wstd::http::Error) -> String {
    let text = format!("{error:?}");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if text.contains("DnsError") || text.contains("DNS") || text.contains("dns") {
        return format!("bad address '{name}'");
    }
    let said = match error.downcast_ref::<wasip2::http::types::ErrorCode>() {
        Some(wasip2::http::types::ErrorCode::InternalError(Some(words))) => words.clone(),
        _ => error.to_string(),
    };
    let short = if text.contains("ConnectionRefused") { "Connection refused".to_owned() } else { said };
    format!("can't connect to remote host ({host}): {short}")
}

fn joined(from: &Uri, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let base = format!("{}://{}", from.scheme_str().unwrap_or("http"), from.authority().map(ToString::to_string).unwrap_or_default());
    if location.starts_with('/') {
        return format!("{base}{location}");
    }
    let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{base}{folder}/{location}")
}

async fn save(process: &Process, options: &Options, uri: &Uri, response: Response<Body>) -> Ended {
    let last = uri.path().rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("index.html");
    let path = match options.value('O') {
        Some(path) => path.to_owned(),
        None => format!("{}{last}", options.value('P').map_or(String::new(), |folder| format!("{folder}/"))),
    };
    let output = match path.as_str() {
        "-" | "/dev/stdout" => process.stdout.clone(),
        "/dev/null" => Output::nothing(),
        path => {
            let file = std::fs::File::create(process.path(path)).map_err(|error| format!("can't open '{path}': {}", why(&error)))?;
            Output::file(file)
        }
    };
    let mut body = response.into_body().into_boxed_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fail::from(error.to_string()))?;
        if let Some(bytes) = frame.data_ref() {
            output.write(bytes).await?;
        }
    }
    if !options.has('q') {
        let words = if path == "-" { "written to stdout".to_owned() } else { format!("'{path}' saved") };
        process.stderr.write(format!("{words}\n").as_bytes()).await?;
    }
    Ok(0)
}

/// The addresses of a name.
async fn lookup(name: &str) -> Result<Vec<IpAddr>, ErrorCode> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let network = instance_network();
    let stream = resolve_addresses(&network, name)?;
    let mut found = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => found.push(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            Ok(Some(IpAddress::Ipv6((a, b, c, d, e, f, g, h)))) => {
                found.push(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)));
            }
            Ok(None) => return Ok(found),
            Err(ErrorCode::WouldBlock) => {
                let ready = AsyncPollable::new(stream.subscribe());
                ready.wait_for().await;
            }
            Err(error) => return Err(error),
        }
    }
}

pub async fn nslookup(process: &Process) -> Ended {
    let mut rest = process.args[1..].iter().filter(|arg| !arg.starts_with('-'));
    let Some(name) = rest.next() else { return Err("usage: nslookup HOST".to_owned().into()) };
    let config = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let server = config.lines().find_map(|line| line.strip_prefix("nameserver ")).unwrap_or("127.0.0.1").trim();
    let server = format!("Server:\t\t{server}\nAddress:\t{server}:53\n\n");
    process.stdout.write(server.as_bytes()).await?;
    match lookup(name).await {
        Ok(found) if !found.is_empty() => {
            let lines: String = found.iter().map(|address| format!("Name:\t{name}\nAddress: {address}\n")).collect();
            process.stdout.write(lines.as_bytes()).await?;
            Ok(0)
        }
        Ok(_) | Err(ErrorCode::NameUnresolvable) => {
            process.stdout.write(format!("** server can't find {name}: NXDOMAIN\n").as_bytes()).await?;
            Ok(1)
        }
        Err(error) => Err(format!("can't resolve '{name}': {}", error.message()).into()),
    }
}

pub async fn nc(process: &Process) -> Ended {
    let options = Options::of(&process.args, "lp:w:zvnuek", &[])?;
    let limit = Duration::from_secs(options.number('w')?.unwrap_or(1 << 20));
    if options.has('u') {
        return Err("UDP is not offered".to_owned().into());
    }
    if options.has('l') {
        let port = options.value('p').or(options.rest.last().map(String::as_str)).ok_or("-l needs a port")?;
        let address = format!("0.0.0.0:{port}");
        let listener = TcpListener::bind(address.as_str()).await.map_err(|error| format!("bind: {}", why(&error)))?;
        let mut incoming = listener.incoming();
        let stream = incoming.next().await.ok_or("the listener has ended")?.map_err(|error| why(&error))?;
        return exchange(process, stream).await;
    }
    let [host, port] = options.rest.as_slice() else { return Err("usage: nc [-lzv] [-w SEC] [-p PORT] HOST PORT".to_owned().into()) };
    let port: u16 = port.parse().map_err(|_| format!("bad port '{port}'"))?;
    let connect = async {
        let found = lookup(host).await.map_err(|_| format!("bad address '{host}'"))?;
        let address = found.into_iter().find(IpAddr::is_ipv4).ok_or_else(|| format!("bad address '{host}'"))?;
        TcpStream::connect(SocketAddr::new(address, port)).await.map_err(|error| format!("{host} ({address}:{port}): {}", why(&error)))
    };
    let stream = match super::within(limit, connect).await {
        Some(Ok(stream)) => stream,
        Some(Err(words)) => return Err(words.into()),
        None => return Err(format!("{host}:{port}: Connection timed out").into()),
    };
    if options.has('v') {
        process.stderr.write(format!("{host}:{port} open\n").as_bytes()).await?;
    }
    if options.has('z') {
        return Ok(0);
    }
    exchange(process, stream).await
}

/// Carries both ways until the other side is done.
async fn exchange(process: &Process, stream: TcpStream) -> Ended {
    let (mut from, mut to) = stream.split();
    let send = async {
        loop {
            let piece = process.stdin.read().await?;
            if piece.is_empty() {
                to.flush().await?;
                return Ok::<_, std::io::Error>(());
            }
            to.write_all(&piece).await?;
            to.flush().await?;
        }
    };
    let receive = async {
        let mut piece = vec![0; 16 * 1024];
        loop {
            match from.read(&mut piece).await? {
                0 => return Ok::<_, std::io::Error>(()),
                count => process.stdout.write(&piece[..count]).await?,
            }
        }
    };
    let (mut send, mut receive, mut sent) = (std::pin::pin!(send), std::pin::pin!(receive), false);
    std::future::poll_fn(|context| {
        use std::task::Poll;
        if !sent && send.as_mut().poll(context).is_ready() {
            sent = true;
        }
        match receive.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    Ok(0)
}
