//! Images that are files: pushed, and replaced by the name that the image store gives them.
//!
//! A path is relative to the folder of the manifest that names it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::connection::Connection;
use crate::push::push_file;

/// The file that an image's text means, or nothing when it is an image reference.
pub fn as_path(image: &str, folder: &Path) -> Option<PathBuf> {
    let path = match image.strip_prefix("file:") {
        Some(rest) => rest.trim_start_matches("//"),
        None if image.starts_with("./") || image.starts_with("../") || Path::new(image).is_absolute() => image,
        None if image.starts_with(".\\") || image.starts_with("..\\") => image,
        None => return None,
    };
    Some(folder.join(path))
}

/// Pushes every file that `object`'s containers name, and puts the image's name with its digest in its place.
pub async fn resolve(connection: &Connection, object: &mut Value, folder: &Path) -> anyhow::Result<()> {
    let mut paths = Vec::new();
    containers(object, &mut |container| {
        paths.extend(container.get("image").and_then(Value::as_str).and_then(|image| as_path(image, folder)));
    });
    let mut names = Vec::new();
    for path in paths {
        let name = name_of(&path);
        let digest = push_file(connection, &path, &name).await?;
        names.push(format!("coracle.local/{name}@{digest}"));
    }
    let mut names = names.into_iter();
    containers(object, &mut |container| {
        let is_path =
            container.get("image").and_then(Value::as_str).is_some_and(|image| as_path(image, folder).is_some());
        if let (true, Some(name)) = (is_path, names.next()) {
            container["image"] = Value::String(name);
        }
    });
    Ok(())
}

/// The image name that a file gets: its own, in letters that a name may have.
pub fn name_of(path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("component").to_lowercase();
    let name: String = stem.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let name = name.trim_matches('-').to_owned();
    if name.is_empty() { "component".to_owned() } else { name }
}

/// Calls `visit` with each container of a pod, a pod template, or a CronJob's.
fn containers(object: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    for pointer in ["/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec", "/template/spec"] {
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            let found = object.pointer_mut(&format!("{pointer}/{list}")).and_then(Value::as_array_mut);
            found.into_iter().flatten().for_each(&mut *visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_are_paths() {
        let folder = Path::new("there");
        for (image, wanted) in [
            ("./x.wasm", Some("there/./x.wasm")),
            ("file:x.wasm", Some("there/x.wasm")),
            ("file:///x.wasm", Some("/x.wasm")),
            ("hello", None),
            ("coracle.local/hello:v1", None),
            ("registry.example/x.wasm", None),
        ] {
            let wanted = wanted.map(|path| path.replacen("file:///", "/", 1));
            let found = as_path(image, folder).map(|path| path.display().to_string());
            assert_eq!(found, wanted, "{image}");
        }
    }

    #[test]
    fn a_file_gives_a_name_that_an_image_may_have() {
        assert_eq!(name_of(Path::new("/a/My_App.wasm")), "my-app");
    }
}
