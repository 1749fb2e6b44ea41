//! Plugins in OCI registries.
//!
//! ```
//! use behaviour_oci::Reference;
//! use behaviour_oci::signature::{self, KeyType, PrivateKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let image: Reference = "registry.example/plugins/reboot:1.2.3@sha256:\
//!     fd7f5f132d28b410bb96ef0285cf2c2181e4568d6f81dcc19429d05ce7a3ec33".parse()?;
//! let digest = image.digest().ok_or("no digest")?;
//!
//! let (key, _) = PrivateKey::generate(KeyType::P256)?;
//! let bundle = signature::sign(&key, &digest, &Default::default())?;
//! let verified = signature::verify(&[bundle], &digest, &[key.public_key().clone()])?;
//! assert_eq!(verified.key, key.public_key().id());
//! # Ok(())
//! # }
//! ```
//!
//! `cargo run -p behaviour-oci --example reference -- REF` parses a reference.
//!
//! # Layout
//!
//! * [`Reference`], [`Digest`]: names of images and of content.
//! * [`Manifest`], [`Index`], [`Document`]: descriptions of images.
//! * [`artifact`]: the form of a plugin, and its metadata.
//! * [`Source`], [`resolve`]: places from which images are read.
//! * [`referrers`]: the signatures of an image in such a place.
//! * [`registry`]: the client of registries, which also pushes.
//! * [`layout`]: directories with images, for devices without a network.
//! * [`credentials`]: credentials as Docker stores them.
//! * [`signature`]: sigstore bundles by public key.
//! * [`media_type`]: the media types.
//!
//! This crate does not run plugins, and decides nothing about trust: the caller has the keys.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a panic fails the test"))]

pub mod artifact;
pub mod credentials;
mod digest;
pub mod layout;
mod manifest;
pub mod media_type;
mod partial;
mod reference;
pub mod referrers;
pub mod registry;
pub mod signature;
mod source;
mod strict;

pub use digest::{Digest, DigestError, Hasher};
pub use manifest::{
    Descriptor, Document, Index, MAX_MANIFEST_BYTES, Manifest, ManifestError, Platform,
};
pub use reference::{Reference, ReferenceError};
pub use source::{Image, OnProgress, Received, Source, SourceError, resolve};
