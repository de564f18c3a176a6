//! Objects out of files, folders and standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

/// The most that one manifest may hold, in bytes; more is refused before it is read.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// One object and where it came from.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// `file:line`, for messages.
    pub origin: String,
    /// The folder that paths in it are relative to.
    pub folder: PathBuf,
    /// The object.
    pub object: Value,
}

/// Reads every object of every file, in order; folders by file name. A `List` is taken apart.
pub fn read(filenames: &[String]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for name in filenames {
        if name == "-" {
            let mut text = Vec::new();
            std::io::stdin()
                .take(MANIFEST_BYTES_MAX + 1)
                .read_to_end(&mut text)
                .context("cannot read standard input")?;
            parse("standard input", Path::new("."), text, &mut manifests)?;
            continue;
        }
        for path in files(Path::new(name))? {
            let size = std::fs::metadata(&path).map_or(0, |data| data.len());
            refuse_large(&path.display().to_string(), size)?;
            let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let folder = path.parent().unwrap_or(Path::new("."));
            parse(&path.display().to_string(), folder, text, &mut manifests)?;
        }
    }
    if manifests.is_empty() {
        bail!("found no objects in {}", filenames.join(", "));
    }
    Ok(manifests)
}

fn refuse_large(origin: &str, bytes: u64) -> anyhow::Result<()> {
    if bytes > MANIFEST_BYTES_MAX {
        bail!("{origin} is too large for a manifest: {bytes} bytes, at most {MANIFEST_BYTES_MAX}");
    }
    Ok(())
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let data = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !data.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json"))
        .collect();
    found.sort();
    Ok(found)
}

fn parse(origin: &str, folder: &Path, text: Vec<u8>, into: &mut Vec<Manifest>) -> anyhow::Result<()> {
    refuse_large(origin, text.len() as u64)?;
    let text = String::from_utf8(text).map_err(|_| anyhow::anyhow!("{origin} is not text in UTF-8"))?;
    let documents = api::yaml::documents(&text).map_err(|error| anyhow::anyhow!("{origin}: {error}"))?;
    for document in documents {
        let origin = format!("{origin}:{}", document.line);
        add(origin, folder, document.value, into)?;
    }
    Ok(())
}

fn add(origin: String, folder: &Path, object: Value, into: &mut Vec<Manifest>) -> anyhow::Result<()> {
    if object.is_null() {
        return Ok(());
    }
    let field = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let (Some(kind), Some(_)) = (field("kind"), field("apiVersion")) else {
        bail!("{origin}: not an object of Kubernetes: it needs apiVersion and kind");
    };
    if let (true, Some(items)) = (kind.ends_with("List"), object.get("items").and_then(Value::as_array)) {
        for item in items {
            add(origin.clone(), folder, item.clone(), into)?;
        }
        return Ok(());
    }
    into.push(Manifest { origin, folder: folder.to_owned(), object });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> anyhow::Result<Vec<Manifest>> {
        let mut found = Vec::new();
        parse("m.yaml", Path::new("."), text.as_bytes().to_vec(), &mut found)?;
        Ok(found)
    }

    #[test]
    fn every_object_knows_its_line() {
        let text = "# head\n---\napiVersion: v1\nkind: A\n---\n---\napiVersion: v1\nkind: B\n";
        let found = read_text(text).unwrap();
        let kinds: Vec<&str> = found.iter().filter_map(|manifest| manifest.object["kind"].as_str()).collect();
        assert_eq!(kinds, ["A", "B"]);
        assert!(found[1].origin.starts_with("m.yaml:"), "{}", found[1].origin);
        assert_ne!(found[0].origin, found[1].origin);
    }

    #[test]
    fn a_list_is_taken_apart() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- { apiVersion: v1, kind: A }\n- { apiVersion: v1, kind: B }\n";
        assert_eq!(read_text(text).unwrap().len(), 2);
    }

    #[test]
    fn faults_name_the_file() {
        for text in ["a: b", "- a", "a: [", "apiVersion: v1\nkind: A\n\ta: b", "a: b\na: c"] {
            let error = read_text(text).unwrap_err().to_string();
            assert!(error.starts_with("m.yaml"), "{text:?}: {error}");
        }
        let mut found = Vec::new();
        let error = parse("m.yaml", Path::new("."), vec![0xff, 0xfe], &mut found).unwrap_err().to_string();
        assert!(error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        for (name, kind) in [("b.yml", "B"), ("a.yaml", "A"), ("c.json", "C"), ("d.txt", "D")] {
            let text = format!("{{ \"apiVersion\": \"v1\", \"kind\": \"{kind}\" }}");
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let found = read(&[folder.path().display().to_string()]).unwrap();
        let kinds: Vec<&str> = found.iter().filter_map(|manifest| manifest.object["kind"].as_str()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert_eq!(found[0].folder, folder.path());
        let empty = tempfile::tempdir().unwrap();
        assert!(read(&[empty.path().display().to_string()]).unwrap_err().to_string().contains("no objects"));
    }
}
