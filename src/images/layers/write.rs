//! The winners of a tree, written into a folder or read into memory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::{LayerError, Node, Tree, open};

impl Tree {
    /// Reads one file. Blocks.
    pub fn file(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>, LayerError> {
        let Some(found) = self.paths.get(path) else { return Ok(Vec::new()) };
        let layer = &self.layers[found.layer];
        let mut bytes = Vec::new();
        let read = self.each_of(found.layer, |entry, reader| {
            if entry == found.entry {
                let count = reader.take(bytes_max + 1).read_to_end(&mut bytes)?;
                if count as u64 > bytes_max {
                    return Err(io::Error::other(format!("{path} is larger than {} MiB", bytes_max >> 20)));
                }
            }
            Ok(())
        });
        read.map_err(|error| (layer.digest.clone(), error.to_string()))?;
        Ok(bytes)
    }

    /// Writes everything into `folder`, which is empty and that nobody else knows yet. Files may only be read afterwards. Blocks.
    pub fn write(&self, folder: &Path) -> Result<(), LayerError> {
        for index in 0..self.layers.len() {
            self.write_layer(index, folder).map_err(|error| (self.layers[index].digest.clone(), error.to_string()))?;
        }
        for (path, found) in &self.paths {
            let made = match &found.node {
                Node::Hardlink(target) => self.copy(target, path, folder),
                Node::Symlink(target) if stays_inside(path, target) => link(target, &folder.join(path)),
                _ => Ok(()),
            };
            made.map_err(|error| (self.layers[found.layer].digest.clone(), error.to_string()))?;
        }
        Ok(())
    }

    fn write_layer(&self, index: usize, folder: &Path) -> io::Result<()> {
        let winners: std::collections::HashMap<usize, (&String, &Node)> = self
            .paths
            .iter()
            .filter(|(_, found)| found.layer == index)
            .map(|(path, found)| (found.entry, (path, &found.node)))
            .collect();
        self.each_of(index, |entry, reader| {
            let Some((path, node)) = winners.get(&entry) else { return Ok(()) };
            let place = folder.join(path);
            match node {
                Node::Folder => fs::create_dir_all(place),
                Node::File { .. } => {
                    place.parent().map_or(Ok(()), fs::create_dir_all)?;
                    let mut file = File::create(&place)?;
                    io::copy(reader, &mut file)?;
                    let mut permissions = file.metadata()?.permissions();
                    permissions.set_readonly(true);
                    file.set_permissions(permissions)
                }
                Node::Symlink(_) | Node::Hardlink(_) => place.parent().map_or(Ok(()), fs::create_dir_all),
            }
        })
    }

    /// Goes through the entries of a layer in their order.
    fn each_of(&self, index: usize, mut visit: impl FnMut(usize, &mut dyn Read) -> io::Result<()>) -> io::Result<()> {
        let layer = &self.layers[index];
        let mut reader = open(layer, self.bytes_max)?;
        if !(reader.is_tar()? || layer.is_archive && reader.is_empty()?) {
            return visit(0, &mut reader);
        }
        let mut archive = tar::Archive::new(reader);
        for (number, entry) in archive.entries()?.enumerate() {
            visit(number, &mut entry?)?;
        }
        Ok(())
    }

    /// A hard link becomes a copy: what an image shares within itself is small, and copies need no rights.
    fn copy(&self, target: &str, path: &str, folder: &Path) -> io::Result<()> {
        match self.paths.get(target).map(|found| &found.node) {
            Some(Node::File { .. }) => fs::copy(folder.join(target), folder.join(path)).map(drop),
            _ => Ok(()),
        }
    }
}

/// Whether a link's target lies in the image. One that is absolute means another root than the reader's, and is left out.
fn stays_inside(path: &str, target: &str) -> bool {
    let mut depth = path.matches('/').count();
    if target.is_empty() || target.starts_with('/') || target.contains('\\') || target.contains(':') {
        return false;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

#[cfg(unix)]
fn link(target: &str, place: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, place)
}

/// Links need a right there that few have.
#[cfg(not(unix))]
fn link(_target: &str, _place: &Path) -> io::Result<()> {
    Ok(())
}
