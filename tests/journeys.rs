//! From the service through the hub and the host to a plugin, and back.

mod drain;
mod load;
mod matrix;
mod methods;
mod simulate;
mod swap;
mod trouble;
mod twin;
