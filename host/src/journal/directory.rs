//! Directory of the journal, which one host alone uses.

use std::env;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use protocol::connection_string::DeviceConnectionString;

/// Reason why there is no journal. A corrupt file is none: it is set aside.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Nothing says where the journal could be.
    #[error("no data directory: neither STATE_DIRECTORY nor HOME is set")]
    Nowhere,
    /// Two hosts on one journal would each undo what the other does.
    #[error("data directory {}: another host uses it", .0.display())]
    InUse(PathBuf),
    /// Another version of the host has written the journal. It is not set aside: its jobs
    /// and its state are good.
    #[error("data directory {}: {found}", .path.display())]
    Layout {
        /// Path of the directory.
        path: PathBuf,
        /// Version that was found, and the one that is read.
        found: String,
    },
    /// The directory, or the file in it.
    #[error("data directory {}", .path.display())]
    Open {
        /// Path.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Returns the name under which a device keeps its data.
pub(crate) fn name_of(identity: &DeviceConnectionString) -> String {
    match &identity.module {
        Some(module) => format!("{}/{module}", identity.device),
        None => identity.device.to_string(),
    }
}

/// Returns the default data directory of a device: the one that systemd provides, or
/// one in the user's data directory.
pub(crate) fn default_directory(device: &str) -> Result<PathBuf, JournalError> {
    default_from(device, |name| env::var_os(name).filter(|value| !value.is_empty()).map(Into::into))
}

fn default_from(
    device: &str,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Result<PathBuf, JournalError> {
    // systemd makes the directories that `StateDirectory=` names, and joins them
    // with colons; the first is this unit's own.
    if let Some(directories) = variable("STATE_DIRECTORY") {
        let first = env::split_paths(&directories).next();
        return first.ok_or(JournalError::Nowhere);
    }
    let data = variable("XDG_DATA_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")));
    let data = data.ok_or(JournalError::Nowhere)?;
    Ok(data.join("behaviour-host").join(file_name(device)))
}

/// A device's id as the name of a directory: `*`, `?` and others of IoT Hub's
/// characters are not for every file system, and `..` is another directory.
fn file_name(id: &str) -> String {
    let mut name = String::new();
    for (index, byte) in id.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if index > 0 => name.push('.'),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name
}

/// A host that was started at once after another, or that has just started a
/// command, may find the lock held for a moment more: a child has the files of
/// its parent until it has become its own program.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_LOOK: Duration = Duration::from_millis(10);

/// Checks that a directory can be written, or made if it is missing. Leaves nothing
/// behind.
pub(crate) fn check_directory(directory: &Path) -> Result<(), JournalError> {
    let there = directory.ancestors().find(|path| path.exists());
    // The parent of a relative path of one name is empty.
    let there = there.unwrap_or(Path::new("."));
    let probe = there.join(format!(".behaviour-host-check-{}", std::process::id()));
    DirBuilder::new()
        .create(&probe)
        .and_then(|()| std::fs::remove_dir(&probe))
        .map_err(|source| JournalError::Open { path: directory.to_owned(), source })
}

/// Creates the directory for its owner alone, and locks it until the returned file is
/// dropped.
pub(super) fn lock(directory: &Path) -> Result<File, JournalError> {
    let open = |source| JournalError::Open { path: directory.to_owned(), source };
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(open)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join("lock"))
        .map_err(open)?;
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_LOOK),
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::InUse(directory.to_owned()));
            }
            Err(TryLockError::Error(source)) => return Err(open(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], directory: &str) {
        let found = default_from("pump.1:a", |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        });
        assert_eq!(found.unwrap(), Path::new(directory));
    }

    #[test]
    fn data_is_where_systemd_wants_it_or_in_the_users_data_directory() {
        let home = ("HOME", "/home/a");
        check(&[home], "/home/a/.local/share/behaviour-host/pump.1%3Aa");
        check(&[home, ("XDG_DATA_HOME", "/d")], "/d/behaviour-host/pump.1%3Aa");
        check(&[home, ("STATE_DIRECTORY", "/var/lib/host:/var/lib/other")], "/var/lib/host");
    }

    #[test]
    fn without_a_place_there_is_an_error_and_no_guess() {
        let error = default_from("a", |_| None).unwrap_err();
        assert!(error.to_string().contains("STATE_DIRECTORY"), "{error}");
    }

    #[test]
    fn a_directory_that_can_be_made_is_checked_without_being_made() {
        let folder = tempfile::tempdir().unwrap();
        check_directory(&folder.path().join("a/b")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = check_directory(&folder.path().join("file/b")).unwrap_err();
        assert!(matches!(error, JournalError::Open { .. }), "{error}");
    }

    #[test]
    fn no_device_id_is_another_directory() {
        for id in ["..", ".", ".hidden", "a*b?", "a'b"] {
            let name = file_name(id);
            assert!(!name.starts_with('.'), "{name}");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%.-_".contains(&byte))
            );
        }
    }
}
