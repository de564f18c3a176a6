//! OCI manifests: where the Wasm file is in anybody's image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Digest;

/// Manifests that we can read, as an `Accept` header lists them.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A blob as a manifest names it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    #[serde(default)]
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Whether the media type says that this is Wasm. Types that only speak of it, such as `…wasm.content.layer.v1+data`, do
    /// not count.
    pub fn is_wasm(&self) -> bool {
        let name = self.media_type.split(';').next().unwrap_or_default().trim();
        name.ends_with("wasm")
    }

    /// What its publisher calls the file.
    pub fn title(&self) -> Option<&str> {
        self.annotations.get("org.opencontainers.image.title").map(String::as_str)
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What a manifest says about itself and about another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub media_type: Option<String>,
    /// `artifactType`, or else the config's media type.
    pub artifact_type: Option<String>,
    pub subject: Option<Digest>,
    pub annotations: BTreeMap<String, String>,
}

impl About {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ContentError> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| ContentError::Manifest(error.to_string()))?;
        let config = document.config.map(|config| config.media_type).filter(|kind| !kind.is_empty());
        Ok(Self {
            media_type: document.media_type,
            artifact_type: document.artifact_type.filter(|kind| !kind.is_empty()).or(config),
            subject: document.subject.map(|subject| subject.digest),
            annotations: document.annotations,
        })
    }
}

/// What a manifest turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    /// One image.
    Image { config: Option<Descriptor>, layers: Vec<Descriptor> },
    /// A choice of images for different platforms.
    Index(Vec<Descriptor>),
}

/// Why an image holds no component that could run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ContentError {
    /// The manifest is not one.
    #[error("its manifest is not an OCI image manifest: {0}")]
    Manifest(String),
    /// A Linux container image, say.
    #[error(
        "it is no WebAssembly image but {what}, with layers of {media_types}; build a component and push it with `coracle push`"
    )]
    OtherImage {
        /// In people's words.
        what: String,
        /// What the layers are.
        media_types: String,
    },
    /// None of the platforms that the index offers is wasm.
    #[error("it is offered for {0} and not for wasm")]
    NoPlatform(String),
    /// More Wasm files than one.
    #[error("it holds {0} WebAssembly files, and an image has to hold exactly one")]
    Several(usize),
    /// The layer is an archive of a form that is not read, or broken.
    #[error("its layer {0} cannot be read: {1}")]
    Layer(Digest, String),
}

impl Manifest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ContentError> {
        let invalid = |why: String| ContentError::Manifest(why);
        let document: Document = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        match document {
            Document { manifests: Some(manifests), .. } => Ok(Self::Index(manifests)),
            Document { config, layers: Some(layers), .. } => Ok(Self::Image { config, layers }),
            _ => Err(invalid("it has neither layers nor manifests".to_owned())),
        }
    }

    /// All that has to be in the store for this manifest to be whole.
    pub(crate) fn references(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, rest) = match self {
            Self::Image { config, layers } => (config.as_ref(), layers),
            Self::Index(manifests) => (None, manifests),
        };
        config.into_iter().chain(rest)
    }
}

/// The image of an index that is meant for us: for wasm, and the newest WASI of several.
pub(crate) fn choose(manifests: &[Descriptor]) -> Result<&Descriptor, ContentError> {
    let rank = |platform: &Platform| {
        let wasm = platform.architecture.starts_with("wasm") || platform.os.starts_with("wasi");
        let system = match platform.os.as_str() {
            "wasip3" => 4,
            "wasip2" => 3,
            "wasi" | "wasip1" => 2,
            _ => 1,
        };
        // Memories of 64 bits come last: few programs are built for them, and fewer only for them.
        wasm.then_some((platform.architecture != "wasm64", system))
    };
    let ranked = manifests.iter().enumerate().filter_map(|(at, entry)| {
        let rank = rank(entry.platform.as_ref()?)?;
        Some(((rank, std::cmp::Reverse(at)), entry))
    });
    let wasm = ranked.max_by_key(|(rank, _)| *rank).map(|(_, entry)| entry);
    let only = || manifests.first().filter(|only| manifests.len() == 1 && only.platform.is_none());
    wasm.or_else(only).ok_or_else(|| {
        let platforms: Vec<String> = manifests
            .iter()
            .filter_map(|entry| entry.platform.as_ref())
            .filter(|platform| platform.os != "unknown")
            .map(|platform| format!("{}/{}", platform.os, platform.architecture))
            .collect();
        ContentError::NoPlatform(if platforms.is_empty() { "no platform".to_owned() } else { platforms.join(", ") })
    })
}

