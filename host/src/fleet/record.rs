//! The plugins of the fleet on disk: the versions that run, and those that were refused.
//!
//! The record is a file of its own in the data directory, which is replaced atomically before
//! anything is reported. A loss of the record loses the release numbers too: the next version is
//! then trusted as on the first use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use oci::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{error, warn};

use crate::atomic_file;
use crate::config::desired::Proposals;

/// Name of the file in the data directory.
const FILE: &str = "fleet.json";

/// Maximum number of remembered refusals of a plugin. A cloud that alternates between two broken
/// versions tries each of them once.
const MAX_REFUSED: usize = 8;

/// Records of all plugins, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FleetRecord {
    #[serde(default)]
    pub(crate) plugins: BTreeMap<String, PluginRecord>,
}

/// Record of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PluginRecord {
    /// Version in force; `None` if there is none, or that of `host.toml`.
    pub(crate) running: Option<Installed>,
    /// Version to which the host returns if `running` fails.
    pub(crate) previous: Option<Installed>,
    /// Trial of a version that has not proved itself.
    pub(crate) trial: Option<Trial>,
    /// Highest release number that was in force.
    pub(crate) floor: u64,
    /// Refused entries, the newest last.
    pub(crate) refused: Vec<RefusedEntry>,
}

/// Version that was installed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Installed {
    /// Entry that asked for the version.
    pub(crate) entry: Value,
    /// `true` if the entry is in `host.toml`.
    #[serde(default)]
    pub(crate) is_local: bool,
    /// Digest of the image.
    pub(crate) image: Digest,
    /// Digest of the manifest, which differs from that of the image if that is an index.
    #[serde(default)]
    pub(crate) manifest: Option<Digest>,
    /// Digest of the component.
    pub(crate) component: Digest,
    pub(crate) release: u64,
    /// `true` once the version has been healthy for the whole probation.
    #[serde(default)]
    pub(crate) is_proved: bool,
    #[serde(default)]
    pub(crate) proposals: Proposals,
    /// Version of the desired properties that asked for it; 0 for an image in `host.toml`.
    pub(crate) desired_version: u64,
    /// Time of the activation (RFC 3339).
    pub(crate) since: String,
}

/// Trial of a version, from its compilation until it has proved itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trial {
    pub(crate) entry: Value,
    /// Number of times that the host has started since the trial began.
    pub(crate) starts: u32,
}

/// Entry that was tried and refused. It is not tried again until it changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RefusedEntry {
    pub(crate) entry: Value,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// `true` if the version was active before.
    #[serde(default)]
    pub(crate) rolled_back: bool,
    /// Time of the refusal (RFC 3339).
    pub(crate) since: String,
    /// Fingerprint of the keys that were trusted, if the refusal depends on them.
    #[serde(default)]
    pub(crate) trusted: Option<String>,
}

/// Number of starts of the host during one trial after which the version is given up. A loss of
/// power explains one or two.
const MAX_STARTS: u32 = 3;

/// Reason of a refusal after too many starts of the host.
const HOST_ENDED: &str = "host-ended";

impl FleetRecord {
    /// Counts a start of the host, and gives up versions during whose trials it has started too
    /// often. Returns `true` if the record must be persisted.
    pub(super) fn host_started(&mut self, now: &str) -> bool {
        let mut is_changed = false;
        for plugin in self.plugins.values_mut() {
            let Some(trial) = &mut plugin.trial else { continue };
            is_changed = true;
            trial.starts = trial.starts.saturating_add(1);
            if trial.starts < MAX_STARTS {
                continue;
            }
            let entry = trial.entry.clone();
            plugin.trial = None;
            let rolled_back = plugin.running.as_ref().is_some_and(|it| it.entry == entry);
            if rolled_back {
                plugin.running = plugin.previous.take();
            }
            plugin.refuse(RefusedEntry {
                entry,
                reason: HOST_ENDED.to_owned(),
                message: format!("the host ended {MAX_STARTS} times while it tried this version"),
                rolled_back,
                since: now.to_owned(),
                trusted: None,
            });
        }
        is_changed
    }

