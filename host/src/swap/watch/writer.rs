//! The writer of a file, as the events of the file system show it.
//!
//! Text that can be parsed need not be whole: a writer may pause anywhere. Whether it is
//! done shows in the close of the file, in a rename to its name, or else in time.

use std::time::Duration;

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind, RenameMode};

/// Rest after which a closed file is whole: editors write it in several turns.
const REST: Duration = Duration::from_secs(1);

/// The same for a file in which a plugin is missing that was there before. A removed
/// plugin answers no calls, so a mistake costs more than the wait.
const REST_OF_REMOVAL: Duration = Duration::from_secs(5);

/// The same for a file that its writer has not closed: it may have forgotten it.
const REST_OF_OPEN: Duration = Duration::from_secs(60);

/// State of a file's writer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FileWriter {
    /// The system has reported nothing.
    #[default]
    Unknown,
    /// It has written, and not closed the file.
    Writing,
    /// It has closed the file.
    Closed,
    /// Another file was renamed into the place.
    Renamed,
}

impl FileWriter {
    /// Returns the state after an event about the file, or about a link or directory on
    /// the way to it; `None` if the event shows nothing of a writer.
    pub(super) fn after(event: &Event) -> Option<FileWriter> {
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => Some(FileWriter::Writing),
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(FileWriter::Closed),
            EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => {
                Some(FileWriter::Renamed)
            }
            EventKind::Create(_) | EventKind::Remove(_) => Some(FileWriter::Unknown),
            _ => None,
        }
    }

    /// Returns the time without a change after which the file is whole.
    pub(crate) fn rest(self, removes_a_plugin: bool) -> Duration {
        match self {
            FileWriter::Renamed => Duration::ZERO,
            FileWriter::Writing => REST_OF_OPEN,
            _ if removes_a_plugin => REST_OF_REMOVAL,
            _ => REST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_file_is_whole_and_one_that_is_written_in_place_must_rest() {
        assert_eq!(FileWriter::Renamed.rest(true), Duration::ZERO);
        for writer in [FileWriter::Unknown, FileWriter::Closed] {
            assert_eq!(writer.rest(false), REST);
            assert_eq!(writer.rest(true), REST_OF_REMOVAL);
        }
        assert_eq!(FileWriter::Writing.rest(false), REST_OF_OPEN);
    }
}
