//! What is done to names of files: `mkdir`, `rm`, `rmdir`, `ln`, `touch`, `basename`, `dirname`, `readlink`, `realpath`, `mktemp`.

use std::fs::{self, FileTimes, OpenOptions};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::process::{Ended, Options, Process, why, words};

pub async fn basename(process: &Process) -> Ended {
    let options = Options::of(&process.args, "+as:z", &[])?;
    let Some(path) = options.rest.first() else { return Err("missing operand".to_owned().into()) };
    let name = |path: &str| {
        let path = path.trim_end_matches('/');
        if path.is_empty() { "/".to_owned() } else { path.rsplit('/').next().unwrap_or_default().to_owned() }
    };
    let suffix = options.value('s').or(options.rest.get(1).map(String::as_str).filter(|_| !options.has('a')));
    let shown = if options.has('a') || options.has('s') { options.rest.as_slice() } else { std::slice::from_ref(path) };
    let mut out = process.out();
    for path in shown {
        let name = name(path);
        let cut = suffix.and_then(|suffix| name.strip_suffix(suffix)).filter(|cut| !cut.is_empty());
        out.line(cut.unwrap_or(&name)).await?;
    }
    out.flush().await?;
    Ok(0)
}

pub async fn dirname(process: &Process) -> Ended {
    let options = Options::of(&process.args, "", &[])?;
    let mut out = process.out();
    for path in &options.rest {
        let trimmed = path.trim_end_matches('/');
        let folder = match trimmed.rsplit_once('/') {
            Some((folder, _)) if folder.trim_end_matches('/').is_empty() => "/",
            Some((folder, _)) => folder.trim_end_matches('/'),
            None if trimmed.is_empty() && path.starts_with('/') => "/",
            None => ".",
        };
        out.line(folder).await?;
    }
    out.flush().await?;
    Ok(0)
}

/// Takes what there is nothing to do for: WASI has neither owners nor permissions.
pub async fn accepted(process: &Process) -> Ended {
    let paths = process.args.iter().skip(1).filter(|arg| !arg.starts_with('-')).skip(1);
    let mut code = 0;
    for path in paths {
        if let Err(error) = fs::symlink_metadata(process.path(path)) {
            process.complain(format!("{path}: {}", why(&error))).await;
            code = 1;
        }
    }
    Ok(code)
}

/// Does something to each operand and says what went wrong.
async fn each(process: &Process, paths: &[String], words: &str, act: impl Fn(&str) -> io::Result<()>) -> Ended {
    let mut code = 0;
    if paths.is_empty() {
        return Err("missing operand".to_owned().into());
    }
    for path in paths {
        if let Err(error) = act(&process.path(path)) {
            let words = words.replace("{}", path);
            process.complain(format!("{words}: {}", why(&error))).await;
            code = 1;
        }
    }
    Ok(code)
}

pub async fn mkdir(process: &Process) -> Ended {
    let options = Options::of(&process.args, "pm:v", &[("parents", 'p'), ("mode", 'm')])?;
    let parents = options.has('p');
    each(process, &options.rest, "can't create directory '{}'", |path| {
        if parents { fs::create_dir_all(path) } else { fs::create_dir(path) }
    })
    .await
}

pub async fn rmdir(process: &Process) -> Ended {
    let options = Options::of(&process.args, "p", &[("parents", 'p')])?;
    each(process, &options.rest, "'{}'", |path| fs::remove_dir(path)).await
}

/// Removes a file, or a folder with all that is in it.
pub fn remove(path: &str, whole: bool) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    if !whole {
        return Err(io::Error::other("is a directory"));
    }
    for name in super::list::names(path)? {
        remove(&crate::process::absolute(path, &name), true)?;
    }
    fs::remove_dir(path)
}

pub async fn rm(process: &Process) -> Ended {
    let options = Options::of(&process.args, "rRfiv", &[("recursive", 'r'), ("force", 'f')])?;
    let (whole, force) = (options.has('r') || options.has('R'), options.has('f'));
    if options.rest.is_empty() && force {
        return Ok(0);
    }
    each(process, &options.rest, "can't remove '{}'", |path| match remove(path, whole) {
        Err(error) if force && error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    })
    .await
}

pub async fn ln(process: &Process) -> Ended {
    let options = Options::of(&process.args, "sfnTv", &[("symbolic", 's'), ("force", 'f')])?;
    let [targets @ .., link] = options.rest.as_slice() else { return Err("missing operand".to_owned().into()) };
    if targets.is_empty() {
        return Err("missing operand".to_owned().into());
    }
    let mut code = 0;
    for target in targets {
        let mut path = process.path(link);
        if fs::metadata(&path).is_ok_and(|found| found.is_dir()) && !options.has('n') && !options.has('T') {
            path = format!("{path}/{}", target.rsplit('/').next().unwrap_or_default());
        }
        if options.has('f') {
            let _ = fs::remove_file(&path);
        }
        let done = if options.has('s') { link_to(target, &path) } else { fs::hard_link(process.path(target), &path) };
        if let Err(error) = done {
            // A link that leads out is not permitted anywhere.
            let why = if options.has('s') { words(&error) } else { why(&error) };
            process.complain(format!("{link}: {why}")).await;
            code = 1;
        }
    }
    Ok(code)
}

