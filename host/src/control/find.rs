//! Search for the socket of a running host.
//!
//! The host and the client may run in different sessions, whose environment variables differ.
//! The host therefore also writes its socket's path to its data directory, and the client tries
//! every path that the host may use.
//!
//! A client trusts a socket only if no other user can have created it: see
//! [`Candidate::check`].

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::pointer;
use super::socket_path::{OTHERS_ACCESS, SERVICE_RUNTIME, socket_name};

/// Data directory of the service, which systemd creates.
const SERVICE_DATA: &str = "/var/lib/behaviour-host";

/// Environment variables that determine the path of a socket.
const VARIABLES: [&str; 3] = ["XDG_RUNTIME_DIR", "TMPDIR", "XDG_DATA_HOME"];

/// Mode bits that allow other users to write to a directory.
const OTHERS_WRITE: u32 = 0o022;

/// Possible path of a host's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    /// User that may run the host, in addition to the users that are always allowed.
    owner: Option<u32>,
}

/// Paths in a configuration file, which must be valid TOML but may be an invalid configuration.
#[derive(Debug, Default)]
pub(super) struct ConfiguredPaths {
    socket: Option<PathBuf>,
    data: Option<PathBuf>,
}

/// Environment of a client.
pub(super) struct Environment {
    /// Values of the set variables among [`VARIABLES`].
    variables: BTreeMap<&'static str, OsString>,
    home: Option<PathBuf>,
    user: u32,
}

impl ConfiguredPaths {
    /// Reads the paths from the text of a configuration file.
    pub(super) fn in_text(text: &str) -> ConfiguredPaths {
        let table: toml::Table = text.parse().unwrap_or_default();
        let key = |key: &str| Some(PathBuf::from(table.get("host")?.get(key)?.as_str()?));
        ConfiguredPaths { socket: key("control_socket"), data: key("data") }
    }
}

impl Environment {
    /// Returns the environment of this process.
    pub(super) fn of_process() -> Environment {
        Environment {
            variables: VARIABLES
                .into_iter()
                .filter_map(|name| Some((name, env::var_os(name).filter(|it| !it.is_empty())?)))
                .collect(),
            home: env::home_dir(),
            user: rustix::process::geteuid().as_raw(),
        }
    }

