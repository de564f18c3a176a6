//! `tar`: create, list, extract; plain and with gzip.

use std::collections::HashMap;
use std::fs;
use std::pin::pin;

use tar::{EntryType, Header};

use super::compress;
use super::list::{changed, names};
use super::paths::{at, link_to, set_time};
use crate::io::{Input, Output, PipeReader, pipe};
use crate::process::{Ended, Fail, Options, Process, absolute, why};
use crate::shell::{Later, pattern};

const BLOCK: usize = 512;
const LONG_MAX: u64 = 1 << 20;

struct Job<'a> {
    process: &'a Process,
    options: &'a Options,
    /// `-C`
    folder: String,
    strip: usize,
    code: i32,
}

pub async fn tar(process: &Process) -> Ended {
    let mut args = process.args.clone();
    // `tar xf …` without a dash.
    if let Some(first) = args.get_mut(1)
        && !first.starts_with('-')
    {
        first.insert(0, '-');
    }
    let long = [("create", 'c'), ("extract", 'x'), ("list", 't'), ("file", 'f'), ("gzip", 'z'), ("directory", 'C'), ("verbose", 'v'), ("exclude", 'X'), ("strip-components", 'S'), ("no-same-owner", 'o'), ("no-same-permissions", 'o'), ("numeric-owner", 'o'), ("touch", 'm'), ("overwrite", 'o'), ("to-stdout", 'O'), ("absolute-names", 'P'), ("dereference", 'h'), ("no-recursion", 'N')];
    let options = Options::of(&args, "cxtf:zC:vmpoOPhkX:S:Na", &long)?;
    let name = options.value('f').unwrap_or("-");
    let mut job = Job {
        process,
        folder: process.path(options.value('C').unwrap_or(".")),
        strip: usize::try_from(options.number('S')?.unwrap_or(0)).unwrap_or(0),
        options: &options,
        code: 0,
    };
    if options.has('C') && !fs::metadata(&job.folder).is_ok_and(|found| found.is_dir()) && job.folder != "/" {
        return Err(format!("can't change directory to '{}': No such file or directory", options.value('C').unwrap_or_default()).into());
    }
    let zipped = options.has('z') || (options.has('a') || options.has('c')) && (name.ends_with(".gz") || name.ends_with(".tgz"));
    if options.has('c') {
        let sink = match name {
            "-" => process.stdout.clone(),
            name => Output::file(fs::File::create(process.path(name)).map_err(|error| format!("can't open '{name}': {}", why(&error)))?),
        };
        if options.rest.is_empty() {
            return Err("empty archive".to_owned().into());
        }
        if !zipped {
            job.create(&sink).await?;
            return Ok(job.code);
        }
        let (reader, writer) = pipe();
        let write = async {
            let sink = Output::pipe(writer);
            job.create(&sink).await
        };
        both(write, compress::pack(&Input::pipe(reader), &sink, 6)).await?;
        return Ok(job.code);
    }
    if !options.has('x') && !options.has('t') {
        return Err("you must specify one of -c, -x or -t".to_owned().into());
    }
    let source = process.open(name)?;
    let magic = source.starts_with(&[0x1f, 0x8b]).await?;
    if !zipped && !magic {
        job.read(&source).await?;
        return Ok(job.code);
    }
    let (reader, writer) = pipe();
    let unpack = async {
        let output = Output::pipe(writer);
        compress::unpack(&source, &output).await
    };
    both(unpack, job.read_pipe(reader)).await?;
    Ok(job.code)
}

