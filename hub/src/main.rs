//! `behaviour-hub`: a stand-in for Azure IoT Hub on this machine.
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use behaviour_hub::{Hub, HubConfig, StartError};
use clap::Parser;
use program::Signals;
use protocol::id::DeviceId;

/// A stand-in for Azure IoT Hub, for development and tests.
///
/// Devices connect by MQTT over TLS, services by HTTPS, with the official SDKs
/// or with behaviour-host and behaviour-service. Prints what each needs to
/// connect. Production is Azure IoT Hub.
#[derive(Parser)]
#[command(name = "behaviour-hub", version)]
struct Arguments {
    /// The address of all ports
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    address: IpAddr,
    /// Where devices connect; most SDKs know no other port than 8883
    #[arg(long, default_value_t = 8883, value_name = "PORT")]
    mqtt_port: u16,
    /// Where services connect
    #[arg(long, default_value_t = 8443, value_name = "PORT")]
    https_port: u16,
    /// Also take HTTP CONNECT to any host here, for SDKs with hard-wired ports
    #[arg(long, value_name = "PORT")]
    connect_port: Option<u16>,
    /// Keep devices, twins and subscriptions in this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write the certificate that clients have to trust to this file
    #[arg(long, default_value = "hub-ca.pem", value_name = "FILE")]
    ca_file: PathBuf,
    /// Register this device at start; may be given more than once
    #[arg(long = "device", value_name = "ID")]
    devices: Vec<DeviceId>,
    /// Another name that the hub goes by; may be given more than once
    #[arg(long = "host-name", value_name = "NAME")]
    host_names: Vec<String>,
    /// What to log: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, default_value = "info", value_name = "FILTER")]
    log: String,
    /// Log as JSON lines
    #[arg(long)]
    json_logs: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            program::complain(&error, hint(&error).as_deref());
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    program::log(&arguments.log, arguments.json_logs)?;
    let hub = Hub::start(HubConfig {
        address: arguments.address,
        mqtt_port: arguments.mqtt_port,
        https_port: arguments.https_port,
        connect_port: arguments.connect_port,
        data: arguments.data,
        host_names: arguments.host_names,
        ..HubConfig::default()
    })
    .await?;
    let ca_file = &arguments.ca_file;
    std::fs::write(ca_file, hub.ca_pem())
        .with_context(|| format!("cannot write the certificate to `{}`", ca_file.display()))?;
    introduce(&hub, &arguments.devices, ca_file)?;
    Signals::new()?.next().await;
    println!("stopping");
    hub.stop().await;
    Ok(())
}

/// Prints what a newcomer pastes into two other terminals.
fn introduce(hub: &Hub, devices: &[DeviceId], ca_file: &std::path::Path) -> anyhow::Result<()> {
    let ca_file = std::fs::canonicalize(ca_file).unwrap_or_else(|_| ca_file.to_owned());
    println!(
        "behaviour-hub is ready. It is for development and tests; production is Azure IoT Hub."
    );
    println!();
    println!("MQTT over TLS on port {}, HTTPS on port {}", hub.mqtt_port(), hub.https_port());
    if let Some(port) = hub.connect_port() {
        println!("HTTP CONNECT on port {port}");
    }
    println!("Clients have to trust {}", ca_file.display());
    println!();
    println!("# for a service");
    println!("export IOTHUB_CA_FILE='{}'", ca_file.display());
    let service = hub.service_connection_string().to_text_with_key();
    println!("export IOTHUB_CONNECTION_STRING='{service}'");
    for device in devices {
        let text = hub
            .create_device(device)
            .with_context(|| format!("cannot register device `{device}`"))?
            .to_text_with_key();
        println!();
        println!("# for the device {device}");
        println!("export IOTHUB_CA_FILE='{}'", ca_file.display());
        println!("export IOTHUB_DEVICE_CONNECTION_STRING='{text}'");
    }
    println!();
    Ok(())
}

fn hint(error: &anyhow::Error) -> Option<String> {
    match error.downcast_ref::<StartError>()? {
        StartError::Listen { purpose, source, .. }
            if source.kind() == std::io::ErrorKind::AddrInUse =>
        {
            let option = format!("--{}-port", purpose.to_lowercase());
            Some(format!("another program has the port; choose one with {option}, 0 takes any"))
        }
        _ => None,
    }
}
