//! File in a host's data directory that contains the path of its socket.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Name of the file. The first line is the path of the socket, the second the path of the
/// host's configuration.
const FILE_NAME: &str = "control-socket";

/// Maximum size of the file in bytes, which suffices for two paths.
const MAX_BYTES: u64 = 16 * 1024;

/// Writes the path of a socket to the host's data directory, for clients that cannot derive it.
/// Returns the path of the file.
pub(super) fn write(data: &Path, socket: &Path, configuration: &Path) -> io::Result<PathBuf> {
    let file = data.join(FILE_NAME);
    let (socket, configuration) = (std::path::absolute(socket)?, configuration.canonicalize()?);
    let lines = [socket.as_os_str().as_bytes(), configuration.as_os_str().as_bytes(), b""];
    if lines.iter().any(|line| line.contains(&b'\n')) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path has a line break"));
    }
    let mut options = File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    io::Write::write_all(&mut options.open(&file)?, &lines.join(&b"\n"[..]))?;
    Ok(file)
}

/// Reads the path of the socket from a data directory. Returns `None` unless its host runs with
/// this configuration.
pub(super) fn read(data: &Path, configuration: &Path) -> Option<PathBuf> {
    let file = data.join(FILE_NAME);
    // Only regular files are opened: opening a pipe would block.
    let file = file.symlink_metadata().ok()?.is_file().then(|| File::open(file))?.ok()?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_BYTES), &mut bytes).ok()?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let socket = PathBuf::from(OsString::from_vec(lines.next()?.to_owned()));
    let is_ours = lines.next()? == configuration.as_os_str().as_bytes();
    (is_ours && socket.is_absolute()).then_some(socket)
}
