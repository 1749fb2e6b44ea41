//! Versions of an earlier run, with which the host starts.

use std::collections::BTreeMap;
use std::fs;

use oci::Digest;
use tracing::error;

use super::record::{FleetRecord, Installed};
use super::wish::Wish;
use crate::config::{Config, PluginSection};
use crate::content::ContentStore;
use crate::known_good::KnownGood;

/// Returns the sections of the versions that run now. A version whose component is damaged or
/// that the configuration no longer allows is replaced by the previous one. Blocks.
pub(crate) fn restored(
    config: &Config,
    record: &mut FleetRecord,
    store: &ContentStore,
    known: &KnownGood,
) -> BTreeMap<String, PluginSection> {
    let mut sections = BTreeMap::new();
    for (name, plugin) in &mut record.plugins {
        while let Some(version) = &plugin.running {
            match usable(name, version, config, store, known) {
                Ok(section) => {
                    sections.insert(name.clone(), section);
                    break;
                }
                Err(reason) => {
                    error!(plugin = name, image = %version.image, "version not restored: {reason}");
                    plugin.running = plugin.previous.take();
                }
            }
        }
    }
    sections
}

/// Returns the section of a version if its component is intact and the configuration allows it.
fn usable(
    name: &str,
    version: &Installed,
    config: &Config,
    store: &ContentStore,
    known: &KnownGood,
) -> Result<PluginSection, String> {
    let wish = Wish::of_installed(name, version, config).map_err(|error| error.message)?;
    if !store.has(&version.component) && !recovered(&version.component, store, known) {
        return Err(format!("component {} is damaged or missing", version.component));
    }
    let path = store.path(&version.component);
    let (proposals, component) = (&version.proposals, &version.component);
    let section = wish.section(name, config.fleet.as_ref(), proposals, path, component);
    section.map_err(|error| error.message)
}

/// Copies a component from the last working versions into the store.
fn recovered(component: &Digest, store: &ContentStore, known: &KnownGood) -> bool {
    let Ok(bytes) = fs::read(known.path(&component.hex())) else { return false };
    Digest::of(&bytes) == *component && store.put(component, &bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fleet::record::PluginRecord;

    /// Data directory with two versions of the plugin `p`, of which the second one runs.
    struct Rig {
        directory: tempfile::TempDir,
        store: ContentStore,
        known: KnownGood,
        record: FleetRecord,
    }

    fn version(component: &[u8]) -> Installed {
        let image = Digest::of(&[component, b"image"].concat());
        Installed {
            entry: json!({"image": format!("r.example/p@{image}"), "methods": ["m"]}),
            is_local: false,
            image,
            manifest: None,
            component: Digest::of(component),
            release: 1,
            is_proved: true,
            proposals: Default::default(),
            desired_version: 1,
            since: String::new(),
        }
    }

    impl Rig {
        fn new() -> Rig {
            let directory = tempfile::tempdir().unwrap();
            let store = ContentStore::in_data(directory.path(), 1000);
            let (one, two) = (version(b"one"), version(b"two"));
            store.put(&one.component, b"one").unwrap();
            store.put(&two.component, b"two").unwrap();
            let plugin =
                PluginRecord { running: Some(two), previous: Some(one), ..Default::default() };
            let record = FleetRecord { plugins: [("p".to_owned(), plugin)].into() };
            let known = KnownGood::in_data(directory.path());
            Rig { directory, store, known, record }
        }

        /// Returns the component of the version that is restored.
        fn restored(&mut self, images: &str) -> Option<Vec<u8>> {
            let toml = format!("host.trust.keys = [\"k.pem\"]\n[fleet]\nimages = [\"{images}\"]\n");
            let config = Config::parse(&toml, self.directory.path()).unwrap();
            let mut sections = restored(&config, &mut self.record, &self.store, &self.known);
            let running = self.record.plugins["p"].running.as_ref();
            assert_eq!(sections.is_empty(), running.is_none());
            Some(fs::read(sections.remove("p")?.file).unwrap())
        }

        fn damage(&self, component: &[u8]) {
            fs::write(self.store.path(&Digest::of(component)), "zeros").unwrap();
        }
    }

    #[test]
    fn the_version_before_replaces_one_with_a_damaged_component() {
        let mut rig = Rig::new();
        assert_eq!(rig.restored("r.example/p").unwrap(), b"two");
        rig.damage(b"two");
        assert_eq!(rig.restored("r.example/p").unwrap(), b"one");
        rig.damage(b"one");
        assert_eq!(rig.restored("r.example/p"), None);
    }

    #[test]
    fn a_damaged_component_is_recovered_from_the_last_working_versions() {
        let mut rig = Rig::new();
        rig.known.keep_bytes(&Digest::of(b"two").hex(), b"two").unwrap();
        rig.damage(b"two");
        assert_eq!(rig.restored("r.example/p").unwrap(), b"two");
    }

    #[test]
    fn a_version_that_the_configuration_no_longer_allows_does_not_run() {
        assert_eq!(Rig::new().restored("r.example/other"), None);
    }
}
