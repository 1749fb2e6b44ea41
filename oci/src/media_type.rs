//! Media types of manifests, configurations and layers.

/// An image manifest (image specification, "manifest.md").
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image index (image specification, "image-index.md").
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Docker's manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The empty JSON object `{}` (image specification, "manifest.md").
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The configuration of a component, as `wkg` writes it.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// A component.
pub const WASM: &str = "application/wasm";

/// The media types of a layer that contains a component. The first is current, the others are
/// of older tools and of Spin.
pub const WASM_LAYERS: [&str; 3] = [
    WASM,
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

/// A sigstore bundle of the version that is read and written.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The start of the media type of every sigstore bundle.
pub(crate) const ANY_BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// Returns a media type without its parameters, in lower case.
pub(crate) fn essence(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
