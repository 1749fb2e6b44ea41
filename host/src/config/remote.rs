//! `[host.remote]`: the reserved direct methods, which the host answers itself.

use std::collections::BTreeSet;

pub use protocol::remote_method::RemoteMethod;

/// Settings in `[host.remote]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteSection {
    /// Reserved methods that callers may use; none by default.
    pub methods: BTreeSet<RemoteMethod>,
}