    /// Returns the directory in a variable, if it is an absolute path.
    fn directory(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// Describes the variables for an error message.
    pub(super) fn describe(&self) -> String {
        let value = |name: &str| match self.variables.get(name) {
            Some(value) => format!("{name}={}", value.display()),
            None => format!("{name} is not set"),
        };
        VARIABLES.map(value).join(", ")
    }
}

/// Returns the possible socket paths of a host with this configuration, the most likely first.
pub(super) fn candidates(
    configuration: &Path,
    configured: &ConfiguredPaths,
    environment: &Environment,
) -> Vec<Candidate> {
    let directory_as_named = configuration.parent().unwrap_or(Path::new("")).to_owned();
    let canonical = configuration.canonicalize().ok();
    let canonical_directory = canonical.as_deref().and_then(Path::parent).map(Path::to_owned);
    let directories =
        || [Some(directory_as_named.clone()), canonical_directory.clone()].into_iter().flatten();
    let mut found = Vec::new();
    let mut add = |path: PathBuf, owner| {
        if found.iter().all(|known: &Candidate| known.path != path) {
            found.push(Candidate { path, owner });
        }
    };
    if let Some(socket) = &configured.socket {
        directories().for_each(|directory| {
            let path = directory.join(socket);
            let owner = path.parent().and_then(owner_under_root);
            add(path, owner);
        });
    }
    // With a configured socket, these are links to it: see `Control::open`.
    if let Some(file) = &canonical {
        let name = socket_name(file);
        let socket = format!("{name}.sock");
        let services = Path::new(SERVICE_RUNTIME);
        add(services.join("control").join(&socket), owner_under_root(services));
        let user = PathBuf::from(format!("/run/user/{}", environment.user));
        for directory in [environment.directory("XDG_RUNTIME_DIR"), Some(user)] {
            directory.into_iter().for_each(|directory| {
                add(directory.join("behaviour-host").join(&socket), None);
            });
        }
        for directory in [environment.directory("TMPDIR"), Some("/tmp".into())] {
            directory.into_iter().for_each(|directory| {
                add(directory.join(format!("behaviour-host-{name}")).join(&socket), None);
            });
        }
    }
    let Some(canonical) = canonical else { return found };
    let mut follow = |data: &Path, owner| {
        pointer::read(data, &canonical).into_iter().for_each(|path| add(path, owner));
    };
    match &configured.data {
        Some(data) => directories().for_each(|directory| {
            let data = directory.join(data);
            follow(&data, owner_under_root(&data));
        }),
        None => {
            follow(Path::new(SERVICE_DATA), owner_under_root(Path::new(SERVICE_DATA)));
            let home = environment.home.as_ref().map(|home| home.join(".local/share"));
            let data = [environment.directory("XDG_DATA_HOME"), home].into_iter().flatten();
            for of_device in data.flat_map(|data| directories_in(&data.join("behaviour-host"))) {
                follow(&of_device, None);
            }
        }
    }
    found
}

/// Returns the sorted entries of a directory, such as the data directories of this user's
/// hosts.
fn directories_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Returns the owner of the outermost directory on this path that root does not own, or `None`
/// if another user can have created that directory. systemd creates such directories for
/// services.
fn owner_under_root(directory: &Path) -> Option<u32> {
    let directory = directory.canonicalize().ok()?;
    let mut ancestors: Vec<_> = directory.ancestors().collect();
    ancestors.reverse();
    for directory in ancestors {
        let found = fs::symlink_metadata(directory).ok()?;
        if found.mode() & OTHERS_WRITE != 0 {
            return None;
        }
        if found.uid() != 0 {
            return Some(found.uid());
        }
    }
    None
}

impl Candidate {
    /// Returns the users that may run the host: the client's user, root, the owner of the
    /// configuration, and the user for whom root has created the directory.
    fn owners(&self, configuration: &Path) -> Vec<u32> {
        let mut owners = vec![rustix::process::geteuid().as_raw(), 0];
        owners.extend(fs::metadata(configuration).ok().map(|found| found.uid()));
        owners.extend(self.owner);
        owners
    }

    /// Checks that only an allowed user can have created the socket, and returns the allowed
    /// users. Returns `None` if the socket's directory is missing.
    pub(super) fn check(&self, configuration: &Path) -> Option<Result<Vec<u32>, String>> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // Does not follow a link, which another user may have created.
        let found = fs::symlink_metadata(directory.unwrap_or(Path::new("."))).ok()?;
        let owners = self.owners(configuration);
        let mode = found.mode() & 0o777;
        let reason = if !found.is_dir() {
            "its directory is a link".to_owned()
        } else if mode & OTHERS_ACCESS != 0 {
            format!("its directory is open to others (mode {mode:o})")
        } else if !owners.contains(&found.uid()) {
            format!("its directory belongs to the user {}", found.uid())
        } else {
            return Some(Ok(owners));
        };
        Some(Err(reason))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use tempfile::TempDir;

    use super::*;

