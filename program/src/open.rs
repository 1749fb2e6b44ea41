//! Opening of files without waiting.
//!
//! Opening a named pipe waits for a writer, and reading a terminal waits for input, both without a
//! limit and out of reach of a signal. So only regular files are opened, and for a text also the
//! pipes without a name that a shell creates for `<(COMMAND)`.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// Opens a regular file for reading.
///
/// # Errors
///
/// Returns an error if the file cannot be opened, or is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let file = open_at_once(path)?;
    match file.metadata()? {
        metadata if metadata.is_file() => Ok(file),
        metadata => Err(not_regular(&metadata)),
    }
}

/// Opens a regular file or a pipe without a name.
pub(crate) fn open_text(path: &Path) -> io::Result<File> {
    let file = open_at_once(path)?;
    let metadata = file.metadata()?;
    if is_nameless_pipe(&metadata)? {
        // Its writer may not have written everything yet.
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    } else if !metadata.is_file() {
        return Err(not_regular(&metadata));
    }
    Ok(file)
}

/// Opens a file of any type, without waiting.
fn open_at_once(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => Ok(File::from(file)),
        // The file is a socket.
        Err(Errno::NXIO) => Err(refused()),
        Err(error) => Err(error.into()),
    }
}

/// Returns `true` for a pipe of the file system of the kernel's own pipes.
fn is_nameless_pipe(metadata: &Metadata) -> io::Result<bool> {
    if !metadata.file_type().is_fifo() {
        return Ok(false);
    }
    let (pipe, _) = io::pipe()?;
    Ok(File::from(OwnedFd::from(pipe)).metadata()?.dev() == metadata.dev())
}

fn not_regular(metadata: &Metadata) -> io::Error {
    match metadata.is_dir() {
        true => Errno::ISDIR.into(),
        false => refused(),
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn pipes_sockets_and_devices_are_refused_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let [pipe, socket] = ["pipe", "socket"].map(|name| directory.path().join(name));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        for path in [&pipe, &socket, Path::new("/dev/zero")] {
            for error in [open(path).unwrap_err(), open_text(path).unwrap_err()] {
                assert_eq!(error.to_string(), "not a regular file", "{}", path.display());
            }
        }
        let error = open(directory.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_text_can_come_from_the_pipe_of_a_command() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let mut file = open_text(path.as_ref()).unwrap();
        let writing = std::thread::spawn(move || writer.write_all(b"HostName=h"));
        let mut text = [0; 10];
        file.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"HostName=h");
        writing.join().unwrap().unwrap();
        assert_eq!(open(path.as_ref()).unwrap_err().to_string(), "not a regular file");
    }
}
