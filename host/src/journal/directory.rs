//! Directory of the journal, which a single host uses at a time.

use std::env;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Error in opening the journal. A corrupt file is not an error, because it is replaced.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Missing data directory: none is configured, and there is no default.
    #[error("no data directory: neither STATE_DIRECTORY nor HOME is set")]
    Nowhere,
    /// Directory that another host uses.
    #[error("data directory {}: another host uses it", .0.display())]
    InUse(PathBuf),
    /// Journal of another version of the host. It is not replaced, because its jobs and state
    /// are valid.
    #[error("data directory {}: {found}", .path.display())]
    Layout {
        /// Path of the directory.
        path: PathBuf,
        /// Message that names the version of the file and the supported version.
        found: String,
    },
    /// Directory or file that cannot be opened.
    #[error("data directory {}", .path.display())]
    Open {
        /// Path of the directory.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Returns the default data directory of a device: the one that systemd provides, or
/// one in the user's data directory.
pub(crate) fn default_directory(device: &str) -> Result<PathBuf, JournalError> {
    default_from(device, |name| env::var_os(name).filter(|value| !value.is_empty()).map(Into::into))
}

/// Returns the default data directory. `variable` reads an environment variable.
fn default_from(
    device: &str,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Result<PathBuf, JournalError> {
    // systemd lists the directories of `StateDirectory=`, separated by colons. The first one
    // is that of the host.
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

/// Converts a device id to a directory name. A leading dot and characters that some file
/// systems do not allow, such as `*` and `?`, are percent-encoded.
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

/// Timeout for the lock. A host that has just ended may still hold the lock briefly, because a
/// child process inherits open files until it executes its program.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Checks that a directory is writable or can be created, without creating it.
pub(crate) fn check_directory(directory: &Path) -> Result<(), JournalError> {
    let existing = directory.ancestors().find(|path| path.exists());
    // The last ancestor of a relative path is the empty path, which does not exist.
    let existing = existing.unwrap_or(Path::new("."));
    let probe = existing.join(format!(".behaviour-host-check-{}", std::process::id()));
    DirBuilder::new()
        .create(&probe)
        .and_then(|()| std::fs::remove_dir(&probe))
        .map_err(|source| JournalError::Open { path: directory.to_owned(), source })
}

/// Creates the directory with access only for its owner, and locks it until the returned file
/// is dropped.
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
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_RETRY),
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
    fn the_default_directory_is_that_of_systemd_or_in_the_users_data_directory() {
        let home = ("HOME", "/home/a");
        check(&[home], "/home/a/.local/share/behaviour-host/pump.1%3Aa");
        check(&[home, ("XDG_DATA_HOME", "/d")], "/d/behaviour-host/pump.1%3Aa");
        check(&[home, ("STATE_DIRECTORY", "/var/lib/host:/var/lib/other")], "/var/lib/host");
    }

    #[test]
    fn without_a_home_directory_there_is_no_default() {
        let error = default_from("a", |_| None).unwrap_err();
        assert!(error.to_string().contains("STATE_DIRECTORY"), "{error}");
    }

    #[test]
    fn a_missing_directory_is_checked_without_being_created() {
        let folder = tempfile::tempdir().unwrap();
        check_directory(&folder.path().join("a/b")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = check_directory(&folder.path().join("file/b")).unwrap_err();
        assert!(matches!(error, JournalError::Open { .. }), "{error}");
    }

    #[test]
    fn every_device_id_is_a_valid_name_of_a_directory() {
        for id in ["..", ".", ".hidden", "a*b?", "a'b"] {
            let name = file_name(id);
            assert!(!name.starts_with('.'), "{name}");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%.-_".contains(&byte))
            );
        }
    }
}