    /// Creates a directory with a configuration.
    fn directory(toml: &str) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("host.toml"), toml).unwrap();
        directory
    }

    fn environment(variables: &[(&'static str, PathBuf)], home: &Path) -> Environment {
        let variables = variables.iter().map(|(name, value)| (*name, value.clone().into()));
        Environment { variables: variables.collect(), home: Some(home.to_owned()), user: 4711 }
    }

    fn paths(configuration: &Path, environment: &Environment) -> Vec<PathBuf> {
        let configured = ConfiguredPaths::in_text(&fs::read_to_string(configuration).unwrap());
        candidates(configuration, &configured, environment).into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn a_host_of_another_session_is_found_through_its_data_directory() {
        let home = tempfile::tempdir().unwrap();
        let elsewhere = Path::new("/run/elsewhere/host.sock");
        let environment = environment(&[], home.path());
        for toml in ["", "[host]\ndata = \"data\"\n"] {
            let directory = directory(toml);
            let configuration = directory.path().join("host.toml");
            assert!(!paths(&configuration, &environment).contains(&elsewhere.to_owned()));
            let data = match toml {
                "" => home.path().join(".local/share/behaviour-host/d1"),
                _ => directory.path().join("data"),
            };
            fs::create_dir_all(&data).unwrap();
            pointer::write(&data, elsewhere, &configuration).unwrap();
            assert!(paths(&configuration, &environment).contains(&elsewhere.to_owned()));

            let other = directory.path().join("other.toml");
            fs::write(&other, toml).unwrap();
            assert!(!paths(&other, &environment).contains(&elsewhere.to_owned()));
        }
    }

    #[test]
    fn both_directories_of_a_linked_configuration_are_searched() {
        let (real, links) = (directory("[host]\ncontrol_socket = \"c/s\"\n"), directory(""));
        let link = links.path().join("link.toml");
        symlink(real.path().join("host.toml"), &link).unwrap();
        let environment = environment(&[], links.path());
        let there = real.path().canonicalize().unwrap().join("c/s");
        assert_eq!(paths(&link, &environment)[..2], [links.path().join("c/s"), there]);
    }

    #[test]
    fn without_a_configured_socket_the_default_paths_of_all_sessions_are_tried() {
        let directory = directory("");
        let variables = [("XDG_RUNTIME_DIR", "/run/x".into()), ("TMPDIR", "/t".into())];
        let environment = environment(&variables, directory.path());
        let configuration = directory.path().join("host.toml");
        let found = paths(&configuration, &environment);
        for part in ["/run/behaviour-host/control/", "/run/x/", "/run/user/4711/", "/t/", "/tmp/"] {
            assert!(found.iter().any(|path| path.starts_with(part)), "{part}: {found:?}");
        }
        let described = "XDG_RUNTIME_DIR=/run/x, TMPDIR=/t, XDG_DATA_HOME is not set";
        assert_eq!(environment.describe(), described);
    }

    #[test]
    fn a_directory_that_others_can_enter_is_not_trusted() {
        let directory = directory("");
        let configuration = directory.path().join("host.toml");
        let own = directory.path().join("own");
        let candidate = Candidate { path: own.join("host.sock"), owner: None };
        assert_eq!(candidate.check(&configuration), None);
        fs::create_dir(&own).unwrap();
        let check = |mode| {
            fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
            candidate.check(&configuration).unwrap()
        };
        check(0o700).unwrap();
        let reason = "its directory is open to others (mode 755)";
        assert_eq!(check(0o755), Err(reason.to_owned()));

        let link = Candidate { path: directory.path().join("link/host.sock"), owner: None };
        check(0o700).unwrap();
        symlink(&own, directory.path().join("link")).unwrap();
        assert_eq!(link.check(&configuration), Some(Err("its directory is a link".to_owned())));
    }

    #[test]
    fn a_directory_of_another_user_is_trusted_only_if_root_created_it() {
        let directory = directory("");
        let configuration = directory.path().join("host.toml");
        let own = directory.path().join("own");
        fs::create_dir(&own).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
        // Only root can change the owner of a directory.
        if std::os::unix::fs::chown(&own, Some(65534), None).is_ok() {
            let candidate = |owner| Candidate { path: own.join("host.sock"), owner };
            let reason = "its directory belongs to the user 65534".to_owned();
            assert_eq!(candidate(None).check(&configuration), Some(Err(reason)));
            assert!(candidate(Some(65534)).check(&configuration).unwrap().is_ok());
        }
        // Any user can create a directory in the directory for temporary files.
        assert_eq!(owner_under_root(&own), None);
        assert_eq!(owner_under_root(Path::new("/usr/bin")), None);
    }
}
