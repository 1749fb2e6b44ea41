//! A wish: the plugin that the cloud or `host.toml` asks for.

use std::path::PathBuf;

use oci::{Digest, Reference};
use serde_json::{Value, json};

use super::failure::Failure;
use super::record::Installed;
use crate::config::desired::{DesiredPlugin, NotAllowed, Proposals};
use crate::config::{Config, FleetSection, ImageSection, PluginSection};

/// Wish for a plugin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wish {
    /// Entry of the desired properties.
    Cloud(Box<DesiredPlugin>),
    /// Image in `host.toml`.
    Local(Box<ImageSection>),
}

/// Entry that is refused before anything is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedWish {
    /// Digest of the image, if the entry names one.
    pub(crate) digest: Option<Digest>,
    pub(crate) failure: Failure,
}

impl Wish {
    /// Returns the text that identifies the wish.
    pub(crate) fn entry(&self) -> Value {
        match self {
            Wish::Cloud(desired) => desired.json.clone(),
            Wish::Local(section) => json!({"image": section.image.to_string()}),
        }
    }

    pub(crate) fn image(&self) -> &Reference {
        match self {
            Wish::Cloud(desired) => &desired.image,
            Wish::Local(section) => &section.image,
        }
    }

    /// Returns the digest of the image; `None` for a tag, which can move.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.image().digest()
    }

    pub(crate) fn is_cloud(&self) -> bool {
        matches!(self, Wish::Cloud(_))
    }

    /// Returns `true` if a release number below the highest that was active is accepted. The
    /// operator of the device may always choose it.
    pub(crate) fn allows_downgrade(&self) -> bool {
        match self {
            Wish::Cloud(desired) => desired.allow_downgrade,
            Wish::Local(_) => true,
        }
    }

    /// Returns the section of the plugin once its component is at `file`.
    pub(crate) fn section(
        &self,
        name: &str,
        fleet: Option<&FleetSection>,
        proposals: &Proposals,
        file: PathBuf,
        component: &Digest,
    ) -> Result<PluginSection, NotAllowed> {
        match (self, fleet) {
            (Wish::Local(section), _) => Ok(section.at(file, component.hex())),
            (Wish::Cloud(desired), Some(fleet)) => {
                fleet.section(name, desired, proposals, file, component.hex())
            }
            (Wish::Cloud(_), None) => Err(NotAllowed {
                code: "fleet-off",
                message: "host.toml has no [fleet]".to_owned(),
            }),
        }
    }

    /// Returns the wish that led to an installed version, if the configuration still allows it.
    pub(crate) fn of_installed(
        name: &str,
        version: &Installed,
        config: &Config,
    ) -> Result<Wish, NotAllowed> {
        if version.is_local {
            let section = config.images.get(name).filter(|section| {
                version.entry["image"].as_str() == Some(&section.image.to_string())
            });
            let gone = || NotAllowed {
                code: "not-in-configuration",
                message: "host.toml no longer names this image".to_owned(),
            };
            return Ok(Wish::Local(Box::new(section.ok_or_else(gone)?.clone())));
        }
        let desired = DesiredPlugin::parse(&version.entry)?;
        if let Some(fleet) = &config.fleet {
            fleet.check(name, &desired, config.names(name))?;
        }
        Ok(Wish::Cloud(Box::new(desired)))
    }
}
