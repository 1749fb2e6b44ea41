//! What is measured, one section a file. Each finds its own numbers and puts
//! them in the page.

pub(crate) mod devices;
pub(crate) mod fleet;
pub(crate) mod languages;
pub(crate) mod sandbox;
pub(crate) mod service;
pub(crate) mod sleepers;
pub(crate) mod start;
pub(crate) mod swap;
