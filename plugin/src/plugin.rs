//! A plugin that is loaded.

pub(crate) mod bursts;
pub(crate) mod call;
pub(crate) mod linked;
pub(crate) mod load;
