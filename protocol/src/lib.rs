//! The protocol of Azure IoT Hub: its texts and JSON documents, parsed, checked and
//! printed in one place.
//!
//! The host parses what the hub prints, the hub parses what the host prints, and the
//! service signs what the hub checks; all three use the types of this crate. Texts
//! parse with `FromStr` and print with `Display`, documents parse and print as JSON.
//! Both directions of one format are in one file, with a test of the round trip.
//!
//! ```
//! use behaviour_protocol::connection_string::{DeviceConnectionString, DeviceCredential};
//! use behaviour_protocol::sas::sign;
//! use behaviour_protocol::topic::HubTopic;
//!
//! // A device signs in with a token for its own resource.
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
//! `cargo run -p behaviour-protocol --example mqtt_login` prints the login of a device
//! for any MQTT client.
//!
//! # Layout
//!
//! * [`connection_string`]: connection strings of devices and services.
//! * [`error`]: errors of the hub, and their codes.
//! * [`host_name`]: a hub's host name.
//! * [`id`]: checked names of devices, modules, methods and requests.
//! * [`method`]: the request and the result of a direct method.
//! * [`properties`]: the property bag of a message.
//! * [`registry`]: device identities.
//! * [`rest`]: paths and headers of the REST API.
//! * [`sas`]: shared access signatures, with which devices and services sign in.
//! * [`topic`]: topics of the MQTT interface, and the filters for them.
//! * [`twin`]: device twins: their parts, the merge of a patch, the limits.
//! * [`user_name`]: the user name of an MQTT connection.
//!
//! This crate does no I/O and reads no clock: time is an argument. It knows neither
//! MQTT packets nor HTTP requests, only their contents.

pub mod connection_string;
pub mod error;
pub mod host_name;
pub mod id;
pub mod method;
pub mod properties;
pub mod registry;
pub mod rest;
pub mod sas;
pub mod topic;
pub mod twin;
pub mod user_name;

mod percent;