/// Makes a symbolic link. std has no call for it here, so the folder that holds it is asked.
pub fn link_to(target: &str, path: &str) -> io::Result<()> {
    use wasip2::filesystem::types::ErrorCode;
    let best = wasip2::filesystem::preopens::get_directories()
        .into_iter()
        .filter_map(|(folder, at)| Some((relative(path, &at)?, folder)))
        .min_by_key(|(rest, _)| rest.len());
    let (rest, folder) = best.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    folder.symlink_at(target, &rest).map_err(|code| match code {
        ErrorCode::Exist => io::ErrorKind::AlreadyExists.into(),
        ErrorCode::NoEntry => io::Error::other("No such file or directory"),
        ErrorCode::NotPermitted => io::Error::other("Operation not permitted"),
        other => io::Error::other(other.message()),
    })
}

/// `path` below `folder`.
fn relative(path: &str, folder: &str) -> Option<String> {
    let rest = path.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/')?;
    (!rest.is_empty()).then(|| rest.to_owned())
}

pub async fn touch(process: &Process) -> Ended {
    let options = Options::of(&process.args, "camd:r:t:", &[("no-create", 'c'), ("date", 'd'), ("reference", 'r')])?;
    let time = match (options.value('r'), options.value('d')) {
        (Some(path), _) => {
            let metadata = fs::metadata(process.path(path)).map_err(|error| format!("{path}: {}", why(&error)))?;
            metadata.modified()?
        }
        (None, Some(text)) => at(super::time::read(text)?),
        (None, None) => SystemTime::now(),
    };
    let create = !options.has('c');
    each(process, &options.rest, "{}", |path| set_time(path, time, create)).await
}

pub fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

pub fn set_time(path: &str, time: SystemTime, create: bool) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    match OpenOptions::new().write(true).create(create).truncate(false).open(path) {
        Ok(file) => file.set_times(FileTimes::new().set_modified(time).set_accessed(time)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !create => Ok(()),
        Err(error) => Err(error),
    }
}

pub async fn truncate(process: &Process) -> Ended {
    let options = Options::of(&process.args, "cs:", &[("size", 's')])?;
    let size = options.number('s')?.ok_or("-s SIZE is needed")?;
    each(process, &options.rest, "{}", |path| {
        OpenOptions::new().write(true).create(true).truncate(false).open(path)?.set_len(size)
    })
    .await
}

pub async fn readlink(process: &Process) -> Ended {
    let options = Options::of(&process.args, "fenmv", &[])?;
    let Some(path) = options.rest.first() else { return Err("missing operand".to_owned().into()) };
    if options.has('f') || options.has('e') || options.has('m') {
        return resolved(process, &options.rest).await;
    }
    let Ok(target) = fs::read_link(process.path(path)) else { return Ok(1) };
    let end = if options.has('n') { "" } else { "\n" };
    process.stdout.write(format!("{}{end}", target.display()).as_bytes()).await?;
    Ok(0)
}

pub async fn realpath(process: &Process) -> Ended {
    let options = Options::of(&process.args, "msez", &[])?;
    resolved(process, &options.rest).await
}

async fn resolved(process: &Process, paths: &[String]) -> Ended {
    const LINKS_MAX: usize = 40;
    let mut out = process.out();
    for path in paths {
        let mut whole = process.path(path);
        for _ in 0..LINKS_MAX {
            let Ok(target) = fs::read_link(&whole) else { break };
            let folder = whole.rsplit_once('/').map_or("/", |(folder, _)| folder).to_owned();
            whole = crate::process::absolute(&folder, &target.to_string_lossy());
        }
        out.line(&whole).await?;
    }
    out.flush().await?;
    Ok(0)
}

pub async fn mktemp(process: &Process) -> Ended {
    let options = Options::of(&process.args, "dup:tq", &[("directory", 'd'), ("tmpdir", 'p')])?;
    let folder = options.value('p').or(process.var("TMPDIR")).unwrap_or("/tmp").to_owned();
    let template = options.rest.first().cloned().unwrap_or_else(|| format!("{folder}/tmp.XXXXXX"));
    let template = if options.has('t') { format!("{folder}/{template}") } else { template };
    let stem = template.trim_end_matches('X');
    if template.len() - stem.len() < 3 {
        return Err(format!("Invalid argument: '{template}' ends in fewer than three X").into());
    }
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let random = wasip2::random::random::get_random_bytes((template.len() - stem.len()) as u64);
    let tail: String = random.iter().map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect();
    let name = format!("{stem}{tail}");
    let path = process.path(&name);
    if !options.has('u') {
        let made = if options.has('d') { fs::create_dir(&path) } else { fs::File::create_new(&path).map(drop) };
        made.map_err(|error| format!("{name}: {}", why(&error)))?;
    }
    process.stdout.write(format!("{name}\n").as_bytes()).await?;
    Ok(0)
}
