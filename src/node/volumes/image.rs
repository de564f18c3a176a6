//! Image volumes: the files of an OCI image, to be read.

use std::sync::Arc;

use client::events::{Severity, reference};
use k8s_openapi::api::core::v1::{ImageVolumeSource, Pod};

use super::place::{Access, Counted, Placed};
use super::{VolumeError, Volumes};
use crate::pulling;

/// Opens the files of an image. They are kept once for all pods.
pub(super) async fn open(volumes: &Volumes, pod: &Arc<Pod>, source: &ImageVolumeSource) -> Result<Placed, VolumeError> {
    let surface = &volumes.0.surface;
    let about = reference(pod.as_ref());
    let tell = |severity: Severity, reason: &str, message: String| {
        surface.events.event(about.clone(), severity, reason, message);
    };
    let image = (source.reference.as_deref().unwrap_or_default(), source.pull_policy.as_deref());
    let files = pulling::files(&surface.images, &surface.client, pod, image, &tell).await;
    let files = files.map_err(|error| VolumeError::Image {
        image: image.0.to_owned(),
        reason: error.reason,
        message: error.message,
    })?;
    Ok(Placed { counted: Counted::Nowhere, ..Placed::own(files.folder, Access::ReadOnly) })
}
