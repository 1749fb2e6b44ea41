//! Parts that all activations of a process share: the places of images, the trusted keys and the
//! content store.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::Digest;
use oci::credentials::Store;
use oci::registry::{ClientSettings, Mirror};
use oci::signature::PublicKey;

use super::failure::Failure;
use super::places::Places;
use super::record::Installed;
use super::wish::Wish;
use crate::config::{Config, FleetSection, PluginSection, RegistrySection, SignatureRule};
use crate::content::ContentStore;
use crate::trusted_keys::{TrustedKeyError, trusted_keys};

/// Parts that all activations of a process share.
pub(crate) struct Supplies {
    pub(super) places: Places,
    pub(super) store: ContentStore,
    pub(super) registry: RegistrySection,
    pub(super) keys: Vec<PublicKey>,
    signature: SignatureRule,
    pub(super) fleet: Option<FleetSection>,
    /// Lock that makes devices and plugins download one component at a time.
    pub(super) downloads: tokio::sync::Mutex<()>,
}

/// Error in the files that `[host.registry]` and `[host.trust]` name.
#[derive(Debug, thiserror::Error)]
pub enum SuppliesError {
    /// File that cannot be read.
    #[error("[{table}]: {}", .path.display())]
    Read {
        /// Name of the table.
        table: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// File of keys that cannot be used.
    #[error(transparent)]
    Keys(#[from] TrustedKeyError),
}

impl SuppliesError {
    /// Returns a hint on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            SuppliesError::Read { .. } => {
                "make the file readable for the user of the host, or correct its path"
            }
            SuppliesError::Keys(error) => error.hint(),
        }
    }
}

impl Supplies {
    /// Reads the keys. `data` is the directory of the content store. Blocks.
    pub(crate) fn new(config: &Config, data: &Path) -> Result<Supplies, SuppliesError> {
        let registry = config.host.registry.clone();
        let store = ContentStore::in_data(data, registry.store_bytes);
        let (directory, settings) = (registry.offline_directory.clone(), client_settings(config));
        Ok(Supplies {
            places: Places::new(directory, settings, store.clone()),
            store,
            registry,
            keys: trusted_keys(&config.host.trust)?,
            signature: config.host.trust.signature,
            fleet: config.fleet.clone(),
            downloads: tokio::sync::Mutex::default(),
        })
    }

    /// Remembers what it has fetched, for the many devices of one process.
    pub(crate) fn shared(mut self) -> Supplies {
        self.places.remember();
        self
    }

    /// Checks the files that the configuration names. Blocks.
    pub(crate) fn check(config: &Config) -> Vec<SuppliesError> {
        let registry = &config.host.registry;
        let named = registry.ca_file.iter().chain(&registry.credentials_file);
        let unreadable = named.filter_map(|path| {
            let error = program::text::read_bytes(path).err()?;
            Some(SuppliesError::Read { table: "host.registry", path: path.clone(), source: error })
        });
        unreadable.chain(trusted_keys(&config.host.trust).err().map(SuppliesError::Keys)).collect()
    }

    /// Returns `true` if an image needs a signature.
    pub(super) fn needs_signature(&self, wish: &Wish) -> bool {
        match self.signature {
            SignatureRule::Required => wish.is_cloud(),
            SignatureRule::Always => true,
            SignatureRule::Off => false,
        }
    }

    /// Returns a text that changes with the trusted keys.
    pub(super) fn fingerprint(&self) -> String {
        let mut ids = String::new();
        for key in &self.keys {
            writeln!(ids, "{}", key.id()).expect("writing to a string succeeds");
        }
        Digest::of(ids.as_bytes()).hex()
    }

    /// Returns the time in which a version has to prove itself.
    pub(super) fn health_time(&self) -> Duration {
        self.fleet.as_ref().map_or(FleetSection::HEALTH_TIME, |fleet| fleet.health_time)
    }

    /// Returns the section of an installed version, if the configuration still allows it.
    pub(super) fn section_of(
        &self,
        plugin: &str,
        wish: &Wish,
        version: &Installed,
    ) -> Result<PluginSection, Failure> {
        let path = self.store.path(&version.component);
        let (proposals, component) = (&version.proposals, &version.component);
        Ok(wish.section(plugin, self.fleet.as_ref(), proposals, path, component)?)
    }

    /// Returns the content store.
    pub(crate) fn store(&self) -> &ContentStore {
        &self.store
    }
}

fn client_settings(config: &Config) -> ClientSettings {
    let registry = &config.host.registry;
    let is_plain = |host: &String| registry.plain_http.contains(host);
    let mirrors = registry.mirrors.iter().flat_map(|(host, mirrors)| {
        mirrors.iter().map(move |mirror| {
            let scheme = if is_plain(mirror) { "http" } else { "https" };
            Mirror { registry: host.clone(), url: format!("{scheme}://{mirror}") }
        })
    });
    ClientSettings {
        mirrors: mirrors.collect(),
        plain_http: registry.plain_http.clone(),
        ca_file: registry.ca_file.clone(),
        credentials: registry.credentials_file.as_deref().map(Store::of_file),
        max_blob_bytes: registry.store_bytes,
        bandwidth: registry.bytes_per_second,
        timeout: registry.timeout,
        ..ClientSettings::default()
    }
}
