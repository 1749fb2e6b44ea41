//! Plugins as artifacts: the form that `wkg`, wasmCloud and Azure IoT Operations read and
//! write, and the metadata of a plugin in the annotations of the manifest.
//!
//! Annotations instead of a further layer, because `wkg` refuses an artifact with more than
//! one layer, and because they need no further request. The digest of the manifest covers
//! them. Foreign artifacts have none of them and are accepted.

use std::collections::BTreeMap;

use json::Json;
use serde::{Deserialize, Serialize};

use crate::media_type::{WASM, WASM_CONFIG};
use crate::{Descriptor, Digest, Manifest, strict};

/// The names of the annotations.
pub mod annotation {
    /// The methods, as a JSON array of strings.
    pub const METHODS: &str = "device.behaviour.methods";
    /// The default configuration, as a JSON object.
    pub const CONFIG: &str = "device.behaviour.config";
    /// The wanted capabilities, as a JSON array of strings.
    pub const CAPABILITIES: &str = "device.behaviour.capabilities";
    /// The lowest version of the package `device:behaviour` that a host must provide.
    pub const CONTRACT: &str = "device.behaviour.contract";
    /// The release number, as a decimal number.
    pub const RELEASE: &str = "device.behaviour.release";
    /// The method that tells whether the plugin is healthy.
    pub const HEALTH: &str = "device.behaviour.health";
    /// The version for people, as every tool of OCI writes it.
    pub const VERSION: &str = "org.opencontainers.image.version";
    /// The time of the build (RFC 3339), as every tool of OCI writes it.
    pub const CREATED: &str = "org.opencontainers.image.created";
    /// The name of a layer's file.
    pub const TITLE: &str = "org.opencontainers.image.title";
}

/// Maximum length of the configuration blob, in bytes.
pub const MAX_CONFIG_BYTES: usize = 1024 * 1024;

/// Maximum length of one annotation of ours, in bytes.
const MAX_ANNOTATION_BYTES: usize = 64 * 1024;

/// Maximum number of methods or capabilities.
const MAX_NAMES: usize = 256;

/// The metadata of a plugin. A foreign artifact has the default: no names, release 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The methods that the plugin implements.
    pub methods: Vec<String>,
    /// The default configuration, a JSON object.
    pub config: Option<Json>,
    /// The capabilities that the plugin wants.
    pub capabilities: Vec<String>,
    /// The lowest version of the contract.
    pub contract: Option<String>,
    /// The release number, which only rises; 0 if the artifact has none.
    pub release: u64,
    /// The method of the health check.
    pub health: Option<String>,
    /// The version for people.
    pub version: Option<String>,
}

/// Error for an annotation of ours with a malformed value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation `{name}` {problem}")]
pub struct MetadataError {
    name: &'static str,
    problem: String,
}

impl Metadata {
    /// Reads the metadata from the annotations of a manifest.
    pub fn read(manifest: &Manifest) -> Result<Metadata, MetadataError> {
        let annotations = Annotations(&manifest.annotations);
        Ok(Metadata {
            methods: annotations.names(annotation::METHODS)?,
            config: annotations.object(annotation::CONFIG)?,
            capabilities: annotations.names(annotation::CAPABILITIES)?,
            contract: annotations.contract()?,
            release: annotations.release()?,
            health: annotations.text(annotation::HEALTH)?.map(str::to_owned),
            // Not ours: any text is accepted.
            version: manifest
                .annotations
                .get(annotation::VERSION)
                .map(|version| json::excerpt(version, 128).into_owned()),
        })
    }

