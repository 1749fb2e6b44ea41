//! A host that signs in as a module, beside another host of the same device.

use std::fs;

use hub::Hub;
use protocol::connection_string::DeviceConnectionString;
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use protocol::target::Target;
use rig::{DEVICE, Rig, until};
use serde_json::json;
use tokio::sync::oneshot;

const MODULE: &str = "module-1";

/// Returns the connection string of the module.
fn identity(hub: &Hub) -> DeviceConnectionString {
    hub.create_module(&DEVICE.parse().unwrap(), &MODULE.parse().unwrap()).unwrap()
}

#[tokio::test]
async fn a_host_as_a_module_has_its_own_twin_and_methods_beside_the_device() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    let folder = tempfile::tempdir().unwrap();
    let guest = fixtures::write("reply.wat", folder.path());
    let toml = format!(
        "[hub]\nport = {}\nca_file = {:?}\n[host]\ndata = \"data\"\ncontrol_socket = \"control/host.sock\"\n\
         [plugins.reply]\nfile = {guest:?}\nmethods = [\"*\"]\n",
        rig.hub().mqtt_port(),
        rig.ca_file(),
    );
    let file = folder.path().join("host.toml");
    fs::write(&file, toml).unwrap();
    let config = host::Config::read(&file).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut running = tokio::spawn(host::run(config, identity(rig.hub()), async move {
        stopped.await.ok();
    }));

    // Each reports its plugins to its own twin.
    let query =
        "SELECT * FROM devices.modules WHERE properties.reported.plugins.reply.state = 'active'";
    let reported = until("the module reports its plugins", || async {
        let mut found = rig.service.client.query(query, None);
        found.next_page().await.unwrap().and_then(|page| page.into_iter().next())
    });
    let twin = tokio::select! {
        twin = reported => twin,
        ended = &mut running => panic!("{ended:?}"),
    };
    assert_eq!(twin["moduleId"], MODULE);
    assert_eq!(twin["connectionState"], "Connected");
    assert_eq!(rig.service.call("m", json!(1)).await.unwrap().status, 200, "the device answers");

    // A service reaches each by its own name.
    let client = &rig.service.client;
    let module: Target = format!("{DEVICE}/{MODULE}").parse().unwrap();
    let method = MethodRequest::new("m".parse().unwrap(), json!(1));
    assert_eq!(client.invoke(&module, &method).await.unwrap().status, 200, "the module answers");
    let patch = json!({ "properties": { "desired": { "of": "the module" } } });
    client.patch_twin(&module, patch, None).await.unwrap();
    let device: DeviceId = DEVICE.parse().unwrap();
    assert_eq!(client.twin(&module).await.unwrap().properties.desired["of"], "the module");
    assert!(!client.twin(&device).await.unwrap().properties.desired.contains_key("of"));

    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}
