//! The string and JSON formats of Azure IoT Hub.
//!
//! Each format has one type, which parses, validates and prints it.
//!
//! The host, the hub and the service share these types, so both sides of a connection
//! agree on every format. Strings parse with `FromStr` and print with `Display`;
//! documents are read and written as JSON. Parser and printer of a format are in the
//! same file, next to a round-trip test.
//!
//! ```
//! use behaviour_protocol::connection_string::{DeviceConnectionString, DeviceCredential};
//! use behaviour_protocol::sas::sign;
//! use behaviour_protocol::topic::HubTopic;
//!
//! // A device authenticates with a token for its own resource.
//! let text = "HostName=hub.example;DeviceId=d1;SharedAccessKey=c2VjcmV0";
//! let identity: DeviceConnectionString = text.parse()?;
//! let DeviceCredential::Key(key) = &identity.credential else { unreachable!() };
//! let token = sign(&identity.resource(), None, key, 1_700_000_000);
//! assert!(token.covers("hub.example/devices/d1/modules/m1"));
//!
//! // The hub sends a direct method as an MQTT message with this topic.
//! let topic: HubTopic = "$iothub/methods/POST/rebootDevice/?$rid=7".parse()?;
//! assert!(matches!(topic, HubTopic::Method { name, .. } if name.as_str() == "rebootDevice"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `cargo run -p behaviour-protocol --example mqtt_login` prints the parameters with
//! which any MQTT client can connect as a device.
//!
//! # Layout
//!
//! * [`cloud_to_device`]: cloud-to-device messages: limits and feedback.
//! * [`configuration`]: automatic configurations of devices.
//! * [`connection_string`]: connection strings of devices and services.
//! * [`credentials`]: requests of devices for their next certificates.
//! * [`error`]: errors of the hub and their codes.
//! * [`host_name`]: a hub's host name.
//! * [`http_message`]: messages over HTTPS.
//! * [`id`]: validated names of devices, modules, methods, requests, configurations and jobs.
//! * [`job`]: jobs on many devices.
//! * [`method`]: the request and the result of a direct method.
//! * [`mqtt5`]: topics, messages and reason codes of the `mqttV5` connection profile.
//! * [`properties`]: the property bag of a message.
//! * [`provisioning`]: the device API of the Device Provisioning Service.
//! * [`registry`]: device identities.
//! * [`remote_method`]: the direct methods that a host answers itself.
//! * [`rest`]: paths and headers of the REST API.
//! * [`sas`]: shared access signatures, the tokens of devices and services.
//! * [`topic`]: topics and topic filters of the MQTT interface.
//! * [`twin`]: device twins: sections, patches and limits.
//! * [`user_name`]: the user name of an MQTT connection.
//!
//! This crate does no I/O and reads no clock; functions take the time as an argument.
//! It handles the contents of MQTT packets and HTTP requests, but not the packets and
//! requests themselves.

pub mod cloud_to_device;
pub mod configuration;
pub mod connection_string;
pub mod credentials;
pub mod error;
pub mod host_name;
pub mod http_message;
pub mod id;
pub mod job;
pub mod method;
pub mod mqtt5;
pub mod properties;
pub mod provisioning;
pub mod registry;
pub mod remote_method;
pub mod rest;
pub mod sas;
pub mod target;
pub mod topic;
pub mod twin;
pub mod user_name;

mod nulls;
mod percent;
