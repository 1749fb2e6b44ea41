//! Conformance tests with Microsoft's unmodified Python SDKs for devices and for services.
//! The SDKs are installed from PyPI into a virtual environment.
//!
//! Each test starts a rig and one of the scripts in this folder, sends commands to the
//! script and asserts the events that it returns. Without Python, the tests are skipped with
//! a message on standard error, or fail if `CI` is set.

mod device;
mod device_failures;
mod device_with_our_service;
mod script;
mod sdk;
mod service;
mod service_registry;
