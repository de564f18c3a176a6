//! `md5sum`, `sha1sum`, `sha256sum`, `sha512sum`, `base64`, `od`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::lines::operands;
use crate::process::{Ended, Options, Process};

/// The digests behind one face.
trait Digests {
    fn add(&mut self, bytes: &[u8]);
    fn end(self: Box<Self>) -> Vec<u8>;
}

impl<D: Digest> Digests for D {
    fn add(&mut self, bytes: &[u8]) {
        Digest::update(self, bytes);
    }

    fn end(self: Box<Self>) -> Vec<u8> {
        (*self).finalize().to_vec()
    }
}

fn digest(name: &str) -> Box<dyn Digests> {
    match name {
        "md5sum" => Box::new(Md5::default()),
        "sha1sum" => Box::new(Sha1::default()),
        "sha512sum" => Box::new(Sha512::default()),
        _ => Box::new(Sha256::default()),
    }
}

async fn sum_of(process: &Process, path: &str) -> Result<String, crate::process::Fail> {
    let input = process.open(path)?;
    let mut digest = digest(process.name());
    loop {
        let piece = input.read().await?;
        if piece.is_empty() {
            break;
        }
        digest.add(&piece);
    }
    Ok(digest.end().iter().map(|byte| format!("{byte:02x}")).collect())
}

pub async fn sum(process: &Process) -> Ended {
    let options = Options::of(&process.args, "cswb", &[("check", 'c'), ("status", 's')])?;
    let (mut code, mut out) = (0, process.out());
    for path in operands(&options) {
        if !options.has('c') {
            out.line(&format!("{}  {path}", sum_of(process, &path).await?)).await?;
            continue;
        }
        let list = process.open(&path)?.all().await?;
        for line in String::from_utf8_lossy(&list).lines() {
            let Some((wanted, name)) = line.split_once(char::is_whitespace) else { continue };
            let name = name.trim_start_matches([' ', '*']);
            let same = sum_of(process, name).await.is_ok_and(|found| found == wanted);
            code |= i32::from(!same);
            if !options.has('s') {
                out.line(&format!("{name}: {}", if same { "OK" } else { "FAILED" })).await?;
            }
        }
    }
    out.flush().await?;
    Ok(code)
}

pub async fn base64(process: &Process) -> Ended {
    let options = Options::of(&process.args, "dDw:i", &[("decode", 'd'), ("wrap", 'w')])?;
    let width = usize::try_from(options.number('w')?.unwrap_or(76)).unwrap_or(76);
    let input = process.open(options.rest.first().map_or("-", String::as_str))?;
    if options.has('d') || options.has('D') {
        let mut held = Vec::new();
        loop {
            let piece = input.read().await?;
            let over = piece.is_empty();
            held.extend(piece.into_iter().filter(|byte| !byte.is_ascii_whitespace()));
            let whole = if over { held.len() } else { held.len() / 4 * 4 };
            let text: Vec<u8> = held.drain(..whole).collect();
            let bytes = STANDARD.decode(&text).map_err(|_| "truncated or invalid base64 input".to_owned())?;
            process.stdout.write(&bytes).await?;
            if over {
                return Ok(0);
            }
        }
    }
    // Whole lines of three bytes for four letters.
    let step = if width == 0 { 3 * 1024 } else { width * 3 };
    let (mut out, mut held, mut column) = (process.out(), Vec::new(), 0);
    loop {
        let piece = input.read().await?;
        let over = piece.is_empty();
        held.extend(piece);
        let whole = if over { held.len() } else { held.len() / step * step };
        let text = STANDARD.encode(held.drain(..whole).collect::<Vec<u8>>());
        for c in text.bytes() {
            if width > 0 && column == width {
                out.put(b"\n").await?;
                column = 0;
            }
            out.put(&[c]).await?;
            column += 1;
        }
        if over {
            break;
        }
    }
    if column > 0 {
        out.put(b"\n").await?;
    }
    out.flush().await?;
    Ok(0)
}

/// Bytes in hexadecimal, octal or as characters, sixteen a line.
pub async fn od(process: &Process) -> Ended {
    let options = Options::of(&process.args, "A:t:xcbvN:j:", &[])?;
    let kind = match options.value('t') {
        Some(kind) => kind.chars().next().unwrap_or('o'),
        None if options.has('c') => 'c',
        None if options.has('x') => 'x',
        None => 'o',
    };
    let addresses = options.value('A') != Some("n");
    let limit = usize::try_from(options.number('N')?.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let input = process.open(options.rest.first().map_or("-", String::as_str))?;
    let (mut out, mut at) = (process.out(), 0_usize);
    let mut block = [0; 16];
    loop {
        let want = 16.min(limit.saturating_sub(at));
        let read = input.exact(&mut block[..want]).await?;
        if read == 0 {
            break;
        }
        let one = |byte: &u8| match (kind, *byte) {
            ('x', byte) => format!(" {byte:02x}"),
            ('d' | 'u', byte) => format!(" {byte:3}"),
            ('c', b'\n') => "  \\n".to_owned(),
            ('c', b'\t') => "  \\t".to_owned(),
            ('c', b'\r') => "  \\r".to_owned(),
            ('c', 0) => "  \\0".to_owned(),
            ('c', byte) if byte.is_ascii_graphic() || byte == b' ' => format!("   {}", char::from(byte)),
            (_, byte) => format!(" {byte:03o}"),
        };
        let address = if addresses { format!("{at:07o}") } else { String::new() };
        let cells: String = block[..read].iter().map(one).collect();
        out.line(&format!("{address}{cells}")).await?;
        at += read;
    }
    if addresses {
        out.line(&format!("{at:07o}")).await?;
    }
    out.flush().await?;
    Ok(0)
}
