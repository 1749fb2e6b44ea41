//! End-to-end tests from the service through the hub and the host to a plugin, and back.

mod certificates;
mod drain;
mod failures;
mod fleet;
mod hostile;
mod languages;
mod load;
mod matrix;
mod messages;
mod methods;
mod metrics;
mod modules;
mod mqtt5;
mod persistence;
mod provisioning;
mod reboot;
mod record;
mod remote;
mod restart;
mod rollout;
mod simulate;
mod swap;
mod twin;
mod wires;
