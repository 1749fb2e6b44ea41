//! `image` under `[plugins.NAME]`: a plugin that is fetched from a registry.

use std::path::{Path, PathBuf};

use oci::Reference;
use plugin::readable;

use super::plugin::plugin as section_at;
use super::{ConfigError, PluginSection, file};

/// Plugin of `host.toml` that is named by an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSection {
    /// Image that contains the component.
    pub image: Reference,
    /// Settings without the path of the component, which depends on the data directory.
    settings: PluginSection,
}

impl ImageSection {
    /// Returns the section of the plugin once its component is at `file`, with this digest.
    pub(crate) fn at(&self, file: PathBuf, sha256: String) -> PluginSection {
        PluginSection { file, sha256: Some(sha256), ..self.settings.clone() }
    }

    /// Returns the settings of the plugin, whose path is empty.
    pub(crate) fn settings(&self) -> &PluginSection {
        &self.settings
    }
}

/// Origin of a plugin's component in `host.toml`.
pub(super) enum Origin {
    File(PathBuf),
    Image(Reference),
}

/// Returns the origin of a plugin's component.
pub(super) fn origin(
    name: &str,
    section: &file::Plugin,
    directory: &Path,
) -> Result<Origin, ConfigError> {
    let plugin = || name.to_owned();
    let text = match (&section.file, &section.image) {
        (Some(file), None) if !section.allow_tag => return Ok(Origin::File(directory.join(file))),
        (Some(_), None) => return Err(ConfigError::TagWithoutImage(plugin())),
        (None, None) => return Err(ConfigError::NoOrigin(plugin())),
        (Some(_), Some(_)) => return Err(ConfigError::TwoOrigins(plugin())),
        (None, Some(text)) => text,
    };
    if section.sha256.is_some() {
        return Err(ConfigError::ImageWithSha256(plugin()));
    }
    let image: Reference =
        text.parse().map_err(|source| ConfigError::Image { plugin: plugin(), source })?;
    if image.digest().is_none() && !section.allow_tag {
        let image = readable(text).into_owned();
        return Err(ConfigError::ImageNotPinned { plugin: plugin(), image });
    }
    Ok(Origin::Image(image))
}

/// Returns the section of a plugin that is named by an image.
pub(super) fn image(
    name: String,
    image: Reference,
    section: file::Plugin,
    directory: &Path,
) -> Result<ImageSection, ConfigError> {
    let local = section_at(name, section, PathBuf::new(), directory)?;
    let settings = PluginSection { from_image: true, ..local };
    Ok(ImageSection { image, settings })
}
