//! The sections of a run. Each section is a module that measures its numbers and writes
//! them into the page.

pub(crate) mod devices;
pub(crate) mod fleet;
pub(crate) mod identity;
pub(crate) mod languages;
pub(crate) mod metrics;
pub(crate) mod profiles;
pub(crate) mod rollout;
pub(crate) mod sandbox;
pub(crate) mod service;
pub(crate) mod sleepers;
pub(crate) mod spinners;
pub(crate) mod start;
pub(crate) mod swap;
