//! The last working configuration and plugin versions, on disk.
//!
//! If a plugin's file does not load at the start, the host runs the last working version. If
//! `host.toml` is invalid, the host uses the last working configuration. So a bad file never
//! keeps a working host from restarting.
//!
//! The directory `known-good` in the data directory contains:
//!
//! * `host.toml`: the text of the configuration;
//! * `record.json`: the path of the configuration and the digests of each plugin;
//! * `DIGEST.wasm`: the bytes of a version.
//!
//! Files are replaced atomically. `swap` decides which versions work.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::atomic_file::{self, UNFINISHED};
use crate::config::Config;

pub use fallback::last_good;

mod fallback;

const CONFIGURATION: &str = "host.toml";
const RECORD: &str = "record.json";

/// Directory of the last working configuration and versions.
#[derive(Debug, Clone)]
pub(crate) struct KnownGood {
    directory: PathBuf,
}

/// Digests of the last working versions, and the path of their configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GoodRecord {
    /// Absolute path of the configuration.
    #[serde(default)]
    pub(crate) configuration: Option<PathBuf>,
    #[serde(default)]
    pub(crate) plugins: BTreeMap<String, GoodVersion>,
}

/// Digests of a plugin's versions: SHA-256 in hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GoodVersion {
    /// Last working version.
    #[serde(default)]
    pub(crate) good: Option<String>,
    /// Version that was rolled back. It is not loaded again until the plugin's file changes.
    #[serde(default)]
    pub(crate) rolled_back: Option<String>,
}

impl KnownGood {
    /// Returns a handle to the directory in `data`. Does not access the disk.
    pub(crate) fn in_data(data: &Path) -> KnownGood {
        KnownGood { directory: data.join("known-good") }
    }

    /// Returns the last working configuration for the file at `path`, if there is one. Reads
    /// the disk.
    pub(crate) fn configuration(&self, path: &Path) -> Option<Config> {
        let known = self.record().configuration?;
        if known != std::path::absolute(path).ok()? {
            return None;
        }
        let text = fs::read_to_string(self.directory.join(CONFIGURATION)).ok()?;
        let config = Config::parse(&text, path.parent().unwrap_or(Path::new(""))).ok()?;
        Some(Config { file: Some(path.to_owned()), ..config })
    }

    /// Returns the record, or an empty one if it is missing or corrupt. Reads the disk.
    pub(crate) fn record(&self) -> GoodRecord {
        let path = self.directory.join(RECORD);
        let record = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(GoodRecord::default()),
            Err(error) => Err(error),
        };
        let mut record = record.unwrap_or_else(|error| {
            warn!(path = %path.display(), "record of working versions not readable: {error}");
            GoodRecord::default()
        });
        for version in record.plugins.values_mut() {
            version.good.take_if(|digest| !is_a_digest(digest));
        }
        record
    }

    /// Returns the path of a version's file.
    pub(crate) fn path(&self, digest: &str) -> PathBuf {
        self.directory.join(digest).with_extension("wasm")
    }

    /// Persists the bytes of a version. Blocks.
    pub(crate) fn keep_bytes(&self, digest: &str, bytes: &[u8]) -> io::Result<()> {
        atomic_file::replace(&self.path(digest), bytes)
    }

    /// Persists the text of the configuration. Blocks.
    pub(crate) fn keep_configuration(&self, text: &str) -> io::Result<()> {
        // A configuration can contain secrets of plugins, which only the owner can read.
        atomic_file::replace(&self.directory.join(CONFIGURATION), text.as_bytes())
    }

    /// Persists the record, then removes all versions except those in `needed`. Blocks.
    pub(crate) fn keep_record(
        &self,
        record: &GoodRecord,
        needed: &BTreeSet<String>,
    ) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(record)?;
        atomic_file::replace(&self.directory.join(RECORD), &text)?;
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            // A host that was killed may have left an incomplete file.
            let is_unfinished = path.extension().is_some_and(|end| end == UNFINISHED);
            if is_unfinished || (is_a_digest(stem) && !needed.contains(stem)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// Returns `true` if `text` is a digest. A digest cannot be a path to another directory.
fn is_a_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn record(good: &str) -> GoodRecord {
        let version = GoodVersion { good: Some(good.to_owned()), rolled_back: None };
        GoodRecord { configuration: None, plugins: [("p".to_owned(), version)].into() }
    }

    #[test]
    fn a_record_is_read_back_and_versions_no_longer_needed_are_removed() {
        let data = tempfile::tempdir().unwrap();
        let known = KnownGood::in_data(data.path());
        assert_eq!(known.record(), GoodRecord::default());
        known.keep_bytes(&digest('a'), b"one").unwrap();
        known.keep_bytes(&digest('b'), b"two").unwrap();
        let unfinished = known.path(&digest('c')).with_extension(UNFINISHED);
        fs::write(&unfinished, b"thr").unwrap();

        known.keep_record(&record(&digest('b')), &[digest('b')].into()).unwrap();

        assert_eq!(known.record(), record(&digest('b')));
        assert_eq!(fs::read(known.path(&digest('b'))).unwrap(), b"two");
        assert!(!known.path(&digest('a')).exists());
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_record_that_is_corrupt_or_names_another_file_is_ignored() {
        let data = tempfile::tempdir().unwrap();
        let known = KnownGood::in_data(data.path());
        known.keep_record(&record("../../etc/passwd"), &BTreeSet::new()).unwrap();
        assert_eq!(known.record().plugins["p"].good, None);

        fs::write(known.directory.join(RECORD), "{\"plugins\"").unwrap();
        assert_eq!(known.record(), GoodRecord::default());
    }

    #[test]
    fn a_configuration_is_used_only_for_its_own_path() {
        let data = tempfile::tempdir().unwrap();
        let known = KnownGood::in_data(data.path());
        let path = data.path().join("host.toml");
        known.keep_configuration("[plugins.p]\nfile = \"p\"\nmethods = [\"m\"]\n").unwrap();
        let record = GoodRecord { configuration: Some(path.clone()), ..GoodRecord::default() };
        known.keep_record(&record, &BTreeSet::new()).unwrap();

        let config = known.configuration(&path).unwrap();
        assert_eq!(config.plugins["p"].file, data.path().join("p"));
        assert_eq!(known.configuration(&data.path().join("other.toml")), None);
    }
}
