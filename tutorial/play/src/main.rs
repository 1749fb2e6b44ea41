//! The reboot tutorial in one process: a hub, a host with the reboot guest, and a service that
//! reboots the device and reads its twin.
//!
//! Host and service are the real ones and communicate by MQTT and HTTPS over TLS on this
//! machine. The hub is an emulator of IoT Hub.
//!
//! The package `tutorial` compiles this program as step 1 of 3 and starts it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line program")]

mod certificate;
mod command_error;
mod speakers;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use behaviour::BuildOptions;
use clap::{Parser, ValueEnum};
use hub::{Hub, HubConfig};
use program::duration;
use protocol::mqtt5::ConnectionProfile;
use protocol::registry::DeviceIdentity;
use service::reboot;
use service::{Client, ClientSettings, DeviceId};
use tokio::sync::oneshot;

use command_error::{CommandError, FailureKind};
use speakers::say;

/// Device id, as in the tutorial of IoT Hub.
const DEVICE: &str = "myDeviceId";

/// Maximum delay. The guest must report before IoT Hub's timeout of 300 s.
const LONGEST_DELAY: Duration = Duration::from_secs(280);

/// Time limit of a call in addition to its delay.
const MARGIN: Duration = Duration::from_secs(15);

/// Time limit for the host to connect.
const CONNECT_WAIT: Duration = Duration::from_secs(30);

/// The reboot tutorial on this machine: hub, host and service in one process.
///
/// Ends with exit code 0 when the service has seen the new reboot time.
#[derive(Parser)]
#[command(name = "tutorial", version)]
struct Arguments {
    /// The time that the reboot takes, at most 280s
    #[arg(long, default_value = "20s", value_parser = delay, value_name = "TIME")]
    delay: Duration,
    /// Wire between device and hub: MQTT 3.1.1, or MQTT 5 (preview)
    #[arg(long, value_enum, default_value = "classic", value_name = "PROFILE")]
    profile: Profile,
}

/// Wire between device and hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// MQTT 3.1.1, and a device that signs in with a key
    Classic,
    /// MQTT 5, and a device that signs in with a certificate
    Mqtt5,
}

fn delay(text: &str) -> Result<Duration, String> {
    let delay = duration::parse(text).map_err(|error| error.to_string())?;
    match delay <= LONGEST_DELAY {
        true => Ok(delay),
        false => Err(format!("`{text}` is longer than {}s", LONGEST_DELAY.as_secs())),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { delay, profile } = Arguments::parse();
    speakers::print_events();
    match play(delay, profile).await {
        Ok(time) => {
            say("tutorial", &format!("done: the reboot of {time} was seen in the twin"));
            ExitCode::SUCCESS
        }
        Err(error) => error.report(),
    }
}

async fn play(delay: Duration, profile: Profile) -> Result<String, CommandError> {
    say("tutorial", "step 2 of 3: building the plugin in guest-reboot/");
    let plugin = tokio::task::spawn_blocking(build_guest).await??;
    say("tutorial", "step 3 of 3: rebooting a device");
    let hub = Hub::start(HubConfig {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        mqtt_port: 0,
        https_port: 0,
        profile: (profile == Profile::Mqtt5).then_some(ConnectionProfile::MqttV5),
        ..HubConfig::default()
    })
    .await?;
    let (mqtt, https) = (hub.mqtt_port(), hub.https_port());
    say("hub", &format!("ready: MQTT over TLS on port {mqtt}, HTTPS on port {https}"));
    if let Some(link) = hub.explorer_link() {
        say("hub", &format!("watch it in a browser while it runs: {link}"));
    }
    let device: DeviceId = DEVICE.parse().context("device")?;
    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings)?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    if profile == Profile::Mqtt5 {
        say("tutorial", "the device speaks MQTT 5 (preview) and signs in with a certificate");
        let authentication = Some(certificate::write(&device, folder.path())?);
        let identity = DeviceIdentity { authentication, ..DeviceIdentity::new(device.clone()) };
        client.create_identity(&identity).await?;
    }
    let identity = hub.create_device(&device).context("cannot register the tutorial's device")?;
    std::fs::write(folder.path().join("hub-ca.pem"), hub.ca_pem()).context("CA file")?;
    let toml = host_toml(mqtt, &plugin, delay, profile);
    let config = host::Config::parse(&toml, folder.path()).context("host.toml")?;
    let (stop, stopped) = oneshot::channel();
    let host = host::run(config, identity, async { drop(stopped.await) });
    let mut host = tokio::spawn(host);
    tokio::select! {
        () = hub.connected(&device) => {}
        ended = &mut host => ended??,
        () = tokio::time::sleep(CONNECT_WAIT) => {
            let wait = duration::display(CONNECT_WAIT);
            let message = format!("the host did not connect to the hub within {wait}");
            return Err(CommandError::new(FailureKind, message));
        }
    }

    let timeout = (delay + MARGIN).max(Duration::from_secs(30));
    let time =
        reboot::reboot(&client, &device, timeout, |step| say("service", &step.to_string())).await?;

    stop.send(()).ok();
    host.await??;
    hub.stop().await;
    Ok(time)
}

/// Returns the text of `host.toml`.
fn host_toml(port: u16, plugin: &Path, delay: Duration, profile: Profile) -> String {
    let (seconds, deadline) = (delay.as_secs_f64(), (delay + MARGIN).as_secs());
    let profile = match profile {
        Profile::Classic => String::new(),
        Profile::Mqtt5 => format!(
            "profile = \"mqttV5\"\nidentity.certificate_file = {:?}\nidentity.key_file = {:?}\n",
            certificate::CERTIFICATE,
            certificate::KEY
        ),
    };
    format!(
        "[hub]\nport = {port}\nca_file = \"hub-ca.pem\"\n{profile}\n[host]\ndata = \"data\"\n\n\
         [plugins.reboot]\nfile = {plugin:?}\nmethods = [\"rebootDevice\"]\n\
         deadline = \"{deadline}s\"\nconfig.delay_seconds = {seconds}\n"
    )
}

/// Builds the component in `guest-reboot/`.
fn build_guest() -> Result<PathBuf, CommandError> {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-reboot");
    let progress = |line: &str| say("tutorial", line);
    let options = BuildOptions { progress: &progress, ..BuildOptions::default() };
    let built = behaviour::build(&guest, &options).map_err(|error| {
        if let Some(output) = error.output() {
            eprintln!("{output}");
        }
        CommandError::from(error).context("cannot build the reboot guest")
    })?;
    Ok(built.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_a_duration_up_to_280_seconds() {
        assert_eq!(delay("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(delay("280s"), Ok(LONGEST_DELAY));
        assert_eq!(delay("5m"), Err("`5m` is longer than 280s".to_owned()));
        let malformed = "invalid duration `soon`: expected a value such as 20s, 500ms or 1h 30m";
        assert_eq!(delay("soon"), Err(malformed.to_owned()));
    }
}
