//! State of the program that writes a file, derived from events of the file system.
//!
//! A file that can be parsed may still be incomplete, because its writer can pause anywhere.
//! The file is complete after the writer has closed it, after another file was renamed to
//! its name, or after some time without a change.

use std::time::Duration;

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind, RenameMode};

/// Time without a change after which a closed file counts as complete. Some editors write a
/// file in several steps.
const REST: Duration = Duration::from_secs(1);

/// Time without a change if a plugin is missing that was there before. A removed plugin
/// answers no calls, so a mistake costs more than the wait.
const REST_OF_REMOVAL: Duration = Duration::from_secs(5);

/// Time without a change if the writer has not closed the file. It may never do so.
const REST_OF_OPEN: Duration = Duration::from_secs(60);

/// State of a file's writer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FileWriter {
    /// The system has reported no event that shows the state.
    #[default]
    Unknown,
    /// The writer has written to the file and not closed it.
    Writing,
    /// The writer has closed the file.
    Closed,
    /// Another file was renamed to the name of the file.
    Renamed,
}

impl FileWriter {
    /// Returns the state after an event on the file, or on a link or directory in its path.
    /// Returns `None` if the event does not show the state.
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

    /// Returns the time without a change after which the file counts as complete.
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
    fn only_a_renamed_file_is_complete_immediately() {
        assert_eq!(FileWriter::Renamed.rest(true), Duration::ZERO);
        for writer in [FileWriter::Unknown, FileWriter::Closed] {
            assert_eq!(writer.rest(false), REST);
            assert_eq!(writer.rest(true), REST_OF_REMOVAL);
        }
        assert_eq!(FileWriter::Writing.rest(false), REST_OF_OPEN);
    }
}
