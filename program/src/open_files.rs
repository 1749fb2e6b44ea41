//! The limit of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit of open files, sockets among them, to `wanted`, or
/// as far as the system allows.
///
/// The soft limit is often 1024; a process may raise it to the hard limit. If the
/// hard limit is lower than `wanted`, that is logged.
pub fn allow_open_files(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let most = maximum.map_or(wanted, |maximum| wanted.min(maximum));
        // If this is refused, opening a file beyond the limit fails and is reported.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
        if most < wanted {
            tracing::warn!(wanted, most, "too few open files allowed: raise `ulimit -n`");
        }
    }
}
