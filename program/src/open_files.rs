//! The limit on open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit on open files and sockets of this process to `wanted`, or to the
/// maximum that the system allows. Never lowers the limit.
///
/// The soft limit is often 1024. A process can raise it up to the hard limit. A hard limit
/// below `wanted` is logged as a warning.
pub fn allow_open_files(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let allowed = maximum.map_or(wanted, |maximum| wanted.min(maximum));
        // If this fails, opening a file beyond the limit fails as well, and reports it.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
        if allowed < wanted {
            tracing::warn!(wanted, allowed, "too few open files allowed: raise `ulimit -n`");
        }
    }
}
