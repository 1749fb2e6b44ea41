//! What can be asked on the command line, and what is done for it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use protocol::id::MethodName;
use service::reboot::{self, Step};
use service::{Client, DeviceId, MethodRequest, ServiceError};

use crate::progress::Progress;

mod devices;
mod json;
mod twin;

/// Invokes direct methods, reads and changes twins, and keeps the devices of an
/// Azure IoT Hub.
///
/// The connection string of a shared access policy is a secret: it is read from
/// the environment variable IOTHUB_CONNECTION_STRING and is never an argument.
/// Exit codes: 0 done, 1 other, 2 usage, 3 device offline, 4 not found, 5 timed
/// out, 6 unauthorised, 7 the device answered with an error, 8 hub unreachable.
#[derive(Parser)]
#[command(name = "behaviour-service", version)]
pub(crate) struct Arguments {
    /// Certificates to trust beside the system's
    #[arg(long, env = "IOTHUB_CA_FILE", value_name = "FILE", global = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// How often to try again, where that is safe
    #[arg(long, default_value_t = 3, value_name = "N", global = true)]
    pub(crate) retries: u32,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Reboot a device and watch its twin for the time of it, as in the tutorial
    Reboot {
        /// The device's id
        device: DeviceId,
        /// How long the device may take, 5s to 300s
        #[arg(long, default_value = "60s", value_parser = json::duration, value_name = "TIME")]
        timeout: Duration,
    },
    /// Invoke a direct method and print its status and payload
    Invoke {
        /// The device's id
        device: DeviceId,
        /// The method's name
        method: MethodName,
        /// The payload: JSON, or - for standard input
        #[arg(long, default_value = "null", value_name = "JSON")]
        payload: String,
        /// How long the device may take, 5s to 300s
        #[arg(long, default_value = "30s", value_parser = json::duration, value_name = "TIME")]
        timeout: Duration,
        /// How long the device may take to come online, 0s to 300s
        #[arg(long, default_value = "0s", value_parser = json::duration, value_name = "TIME")]
        connect_timeout: Duration,
    },
    /// Read, change or watch a device's twin
    #[command(subcommand)]
    Twin(twin::Command),
    /// Run a query over twins and print its items, one a line
    Query {
        /// As in: SELECT deviceId FROM devices WHERE tags.floor = 1
        query: String,
        /// Items a page
        #[arg(long, value_name = "N")]
        page_size: Option<u32>,
    },
    /// Keep the registry of devices
    #[command(subcommand)]
    Devices(devices::Command),
}

pub(crate) async fn run(command: Command, client: &Client) -> anyhow::Result<()> {
    match command {
        Command::Reboot { device, timeout } => reboot_device(client, &device, timeout).await,
        Command::Invoke { device, method, payload, timeout, connect_timeout } => {
            let payload = json::read("--payload", &payload)?;
            let request = MethodRequest {
                response_timeout: timeout,
                connect_timeout,
                ..MethodRequest::new(method, payload)
            };
            invoke(client, &device, &request).await
        }
        Command::Twin(command) => twin::run(command, client).await,
        Command::Query { query, page_size } => {
            let mut query = client.query(&query, page_size);
            while let Some(page) = query.next_page().await? {
                page.iter().for_each(json::print);
            }
            Ok(())
        }
        Command::Devices(command) => devices::run(command, client).await,
    }
}

async fn invoke(client: &Client, device: &DeviceId, request: &MethodRequest) -> anyhow::Result<()> {
    let waiting = Progress::new(&format!("{device}: {} is running", request.name));
    let result = client.invoke(device, request).await?;
    drop(waiting);
    json::print(&serde_json::to_value(&result).context("result")?);
    if (200..300).contains(&result.status) {
        return Ok(());
    }
    let error = ServiceError::Device {
        device: device.to_string(),
        method: request.name.to_string(),
        status: result.status,
        payload: result.payload.to_string(),
    };
    Err(error.into())
}

async fn reboot_device(
    client: &Client,
    device: &DeviceId,
    timeout: Duration,
) -> anyhow::Result<()> {
    let mut waiting = None;
    let outcome = reboot::reboot(client, device, &reboot::request(timeout), |step| {
        // Taken away before the next line is printed.
        waiting = None;
        if !matches!(step, Step::Waiting) {
            eprintln!("{step}");
        }
        waiting = match step {
            Step::Invoking => Some(Progress::new("the device reboots")),
            Step::Waiting => Some(Progress::new(&step.to_string())),
            Step::Answered(_) | Step::Rebooted { .. } => None,
        };
    })
    .await;
    drop(waiting);
    println!("{}", outcome?);
    Ok(())
}
