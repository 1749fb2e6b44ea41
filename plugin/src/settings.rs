//! The settings of one plugin.

pub(crate) mod hosts;
