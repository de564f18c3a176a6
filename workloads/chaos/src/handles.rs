//! Takes more handles than it should have.

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

/// Opens sockets until it has ten thousand or is refused.
pub fn sockets() -> String {
    let mut sockets = Vec::new();
    let refused = loop {
        if sockets.len() == 10_000 {
            break None;
        }
        match create_tcp_socket(IpAddressFamily::Ipv4) {
            Ok(socket) => sockets.push(socket),
            Err(error) => break Some(error),
        }
    };
    format!("{} sockets, then {}\n", sockets.len(), said(refused))
}

/// A server with a queue that nobody looks after, and as many clients as it takes, each of which writes what it can.
pub fn unread() -> String {
    let network = instance_network();
    let address = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 9999, address: (127, 0, 0, 1) });
    let mut said_last = None;
    let Ok(server) = create_tcp_socket(IpAddressFamily::Ipv4) else { return "no socket at all\n".to_owned() };
    let listening = server.set_listen_backlog_size(4096).and_then(|()| server.start_bind(&network, address));
    let listening = listening.and_then(|()| server.finish_bind()).and_then(|()| server.start_listen());
    if let Err(error) = listening.and_then(|()| server.finish_listen()) {
        return format!("cannot listen: {error:?}\n");
    }
    let (mut clients, mut written) = (Vec::new(), 0);
    while clients.len() < 10_000 && said_last.is_none() {
        match client(&network, address) {
            Ok((socket, input, output)) => {
                while let Ok(room) = output.check_write() {
                    let piece = vec![0; (room as usize).min(64 * 1024)];
                    if piece.is_empty() || output.write(&piece).is_err() {
                        break;
                    }
                    written += piece.len();
                }
                // Streams go before their socket.
                clients.push((output, input, socket));
            }
            Err(error) => said_last = Some(error),
        }
    }
    format!("{} clients, {written} bytes under way, then {}\n", clients.len(), said(said_last))
}

type Client =
    (wasip2::sockets::tcp::TcpSocket, wasip2::io::streams::InputStream, wasip2::io::streams::OutputStream);

fn client(network: &wasip2::sockets::network::Network, address: IpSocketAddress) -> Result<Client, ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_connect(network, address)?;
    socket.subscribe().block();
    let (input, output) = socket.finish_connect()?;
    Ok((socket, input, output))
}

fn said(error: Option<ErrorCode>) -> String {
    error.map_or_else(|| "nothing".to_owned(), |error| error.name().to_owned())
}

/// A million things to wait for.
pub fn pollables() -> String {
    let all: Vec<_> = (0..1_000_000).map(|_| subscribe_duration(3_600_000_000_000)).collect();
    format!("{} pollables\n", all.len())
}

/// So many random bytes at once.
pub fn random(mib: u64) -> String {
    format!("{} random bytes\n", wasip2::random::random::get_random_bytes(mib << 20).len())
}

/// Opens one file of the first volume again and again, until it is open ten thousand times: by the interface itself, since
/// the standard library has a small limit of its own.
pub fn files() -> String {
    let volumes = wasip2::filesystem::preopens::get_directories();
    let Some((folder, _)) = volumes.first() else { return "no volume\n".to_owned() };
    let mut files = Vec::new();
    while files.len() < 10_000 {
        match folder.open_at(PathFlags::empty(), "same", OpenFlags::CREATE, DescriptorFlags::READ) {
            Ok(file) => files.push(file),
            Err(error) => return format!("{} files, then {}\n", files.len(), error.name()),
        }
    }
    format!("{} files\n", files.len())
}

/// Hands the host so much in one call.
pub fn hand_over(mib: usize) -> String {
    let name = "x".repeat(mib << 20);
    let found = wasip2::sockets::ip_name_lookup::resolve_addresses(&instance_network(), &name);
    format!("{}\n", found.is_ok())
}
