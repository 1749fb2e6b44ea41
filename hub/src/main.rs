//! `behaviour-hub`: a stand-in for Azure IoT Hub on this machine.

mod ca_file;
mod command_error;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use behaviour_hub::{Hub, HubConfig};
use ca_file::CaFile;
use clap::Parser;
use command_error::CommandError;
use program::{LogFilter, Signals};
use protocol::id::DeviceId;

/// Targets of the log: the crates that log.
const LOG_TARGETS: &[&str] = &[
    "behaviour_hub",
    "behaviour_program",
    "h2",
    "hyper_util",
    "jiff",
    "jiff_core",
    "mio",
    "rustls",
    "tokio_tungstenite",
    "tracing_subscriber",
    "tungstenite",
];

/// A stand-in for Azure IoT Hub, for development and tests.
///
/// Devices connect by MQTT over TLS and services by HTTPS, with the official SDKs
/// or with behaviour-host and behaviour-service. Prints the connection strings of
/// both. For production, use Azure IoT Hub.
#[derive(Parser)]
#[command(name = "behaviour-hub", version)]
struct Arguments {
    /// Address of all ports
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    address: IpAddr,
    /// Port for devices; most SDKs support only 8883
    #[arg(long, default_value_t = 8883, value_name = "PORT")]
    mqtt_port: u16,
    /// Port for services
    #[arg(long, default_value_t = 8443, value_name = "PORT")]
    https_port: u16,
    /// Port for HTTP CONNECT to any host, for SDKs with fixed ports
    #[arg(long, value_name = "PORT")]
    connect_port: Option<u16>,
    /// Folder in which devices, twins and subscriptions are persisted
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// File for the certificate that clients have to trust
    #[arg(long, default_value = "hub-ca.pem", value_name = "FILE")]
    ca_file: PathBuf,
    /// Device to register at start; may be repeated
    #[arg(long = "device", value_name = "ID")]
    devices: Vec<DeviceId>,
    /// Additional name of the hub; may be repeated
    #[arg(long = "host-name", value_name = "NAME")]
    host_names: Vec<String>,
    /// Level of the log (error, warn, info, debug or trace), or a filter of tracing
    #[arg(long, default_value = "info", value_name = "FILTER")]
    log: LogFilter,
    /// Log as JSON lines
    #[arg(long)]
    json_logs: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

async fn run(arguments: Arguments) -> Result<(), CommandError> {
    let _log = program::log(&arguments.log, arguments.json_logs, LOG_TARGETS)?;
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
    let _written = CaFile::write(ca_file, hub.ca_pem())?;
    print_connection_strings(&hub, &arguments.devices, ca_file)?;
    Signals::new()?.next().await;
    print("stopping\n");
    hub.stop().await;
    Ok(())
}

/// Prints the environment variables for a service and for each device.
fn print_connection_strings(hub: &Hub, devices: &[DeviceId], ca_file: &Path) -> anyhow::Result<()> {
    let ca_file = std::fs::canonicalize(ca_file).unwrap_or_else(|_| ca_file.to_owned());
    let mut text = String::from(READY);
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    add(&format!("MQTT over TLS on port {}, HTTPS on port {}", hub.mqtt_port(), hub.https_port()));
    if let Some(port) = hub.connect_port() {
        add(&format!("HTTP CONNECT on port {port}"));
    }
    add(&format!("Clients have to trust {}", ca_file.display()));
    add("");
    add("# for a service");
    add(&format!("export IOTHUB_CA_FILE='{}'", ca_file.display()));
    let service = hub.service_connection_string().to_text_with_key();
    add(&format!("export IOTHUB_CONNECTION_STRING='{service}'"));
    for device in devices {
        let identity = hub
            .create_device(device)
            .with_context(|| format!("cannot register device `{device}`"))?
            .to_text_with_key();
        add("");
        add(&format!("# for the device {device}"));
        add(&format!("export IOTHUB_CA_FILE='{}'", ca_file.display()));
        add(&format!("export IOTHUB_DEVICE_CONNECTION_STRING='{identity}'"));
    }
    add("");
    print(&text);
    Ok(())
}

const READY: &str = "behaviour-hub is ready. It is for development and tests; for production, use Azure IoT Hub.\n\n";

/// Writes to standard output. Ignores errors, so that the hub keeps running if its standard
/// output is closed.
fn print(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}
