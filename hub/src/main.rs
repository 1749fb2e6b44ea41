//! `behaviour-hub`: a stand-in for Azure IoT Hub on this machine.

mod ca_file;
mod command_error;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use behaviour_hub::{CustomTopic, DeviceProfile, ExplorerAccess, Hub, HubConfig};
use ca_file::CaFile;
use clap::{Parser, Subcommand, ValueEnum};
use command_error::CommandError;
use program::{Completions, LogFilter, Signals, duration};
use protocol::id::DeviceId;
use protocol::mqtt5::ConnectionProfile;
use serde_json::json;

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

const EXAMPLES: &str = "\
Examples:
  behaviour-hub --device my-device
  behaviour-hub --device d1 --device d2 --data hub-data
  behaviour-hub --mqtt-port 0 --https-port 0 --device d1 --json

Exit codes:
  0  stopped by Ctrl-C or SIGTERM
  1  the hub did not start
  2  the command line is wrong";

/// A stand-in for Azure IoT Hub, for development and tests.
///
/// Devices connect by MQTT over TLS and services by HTTPS, with the official SDKs
/// or with behaviour-host and behaviour-service. Prints the connection strings of
/// both. For production, use Azure IoT Hub.
#[derive(Parser)]
#[command(
    name = "behaviour-hub",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true
)]
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
    /// Folder in which devices, twins, enrollments, configurations and jobs are persisted
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// File for the certificate that clients have to trust
    #[arg(long, default_value = "hub-ca.pem", value_name = "FILE")]
    ca_file: PathBuf,
    /// Authorities that can sign the certificates of devices, as PEM; may be repeated
    #[arg(long = "device-ca-file", value_name = "FILE")]
    device_ca_files: Vec<PathBuf>,
    /// Lifetime of the certificates that the hub issues to devices which register, 1m or more
    #[arg(long, default_value = "30d", value_parser = lifetime, value_name = "TIME")]
    certificate_lifetime: Duration,
    /// Time after which configurations are evaluated again; 5m as in Azure
    #[arg(long, default_value = "1s", value_parser = interval, value_name = "TIME")]
    evaluate_every: Duration,
    /// Device to register at start; may be repeated
    #[arg(long = "device", value_name = "ID")]
    devices: Vec<DeviceId>,
    /// Connection profile of all devices: `classic` (MQTT 3.1.1) or `mqttV5` (MQTT 5, preview).
    /// By default, devices of both profiles can connect
    #[arg(long, value_name = "PROFILE")]
    profile: Option<ConnectionProfile>,
    /// Connection profile of one device, such as `pump-7=mqttV5`; may be repeated
    #[arg(long = "device-profile", value_name = "ID=PROFILE")]
    device_profiles: Vec<DeviceProfile>,
    /// Topic of messages from devices with MQTT 5, such as `factory/{deviceId}/alerts`; may be
    /// repeated
    #[arg(long = "custom-topic", value_name = "TOPIC")]
    custom_topics: Vec<CustomTopic>,
    /// Additional name of the hub; may be repeated
    #[arg(long = "host-name", value_name = "NAME")]
    host_names: Vec<String>,
    /// Connections on which the explorer page is served
    #[arg(long, default_value = "loopback", value_name = "CONNECTIONS")]
    explorer: PageAccess,
    /// Level of the log (error, warn, info, debug or trace), or a filter of tracing
    #[arg(long, default_value = "info", value_name = "FILTER")]
    log: LogFilter,
    /// Log as JSON lines
    #[arg(long)]
    json_logs: bool,
    /// Print ports, connection strings and errors as JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Value of `--explorer`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PageAccess {
    /// Those from this machine
    Loopback,
    /// All; users still have to sign in
    Any,
    /// None
    Off,
}

