//! Components put together: what one imports and another exports is joined, and the whole is one component.
//!
//! ```text
//! app (imports a:b/store) ──┐
//!                           ├─► one component that imports what is left, and exports what app exports
//! store (exports a:b/store) ┘
//! ```
//!
//! It is done once for a list of components; the result is kept under the digests of that list.

use std::collections::BTreeMap;

use thiserror::Error;
use wac_graph::types::{ItemKind, Package, are_semver_compatible};
use wac_graph::{CompositionGraph, EncodeOptions, NodeId, PackageId};

use crate::store::{Composed, blocking};
use crate::{Digest, ImageStore, Resolved};

const PARTS_MAX: usize = 32;

/// Why components do not make one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ComposeError {
    /// More parts than anybody needs.
    #[error("an image may be composed of {PARTS_MAX} parts, and {0} are named; compose some of them beforehand")]
    TooMany(usize),
    /// A component that is not read.
    #[error("{image} cannot be composed: {why}")]
    Unreadable {
        /// Which.
        image: String,
        /// Why.
        why: String,
    },
    /// Nobody needs it.
    #[error(
        "{image} satisfies no import of the others: it exports {}, and they import {}; remove it from the annotation compose",
        quoted(exports),
        quoted(imports)
    )]
    Unused {
        /// The part.
        image: String,
        /// What it offers.
        exports: Vec<String>,
        /// What is wanted.
        imports: Vec<String>,
    },
    /// Two offer the same.
    #[error(
        "import {import:?} of {image} is satisfied by each of {}; name one of them in the annotation compose",
        quoted(by)
    )]
    Ambiguous {
        /// Whose import.
        image: String,
        /// Which.
        import: String,
        /// By whom.
        by: Vec<String>,
    },
    /// Each needs the other first.
    #[error("the parts need each other in a circle: {}", .0.join(" needs "))]
    Circle(Vec<String>),
    /// The types do not fit.
    #[error("import {import:?} of {image} cannot be satisfied by {by}: {why}")]
    Mismatch {
        /// Whose import.
        image: String,
        /// Which.
        import: String,
        /// By whom.
        by: String,
        /// What differs.
        why: String,
    },
    /// The whole is not valid.
    #[error("the parts do not make a component: {0}")]
    Invalid(String),
    /// The disk.
    #[error("cannot keep the composed component: {0}")]
    Store(String),
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

impl ImageStore {
    /// `main` with its imports satisfied by `parts`, which may need each other too. Made once for these components.
    ///
    /// # Errors
    /// Which import is ambiguous, or which part nobody needs.
    pub async fn compose(&self, main: &Resolved, parts: &[Resolved]) -> Result<Resolved, ComposeError> {
        if parts.len() > PARTS_MAX {
            return Err(ComposeError::TooMany(parts.len()));
        }
        let all: Vec<Resolved> = std::iter::once(main).chain(parts).cloned().collect();
        let digests: Vec<Digest> = all.iter().map(|one| one.component.clone()).collect();
        let names: Vec<&str> = digests.iter().map(Digest::as_str).collect();
        let key = Digest::of(format!("composed of\n{}", names.join("\n")).as_bytes());
        let _one_at_a_time = self.gate(&format!("compose {key}")).await;
        let known = self.index().composed.get(&key).map(|composed| composed.component.clone());
        let component = match known.filter(|component| self.has(component)) {
            Some(component) => component,
            None => {
                let store = self.clone();
                blocking(move || store.compose_and_keep(&all, key, digests)).await?
            }
        };
        let path = self.blob_path(&component);
        let size = std::fs::metadata(&path).map_or(main.size, |data| data.len());
        Ok(Resolved { component, path, size, ..main.clone() })
    }

    fn compose_and_keep(&self, all: &[Resolved], key: Digest, parts: Vec<Digest>) -> Result<Digest, ComposeError> {
        let read = |one: &Resolved| {
            let unreadable = |why: String| ComposeError::Unreadable { image: one.reference.clone(), why };
            let bytes = std::fs::read(&one.path).map_err(|error| unreadable(error.to_string()))?;
            Ok((one.reference.clone(), bytes))
        };
        let bytes = compose(all.iter().map(read).collect::<Result<_, ComposeError>>()?)?;
        let stored = |error: crate::StoreError| ComposeError::Store(error.to_string());
        let component = self.put(&bytes).map_err(stored)?;
        let composed = Composed { component: component.clone(), parts };
        self.change(|index| index.composed.insert(key, composed)).map_err(stored)?;
        Ok(component)
    }
}

/// One of the components.
struct Member {
    image: String,
    package: PackageId,
    imports: Vec<String>,
    exports: Vec<String>,
}

