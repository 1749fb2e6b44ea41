//! Runs a hub that drops a device's connection after every tenth message.
//!
//! ```text
//! cargo run -p behaviour-hub --example unreliable_hub -- my-device
//! ```
//!
//! Prints the environment variables for the device, then a line for each of its messages.
//! Ctrl-C stops the hub.
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::env;
use std::error::Error;
use std::time::Duration;

use behaviour_hub::{Effect, Fault, FaultError, Hub, HubConfig, Step};
use protocol::id::DeviceId;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let id = env::args().nth(1).ok_or("usage: unreliable_hub DEVICE")?.parse()?;
    let hub = Hub::start(HubConfig::default()).await?;
    let device = hub.create_device(&id)?;
    let ca_file = env::temp_dir().join("unreliable-hub-ca.pem");
    std::fs::write(&ca_file, hub.ca_pem())?;
    println!("export IOTHUB_CA_FILE='{}'", ca_file.display());
    println!("export IOTHUB_DEVICE_CONNECTION_STRING='{}'", device.to_text_with_key());

    let mut telemetry = hub.telemetry();
    let mut dropped = hub.faults().happened();
    arm(&hub, &id)?;
    loop {
        tokio::select! {
            () = hub.faults().until_happened(dropped + 1) => {
                dropped += 1;
                println!("connection dropped");
                arm(&hub, &id)?;
            }
            message = telemetry.recv() => match message {
                Ok(message) => println!("message of {} bytes", message.body.len()),
                Err(error) => println!("{error}"),
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    hub.stop().await;
    Ok(())
}

/// Sets a fault that drops the device's connection after its next ten messages.
fn arm(hub: &Hub, id: &DeviceId) -> Result<(), FaultError> {
    let fault = Fault::new(Step::Message, Effect::DropAfter).of(id).after(9);
    hub.faults().set(fault.lasting(Duration::from_secs(3600))).map(drop)
}
