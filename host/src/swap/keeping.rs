//! Persistence of working versions and of the configuration for the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use program::FileStamp;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::warn;

use super::Swap;
use crate::config::{Config, Configured, PluginSection};
use crate::known_good::{GoodRecord, GoodVersion, KnownGood};
use crate::plugins;
use crate::plugins::slot::SlotStatus;

/// Persisted versions and configuration.
pub(super) struct Keeper {
    known: KnownGood,
    /// Current record on disk.
    pub(super) record: GoodRecord,
    /// Stamp of the configuration file that was persisted last.
    configuration: Option<FileStamp>,
    warned: bool,
}

/// Version whose bytes must be on disk.
struct Needed {
    plugin: String,
    digest: String,
}

/// Input of a save on a blocking thread.
struct Save {
    known: KnownGood,
    config: Config,
    /// Current record on disk.
    before: GoodRecord,
    record: GoodRecord,
    active: Vec<Needed>,
    /// Digests of the versions that must not be removed.
    needed: BTreeSet<String>,
    /// Plugins that are not of the configuration file.
    installed: BTreeMap<String, PluginSection>,
    with_configuration: bool,
}

impl Keeper {
    pub(super) fn new(known: KnownGood) -> Keeper {
        let record = known.record();
        Keeper { known, record, configuration: None, warned: false }
    }

    pub(super) fn known(&self) -> &KnownGood {
        &self.known
    }
}

impl Swap {
    /// Persists the versions and the configuration that work now, if they have changed.
    pub(super) async fn keep(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        let now = Instant::now();
        let (mut plugins, mut active) = (BTreeMap::new(), Vec::new());
        let mut needed = BTreeSet::new();
        let mut all_work = self.is_in_force();
        for (name, slot) in self.router.table().slots() {
            let before = keeper.record.plugins.get(name).cloned().unwrap_or_default();
            let state = slot.view().state;
            all_work &= !matches!(state, SlotStatus::Loading | SlotStatus::NotStarted);
            let digests = slot.digests(now);
            let version = match slot.is_loading() {
                true => before,
                false => GoodVersion {
                    good: digests.good.or(before.good),
                    rolled_back: digests.rolled_back,
                },
            };
            needed.extend(version.good.iter().chain(&digests.active).cloned());
            needed.extend(digests.previous);
            let plugin = name.clone();
            active.extend(digests.active.map(|digest| Needed { plugin, digest }));
            if version != GoodVersion::default() {
                plugins.insert(name.clone(), version);
            }
        }
        let file = self.config.file.as_deref();
        let stamp = file.filter(|_| all_work).and_then(FileStamp::at);
        let with_configuration = stamp.is_some() && stamp != keeper.configuration;
        let configuration = keeper.record.configuration.clone();
        let save = Save {
            known: keeper.known.clone(),
            config: Config { plugins: self.in_force.clone(), ..self.config.clone() },
            before: keeper.record.clone(),
            record: GoodRecord { configuration, plugins },
            active,
            needed,
            installed: self.configured.installed.clone(),
            with_configuration,
        };
        if !save.is_due() {
            return;
        }
        let saved = spawn_blocking(move || save.run());
        let saved = self.step(Duration::ZERO, saved).await;
        let keeper = self.keeper.as_mut().expect("the keeper is never removed");
        match saved {
            Ok(Ok(record)) => {
                keeper.record = record;
                keeper.warned = false;
                if with_configuration {
                    keeper.configuration = stamp;
                }
            }
            Ok(Err(error)) if !keeper.warned => {
                keeper.warned = true;
                warn!("working versions not persisted for the next start: {error}");
            }
            _ => {}
        }
    }
}

impl Save {
    /// Returns `true` if there is anything to write. Reads the disk briefly.
    fn is_due(&self) -> bool {
        self.with_configuration || self.record != self.before || self.missing().next().is_some()
    }

    /// Returns the active versions whose bytes are not on disk.
    fn missing(&self) -> impl Iterator<Item = &Needed> {
        self.active.iter().filter(|needed| !self.known.path(&needed.digest).exists())
    }

    /// Persists the bytes of versions, then the record that names them. Blocks.
    fn run(mut self) -> io::Result<GoodRecord> {
        for Needed { plugin, digest } in self.missing() {
            let Some(section) = self.config.plugins.get(plugin) else { continue };
            // A file that has changed meanwhile is a new version, which is saved later.
            if let Ok(file) = plugins::read(plugin, section)
                && file.digest == *digest
            {
                self.known.keep_bytes(digest, &file.bytes)?;
            }
        }
        self.keep_good_versions_on_disk();
        if self.with_configuration {
            self.keep_configuration()?;
        }
        if self.with_configuration || self.record != self.before {
            self.known.keep_record(&self.record, &self.needed)?;
        }
        Ok(self.record)
    }

    /// Replaces each working version whose bytes are not on disk by the recorded one. The
    /// file of a version can change before its bytes are saved.
    fn keep_good_versions_on_disk(&mut self) {
        let is_on_disk = |digest: &String| self.known.path(digest).exists();
        for (plugin, version) in &mut self.record.plugins {
            if version.good.as_ref().is_some_and(is_on_disk) {
                continue;
            }
            let before = self.before.plugins.get(plugin).and_then(|before| before.good.clone());
            version.good = before.filter(is_on_disk);
            self.needed.extend(version.good.clone());
        }
    }

    /// Persists the configuration file if its content is in force.
    fn keep_configuration(&mut self) -> io::Result<()> {
        let Some(path) = &self.config.file else { return Ok(()) };
        let text = program::text::read(path)?;
        let directory = path.parent().map(PathBuf::from).unwrap_or_default();
        let config = Config::parse(&text, &directory);
        let installed = self.installed.clone();
        let config = config.and_then(|text| Configured { text, installed }.merged());
        let in_force = config.is_ok_and(|config| {
            config.plugins == self.config.plugins && self.config.needs_no_restart_for(&config)
        });
        if in_force {
            self.known.keep_configuration(&text)?;
            self.record.configuration = Some(std::path::absolute(path)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn good(digest: &str) -> GoodRecord {
        let version = GoodVersion { good: Some(digest.to_owned()), rolled_back: None };
        GoodRecord { configuration: None, plugins: [("p".to_owned(), version)].into() }
    }

    #[test]
    fn a_working_version_stays_on_disk_until_its_successor_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let known = KnownGood::in_data(directory.path());
        known.keep_bytes(&one, b"one").unwrap();
        known.keep_record(&good(&one), &[one.clone()].into()).unwrap();
        fs::write(directory.path().join("p.wasm"), "no longer version two").unwrap();
        let toml = "[hub]\n[plugins.p]\nfile = \"p.wasm\"\nmethods = [\"*\"]\n";

        let save = Save {
            known: known.clone(),
            config: Config::parse(toml, directory.path()).unwrap(),
            before: good(&one),
            record: good(&two),
            active: vec![Needed { plugin: "p".to_owned(), digest: two.clone() }],
            needed: [two].into(),
            installed: BTreeMap::new(),
            with_configuration: false,
        };
        assert_eq!(save.run().unwrap(), good(&one));
        assert_eq!(known.record(), good(&one));
        assert_eq!(fs::read(known.path(&one)).unwrap(), b"one");
    }
}