    /// Records that no version of a plugin is in force.
    pub(crate) fn forget_running(&mut self, plugin: &str) {
        if let Some(plugin) = self.plugins.get_mut(plugin) {
            plugin.running = None;
        }
    }

    /// Returns the digests whose content must stay in the store.
    pub(crate) fn needed(&self) -> BTreeSet<Digest> {
        self.plugins.values().flat_map(PluginRecord::needed).collect()
    }
}

impl PluginRecord {
    /// Remembers a refusal.
    pub(crate) fn refuse(&mut self, refused: RefusedEntry) {
        self.refused.retain(|before| before.entry != refused.entry);
        self.refused.push(refused);
        if self.refused.len() > MAX_REFUSED {
            self.refused.remove(0);
        }
    }

    /// Returns the digests whose content must stay in the store.
    fn needed(&self) -> impl Iterator<Item = Digest> {
        let versions = self.running.iter().chain(&self.previous);
        versions.flat_map(|it| [it.image, it.component].into_iter().chain(it.manifest))
    }
}

/// The file of a record.
#[derive(Debug, Clone)]
pub(crate) struct RecordFile(PathBuf);

impl RecordFile {
    /// Returns a handle to the file in `data`. Does not access the disk.
    pub(crate) fn in_data(data: &Path) -> RecordFile {
        RecordFile(data.join(FILE))
    }

    /// Reads the record, which is empty if the file is missing or corrupt. Blocks.
    pub(crate) fn read(&self) -> FleetRecord {
        let record = match fs::read(&self.0) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(FleetRecord::default()),
            Err(error) => Err(error),
        };
        record.unwrap_or_else(|error| {
            let path = self.0.display();
            error!(%path, "record of the fleet's plugins not readable, they are fetched again: {error}");
            FleetRecord::default()
        })
    }

    /// Reads the record and counts a start of the host. Blocks.
    pub(crate) fn begin_run(&self) -> FleetRecord {
        let mut record = self.read();
        if record.host_started(&format!("{:.3}", Timestamp::now()))
            && let Err(error) = self.write(&record)
        {
            warn!(path = %self.0.display(), "record of the fleet's plugins not written: {error}");
        }
        record
    }

    /// Persists the record. Blocks.
    pub(crate) fn write(&self, record: &FleetRecord) -> io::Result<()> {
        atomic_file::replace(&self.0, &serde_json::to_vec_pretty(record)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(entry: u32) -> RefusedEntry {
        RefusedEntry {
            entry: entry.into(),
            reason: "unhealthy".to_owned(),
            message: "trapped".to_owned(),
            rolled_back: true,
            since: "2026-01-01T00:00:00.000Z".to_owned(),
            trusted: None,
        }
    }

    #[test]
    fn a_record_is_read_back_and_a_corrupt_one_is_empty() {
        let data = tempfile::tempdir().unwrap();
        let file = RecordFile::in_data(data.path());
        assert_eq!(file.read(), FleetRecord::default());
        let mut record = FleetRecord::default();
        record.plugins.entry("p".to_owned()).or_default().refuse(refused(1));
        file.write(&record).unwrap();
        assert_eq!(file.read(), record);

        fs::write(&file.0, "{\"plugins\"").unwrap();
        assert_eq!(file.read(), FleetRecord::default());
    }

    #[test]
    fn only_the_newest_refusals_are_remembered() {
        let mut record = PluginRecord::default();
        (0..20).for_each(|entry| record.refuse(refused(entry)));
        record.refuse(refused(15));
        let entries: Vec<_> = record.refused.iter().map(|it| it.entry.clone()).collect();
        assert_eq!(entries, [12, 13, 14, 16, 17, 18, 19, 15]);
    }
}
