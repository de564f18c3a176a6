//! Few handles that hold much: what the host keeps for a guest is memory too. Each answers with how much it was let keep.

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, DirectoryEntryStream, OpenFlags, PathFlags};
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest};

const HANDLES: usize = 1000;

pub fn answer(what: &str, dir: &str) -> String {
    match what {
        "methods" => methods(),
        "fields" => fields(),
        "bodies" => bodies(),
        "listings" => listings(dir),
        other => format!("error: nothing called {other}\n"),
    }
}

/// Requests with a method of a megabyte each, none of which is sent.
fn methods() -> String {
    let name = "X".repeat(1 << 20);
    let mut held = Vec::new();
    while held.len() < HANDLES {
        let request = OutgoingRequest::new(Fields::new());
        if request.set_method(&Method::Other(name.clone())).is_err() {
            return format!("{} methods, then refused\n", held.len());
        }
        held.push(request);
    }
    format!("{} methods\n", held.len())
}

/// Headers of a hundred kilobytes each.
fn fields() -> String {
    let value = vec![b'x'; 100 << 10];
    let mut held = Vec::new();
    while held.len() < HANDLES {
        let fields = Fields::new();
        if fields.append("x-hoard", &value).is_err() {
            return format!("{} fields, then refused\n", held.len());
        }
        held.push(fields);
    }
    format!("{} fields\n", held.len())
}

/// Bodies of requests that are never sent, each filled for as long as it takes more.
fn bodies() -> String {
    let (mut held, mut written) = (Vec::new(), 0);
    while held.len() < HANDLES {
        let request = OutgoingRequest::new(Fields::new());
        let Ok(body) = request.body() else { break };
        let Ok(stream) = body.write() else { break };
        while let Ok(room) = stream.check_write() {
            let piece = vec![b'x'; (room as usize).min(64 << 10)];
            if piece.is_empty() || stream.write(&piece).is_err() {
                break;
            }
            written += piece.len();
        }
        drop(stream);
        held.push((body, request));
    }
    let count = held.len();
    // A body goes before the request that it is of.
    held.into_iter().for_each(|(body, request)| {
        let _ = OutgoingBody::finish(body, None);
        drop(request);
    });
    format!("{count} bodies with {written} bytes\n")
}

/// The list of a folder with ten thousand files, asked for again and again and never read.
fn listings(dir: &str) -> String {
    let volumes = get_directories();
    let Some((volume, _)) = volumes.iter().find(|(_, path)| path.trim_end_matches('/') == dir) else {
        return "error: no volume\n".to_owned();
    };
    for number in 0..10_000 {
        let name = format!("{number:0100}");
        if volume.open_at(PathFlags::empty(), &name, OpenFlags::CREATE, DescriptorFlags::WRITE).is_err() {
            return format!("error: no more than {number} files\n");
        }
    }
    let mut held: Vec<DirectoryEntryStream> = Vec::new();
    while held.len() < HANDLES {
        match volume.read_directory() {
            Ok(listing) => held.push(listing),
            Err(error) => return format!("{} listings, then {}\n", held.len(), error.name()),
        }
    }
    format!("{} listings\n", held.len())
}
