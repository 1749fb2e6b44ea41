//! A device on rumqttc alone: what a method costs without a sandbox.
//!
//! It is written as one would write it by hand for two methods: no twin, no
//! limits, no reconnecting. Answers leave at QoS 1, as the host's do.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::sas::sign;
use protocol::topic::{DeviceTopic, Filter, HubTopic};
use protocol::user_name::{API_VERSION, UserName};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS, TlsConfiguration, Transport,
};
use trust::Trust;

use super::{CA_FILE, IDENTITY};

/// Runs until it is killed.
pub(crate) async fn run() -> anyhow::Result<()> {
    let (client, mut event_loop) = connect()?;
    client.subscribe(Filter::Methods.to_string(), QoS::AtLeastOnce).await?;
    loop {
        if let Event::Incoming(Packet::Publish(publish)) = event_loop.poll().await? {
            answer(&client, publish)?;
        }
    }
}

fn connect() -> anyhow::Result<(AsyncClient, EventLoop)> {
    let identity: DeviceConnectionString = std::env::var(IDENTITY)?.parse()?;
    let mut trust = Trust::of_system();
    trust.add_file(std::env::var(CA_FILE)?.as_ref())?;
    let DeviceCredential::Key(key) = &identity.credential else { bail!("a key is needed") };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let token = sign(&identity.resource(), None, key, now + 24 * 3600);
    let name = UserName {
        host: identity.host.clone(),
        device: identity.device.clone(),
        module: None,
        api_version: API_VERSION.to_owned(),
        client_type: None,
        model_id: None,
    };
    let port = identity.host.port().context("the hub's port")?;
    let mut options = MqttOptions::new(name.client_id(), identity.host.name(), port);
    let tls = TlsConfiguration::Rustls(Arc::new(trust.into_client_config()?));
    options
        .set_transport(Transport::tls_with_config(tls))
        .set_keep_alive(Duration::from_secs(60))
        .set_credentials(name.to_string(), token.to_string())
        .set_inflight(512)
        .set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut event_loop) = AsyncClient::new(options, 20_000);
    event_loop.network_options.set_tcp_nodelay(true);
    Ok((client, event_loop))
}

fn answer(client: &AsyncClient, publish: Publish) -> anyhow::Result<()> {
    let HubTopic::Method { name, rid } = publish.topic.parse()? else { return Ok(()) };
    let topic = DeviceTopic::MethodAnswer { status: 200, rid }.to_string();
    if name.as_str() != "sleep" {
        client.try_publish(topic, QoS::AtLeastOnce, false, publish.payload)?;
        return Ok(());
    }
    let milliseconds: u64 = std::str::from_utf8(&publish.payload)?.parse()?;
    let client = client.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        // The device is about to be killed if this fails.
        let _ = client.publish(topic, QoS::AtLeastOnce, false, publish.payload).await;
    });
    Ok(())
}
