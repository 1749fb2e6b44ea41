//! Invokes a direct method of a device and prints the answer.
//!
//! ```text
//! export IOTHUB_CONNECTION_STRING='HostName=…'    # behaviour-hub prints both
//! export IOTHUB_CA_FILE=hub-ca.pem
//! cargo run -p behaviour-service --example invoke -- my-device rebootDevice
//! ```
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::env;
use std::error::Error;
use std::path::PathBuf;

use behaviour_service::{Client, ClientSettings, DeviceId, MethodRequest};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [device, method] = &arguments[..] else {
        return Err("usage: invoke DEVICE METHOD".into());
    };
    let device: DeviceId = device.parse()?;
    let request = MethodRequest::new(method.parse()?, Value::Null);

    let identity = env::var("IOTHUB_CONNECTION_STRING")
        .map_err(|_| "IOTHUB_CONNECTION_STRING is not set")?
        .trim()
        .parse()?;
    let ca_file = env::var_os("IOTHUB_CA_FILE").map(PathBuf::from);
    let client = Client::new(identity, ClientSettings { ca_file, ..ClientSettings::default() })?;

    let result = client.invoke(&device, &request).await?;
    println!("{} {}", result.status, result.payload);
    Ok(())
}