/// Where in an image to look for the Wasm file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<'a> {
    /// This layer is it, by its media type.
    Layer(&'a Descriptor),
    /// One of these holds it: as it is, or in a tar archive.
    Inside(&'a [Descriptor]),
}

/// Beyond this an image of archives is not fetched just to see whether a Wasm file is in it.
const SEARCHED_BYTES_MAX: u64 = 128 << 20;
const SEARCHED_LAYERS_MAX: usize = 32;

pub(crate) fn look<'a>(config: Option<&Descriptor>, layers: &'a [Descriptor]) -> Result<Look<'a>, ContentError> {
    let wasm: Vec<&Descriptor> = layers.iter().filter(|layer| layer.is_wasm()).collect();
    match wasm.as_slice() {
        [layer] => return Ok(Look::Layer(layer)),
        [] => {}
        several => return Err(ContentError::Several(several.len())),
    }
    let bytes = layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
    if layers.is_empty() || layers.len() > SEARCHED_LAYERS_MAX || bytes > SEARCHED_BYTES_MAX {
        return Err(other_image(config, layers));
    }
    Ok(Look::Inside(layers))
}

pub(crate) fn other_image(config: Option<&Descriptor>, layers: &[Descriptor]) -> ContentError {
    let media_type = config.map_or("", |config| config.media_type.as_str());
    let what = match media_type {
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => {
            "a container image (Linux or Windows)".to_owned()
        }
        "application/vnd.cncf.helm.config.v1+json" => "a Helm chart".to_owned(),
        "" => "an artifact without a type".to_owned(),
        other => format!("an artifact of type {other}"),
    };
    let mut kinds: Vec<&str> = layers.iter().map(|layer| layer.media_type.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let media_types =
        if kinds.is_empty() { "no type: it has none".to_owned() } else { format!("type {}", kinds.join(", ")) };
    ContentError::OtherImage { what, media_types }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(media_type: &str, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(media_type.as_bytes()),
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn what_we_pack_reads_back_as_one_wasm_layer() {
        let component = wat::parse_str("(component)").unwrap();
        let artifact = crate::artifact::Artifact::from_wasm(component.clone()).unwrap();
        let Manifest::Image { config, layers } = Manifest::parse(&artifact.manifest.bytes).unwrap() else {
            panic!("an index")
        };
        assert_eq!(look(config.as_ref(), &layers), Ok(Look::Layer(&layers[0])));
        assert_eq!(layers[0].digest, artifact.layer.digest);
        assert_eq!(crate::artifact::Artifact::from_wasm(component).unwrap().manifest.digest, artifact.manifest.digest);
    }

    #[test]
    fn other_images_are_named() {
        let linux = Descriptor { media_type: "application/vnd.oci.image.config.v1+json".to_owned(), ..layer("c", 1) };
        let layers = [layer("application/vnd.oci.image.layer.v1.tar+gzip", SEARCHED_BYTES_MAX + 1)];
        let error = look(Some(&linux), &layers).unwrap_err().to_string();
        assert!(error.contains("a container image") && error.contains("tar+gzip"), "{error}");
        let two = [layer("application/wasm", 1), layer("application/vnd.module.wasm", 1)];
        assert_eq!(look(None, &two), Err(ContentError::Several(2)));
        let platform = |os: &str, architecture: &str| Descriptor {
            platform: Some(Platform { os: os.to_owned(), architecture: architecture.to_owned() }),
            ..layer(os, 1)
        };
        let index = [platform("linux", "amd64"), platform("wasip2", "wasm")];
        assert_eq!(choose(&index), Ok(&index[1]));
        let several = [platform("wasi", "wasm"), platform("wasip2", "wasm"), platform("wasip3", "wasm64")];
        assert_eq!(choose(&several), Ok(&several[1]));
        let spin = [
            layer("application/vnd.wasm.content.layer.v1+data", 1),
            layer("application/vnd.wasm.content.layer.v1+wasm", 2),
        ];
        assert_eq!(look(None, &spin), Ok(Look::Layer(&spin[1])));
        assert_eq!(choose(&index[..1]), Err(ContentError::NoPlatform("linux/amd64".to_owned())));
    }
}
