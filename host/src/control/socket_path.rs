//! Path of the control socket, and its ownership.
//!
//! A host owns the path while it holds the lock file next to the socket, and replaces a socket
//! of an earlier host. If the lock is taken, another host runs with the same configuration. The
//! kernel releases the lock when the process ends. A host that exits normally removes both
//! files.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::net::UnixStream;

use super::pointer;

/// Mode that allows only the owner to read and write.
const OWNER_ONLY: u32 = 0o600;
const OWNER_ONLY_DIRECTORY: u32 = 0o700;

/// Mode bits that allow other users any access to a directory.
pub(super) const OTHERS_ACCESS: u32 = 0o077;

/// Maximum number of attempts to lock a path that another host is releasing.
const MAX_ATTEMPTS: u32 = 100;

/// Runtime directory of the service, which systemd creates.
pub(super) const SERVICE_RUNTIME: &str = "/run/behaviour-host";

/// Error in opening the control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Path that another host with the same configuration owns.
    #[error("another host is listening on {}", .path.display())]
    Taken {
        /// Path of the lock file.
        path: PathBuf,
    },
    /// Directory in which other users could replace the socket.
    #[error("control socket {}: its directory is open to others (mode {mode:o})", .path.display())]
    OpenToOthers {
        /// Path of the socket.
        path: PathBuf,
        /// Mode of the directory.
        mode: u32,
    },
    /// Socket that cannot be created.
    #[error("control socket {}", .path.display())]
    Socket {
        /// Path of the socket.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl ControlError {
    /// Returns a hint on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            ControlError::Taken { .. } => "stop the other host, or use another host.toml",
            ControlError::OpenToOthers { .. } => {
                "set `control_socket` under [host] to a file in a directory of mode 700"
            }
            ControlError::Socket { .. } => {
                "set `control_socket` under [host] to a writable path of at most 100 bytes"
            }
        }
    }
}

/// Path of a socket, which this host owns until the value is dropped.
pub(super) struct SocketPath {
    path: PathBuf,
    /// User that the host runs as.
    owner: u32,
    /// Directory that this host has created and removes together with the socket.
    directory: Option<PathBuf>,
    /// File with this path, for clients.
    pointer: Option<PathBuf>,
    _lock: File,
}

/// Returns the possible socket paths, the preferred first. Without a configured path, they are
/// in the runtime directories of services and of the user. The file name is derived from the
/// configuration's path, so that clients can find the socket.
pub(super) fn candidates(configured: Option<&Path>, configuration: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = configured {
        return vec![path.to_owned()];
    }
    let Some(file) = configuration.and_then(|file| file.canonicalize().ok()) else {
        return Vec::new();
    };
    let name = socket_name(&file);
    let socket = format!("{name}.sock");
    let user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let mut candidates = Vec::new();
    if Path::new(SERVICE_RUNTIME).is_dir() {
        candidates.push(Path::new(SERVICE_RUNTIME).join("control").join(&socket));
    }
    candidates.extend(
        user.filter(|path| path.is_absolute())
            .map(|path| path.join("behaviour-host").join(&socket)),
    );
    candidates.push(std::env::temp_dir().join(format!("behaviour-host-{name}")).join(&socket));
    candidates
}

/// Returns the file name of the socket of a configuration, without the extension.
pub(super) fn socket_name(configuration: &Path) -> String {
    let digest = Sha256::digest(configuration.as_os_str().as_encoded_bytes());
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl SocketPath {
    /// Takes ownership of the path. If the operator has configured the path (`configured`), its
    /// directory is removed later only if this host has created it.
    pub(super) fn take(path: &Path, configured: bool) -> Result<SocketPath, ControlError> {
        for _ in 0..MAX_ATTEMPTS {
            if let Some(socket_path) = SocketPath::try_take(path, configured)? {
                return Ok(socket_path);
            }
        }
        Err(ControlError::Taken { path: path.with_extension("lock") })
    }

    /// Tries once to take ownership. Returns `None` if another host has removed the files
    /// meanwhile, so that the caller can try again.
    fn try_take(path: &Path, configured: bool) -> Result<Option<SocketPath>, ControlError> {
        let refused = |source| ControlError::Socket { path: path.to_owned(), source };
        let unless_gone = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            _ => Err(refused(error)),
        };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let made = DirBuilder::new().mode(OWNER_ONLY_DIRECTORY).create(directory);
        let is_new = made.is_ok();
        if let Err(error) = made
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(refused(error));
        }
        // Does not follow a link, which another user may have created.
        let found = match std::fs::symlink_metadata(directory) {
            Ok(found) => found,
            Err(error) => return unless_gone(error),
        };
        let mode = found.mode() & 0o777;
        let open = ControlError::OpenToOthers { path: path.to_owned(), mode };
        if !found.is_dir() || mode & OTHERS_ACCESS != 0 {
            return Err(open);
        }
        let lock_file = path.with_extension("lock");
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(OWNER_ONLY);
        let lock = match options.open(&lock_file) {
            Ok(lock) => lock,
            Err(error) => return unless_gone(error),
        };
        let locked = lock.metadata().map_err(refused)?;
        if found.uid() != locked.uid() {
            return Err(open);
        }
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ControlError::Taken { path: lock_file }),
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        // If another host has removed the lock file, the next host would lock a different one.
        match std::fs::metadata(&lock_file) {
            Ok(current) if current.ino() == locked.ino() => {}
            Ok(_) => return Ok(None),
            Err(error) => return unless_gone(error),
        }
        let directory = (!configured || is_new).then(|| directory.to_owned());
        let (path, owner) = (path.to_owned(), locked.uid());
        Ok(Some(SocketPath { path, owner, directory, pointer: None, _lock: lock }))
    }

    /// Returns the path of the socket.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the path to a file in the data directory for clients. The file is removed when
    /// this value is dropped.
    pub(super) fn publish(&mut self, data: &Path, configuration: &Path) -> io::Result<()> {
        self.pointer = Some(pointer::write(data, &self.path, configuration)?);
        Ok(())
    }

    /// Binds a socket at this path, and replaces a socket of an earlier host.
    pub(super) fn bind(&self) -> Result<UnixListener, ControlError> {
        let bind = || {
            match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&self.path)?;
            std::fs::set_permissions(&self.path, Permissions::from_mode(OWNER_ONLY))?;
            Ok(listener)
        };
        bind().map_err(|source| ControlError::Socket { path: self.path.clone(), source })
    }

    /// Creates a symbolic link to another socket at this path, and replaces a file of an earlier
    /// host.
    pub(super) fn link_to(&self, socket: &Path) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => std::os::unix::fs::symlink(socket, &self.path),
        }
    }

    /// Returns `true` if the client runs as the host's user or as root.
    pub(super) fn is_of_owner(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0)
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // This host still holds the lock, so the socket cannot belong to another.
        std::fs::remove_file(&self.path).ok();
        std::fs::remove_file(self.path.with_extension("lock")).ok();
        self.pointer.as_ref().map(std::fs::remove_file);
        // Removal fails if the directory is not empty, because another host uses it.
        self.directory.as_ref().map(std::fs::remove_dir);
    }
}