/// The first component with what the others offer. Takes as long as reading them all.
fn compose(components: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>, ComposeError> {
    let mut graph = CompositionGraph::new();
    let mut members = Vec::with_capacity(components.len());
    for (number, (image, bytes)) in components.into_iter().enumerate() {
        let unreadable = |why: String| ComposeError::Unreadable { image: image.clone(), why };
        // The same image may be there twice; its name in the graph has to be its own.
        let package = Package::from_bytes(&format!("part:n{number}"), None, bytes, graph.types_mut());
        let package = package.map_err(|error| unreadable(format!("{error:#}")))?;
        let world = &graph.types()[package.ty()];
        let (imports, exports) = (items(world.imports.iter()), items(world.exports.iter()));
        let package = graph.register_package(package).map_err(|error| unreadable(base::report(&error)))?;
        members.push(Member { image, package, imports, exports });
    }
    let links = links(&members)?;
    let mut building = Building { graph, members, links, made: BTreeMap::new(), open: Vec::new() };
    let main = building.instance(0)?;
    building.finish(main)
}

fn items<'a>(all: impl Iterator<Item = (&'a String, &'a ItemKind)>) -> Vec<String> {
    all.filter(|(_, kind)| !matches!(kind, ItemKind::Type(_))).map(|(name, _)| name.clone()).collect()
}

/// Member and import → member and export.
type Links = BTreeMap<(usize, String), (usize, String)>;

/// Who satisfies what. Everything else stays an import of the whole.
fn links(members: &[Member]) -> Result<Links, ComposeError> {
    let mut links = Links::new();
    for (own, member) in members.iter().enumerate() {
        for import in &member.imports {
            // The main component is whom the others serve; it serves none of them.
            let offers: Vec<(usize, &String)> = members
                .iter()
                .enumerate()
                .skip(1)
                .filter(|(other, _)| *other != own)
                .filter_map(|(other, part)| Some((other, offer(&part.exports, import)?)))
                .collect();
            match offers.as_slice() {
                [] => {}
                [(other, export)] => drop(links.insert((own, import.clone()), (*other, (*export).clone()))),
                several => {
                    let by = several.iter().map(|(other, _)| members[*other].image.clone()).collect();
                    return Err(ComposeError::Ambiguous { image: member.image.clone(), import: import.clone(), by });
                }
            }
        }
    }
    let used = |number: usize| links.values().any(|(by, _)| *by == number);
    if let Some((number, part)) = members.iter().enumerate().skip(1).find(|(number, _)| !used(*number)) {
        let others = members.iter().enumerate().filter(|(other, _)| *other != number);
        let mut imports: Vec<String> = others.flat_map(|(_, member)| member.imports.clone()).collect();
        imports.sort();
        imports.dedup();
        return Err(ComposeError::Unused { image: part.image.clone(), exports: part.exports.clone(), imports });
    }
    Ok(links)
}

/// The export that an import takes: of the same name, or of a version that is compatible with it.
fn offer<'a>(exports: &'a [String], import: &str) -> Option<&'a String> {
    let same = exports.iter().find(|export| *export == import);
    same.or_else(|| exports.iter().find(|export| are_semver_compatible(export, import)))
}

struct Building {
    graph: CompositionGraph,
    members: Vec<Member>,
    links: Links,
    made: BTreeMap<usize, NodeId>,
    /// Who waits for whom at this moment.
    open: Vec<usize>,
}

impl Building {
    /// The instance of a member, after those that it needs. Each part is there once, whoever shares it.
    fn instance(&mut self, number: usize) -> Result<NodeId, ComposeError> {
        if let Some(made) = self.made.get(&number) {
            return Ok(*made);
        }
        if let Some(at) = self.open.iter().position(|open| *open == number) {
            let circle = self.open[at..].iter().chain([&number]);
            return Err(ComposeError::Circle(circle.map(|one| self.members[*one].image.clone()).collect()));
        }
        self.open.push(number);
        let node = self.graph.instantiate(self.members[number].package);
        for import in self.members[number].imports.clone() {
            let Some((other, export)) = self.links.get(&(number, import.clone())).cloned() else { continue };
            let instance = self.instance(other)?;
            let mismatch = |why: String| ComposeError::Mismatch {
                image: self.members[number].image.clone(),
                import: import.clone(),
                by: self.members[other].image.clone(),
                why,
            };
            let alias = self.graph.alias_instance_export(instance, &export);
            let alias = alias.map_err(|error| mismatch(base::report(&error)))?;
            let set = self.graph.set_instantiation_argument(node, &import, alias);
            set.map_err(|error| mismatch(base::report(&error)))?;
        }
        self.open.pop();
        self.made.insert(number, node);
        Ok(node)
    }

    fn finish(mut self, main: NodeId) -> Result<Vec<u8>, ComposeError> {
        let invalid = |error: &dyn std::error::Error| ComposeError::Invalid(base::report(error));
        for name in self.members[0].exports.clone() {
            let export = self.graph.alias_instance_export(main, &name).map_err(|error| invalid(&error))?;
            self.graph.export(export, &name).map_err(|error| invalid(&error))?;
        }
        self.graph.encode(EncodeOptions::default()).map_err(|error| invalid(&error))
    }
}

#[cfg(test)]
mod tests;
