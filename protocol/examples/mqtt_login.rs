//! Prints the parameters with which an MQTT client connects to IoT Hub as a device.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…' cargo run -p behaviour-protocol --example mqtt_login
//! ```
//!
//! If the variable is not set, the example uses the connection string of an imaginary
//! device. The printed token is a secret. It expires after an hour.
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::env;
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use behaviour_protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use behaviour_protocol::sas::sign;
use behaviour_protocol::topic::Filter;
use behaviour_protocol::user_name::{API_VERSION, UserName};

const SAMPLE: &str = "HostName=hub.example;DeviceId=d1;SharedAccessKey=c2VjcmV0";

const LIFETIME_SECONDS: u64 = 3600;

fn main() -> Result<(), Box<dyn Error>> {
    let text = env::var("IOTHUB_DEVICE_CONNECTION_STRING").unwrap_or_else(|_| SAMPLE.to_owned());
    let identity: DeviceConnectionString = text.trim().parse()?;
    let user = UserName {
        host: identity.host.clone(),
        device: identity.device.clone(),
        module: identity.module.clone(),
        api_version: API_VERSION.to_owned(),
        client_type: None,
        model_id: None,
    };
    let password = match &identity.credential {
        DeviceCredential::Key(key) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            sign(&identity.resource(), None, key, now + LIFETIME_SECONDS).to_string()
        }
        DeviceCredential::Token(token) => token.to_string(),
        DeviceCredential::X509 => "none: the device authenticates with its certificate".to_owned(),
    };
    let address = identity.gateway.as_ref().unwrap_or(&identity.host);
    println!("host       {}", address.name());
    println!("port       {}, over TLS", address.port().unwrap_or(8883));
    println!("client id  {}", user.client_id());
    println!("user name  {user}");
    println!("password   {password}");
    println!("subscribe  {}", Filter::Methods);
    Ok(())
}
