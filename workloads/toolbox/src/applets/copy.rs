//! `cp`, `mv`, `dd`.

use std::fs;
use std::io;

use super::list::{changed, names};
use super::paths::{at, link_to, remove, set_time};
use crate::io::{Input, Output};
use crate::process::{Ended, Fail, Options, Process, absolute, why};
use crate::shell::Later;

struct Way {
    whole: bool,
    preserve: bool,
    links: bool,
    keep: bool,
}

fn copy<'a>(from: String, to: String, way: &'a Way) -> Later<'a, io::Result<()>> {
    Box::pin(async move {
        let metadata = if way.links { fs::symlink_metadata(&from)? } else { fs::metadata(&from)? };
        if metadata.file_type().is_symlink() {
            let target = fs::read_link(&from)?;
            return link_to(&target.to_string_lossy(), &to);
        }
        if metadata.is_dir() {
            if !way.whole {
                return Err(io::Error::other("omitting directory"));
            }
            if to == from || to.starts_with(&format!("{}/", from.trim_end_matches('/'))) {
                return Err(io::Error::other("cannot copy a directory into itself"));
            }
            if !fs::metadata(&to).is_ok_and(|found| found.is_dir()) {
                fs::create_dir(&to)?;
            }
            for name in names(&from)? {
                copy(absolute(&from, &name), absolute(&to, &name), way).await?;
            }
            return Ok(());
        }
        if way.keep && fs::metadata(&to).is_ok() {
            return Ok(());
        }
        if from == to {
            return Err(io::Error::other("are the same file"));
        }
        let (input, output) = (Input::file(fs::File::open(&from)?), Output::file(fs::File::create(&to)?));
        loop {
            let piece = input.read().await?;
            if piece.is_empty() {
                break;
            }
            output.write(&piece).await?;
        }
        drop(output);
        if way.preserve { set_time(&to, at(changed(&metadata)), false) } else { Ok(()) }
    })
}

/// Sources, and the path that each of them goes to.
fn pairs(process: &Process, options: &Options) -> Result<Vec<(String, String)>, Fail> {
    let mut rest = options.rest.clone();
    let target = match options.value('t') {
        Some(target) => target.to_owned(),
        None => rest.pop().filter(|_| !rest.is_empty()).ok_or_else(|| "missing file operand".to_owned())?,
    };
    let whole = process.path(&target);
    let is_folder = fs::metadata(&whole).is_ok_and(|found| found.is_dir()) && !options.has('T');
    if !is_folder && (rest.len() > 1 || target.ends_with('/') && rest.iter().any(|from| !from.ends_with('/'))) {
        return Err(format!("target '{target}' is not a directory").into());
    }
    let place = |from: &String| {
        let path = process.path(from);
        let name = path.rsplit('/').next().unwrap_or_default();
        let to = if is_folder && from != "." && !from.ends_with("/.") { absolute(&whole, name) } else { whole.clone() };
        (from.clone(), to)
    };
    Ok(rest.iter().map(place).collect())
}

pub async fn cp(process: &Process) -> Ended {
    let options = Options::of(&process.args, "rRapfdPLHnvTt:iu", &[("recursive", 'r'), ("archive", 'a'), ("force", 'f'), ("no-clobber", 'n'), ("target-directory", 't')])?;
    let archive = options.has('a');
    let way = Way {
        whole: options.has('r') || options.has('R') || archive,
        preserve: options.has('p') || archive,
        links: options.has('d') || options.has('P') || archive,
        keep: options.has('n'),
    };
    let mut code = 0;
    for (from, to) in pairs(process, &options)? {
        if let Err(error) = copy(process.path(&from), to, &way).await {
            let words = if error.kind() == io::ErrorKind::NotFound { format!("can't stat '{from}': {}", why(&error)) } else { format!("'{from}': {}", why(&error)) };
            process.complain(words).await;
            code = 1;
        }
    }
    Ok(code)
}

pub async fn mv(process: &Process) -> Ended {
    let options = Options::of(&process.args, "fnivTt:", &[("force", 'f'), ("no-clobber", 'n'), ("target-directory", 't')])?;
    let mut code = 0;
    for (name, to) in pairs(process, &options)? {
        let from = process.path(&name);
        if options.has('n') && fs::metadata(&to).is_ok() {
            continue;
        }
        let moved = match fs::rename(&from, &to) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            // Into another volume.
            Err(_) => {
                let way = Way { whole: true, preserve: true, links: true, keep: false };
                match copy(from.clone(), to, &way).await {
                    Ok(()) => remove(&from, true),
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = moved {
            process.complain(format!("can't rename '{name}': {}", why(&error))).await;
            code = 1;
        }
    }
    Ok(code)
}

pub async fn dd(process: &Process) -> Ended {
    let value = |name: &str| process.args.iter().skip(1).find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| value(name).map(crate::process::number).transpose();
    let size = usize::try_from(number("bs")?.unwrap_or(512)).unwrap_or(512).clamp(1, 16 << 20);
    let (count, skip) = (number("count")?.unwrap_or(u64::MAX), number("skip")?.unwrap_or(0));
    let source = value("if").unwrap_or("-");
    let input = process.open(source)?;
    let output = match value("of") {
        None | Some("/dev/stdout") => process.stdout.clone(),
        Some("/dev/null") => Output::nothing(),
        Some(path) => {
            let file = fs::File::create(process.path(path)).map_err(|error| format!("{path}: {}", why(&error)))?;
            Output::file(file)
        }
    };
    let (mut whole, mut parts, mut bytes) = (0_u64, 0_u64, 0_u64);
    let mut block = vec![0; size];
    for number in 0..count.saturating_add(skip) {
        let read = input.exact(&mut block).await?;
        if read == 0 {
            break;
        }
        if number < skip {
            continue;
        }
        output.write(&block[..read]).await?;
        (whole, parts) = (whole + u64::from(read == size), parts + u64::from(read < size));
        bytes += read as u64;
    }
    let words = format!("{whole}+{parts} records in\n{whole}+{parts} records out\n{bytes} bytes copied\n");
    if value("status") != Some("none") {
        process.stderr.write(words.as_bytes()).await?;
    }
    Ok(0)
}
