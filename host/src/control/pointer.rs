//! A file in the data directory of a host that leads clients to its socket.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Name of the file in the data directory that has the path of the socket, and in its
/// second line the configuration of the host.
const FILE_NAME: &str = "control-socket";

/// The longest pointer that is read: two paths.
const MOST_BYTES: u64 = 16 * 1024;

/// Leaves the path of a socket in the data directory of its host, for clients that look
/// elsewhere. Returns the file.
pub(super) fn leave(data: &Path, socket: &Path, configuration: &Path) -> io::Result<PathBuf> {
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

/// Returns the socket that the host of this data directory has left a word of, if that
/// host runs with this configuration.
pub(super) fn read(data: &Path, configuration: &Path) -> Option<PathBuf> {
    let file = data.join(FILE_NAME);
    // Opening a pipe would wait for its other end.
    let file = file.symlink_metadata().ok()?.is_file().then(|| File::open(file))?.ok()?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MOST_BYTES), &mut bytes).ok()?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let socket = PathBuf::from(OsString::from_vec(lines.next()?.to_owned()));
    let is_ours = lines.next()? == configuration.as_os_str().as_bytes();
    (is_ours && socket.is_absolute()).then_some(socket)
}
