//! A client for services of Azure IoT Hub.
//!
//! Invokes direct methods, reads, changes and queries twins, registers devices, and manages
//! configurations and jobs.
//!
//! ```
//! use behaviour_service::{Client, ClientSettings, MethodRequest, ServiceErrorKind};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hub = hub::Hub::start(hub::HubConfig::default()).await?;
//! # let device = hub.create_device(&"my-device".parse()?)?.device;
//! # let identity = hub.service_connection_string();
//! # let settings = ClientSettings { ca_pem: Some(hub.ca_pem().into()), ..Default::default() };
//! // `identity` is the connection string of a service. The device is offline.
//! let client = Client::new(identity, settings)?;
//! let request = MethodRequest::new("rebootDevice".parse()?, serde_json::Value::Null);
//! match client.invoke(&device, &request).await {
//!     Ok(result) => println!("{} {}", result.status, result.payload),
//!     Err(error) => assert_eq!(error.kind(), ServiceErrorKind::Offline),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `cargo run -p behaviour-service --example invoke` runs a complete example. The program
//! `behaviour-service` offers all operations of the library on the command line.
//!
//! # Layout
//!
//! * [`Client`]: one method for each operation of the hub's REST API (module `client`).
//! * [`ProvisioningClient`]: the operations of the Device Provisioning Service.
//! * [`ServiceError`]: errors and their kinds (module `error`).
//! * [`reboot`]: the service side of the reboot tutorial.
//! * [`rollout`]: the rollout of a plugin to many devices.
//!
//! The library uses only the REST API. [`Client::messages`] and [`Client::send_message`] work with
//! `behaviour-hub` only.
//! The library neither prints nor logs; [`ClientSettings::on_retry`] is called before each
//! retry.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a panic fails the test"))]

mod client;
mod entra_sign_in;
mod error;
pub mod reboot;
pub mod rollout;

pub use client::{
    Client, ClientSettings, Feedback, MessageEvent, Messages, OnRetry, ProvisioningClient, Retry,
    TwinQuery,
};
pub use entra_sign_in::EntraSignIn;
pub use error::{ServiceError, ServiceErrorKind};
pub use json::{Json, JsonError};
pub use protocol::cloud_to_device::{Acknowledgement, FeedbackRecord, Outcome};
pub use protocol::connection_string::ServiceConnectionString;
pub use protocol::host_name::HostName;
pub use protocol::http_message::HttpMessage;
pub use protocol::id::DeviceId;
pub use protocol::method::{MethodRequest, MethodResult};
pub use protocol::properties::MessageProperties;
pub use protocol::sas::SasToken;
pub use protocol::target::Target;
pub use protocol::twin::Twin;
