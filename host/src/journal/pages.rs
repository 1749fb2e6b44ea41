//! Records of the journal by kind and key: within a commit ([`Pages`]), or read-only
//! ([`Snapshot`]).

use std::io::ErrorKind;

use redb::{
    ReadTransaction, ReadableTable, StorageError, TableDefinition, TableError, WriteTransaction,
};

use plugin::HostError;

/// Kind of record. Each kind has its own table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// Layout of the file and device that owns the file.
    About,
    /// Patches that the hub has not acknowledged, by number.
    Report,
    /// Messages that the hub has not acknowledged, by number.
    Message,
    /// Jobs, by id.
    Job,
    /// State of plugins, by plugin and key.
    State,
    /// Size of the state of each plugin, by plugin.
    StateSize,
    /// Desired properties that a plugin accepted last, by plugin.
    Desired,
    /// Desired properties that a plugin has rejected, by plugin.
    DesiredRejected,
    /// Requested reboot, and recent reboots.
    Reboot,
    /// Plugins that an operator has disabled, by name.
    Off,
    /// Answers to repeated methods, by plugin, method and key.
    Answer,
}

impl RecordKind {
    pub(super) const ALL: [RecordKind; 11] = [
        RecordKind::About,
        RecordKind::Report,
        RecordKind::Message,
        RecordKind::Job,
        RecordKind::State,
        RecordKind::StateSize,
        RecordKind::Desired,
        RecordKind::DesiredRejected,
        RecordKind::Reboot,
        RecordKind::Off,
        RecordKind::Answer,
    ];

    /// Returns the name of the kind, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            RecordKind::About => "about",
            RecordKind::Report => "reports",
            RecordKind::Message => "messages",
            RecordKind::Job => "jobs",
            RecordKind::State => "state",
            RecordKind::StateSize => "state-sizes",
            RecordKind::Desired => "desired",
            RecordKind::DesiredRejected => "desired-rejected",
            RecordKind::Reboot => "reboot",
            RecordKind::Off => "off",
            RecordKind::Answer => "answers",
        }
    }

    fn table(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

/// Key and value of a record.
pub(crate) type Record = (Vec<u8>, Vec<u8>);

/// Error in reading or writing the file.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct DiskError {
    pub(super) text: String,
    pub(super) kind: ErrorKind,
}

impl DiskError {
    pub(super) fn from(error: impl Into<redb::Error>) -> DiskError {
        let error = error.into();
        let kind = match &error {
            redb::Error::Io(error) => error.kind(),
            redb::Error::Corrupted(_) => ErrorKind::InvalidData,
            _ => ErrorKind::Other,
        };
        DiskError { text: error.to_string().replace('\n', " "), kind }
    }
}

impl From<StorageError> for DiskError {
    fn from(error: StorageError) -> DiskError {
        DiskError::from(error)
    }
}

impl From<TableError> for DiskError {
    fn from(error: TableError) -> DiskError {
        DiskError::from(error)
    }
}

/// Reason why a change was not made.
#[derive(Debug)]
pub(crate) enum ChangeError {
    /// Refused change, without any effect.
    Refused(HostError),
    /// File that cannot be read or written.
    Disk(DiskError),
}

impl From<HostError> for ChangeError {
    fn from(error: HostError) -> ChangeError {
        ChangeError::Refused(error)
    }
}

impl From<DiskError> for ChangeError {
    fn from(broken: DiskError) -> ChangeError {
        ChangeError::Disk(broken)
    }
}

/// Records within the current commit.
pub(crate) struct Pages<'t>(pub(super) &'t WriteTransaction);

impl Pages<'_> {
    pub(crate) fn get(&self, kind: RecordKind, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        let table = self.0.open_table(kind.table())?;
        let value = table.get(key)?;
        Ok(value.map(|value| value.value().to_owned()))
    }

    pub(crate) fn put(&self, kind: RecordKind, key: &[u8], value: &[u8]) -> Result<(), DiskError> {
        self.0.open_table(kind.table())?.insert(key, value)?;
        Ok(())
    }

    pub(crate) fn remove(&self, kind: RecordKind, key: &[u8]) -> Result<(), DiskError> {
        self.0.open_table(kind.table())?.remove(key)?;
        Ok(())
    }

    /// Creates all tables, because reading a missing table fails.
    pub(super) fn create_tables(&self) -> Result<(), DiskError> {
        for kind in RecordKind::ALL {
            self.0.open_table(kind.table())?;
        }
        Ok(())
    }
}

/// Records as of the last commit.
pub(crate) struct Snapshot(pub(super) ReadTransaction);

impl Snapshot {
    pub(crate) fn get(&self, kind: RecordKind, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        let table = self.0.open_table(kind.table())?;
        let value = table.get(key)?;
        Ok(value.map(|value| value.value().to_owned()))
    }

    /// Returns all records of a kind, ordered by key.
    pub(crate) fn all(&self, kind: RecordKind) -> Result<Vec<Record>, DiskError> {
        let mut found = Vec::new();
        for entry in self.0.open_table(kind.table())?.iter()? {
            let (key, value) = entry?;
            found.push((key.value().to_owned(), value.value().to_owned()));
        }
        Ok(found)
    }

    /// Returns the first `limit` keys that start with `prefix`, in order.
    pub(crate) fn keys(
        &self,
        kind: RecordKind,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, DiskError> {
        let table = self.0.open_table(kind.table())?;
        let mut found = Vec::new();
        for entry in table.range(prefix..)?.take(limit) {
            let (key, _) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            found.push(key.value().to_owned());
        }
        Ok(found)
    }
}
