//! Conformance with Microsoft's own clients: the unmodified Python SDKs for devices
//! and for services, installed from PyPI into a virtual environment.
//!
//! Each test starts a rig and one of the scripts in this folder, sends commands to
//! the script and asserts the events that it returns. Without Python the tests are
//! skipped with a line on standard error; if `CI` is set, they fail.

mod device;
mod device_in_trouble;
mod device_with_our_service;
mod script;
mod sdk;
mod service;
mod service_registry;
