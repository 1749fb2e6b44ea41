//! The limit on open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit on open files and sockets to `wanted`, or as far as the
/// system allows. Never lowers the limit.
///
/// The soft limit is often 1024. A process can raise it up to the hard limit. A hard limit
/// below `wanted` is logged as a warning.
pub fn allow_open_files(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let most = maximum.map_or(wanted, |maximum| wanted.min(maximum));
        // If this fails, opening a file beyond the limit fails as well, and reports it.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
        if most < wanted {
            tracing::warn!(wanted, most, "too few open files allowed: raise `ulimit -n`");
        }
    }
}
