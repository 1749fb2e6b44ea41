//! Runs a device with one plugin and a hub in one process, and invokes a method.
//!
//! ```text
//! cargo run -p behaviour-host --example device
//! ```
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::error::Error;

use behaviour_host::Config;
use hub::{Hub, HubConfig};
use serde_json::json;
use service::{Client, ClientSettings, MethodRequest};
use tokio::sync::oneshot;

/// Configuration whose files are all in its own directory.
const HOST_TOML: &str = r#"
[hub]
ca_file = "ca.pem"

[host]
data = "data"
compile_cache = "compiled"
control_socket = "control/host.sock"

[plugins.echo]
file = "reply.wasm"
methods = ["*"]
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = Hub::start(HubConfig::default()).await?;
    let identity = hub.create_device(&"my-device".parse()?)?;
    let device = identity.device.clone();

    let directory = tempfile::tempdir()?;
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, hub.ca_pem())?;
    // A plugin that answers each method with its payload.
    let _component = fixtures::write("reply.wat", directory.path());
    let config = Config::parse(HOST_TOML, directory.path())?;

    // The host runs until `stop` is dropped.
    let (stop, stopped) = oneshot::channel::<()>();
    let host = behaviour_host::run(config, identity, async { drop(stopped.await) });
    let caller = async {
        hub.connected(&device).await;
        let settings = ClientSettings { ca_file: Some(ca_file), ..ClientSettings::default() };
        let client = Client::new(hub.service_connection_string(), settings)?;
        let request = MethodRequest::new("greet".parse()?, json!("world"));
        let result = client.invoke(&device, &request).await?;
        drop(stop);
        Ok::<_, Box<dyn Error>>(result)
    };
    let (ended, result) = tokio::join!(host, caller);
    ended?;
    let result = result?;
    println!("{} {}", result.status, result.payload);
    hub.stop().await;
    Ok(())
}