impl From<PageAccess> for ExplorerAccess {
    fn from(access: PageAccess) -> ExplorerAccess {
        match access {
            PageAccess::Loopback => ExplorerAccess::Loopback,
            PageAccess::Any => ExplorerAccess::Any,
            PageAccess::Off => ExplorerAccess::Off,
        }
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    match time >= Duration::from_secs(60) {
        true => Ok(time),
        false => Err("must be 1m or more".to_owned()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    match (Duration::from_millis(100)..=Duration::from_secs(86_400)).contains(&time) {
        true => Ok(time),
        false => Err("must be 100ms to 1d".to_owned()),
    }
}

#[derive(Subcommand)]
enum Command {
    Completions(Completions),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match program::parse::<Arguments>(&program::build_info!()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    if let Some(Command::Completions(completions)) = arguments.command {
        completions.print("behaviour-hub");
        return ExitCode::SUCCESS;
    }
    match run(arguments).await {
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
        device_ca_files: arguments.device_ca_files,
        certificate_lifetime: arguments.certificate_lifetime,
        evaluate_every: arguments.evaluate_every,
        host_names: arguments.host_names,
        profile: arguments.profile,
        device_profiles: arguments.device_profiles,
        custom_topics: arguments.custom_topics,
        explorer: arguments.explorer.into(),
        ..HubConfig::default()
    })
    .await?;
    let ca_file = &arguments.ca_file;
    let _written = CaFile::write(ca_file, hub.ca_pem())?;
    let ca_file = std::fs::canonicalize(ca_file).unwrap_or_else(|_| ca_file.to_owned());
    let devices = register(&hub, &arguments.devices)?;
    print(&match arguments.json {
        true => ready_json(&hub, &devices, &ca_file),
        false => ready_text(&hub, &devices, &ca_file),
    });
    Signals::new()?.next().await;
    if !arguments.json {
        print("stopping\n");
    }
    hub.stop().await;
    Ok(())
}

/// Registers the devices. Returns each with its connection string.
fn register(hub: &Hub, devices: &[DeviceId]) -> anyhow::Result<Vec<(DeviceId, String)>> {
    let register = |device: &DeviceId| {
        let identity = hub
            .create_device(device)
            .with_context(|| format!("cannot register device `{device}`"))?;
        Ok((device.clone(), identity.to_text_with_key()))
    };
    devices.iter().map(register).collect()
}

/// Returns the ports, and the environment variables for a service and for each device.
fn ready_text(hub: &Hub, devices: &[(DeviceId, String)], ca_file: &Path) -> String {
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
    if let Some(link) = hub.explorer_link() {
        add(&format!("Explorer page, signed in once by this link: {link}"));
    }
    add("");
    add("# for a service");
    add(&format!("export IOTHUB_CA_FILE='{}'", ca_file.display()));
    let service = hub.service_connection_string().to_text_with_key();
    add(&format!("export IOTHUB_CONNECTION_STRING='{service}'"));
    for (device, identity) in devices {
        add("");
        add(&format!("# for the device {device}"));
        add(&format!("export IOTHUB_CA_FILE='{}'", ca_file.display()));
        add(&format!("export IOTHUB_DEVICE_CONNECTION_STRING='{identity}'"));
    }
    let provisioning = hub.provisioning();
    add("");
    add("# for devices that provision themselves, and the service that enrolls them");
    add(&format!("export PROVISIONING_HOST='{}'", provisioning.host()));
    add(&format!("export PROVISIONING_IDSCOPE='{}'", provisioning.id_scope()));
    let owner = provisioning.connection_string().to_text_with_key();
    add(&format!("export PROVISIONING_CONNECTION_STRING='{owner}'"));
    add("");
    add("# for a service that signs in by Microsoft Entra ID, with --auth environment");
    add(&format!("export IOTHUB_HOST='{}'", hub.service_connection_string().host));
    add(&format!("export PROVISIONING_SERVICE_HOST='{}'", provisioning.connection_string().host));
    let directory = hub.directory();
    add(&format!("export AZURE_AUTHORITY_HOST='{}'", directory_url(hub)));
    add(&format!("export AZURE_TENANT_ID='{}'", directory.tenant_id()));
    add(&format!("export AZURE_CLIENT_ID='{}'", directory.client_id()));
    add(&format!("export AZURE_CLIENT_SECRET='{}'", directory.client_secret()));
    add("");
    text
}

/// Returns the URL of the directory of Microsoft Entra ID, which is on the HTTPS port.
fn directory_url(hub: &Hub) -> String {
    format!("https://{}", hub.service_connection_string().host)
}

/// Returns the ports and connection strings as a line of JSON.
fn ready_json(hub: &Hub, devices: &[(DeviceId, String)], ca_file: &Path) -> String {
    let devices: Vec<_> = devices
        .iter()
        .map(
            |(device, identity)| json!({"deviceId": device.as_str(), "connectionString": identity}),
        )
        .collect();
    let directory = hub.directory();
    let ready = json!({
        "mqtt_port": hub.mqtt_port(),
        "https_port": hub.https_port(),
        "connect_port": hub.connect_port(),
        "ca_file": ca_file,
        "connectionString": hub.service_connection_string().to_text_with_key(),
        "provisioning": {
            "host": hub.provisioning().host().to_string(),
            "idScope": hub.provisioning().id_scope(),
            "connectionString": hub.provisioning().connection_string().to_text_with_key(),
        },
        "directory": {
            "authority": directory_url(hub),
            "tenantId": directory.tenant_id(),
            "clientId": directory.client_id(),
            "clientSecret": directory.client_secret(),
            "federatedToken": directory.federated_token(),
        },
        "devices": devices,
        "explorer": hub.explorer_link(),
    });
    format!("{ready}\n")
}

const READY: &str = "behaviour-hub is ready. It is for development and tests; for production, use Azure IoT Hub.\n\n";

/// Writes to standard output. Ignores errors, so that the hub keeps running if its standard
/// output is closed.
fn print(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

#[cfg(test)]
#[path = "../../docs/command_definition.rs"]
mod command_definition;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_help_texts_are_valid() {
        let definition = program::definition::<Arguments>(&program::build_info!());
        command_definition::check_examples(&definition);
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let definition = program::definition::<Arguments>(&program::build_info!());
        command_definition::check_manual(definition);
    }
}
