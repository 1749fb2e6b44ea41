//! The configuration and the versions of plugins that worked last, on disk.
//!
//! A start at which a plugin's file does not load falls back to the bytes that worked,
//! and one at which `host.toml` cannot be used falls back to its last good text. So a
//! file that was refused while the host ran does not end it at the next start.
//!
//! The directory `known-good` in the data directory holds
//!
//! * `host.toml`: the text of the configuration;
//! * `record.json`: its path, and the digests of each plugin;
//! * `DIGEST.wasm`: the bytes of a version.
//!
//! Every file is written beside its place, synced and renamed. This module decides
//! nothing: `swap` says what has worked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::Config;

pub use fallback::last_good;

mod fallback;

const CONFIGURATION: &str = "host.toml";
const RECORD: &str = "record.json";

/// Extension of files that are not yet whole.
const UNFINISHED: &str = "new";

/// The directory of what worked last.
#[derive(Debug, Clone)]
pub(crate) struct KnownGood {
    directory: PathBuf,
}

/// Digests of what worked last, and the place of its configuration.
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
    /// Version that worked last.
    #[serde(default)]
    pub(crate) good: Option<String>,
    /// Version that was rolled back, and stays so until its file changes.
    #[serde(default)]
    pub(crate) rolled_back: Option<String>,
}

impl KnownGood {
    /// Returns the directory in a data directory. Nothing is read or made.
    pub(crate) fn in_data(data: &Path) -> KnownGood {
        KnownGood { directory: data.join("known-good") }
    }

    /// Returns the configuration that worked last at this path; `None` if there is none.
    /// Reads the disk.
    pub(crate) fn configuration(&self, path: &Path) -> Option<Config> {
        let known = self.record().configuration?;
        if known != std::path::absolute(path).ok()? {
            return None;
        }
        let text = fs::read_to_string(self.directory.join(CONFIGURATION)).ok()?;
        let config = Config::parse(&text, path.parent().unwrap_or(Path::new(""))).ok()?;
        Some(Config { file: Some(path.to_owned()), ..config })
    }

    /// Returns the record; an empty one if there is none. Reads the disk.
    pub(crate) fn record(&self) -> GoodRecord {
        let path = self.directory.join(RECORD);
        let record = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(GoodRecord::default()),
            Err(error) => Err(error),
        };
        let mut record = record.unwrap_or_else(|error| {
            warn!(path = %path.display(), "versions that worked last are unknown: {error}");
            GoodRecord::default()
        });
        for version in record.plugins.values_mut() {
            version.good.take_if(|digest| !is_a_digest(digest));
        }
        record
    }

    /// Returns the path of the bytes of a version.
    pub(crate) fn path(&self, digest: &str) -> PathBuf {
        self.directory.join(digest).with_extension("wasm")
    }

    /// Persists the bytes of a version. Blocks.
    pub(crate) fn keep_bytes(&self, digest: &str, bytes: &[u8]) -> io::Result<()> {
        self.replace(&self.path(digest), bytes)
    }

    /// Persists the text of the configuration. Blocks.
    pub(crate) fn keep_configuration(&self, text: &str) -> io::Result<()> {
        self.replace(&self.directory.join(CONFIGURATION), text.as_bytes())
    }

    /// Persists the record, then removes the bytes of all versions but these. Blocks.
    pub(crate) fn keep_record(
        &self,
        record: &GoodRecord,
        needed: &BTreeSet<String>,
    ) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(record)?;
        self.replace(&self.directory.join(RECORD), &text)?;
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            // A host that was killed leaves what it was writing.
            let is_unfinished = path.extension().is_some_and(|end| end == UNFINISHED);
            if is_unfinished || (is_a_digest(stem) && !needed.contains(stem)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Writes a file so that a crash leaves the old one or the new one, whole.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let beside = path.with_extension(UNFINISHED);
        let mut options = File::options();
        // A configuration may hold keys of plugins.
        options.create(true).truncate(true).write(true).mode(0o600);
        let written = options
            .open(&beside)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            // It may not be there.
            let _ = fs::remove_file(&beside);
        }
        written?;
        File::open(&self.directory)?.sync_all()
    }
}

/// Checks that a text is a digest, and so is no path of another file.
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
    fn what_was_kept_is_known_and_what_is_no_longer_needed_is_removed() {
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
    fn a_record_that_names_another_file_or_is_damaged_names_nothing() {
        let data = tempfile::tempdir().unwrap();
        let known = KnownGood::in_data(data.path());
        known.keep_record(&record("../../etc/passwd"), &BTreeSet::new()).unwrap();
        assert_eq!(known.record().plugins["p"].good, None);

        fs::write(known.directory.join(RECORD), "{\"plugins\"").unwrap();
        assert_eq!(known.record(), GoodRecord::default());
    }

    #[test]
    fn a_configuration_is_known_at_its_own_path_alone() {
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
