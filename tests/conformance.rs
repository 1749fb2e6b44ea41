//! Conformance tests with Microsoft's unmodified Python SDKs for devices and for services, with the
//! Node SDKs for services and of the Device Provisioning Service, and with Chromium and Prometheus.
//! The receiver of OTLP decodes with OpenTelemetry's package for Python. The clients of MQTT 5 are
//! paho-mqtt 2 and MQTT.js. They and the SDKs are installed from PyPI into a virtual environment,
//! and from npm. The Debian package and the container images run under Debian's systemd and runc.
//!
//! Each test starts a rig and one of the scripts in this folder, sends commands to the
//! script and asserts the events that it returns. Without Python or Node, the tests are skipped with
//! a message on standard error, or fail if `CI` is set.

mod broker5;
mod browser;
mod cloud_to_device;
mod credentials;
mod device;
mod device_failures;
mod device_with_our_service;
mod modules;
mod mqtt5;
mod node_fleet;
mod node_provisioning;
mod node_sdk;
mod otlp;
mod otlp_logs;
mod packages;
mod prometheus;
mod provisioning;
mod script;
mod sdk;
mod service;
mod service_fleet;
mod service_registry;