    /// Returns the annotations.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let names = |names: &[String]| {
            (!names.is_empty())
                .then(|| serde_json::to_string(names).expect("strings are valid in JSON"))
        };
        let all = [
            (annotation::METHODS, names(&self.methods)),
            (annotation::CONFIG, self.config.as_ref().map(|config| config.get().to_owned())),
            (annotation::CAPABILITIES, names(&self.capabilities)),
            (annotation::CONTRACT, self.contract.clone()),
            (annotation::RELEASE, (self.release > 0).then(|| self.release.to_string())),
            (annotation::HEALTH, self.health.clone()),
            (annotation::VERSION, self.version.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// The annotations of a manifest.
struct Annotations<'a>(&'a BTreeMap<String, String>);

impl<'a> Annotations<'a> {
    fn text(&self, name: &'static str) -> Result<Option<&'a str>, MetadataError> {
        match self.0.get(name).map(String::as_str) {
            Some(text) if text.len() > MAX_ANNOTATION_BYTES => {
                Err(wrong(name, format!("is longer than {MAX_ANNOTATION_BYTES} bytes")))
            }
            Some("") => Err(wrong(name, "is empty")),
            text => Ok(text),
        }
    }

    fn names(&self, name: &'static str) -> Result<Vec<String>, MetadataError> {
        let Some(text) = self.text(name)? else { return Ok(Vec::new()) };
        let names: Vec<String> = strict::parse(text.as_bytes(), MAX_ANNOTATION_BYTES)
            .map_err(|problem| wrong(name, problem))?;
        if names.len() > MAX_NAMES {
            return Err(wrong(name, format!("has more than {MAX_NAMES} names")));
        }
        match names.iter().find(|name| name.is_empty() || name.contains(json::affects_display)) {
            Some(found) => Err(wrong(name, format!("has the name `{}`", json::escape(found)))),
            None => Ok(names),
        }
    }

    fn object(&self, name: &'static str) -> Result<Option<Json>, MetadataError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let _: BTreeMap<String, serde_json::Value> =
            strict::object(text.as_bytes(), MAX_ANNOTATION_BYTES)
                .map_err(|problem| wrong(name, problem))?;
        text.parse().map(Some).map_err(|error: json::JsonError| wrong(name, error.to_string()))
    }

    fn contract(&self) -> Result<Option<String>, MetadataError> {
        let Some(text) = self.text(annotation::CONTRACT)? else { return Ok(None) };
        let parts: Vec<&str> = text.split('.').collect();
        let is_version = parts.len() == 3 && parts.iter().all(|part| number(part).is_some());
        match is_version {
            true => Ok(Some(text.to_owned())),
            false => Err(wrong(annotation::CONTRACT, quoted(text) + ", not a version like 0.1.0")),
        }
    }

    fn release(&self) -> Result<u64, MetadataError> {
        let Some(text) = self.text(annotation::RELEASE)? else { return Ok(0) };
        let problem = || wrong(annotation::RELEASE, quoted(text) + ", not a release number");
        number(text).ok_or_else(problem)
    }
}

fn wrong(name: &'static str, problem: impl Into<String>) -> MetadataError {
    MetadataError { name, problem: problem.into() }
}

fn quoted(text: &str) -> String {
    format!("is `{}`", json::excerpt(text, 40))
}

/// Parses a decimal number without a sign or leading zeros, so that it has one spelling.
fn number(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || !text.starts_with(['0', '+']);
    is_canonical.then(|| text.parse().ok()).flatten()
}

/// The configuration blob, as `wkg` writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmConfig {
    /// The time of the build (RFC 3339).
    pub created: Option<String>,
    /// The author.
    pub author: Option<String>,
    /// The architecture: `wasm`.
    pub architecture: String,
    /// The system: `wasip2` for a component, `wasip1` for a core module.
    pub os: String,
    /// The digests of the layers.
    pub layer_digests: Vec<Digest>,
    /// The interfaces; `None` for a core module.
    pub component: Option<ComponentInterfaces>,
}

/// The interfaces of a component in its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComponentInterfaces {
    /// The exports.
    pub exports: Vec<String>,
    /// The imports.
    pub imports: Vec<String>,
    /// The world.
    pub target: Option<String>,
}

impl WasmConfig {
    /// Parses a configuration and compares its digests with the layers of the manifest. The
    /// message of the error is a predicate that follows the subject.
    pub fn parse(bytes: &[u8], manifest: &Manifest) -> Result<WasmConfig, String> {
        let config: WasmConfig = strict::object(bytes, MAX_CONFIG_BYTES)?;
        let layers = manifest.layers.iter().map(|layer| layer.digest);
        if !config.layer_digests.is_empty() && !layers.eq(config.layer_digests.iter().copied()) {
            return Err("lists other layers than the manifest".to_owned());
        }
        Ok(config)
    }
}

/// A plugin in the form in which a registry stores it.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration blob.
    pub config: Vec<u8>,
    /// The component.
    pub component: Vec<u8>,
}

impl Artifact {
    /// Creates the artifact of a component. `title` is the name of its file.
    #[must_use]
    pub fn new(
        component: Vec<u8>,
        title: &str,
        interfaces: ComponentInterfaces,
        metadata: &Metadata,
        created: Option<&str>,
    ) -> Artifact {
        let mut layer = Descriptor::of(WASM, &component);
        layer.annotations.insert(annotation::TITLE.to_owned(), title.to_owned());
        let config = WasmConfig {
            created: created.map(str::to_owned),
            author: None,
            architecture: "wasm".to_owned(),
            os: "wasip2".to_owned(),
            layer_digests: vec![layer.digest],
            component: Some(interfaces),
        };
        let config = serde_json::to_vec(&config).expect("every field is valid in JSON");
        let mut manifest = Manifest::new(Descriptor::of(WASM_CONFIG, &config), vec![layer]);
        manifest.annotations = metadata.annotations();
        if let Some(created) = created {
            manifest.annotations.insert(annotation::CREATED.to_owned(), created.to_owned());
        }
        Artifact { manifest, config, component }
    }
}

#[cfg(test)]
mod tests;
