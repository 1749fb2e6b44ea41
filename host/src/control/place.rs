//! Path of the control socket, and its ownership.
//!
//! A lock beside the socket says which host owns the path. The owner may remove a
//! socket that an earlier host left behind; a host without the lock is a second one
//! with the same configuration. The lock belongs to the kernel and ends with its
//! process. A host that ends normally leaves nothing behind.

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

/// Mode that allows reading and writing to the owner alone.
const OWNER_ONLY: u32 = 0o600;
const OWNER_ONLY_DIRECTORY: u32 = 0o700;

/// Mode bits of a directory that others may use.
pub(super) const OTHERS: u32 = 0o077;

/// Attempts to take a path that another host is just leaving.
const ATTEMPTS: u32 = 100;

/// Directory that systemd makes for the service.
pub(super) const SERVICES: &str = "/run/behaviour-host";

/// Reason why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another host runs with the same configuration.
    #[error("another host is listening on {}", .path.display())]
    Taken {
        /// The lock.
        path: PathBuf,
    },
    /// Others could put another socket in its place.
    #[error("control socket {}: its directory is open to others (mode {mode:o})", .path.display())]
    OpenToOthers {
        /// The socket.
        path: PathBuf,
        /// Of the directory.
        mode: u32,
    },
    /// The socket cannot be made.
    #[error("control socket {}", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl ControlError {
    /// Returns the way out.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            ControlError::Taken { .. } => "stop that one first, or give this one its own host.toml",
            ControlError::OpenToOthers { .. } => {
                "set `control_socket` under [host] to a file in a directory of mode 700"
            }
            ControlError::Socket { .. } => {
                "set `control_socket` under [host] to a path of at most 100 bytes that may be written"
            }
        }
    }
}

/// Path of a socket, owned until this is dropped.
pub(super) struct Place {
    path: PathBuf,
    /// The user that the host runs as.
    owner: u32,
    /// Directory to remove with the socket, since this host made it.
    directory: Option<PathBuf>,
    /// File that leads clients here.
    pointer: Option<PathBuf>,
    _lock: File,
}

/// Returns the possible paths of the socket, best first: the one in the configuration;
/// else one in the directories of services or of the user, under a name derived from
/// the path of the configuration, so that the other end finds it too.
pub(super) fn candidates(named: Option<&Path>, configuration: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = named {
        return vec![path.to_owned()];
    }
    let Some(file) = configuration.and_then(|file| file.canonicalize().ok()) else {
        return Vec::new();
    };
    let name = socket_name(&file);
    let socket = format!("{name}.sock");
    let user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let mut candidates = Vec::new();
    if Path::new(SERVICES).is_dir() {
        candidates.push(Path::new(SERVICES).join("control").join(&socket));
    }
    candidates.extend(
        user.filter(|path| path.is_absolute())
            .map(|path| path.join("behaviour-host").join(&socket)),
    );
    candidates.push(std::env::temp_dir().join(format!("behaviour-host-{name}")).join(&socket));
    candidates
}

/// Returns the name of the socket of a configuration, without its extension.
pub(super) fn socket_name(configuration: &Path) -> String {
    let digest = Sha256::digest(configuration.as_os_str().as_encoded_bytes());
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Place {
    /// Takes the path, or returns its owner. `named`: the operator chose the path, and
    /// may have made its directory.
    pub(super) fn take(path: &Path, named: bool) -> Result<Place, ControlError> {
        for _ in 0..ATTEMPTS {
            if let Some(place) = Place::attempt(path, named)? {
                return Ok(place);
            }
        }
        Err(ControlError::Taken { path: path.with_extension("lock") })
    }

    /// `None`: the host that had it has removed it meanwhile.
    fn attempt(path: &Path, named: bool) -> Result<Option<Place>, ControlError> {
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
        // A link may have been put there by another user, so it is not followed.
        let found = match std::fs::symlink_metadata(directory) {
            Ok(found) => found,
            Err(error) => return unless_gone(error),
        };
        let mode = found.mode() & 0o777;
        let open = ControlError::OpenToOthers { path: path.to_owned(), mode };
        if !found.is_dir() || mode & OTHERS != 0 {
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
        // The locked file must be the one that the next host will open.
        match std::fs::metadata(&lock_file) {
            Ok(there) if there.ino() == locked.ino() => {}
            Ok(_) => return Ok(None),
            Err(error) => return unless_gone(error),
        }
        let directory = (!named || is_new).then(|| directory.to_owned());
        let (path, owner) = (path.to_owned(), locked.uid());
        Ok(Some(Place { path, owner, directory, pointer: None, _lock: lock }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves a file that leads clients here, until this is dropped.
    pub(super) fn lead_here(&mut self, data: &Path, configuration: &Path) -> io::Result<()> {
        self.pointer = Some(pointer::leave(data, &self.path, configuration)?);
        Ok(())
    }

    /// Binds a socket at this path, in place of one that an earlier host left.
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

    /// Checks whether the other end is the host's user, or root.
    pub(super) fn is_of_owner(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The lock is still held, so the socket is this host's.
        std::fs::remove_file(&self.path).ok();
        std::fs::remove_file(self.path.with_extension("lock")).ok();
        self.pointer.as_ref().map(std::fs::remove_file);
        // A directory that another host uses as well is not empty, and stays.
        self.directory.as_ref().map(std::fs::remove_dir);
    }
}
