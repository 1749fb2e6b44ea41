//! One call of a plugin, from within.

pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod state;
pub(crate) mod wasi;
