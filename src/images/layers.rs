//! What a stack of layers holds: archives laid over each other, with the marks by which an upper one deletes from a lower.
//!
//! Layers are read twice. The first time only their tables are kept, and what wins at each path is found out; the second time
//! the winners are written. So nothing large is in memory, and nothing is ever written through a link that a layer made:
//! links come last, into a folder that nobody has seen yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component as Part, Path, PathBuf};

use crate::Digest;

mod write;

/// What the layers of an image may grow to when they are unpacked.
pub(crate) const UNPACKED_BYTES_MAX: u64 = 2 << 30;
/// And how many files, folders and links they may hold.
const ENTRIES_MAX: usize = 200_000;
const PATH_BYTES_MAX: usize = 4096;
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// One layer on disk.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub digest: Digest,
    pub path: PathBuf,
    /// What the file is called where the layer is no archive.
    pub title: Option<String>,
    pub is_archive: bool,
}

/// Which layer could not be read, and why.
pub(crate) type LayerError = (Digest, String);

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Folder,
    File {
        size: u64,
        wasm: bool,
    },
    /// The target as the archive has it.
    Symlink(String),
    /// Another path of the archive.
    Hardlink(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub node: Node,
    layer: usize,
    entry: usize,
}

/// What wins at each path.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub paths: BTreeMap<String, Found>,
    layers: Vec<Layer>,
    bytes_max: u64,
}

impl Tree {
    /// Reads the tables of `layers`, the lowest first. Blocks.
    pub fn read(layers: Vec<Layer>, bytes_max: u64) -> Result<Self, LayerError> {
        let mut tree = Self { layers, bytes_max, ..Self::default() };
        let mut left = tree.bytes_max;
        for index in 0..tree.layers.len() {
            let layer = tree.layers[index].clone();
            tree.lay(index, &layer, &mut left).map_err(|error| (layer.digest.clone(), error.to_string()))?;
        }
        Ok(tree)
    }

    /// The Wasm files, by path.
    pub fn wasm(&self) -> Vec<&str> {
        let wasm = self.paths.iter().filter(|(_, found)| matches!(found.node, Node::File { wasm: true, .. }));
        wasm.map(|(path, _)| path.as_str()).collect()
    }

    fn lay(&mut self, index: usize, layer: &Layer, left: &mut u64) -> io::Result<()> {
        let mut reader = open(layer, *left)?;
        if !(reader.is_tar()? || layer.is_archive && reader.is_empty()?) {
            let head = reader.peek(4)?;
            let size = io::copy(&mut reader, &mut io::sink())?;
            *left = reader.left();
            let name = layer.title.as_deref().and_then(|title| clean(Path::new(title)).ok().flatten());
            let name = name.unwrap_or_else(|| layer.digest.hex().to_owned());
            let node = Node::File { size, wasm: head == b"\0asm" };
            self.put(name, Found { node, layer: index, entry: 0 });
            return Ok(());
        }
        let mut archive = tar::Archive::new(reader);
        let mut above = Vec::new();
        for (number, entry) in archive.entries()?.enumerate() {
            let mut entry = entry?;
            if self.paths.len() + above.len() >= ENTRIES_MAX {
                return Err(io::Error::other(format!("the image holds more than {ENTRIES_MAX} files")));
            }
            let Some(path) = clean(&entry.path()?)? else { continue };
            if let Some(node) = node_of(&mut entry)? {
                above.push((path, Found { node, layer: index, entry: number }));
            }
        }
        *left = archive.into_inner().left();
        // The marks of a layer are about those below it, wherever they stand in its archive.
        let (marks, files): (Vec<_>, Vec<_>) =
            above.into_iter().partition(|(path, _)| last(path).starts_with(WHITEOUT));
        for (path, _) in marks {
            let folder = path.strip_suffix(last(&path)).unwrap_or_default();
            match last(&path) {
                OPAQUE => self.remove_below(folder),
                mark => self.remove(&format!("{folder}{}", &mark[WHITEOUT.len()..])),
            }
        }
        for (path, found) in files {
            self.put(path, found);
        }
        Ok(())
    }

    fn put(&mut self, path: String, found: Found) {
        if found.node != Node::Folder {
            self.remove_below(&format!("{path}/"));
        }
        // What was no folder gives way to a file below it.
        for (at, _) in path.match_indices('/') {
            if self.paths.get(&path[..at]).is_some_and(|above| above.node != Node::Folder) {
                self.paths.remove(&path[..at]);
            }
        }
        self.paths.insert(path, found);
    }

