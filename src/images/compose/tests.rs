//! Two small components that make one, and those that do not.

use super::*;
use crate::{Credentials, PullPolicy};

/// A component that imports `get` of some interfaces and exports one of its own, which adds them and a number.
fn component(imports: &[&str], export: &str, number: u32) -> Vec<u8> {
    let mut text = String::from("(component\n");
    for (at, import) in imports.iter().enumerate() {
        text += &format!("(import \"{import}\" (instance $i{at} (export \"get\" (func (result u32)))))\n");
        text += &format!("(core func $f{at} (canon lower (func $i{at} \"get\")))\n");
    }
    text += "(core module $m\n";
    for at in 0..imports.len() {
        text += &format!("(import \"\" \"f{at}\" (func $f{at} (result i32)))\n");
    }
    text += &format!("(func (export \"get\") (result i32) i32.const {number}\n");
    for at in 0..imports.len() {
        text += &format!("call $f{at} i32.add\n");
    }
    text += "))\n(core instance $c (instantiate $m (with \"\" (instance\n";
    for at in 0..imports.len() {
        text += &format!("(export \"f{at}\" (func $f{at}))\n");
    }
    text += &format!(
        "))))\n(func $get (result u32) (canon lift (core func $c \"get\")))\n(instance $e (export \"get\" (func $get)))\n(export \"{export}\" (instance $e)))"
    );
    wat::parse_str(text).unwrap()
}

fn named(parts: &[(&str, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    parts.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect()
}

fn world(component: &[u8]) -> (Vec<String>, Vec<String>) {
    let mut graph = CompositionGraph::new();
    let package = Package::from_bytes("a:b", None, component.to_vec(), graph.types_mut()).unwrap();
    let world = &graph.types()[package.ty()];
    (items(world.imports.iter()), items(world.exports.iter()))
}

#[test]
fn imports_are_satisfied_by_parts_and_by_parts_of_parts() {
    let app = component(&["t:t/store@0.2.0", "t:t/host"], "t:t/app", 1);
    let store = component(&["t:t/disk"], "t:t/store@0.2.5", 2);
    let disk = component(&["t:t/host"], "t:t/disk", 4);
    let composed = compose(named(&[("app", app), ("disk", disk), ("store", store)])).unwrap();
    assert_eq!(world(&composed), (vec!["t:t/host".to_owned()], vec!["t:t/app".to_owned()]));
}

#[test]
fn what_does_not_fit_is_named() {
    let app = || component(&["t:t/store"], "t:t/app", 1);
    let store = || component(&[], "t:t/store", 2);
    let other = component(&[], "t:t/other", 2);
    let says = |parts: &[(&str, Vec<u8>)]| compose(named(parts)).unwrap_err().to_string();
    let unused = says(&[("app", app()), ("store", store()), ("other", other)]);
    assert!(unused.contains("other satisfies no import") && unused.contains("\"t:t/store\""), "{unused}");
    let ambiguous = says(&[("app", app()), ("one", store()), ("two", store())]);
    assert!(ambiguous.contains("\"one\", \"two\""), "{ambiguous}");
    let (left, right) = (component(&["t:t/b", "t:t/c"], "t:t/store", 1), component(&["t:t/store"], "t:t/b", 1));
    let circle = says(&[("app", app()), ("left", left), ("right", right)]);
    assert!(circle.contains("left needs right needs left"), "{circle}");
    let mismatched = wat::parse_str(
        "(component (instance $e (export \"set\" (func $f)))
           (core module $m (func (export \"f\"))) (core instance $c (instantiate $m))
           (func $f (canon lift (core func $c \"f\"))) (export \"t:t/store\" (instance $e)))"
            .replace("(instance $e (export \"set\" (func $f)))\n", "")
            .replace("(export \"t:t", "(instance $e (export \"set\" (func $f))) (export \"t:t"),
    )
    .unwrap();
    let mismatch = says(&[("app", app()), ("store", mismatched)]);
    assert!(mismatch.contains("cannot be satisfied by store"), "{mismatch}");
    assert!(says(&[("app", b"\0asm".to_vec())]).contains("app cannot be composed"));
}

#[tokio::test]
async fn a_composition_is_made_once_for_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path()).unwrap();
    let mut found = Vec::new();
    for (name, bytes) in [("app", component(&["t:t/store"], "t:t/app", 1)), ("store", component(&[], "t:t/store", 2))] {
        store.push(name, "v1", bytes.into()).await.unwrap();
        let image = format!("coracle.local/{name}:v1");
        found.push(store.resolve(&image, PullPolicy::Never, &Credentials::default()).await.unwrap());
    }
    let first = store.compose(&found[0], &found[1..]).await.unwrap();
    assert_ne!(first.component, found[0].component);
    assert_eq!((&first.reference, &first.id), (&found[0].reference, &found[0].id));
    assert_eq!(world(&std::fs::read(&first.path).unwrap()).0, Vec::<String>::new());
    assert_eq!(store.compose(&found[0], &found[1..]).await.unwrap(), first);
    assert_eq!(store.index().composed.len(), 1);
}
