//! `gzip`, `gunzip`, `zcat`; and the streams that `tar z` uses.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};

use crate::io::{Input, Output};
use crate::process::{Ended, Fail, Options, Process, why};

/// Packs everything from one stream into another.
pub async fn pack(input: &Input, output: &Output, level: u32) -> Result<(), Fail> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::new(level));
    loop {
        let piece = input.read().await?;
        if piece.is_empty() {
            break;
        }
        packer.write_all(&piece)?;
        let packed = std::mem::take(packer.get_mut());
        output.write(&packed).await?;
    }
    Ok(output.write(&packer.finish()?).await?)
}

/// Unpacks everything.
pub async fn unpack(input: &Input, output: &Output) -> Result<(), Fail> {
    let mut unpacker = MultiGzDecoder::new(Vec::new());
    loop {
        let piece = input.read().await?;
        if piece.is_empty() {
            break;
        }
        for part in piece.chunks(4096) {
            unpacker.write_all(part).map_err(|_| "invalid magic".to_owned())?;
            let unpacked = std::mem::take(unpacker.get_mut());
            if !unpacked.is_empty() {
                output.write(&unpacked).await?;
            }
        }
    }
    let rest = unpacker.finish().map_err(|_| "unexpected end of file".to_owned())?;
    Ok(output.write(&rest).await?)
}

pub async fn gzip(process: &Process) -> Ended {
    let options = Options::of(&process.args, "cdfkqtvn123456789", &[("stdout", 'c'), ("decompress", 'd'), ("keep", 'k'), ("force", 'f')])?;
    let unpacks = options.has('d') || process.name() != "gzip";
    let level = (1..=9).find(|level| char::from_digit(*level, 10).is_some_and(|digit| options.has(digit))).unwrap_or(6);
    if options.rest.is_empty() || options.rest == ["-"] {
        if unpacks {
            unpack(&process.stdin, &process.stdout).await?;
        } else {
            pack(&process.stdin, &process.stdout, level).await?;
        }
        return Ok(0);
    }
    let to_stdout = options.has('c') || process.name() == "zcat";
    let mut code = 0;
    for path in &options.rest {
        let target = if unpacks {
            match path.strip_suffix(".gz").map(str::to_owned).or_else(|| Some(format!("{}.tar", path.strip_suffix(".tgz")?))) {
                Some(target) => target,
                None if to_stdout => String::new(),
                None => {
                    process.complain(format!("{path}: unknown suffix - ignored")).await;
                    code = 1;
                    continue;
                }
            }
        } else {
            format!("{path}.gz")
        };
        let input = process.open(path)?;
        let output = if to_stdout {
            process.stdout.clone()
        } else {
            let file = std::fs::File::create(process.path(&target)).map_err(|error| format!("{target}: {}", why(&error)))?;
            Output::file(file)
        };
        if unpacks {
            unpack(&input, &output).await?;
        } else {
            pack(&input, &output, level).await?;
        }
        if !to_stdout && !options.has('k') {
            std::fs::remove_file(process.path(path))?;
        }
    }
    Ok(code)
}
