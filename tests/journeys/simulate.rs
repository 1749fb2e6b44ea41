//! Test of a simulated fleet in one process, with a separate identity for each device.

use std::fmt::Write as _;

use host::{Config, Fleet};
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use rig::{Rig, within};
use serde_json::json;

const DEVICES: usize = 25;

#[tokio::test]
async fn every_device_of_a_fleet_connects_and_answers_until_the_fleet_drains() {
    let rig = Rig::new().start().await;
    let folder = tempfile::tempdir().unwrap();
    let _plugin = fixtures::write("reply.wat", folder.path());
    let toml = format!(
        "hub.port = {}\nhub.ca_file = {:?}\n[plugins.reply]\nfile = \"reply.wasm\"\nmethods = [\"*\"]\n",
        rig.hub().mqtt_port(),
        rig.ca_file()
    );
    let config = Config::parse(&toml, folder.path()).unwrap();
    let ids: Vec<DeviceId> = (1..=DEVICES).map(|n| format!("sim-{n}").parse().unwrap()).collect();
    let mut lines = String::new();
    for id in &ids {
        let identity = rig.hub().create_device(id).unwrap();
        writeln!(lines, "{}", identity.to_text_with_key()).unwrap();
    }
    let file = folder.path().join("devices.txt");
    std::fs::write(&file, lines).unwrap();
    let fleet = Fleet::read(&file, None).unwrap();

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let simulation = tokio::spawn(host::simulate(config, fleet, 1000, stopped, |_| ()));
    for id in &ids {
        within(format!("{id} connects"), rig.hub().connected(id)).await;
        let request = MethodRequest::new("echo".parse().unwrap(), json!(id.as_str()));
        let answer = rig.service.client.invoke(id, &request).await.unwrap();
        assert_eq!((answer.status, answer.payload.to_value()), (200, json!(id.as_str())));
    }
    stop.send(()).unwrap();
    let figures = within("the fleet drains", simulation).await.unwrap().unwrap();

    assert_eq!((figures.max_connected, figures.connected), (DEVICES, 0));
    assert_eq!((figures.methods, figures.errors), (DEVICES as u64, 0));
}
