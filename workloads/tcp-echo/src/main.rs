//! A command with sockets: a server that listens, and the client to go with it.
//!
//! Shows: a program that speaks TCP is a pod; what listens stands behind a Service and is reached by its name, through
//! `kubectl port-forward` and by the tcpSocket probe, and one that speaks HTTP by the ingress as well.
//! `tcp-echo serve PORT` sends back what it is sent, `tcp-echo http PORT` answers requests as HTTP/1.1,
//! `tcp-echo send HOST:PORT TEXT` sends a line and prints what comes back, `wait` does so as soon as somebody listens,
//! `tcp-echo get HOST:PORT PATH` asks by HTTP, `tcp-echo look-up HOST` prints addresses. PORT may have an address in front: `127.0.0.1:7000`.

mod names;

use std::net::SocketAddr;

use wstd::io::{self, AsyncRead, AsyncWrite};
use wstd::iter::AsyncIterator;
use wstd::net::{TcpListener, TcpStream};
use wstd::time::Duration;

/// How a failure to connect begins.
const UNREACHED: &str = "cannot connect to";

#[wstd::main]
async fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["serve"] | [] => serve("7000", false).await,
        ["serve", port] => serve(port, false).await,
        ["http", port] => serve(port, true).await,
        ["send", to, text] => send(to, &format!("{text}\n")).await,
        ["wait", to, text] => loop {
            match send(to, &format!("{text}\n")).await {
                Err(why) if why.starts_with(UNREACHED) => {
                    wstd::task::sleep(Duration::from_millis(100)).await;
                }
                outcome => break outcome,
            }
        },
        ["get", to, path] => {
            send(to, &format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n")).await
        }
        ["look-up", host] => look_up(host).await,
        _ => Err("try serve, http, send, wait, get or look-up".to_owned()),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("tcp-echo: {why}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn serve(at: &str, http: bool) -> Result<(), String> {
    let address = if at.contains(':') { at.to_owned() } else { format!("0.0.0.0:{at}") };
    let listener = TcpListener::bind(&address).await.map_err(|error| format!("cannot listen at {address}: {error}"))?;
    println!("listening at {address}");
    // Somebody may wait for this line.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    let mut incoming = listener.incoming();
    while let Some(connection) = incoming.next().await {
        match connection {
            Ok(stream) => wstd::runtime::spawn(async move {
                let served = if http { answer(stream).await } else { echo(stream).await };
                if let Err(error) = served {
                    eprintln!("a connection failed: {error}");
                }
            })
            .detach(),
            Err(error) => eprintln!("cannot accept: {error}"),
        }
    }
    Ok(())
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut piece = vec![0; 16 * 1024];
    loop {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&piece[..count]).await?;
        stream.flush().await?;
    }
}

/// As much of HTTP/1.1 as it takes: requests one after the other, bodies by their length.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut read = Vec::new();
    let mut piece = vec![0; 4096];
    loop {
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            let count = stream.read(&mut piece).await?;
            if count == 0 {
                return Ok(());
            }
            read.extend_from_slice(&piece[..count]);
            continue;
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = read.split_off(end + 4);
        while body.len() < length {
            let count = stream.read(&mut piece).await?;
            if count == 0 {
                return Ok(());
            }
            body.extend_from_slice(&piece[..count]);
        }
        read = body.split_off(length);
        let line = head.lines().next().unwrap_or_default();
        let text = format!("{line} for {}, {length} bytes\n", header(&head, "host").unwrap_or_default());
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{text}{}",
            text.len() + body.len(),
            String::from_utf8_lossy(&body)
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Sends all, says that this is all, and prints what comes back.
async fn send(to: &str, text: &str) -> Result<(), String> {
    let (host, port) = to.rsplit_once(':').ok_or("the address has no port")?;
    let port: u16 = port.parse().map_err(|_| format!("{port:?} is no port"))?;
    let addresses = names::look_up(host).await.map_err(|error| format!("cannot look {host} up: {error}"))?;
    let address = addresses.first().ok_or_else(|| format!("{host} has no address"))?;
    let address = SocketAddr::new(*address, port);
    let stream = TcpStream::connect_addr(address).await;
    let stream = stream.map_err(|error| format!("{UNREACHED} {to} ({address}): {error}"))?;
    let failed = |error: io::Error| format!("the connection to {to} failed: {error}");
    // A half that is dropped is closed.
    let (mut reader, mut writer) = stream.split();
    writer.write_all(text.as_bytes()).await.map_err(failed)?;
    writer.flush().await.map_err(failed)?;
    drop(writer);
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).await.map_err(failed)?;
    println!("{}", String::from_utf8_lossy(&answer).trim_end());
    Ok(())
}

async fn look_up(host: &str) -> Result<(), String> {
    for address in names::look_up(host).await.map_err(|error| format!("cannot look {host} up: {error}"))? {
        println!("{address}");
    }
    Ok(())
}
