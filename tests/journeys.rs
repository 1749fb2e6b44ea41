//! End-to-end tests from the service through the hub and the host to a plugin, and back.

mod drain;
mod hostile;
mod languages;
mod lasting;
mod load;
mod matrix;
mod methods;
mod reboot;
mod restart;
mod simulate;
mod swap;
mod trouble;
mod twin;
