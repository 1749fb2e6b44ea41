//! The cloud side of an IoT Hub: invokes methods, reads, changes and queries
//! twins, keeps the device registry.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use behaviour_service::{Client, ClientSettings, MethodRequest};
//!
//! let identity = std::env::var("IOTHUB_CONNECTION_STRING")?.parse()?;
//! let client = Client::new(identity, ClientSettings::default())?;
//! let request = MethodRequest::new("rebootDevice".parse()?, serde_json::Value::Null);
//! let result = client.invoke(&"my-device".parse()?, &request).await?;
//! println!("{} {}", result.status, result.payload);
//! # Ok(()) }
//! ```
//!
//! It speaks the hub's HTTPS API and nothing else, and prints nothing: a
//! [`ServiceError`] says what went wrong, [`ClientSettings::on_retry`] what is
//! tried again.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop at the first surprise"))]

mod client;
mod error;
pub mod reboot;

pub use client::{Client, ClientSettings, OnRetry, Retry, TwinQuery};
pub use error::{ServiceError, ServiceErrorKind};
pub use protocol::connection_string::ServiceConnectionString;
pub use protocol::id::DeviceId;
pub use protocol::method::{MethodRequest, MethodResult};
pub use protocol::twin::Twin;