    fn remove(&mut self, path: &str) {
        self.paths.remove(path);
        self.remove_below(&format!("{path}/"));
    }

    fn remove_below(&mut self, start: &str) {
        let below: Vec<String> = self
            .paths
            .range(start.to_owned()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(start))
            .cloned()
            .collect();
        for path in below {
            self.paths.remove(&path);
        }
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn node_of(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Option<Node>> {
    let kind = entry.header().entry_type();
    let target = |entry: &tar::Entry<'_, _>| {
        let name = entry.link_name()?.unwrap_or_default();
        Ok::<_, io::Error>(name.to_string_lossy().into_owned())
    };
    Ok(if kind.is_file() || kind == tar::EntryType::Continuous {
        let size = entry.size();
        let mut head = Vec::with_capacity(4);
        entry.take(4).read_to_end(&mut head)?;
        Some(Node::File { size, wasm: head == b"\0asm" })
    } else if kind.is_dir() {
        Some(Node::Folder)
    } else if kind.is_symlink() {
        Some(Node::Symlink(target(entry)?))
    } else if kind.is_hard_link() {
        Some(Node::Hardlink(clean(Path::new(&target(entry)?))?.unwrap_or_default()))
    } else {
        // Devices and pipes mean nothing here.
        None
    })
}

/// A path of an archive with `/` between its parts; nothing for its root.
fn clean(path: &Path) -> io::Result<Option<String>> {
    let leaves = || io::Error::other(format!("its path {:?} leaves the image", path.to_string_lossy()));
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Part::Normal(name) => parts.push(name.to_str().ok_or_else(leaves)?),
            Part::CurDir | Part::RootDir => {}
            Part::ParentDir | Part::Prefix(_) => return Err(leaves()),
        }
    }
    let joined = parts.join("/");
    if joined.len() > PATH_BYTES_MAX || joined.contains(['\\', '\0']) {
        return Err(leaves());
    }
    Ok((!joined.is_empty()).then_some(joined))
}

/// A layer without its compression, which ends with an error when it grows too large.
pub(crate) struct Unpacked {
    inner: Box<dyn Read>,
    peeked: Vec<u8>,
    left: u64,
    bytes_max: u64,
}

fn open(layer: &Layer, left: u64) -> io::Result<Unpacked> {
    let mut file = BufReader::new(File::open(&layer.path)?);
    let mut head = [0; 4];
    let read = file.read(&mut head)?;
    let whole = io::Cursor::new(head[..read].to_vec()).chain(file);
    let inner: Box<dyn Read> = match &head[..read] {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(whole))),
        b"\x28\xb5\x2f\xfd" => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(whole);
            Box::new(decoder.map_err(|error| io::Error::other(error.to_string()))?)
        }
        _ => Box::new(whole),
    };
    Ok(Unpacked { inner, peeked: Vec::new(), left, bytes_max: left })
}

impl Unpacked {
    fn left(&self) -> u64 {
        self.left
    }

    fn peek(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.peeked.len() < count {
            let mut byte = [0; 512];
            let want = (count - self.peeked.len()).min(byte.len());
            match self.inner.read(&mut byte[..want])? {
                0 => break,
                read => self.peeked.extend_from_slice(&byte[..read]),
            }
        }
        Ok(self.peeked.iter().take(count).copied().collect())
    }

    /// An archive of nothing may be blocks of zeros, or no byte at all.
    fn is_empty(&mut self) -> io::Result<bool> {
        Ok(self.peek(512)?.iter().all(|byte| *byte == 0))
    }

    fn is_tar(&mut self) -> io::Result<bool> {
        let head = self.peek(512)?;
        Ok(head.get(257..262) == Some(b"ustar") || (head.len() == 512 && checksum_fits(&head)))
    }
}

/// Whether 512 bytes are a tar header of before there was a mark for it.
fn checksum_fits(head: &[u8]) -> bool {
    let field = std::str::from_utf8(&head[148..156]).unwrap_or_default().trim_matches(['\0', ' ']);
    let sum: u32 =
        head.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
    u32::from_str_radix(field, 8).is_ok_and(|said| said == sum)
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = if self.peeked.is_empty() {
            self.inner.read(buffer)?
        } else {
            let count = buffer.len().min(self.peeked.len());
            buffer[..count].copy_from_slice(&self.peeked[..count]);
            self.peeked.drain(..count);
            count
        };
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other(format!("it unpacks to more than the {} MiB that are left to it", self.bytes_max >> 20))
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
