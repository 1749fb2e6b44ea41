//! Where the control socket is, and whose it is.
//!
//! A lock beside the socket says which host has the place. Whoever holds it may
//! remove a socket that a host before left behind; who does not is a second host
//! with the same configuration. The lock is the kernel's and ends with its
//! process, however that ends.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::net::UnixStream;

/// Read and written by its owner, and nobody else.
const OWNER_ONLY: u32 = 0o600;
const OWNER_ONLY_DIRECTORY: u32 = 0o700;

/// Where systemd makes the directories of services that ask for one.
const SERVICES: &str = "/run/behaviour-host";

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another host runs with the same configuration.
    #[error("another host runs with this configuration: it has {}", .path.display())]
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
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl ControlError {
    /// What to do about it.
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

/// A socket's place, held for as long as this lives.
pub(super) struct Place {
    path: PathBuf,
    /// The user that the host runs as.
    owner: u32,
    _lock: File,
}

/// Where the socket may be, best first: where the configuration says; else
/// where services or users keep such things, under a name that the path of the
/// configuration gives, so that the other end finds it too.
pub(super) fn candidates(named: Option<&Path>, configuration: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = named {
        return vec![path.to_owned()];
    }
    let Some(file) = configuration.and_then(|file| file.canonicalize().ok()) else {
        return Vec::new();
    };
    let digest = Sha256::digest(file.as_os_str().as_encoded_bytes());
    let name: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
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

impl Place {
    /// Takes it, or says who has it.
    pub(super) fn take(path: &Path) -> Result<Place, ControlError> {
        let refused = |source| ControlError::Socket { path: path.to_owned(), source };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        if let Err(error) = DirBuilder::new().mode(OWNER_ONLY_DIRECTORY).create(directory)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(refused(error));
        }
        // Not through a link that somebody else has put there.
        let found = std::fs::symlink_metadata(directory).map_err(refused)?;
        let mode = found.mode() & 0o777;
        let open = ControlError::OpenToOthers { path: path.to_owned(), mode };
        if !found.is_dir() || mode & !OWNER_ONLY_DIRECTORY != 0 {
            return Err(open);
        }
        let lock_file = path.with_extension("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(OWNER_ONLY)
            .open(&lock_file)
            .map_err(refused)?;
        let owner = lock.metadata().map_err(refused)?.uid();
        if found.uid() != owner {
            return Err(open);
        }
        match lock.try_lock() {
            Ok(()) => Ok(Place { path: path.to_owned(), owner, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ControlError::Taken { path: lock_file }),
            Err(TryLockError::Error(source)) => Err(refused(source)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A socket in this place, instead of what a host before has left.
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

    /// Whether the other end is the host's user, or root.
    pub(super) fn is_of_owner(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The lock is still held: what lies there is this host's.
        std::fs::remove_file(&self.path).ok();
    }
}
