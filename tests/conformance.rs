//! Conformance with Microsoft's own clients: the Python SDKs for devices and
//! for services, unmodified, from PyPI, in a virtual environment of ours.
//!
//! Each test starts a rig and one of the scripts beside this file, tells the
//! script what to do and hears what happened; what is right is asserted here.
//! Where there is no Python, the tests are skipped with a line that says so,
//! and fail if `CI` is set.

mod device;
mod device_in_trouble;
mod device_with_our_service;
mod script;
mod sdk;
mod service;
mod service_registry;