/// Runs both to their ends; the first error counts.
async fn both(left: impl Future<Output = Result<(), Fail>>, right: impl Future<Output = Result<(), Fail>>) -> Result<(), Fail> {
    use std::task::Poll;
    let (mut left, mut right) = (pin!(left), pin!(right));
    let (mut one, mut other) = (None, None);
    std::future::poll_fn(|context| {
        if one.is_none()
            && let Poll::Ready(done) = left.as_mut().poll(context)
        {
            one = Some(done);
        }
        if other.is_none()
            && let Poll::Ready(done) = right.as_mut().poll(context)
        {
            other = Some(done);
        }
        if matches!(other, Some(Err(_))) || (one.is_some() && other.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    other.unwrap_or(Ok(()))?;
    one.unwrap_or(Ok(()))
}

impl Job<'_> {
    async fn read_pipe(&mut self, reader: PipeReader) -> Result<(), Fail> {
        self.read(&Input::pipe(reader)).await
    }

    fn is_excluded(&self, name: &str) -> bool {
        let text: Vec<char> = name.chars().collect();
        let last: Vec<char> = name.rsplit('/').next().unwrap_or_default().chars().collect();
        self.options.values('X').any(|wanted| {
            let wanted = pattern::plain(wanted.trim_start_matches("./"));
            pattern::matches(&wanted, &text) || pattern::matches(&wanted, &last)
        })
    }

    async fn create(&mut self, sink: &Output) -> Result<(), Fail> {
        let mut missing = 0;
        for operand in &self.options.rest {
            if fs::symlink_metadata(absolute(&self.folder, operand)).is_err() && absolute(&self.folder, operand) != "/" {
                missing += 1;
            }
            self.add(operand.clone(), sink).await?;
        }
        if missing == self.options.rest.len() {
            // An archive without an end: whoever unpacks it waits for the exit code, and does not take it for an empty one.
            return Ok(());
        }
        Ok(sink.write(&[0; BLOCK * 2]).await?)
    }

    fn add<'a>(&'a mut self, name: String, sink: &'a Output) -> Later<'a, Result<(), Fail>> {
        Box::pin(async move {
            let path = absolute(&self.folder, &name);
            let found = if self.options.has('h') { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
            let metadata = match found.or_else(|error| if path == "/" { fs::metadata("/") } else { Err(error) }) {
                Ok(metadata) => metadata,
                Err(error) => {
                    self.process.complain(format!("{name}: {}", why(&error))).await;
                    self.code = 1;
                    return Ok(());
                }
            };
            let stored = name.trim_start_matches('/').to_owned();
            if self.is_excluded(stored.trim_start_matches("./")) {
                return Ok(());
            }
            if self.options.has('v') {
                self.process.stderr.write(format!("{name}\n").as_bytes()).await?;
            }
            let mut header = Header::new_gnu();
            header.set_mtime(u64::try_from(changed(&metadata)).unwrap_or(0));
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            if metadata.is_dir() {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                let folder = format!("{}/", if stored.is_empty() { "." } else { stored.trim_end_matches('/') });
                write_header(&mut header, &folder, None, sink).await?;
                if self.options.has('N') {
                    return Ok(());
                }
                let mut below = names(&path).map_err(|error| format!("{name}: {}", why(&error)))?;
                below.sort();
                for child in below {
                    let base = if name.is_empty() || name.ends_with('/') { name.clone() } else { format!("{name}/") };
                    self.add(format!("{base}{child}"), sink).await?;
                }
                return Ok(());
            }
            if metadata.file_type().is_symlink() {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                let target = fs::read_link(&path)?.to_string_lossy().into_owned();
                return write_header(&mut header, &stored, Some(&target), sink).await;
            }
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(metadata.len());
            let file = fs::File::open(&path).map_err(|error| format!("can't open '{name}': {}", why(&error)))?;
            write_header(&mut header, &stored, None, sink).await?;
            write_content(&Input::file(file), metadata.len(), sink).await
        })
    }

    async fn read(&mut self, input: &Input) -> Result<(), Fail> {
        let mut long: HashMap<&'static str, String> = HashMap::new();
        let mut block = [0; BLOCK];
        loop {
            match input.exact(&mut block).await? {
                0 => return Ok(()),
                BLOCK => {}
                _ => return Err("short read".to_owned().into()),
            }
            if block.iter().all(|byte| *byte == 0) {
                // What comes behind the end is read too, so that whoever writes it can finish.
                while !input.read().await?.is_empty() {}
                return Ok(());
            }
            let header = Header::from_byte_slice(&block);
            let sum: u32 = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
            if header.cksum().ok() != Some(sum) {
                return Err("invalid tar header checksum".to_owned().into());
            }
            let size = header.entry_size().map_err(|_| "invalid tar magic".to_owned())?;
            let kind = header.entry_type();
            let meta = match kind {
                EntryType::GNULongName => Some("path"),
                EntryType::GNULongLink => Some("linkpath"),
                EntryType::XHeader => Some(""),
                EntryType::XGlobalHeader => Some("global"),
                _ => None,
            };
            if let Some(which) = meta {
                if size > LONG_MAX {
                    return Err("a header is too long".to_owned().into());
                }
                let bytes = content(input, size).await?;
                match which {
                    "" => extended(&bytes, &mut long),
                    "global" => {}
                    which => drop(long.insert(which, String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())),
                }
                continue;
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let name = long.remove("path").unwrap_or_else(|| text(&header.path_bytes()));
            let target = long.remove("linkpath").or_else(|| header.link_name_bytes().map(|bytes| text(&bytes)));
            let size = long.remove("size").and_then(|text| text.parse().ok()).unwrap_or(size);
            long.clear();
            let time = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
            self.entry(input, &name, target.unwrap_or_default(), kind, size, time).await?;
        }
    }

    fn is_wanted(&self, name: &str) -> bool {
        let wanted = &self.options.rest;
        let plain = name.trim_start_matches("./").trim_end_matches('/');
        let is_in = |operand: &String| {
            let operand = operand.trim_start_matches("./").trim_end_matches('/');
            plain == operand || plain.starts_with(&format!("{operand}/"))
        };
        (wanted.is_empty() || wanted.iter().any(is_in)) && !self.is_excluded(plain)
    }

    async fn entry(&mut self, input: &Input, name: &str, target: String, kind: EntryType, size: u64, time: i64) -> Result<(), Fail> {
        let stripped: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").skip(self.strip).collect();
        let gone = self.strip > 0 && stripped.is_empty();
        if !self.is_wanted(name) || gone {
            return skip(input, size).await;
        }
        if self.options.has('t') {
            let letter = if kind.is_dir() { 'd' } else if kind.is_symlink() { 'l' } else { '-' };
            let rights = if kind.is_dir() { "rwxr-xr-x" } else { "rw-r--r--" };
            let stamp = super::time::format(time, "%Y-%m-%d %H:%M:%S")?;
            let line = if self.options.has('v') { format!("{letter}{rights} root/root {size:9} {stamp} {name}\n") } else { format!("{name}\n") };
            self.process.stdout.write(line.as_bytes()).await?;
            return skip(input, size).await;
        }
        if self.options.has('v') {
            self.process.stderr.write(format!("{name}\n").as_bytes()).await?;
        }
        if stripped.contains(&"..") {
            self.process.complain(format!("name with '..' skipped: {name}")).await;
            self.code = 1;
            return skip(input, size).await;
        }
        let path = absolute(&self.folder, &stripped.join("/"));
        if self.options.has('O') {
            return read_content(input, size, &self.process.stdout).await;
        }
        let done = self.extract(input, &path, &target, kind, size, time).await;
        if let Err(Fail::Io(error)) = done {
            self.process.complain(format!("can't create '{name}': {}", why(&error))).await;
            self.code = 1;
            return Ok(());
        }
        done
    }

    async fn extract(&mut self, input: &Input, path: &str, target: &str, kind: EntryType, size: u64, time: i64) -> Result<(), Fail> {
        if kind.is_dir() {
            if path != "/" && !fs::metadata(path).is_ok_and(|found| found.is_dir()) {
                fs::create_dir_all(path)?;
            }
            return skip(input, size).await;
        }
        if let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
            let made = fs::create_dir_all(folder);
            if let Err(error) = made {
                skip(input, size).await?;
                return Err(error.into());
            }
        }
        // A link would lead the write elsewhere.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_dir()) {
            let _ = fs::remove_file(path);
        }
        if kind.is_symlink() {
            skip(input, size).await?;
            return Ok(link_to(target, path)?);
        }
        if kind.is_hard_link() {
            skip(input, size).await?;
            return Ok(fs::hard_link(absolute(&self.folder, target), path)?);
        }
        if !matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse) {
            return skip(input, size).await;
        }
        let file = match fs::File::create(path) {
            Ok(file) => file,
            Err(error) => {
                skip(input, size).await?;
                return Err(error.into());
            }
        };
        read_content(input, size, &Output::file(file)).await?;
        if !self.options.has('m') {
            let _ = set_time(path, at(time), false);
        }
        Ok(())
    }
}

async fn write_header(header: &mut Header, name: &str, target: Option<&str>, sink: &Output) -> Result<(), Fail> {
    if header.set_path(name).is_err() {
        long_header(EntryType::GNULongName, name, sink).await?;
        let end = (0..=99.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
        let gnu = header.as_gnu_mut().ok_or_else(|| "not a header".to_owned())?;
        gnu.name[..end].copy_from_slice(&name.as_bytes()[..end]);
    }
    if let Some(target) = target
        && header.set_link_name_literal(target).is_err()
    {
        long_header(EntryType::GNULongLink, target, sink).await?;
    }
    header.set_cksum();
    Ok(sink.write(header.as_bytes()).await?)
}

async fn long_header(kind: EntryType, text: &str, sink: &Output) -> Result<(), Fail> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path("././@LongLink")?;
    header.set_size(text.len() as u64 + 1);
    header.set_mode(0o644);
    header.set_cksum();
    sink.write(header.as_bytes()).await?;
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize((text.len() / BLOCK + 1) * BLOCK, 0);
    Ok(sink.write(&bytes).await?)
}

async fn write_content(input: &Input, size: u64, sink: &Output) -> Result<(), Fail> {
    let mut left = size;
    while left > 0 {
        let piece = input.take(usize::try_from(left).unwrap_or(usize::MAX)).await?;
        if piece.is_empty() {
            // It became shorter meanwhile: the header has been written.
            let zeros = vec![0; usize::try_from(left.min(1 << 16)).unwrap_or(0)];
            sink.write(&zeros).await?;
            left -= zeros.len() as u64;
            continue;
        }
        sink.write(&piece).await?;
        left -= piece.len() as u64;
    }
    let rest = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if rest > 0 {
        sink.write(&vec![0; BLOCK - rest]).await?;
    }
    Ok(())
}

async fn read_content(input: &Input, size: u64, sink: &Output) -> Result<(), Fail> {
    let mut left = size;
    while left > 0 {
        let piece = input.take(usize::try_from(left).unwrap_or(usize::MAX)).await?;
        if piece.is_empty() {
            return Err("short read".to_owned().into());
        }
        sink.write(&piece).await?;
        left -= piece.len() as u64;
    }
    let mut padding = vec![0; usize::try_from((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64).unwrap_or(0)];
    input.exact(&mut padding).await?;
    Ok(())
}

async fn skip(input: &Input, size: u64) -> Result<(), Fail> {
    read_content(input, size, &Output::nothing()).await
}

async fn content(input: &Input, size: u64) -> Result<Vec<u8>, Fail> {
    let buffer = Output::buffer();
    read_content(input, size, &buffer).await?;
    Ok(buffer.taken())
}

/// The records of an extended header: `LENGTH KEY=VALUE\n`.
fn extended(bytes: &[u8], long: &mut HashMap<&'static str, String>) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        let Some((_, record)) = line.split_once(' ') else { continue };
        let Some((key, value)) = record.split_once('=') else { continue };
        for known in ["path", "linkpath", "size"] {
            if key == known {
                long.insert(known, value.to_owned());
            }
        }
    }
}
