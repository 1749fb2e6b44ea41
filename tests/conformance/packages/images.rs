//! The container images of the host and of the hub.

use std::fs;
use std::path::Path;
use std::process::Command;

use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use rig::until;
use serde_json::{Value, json};
use service::{Client, ClientSettings};

use super::super::sdk::run;
use super::container::Containers;
use super::{is_root, program, tools};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_a_container_answers_over_a_hub_in_a_container() {
    if !is_root() {
        return;
    }
    let Some(containers) = Containers::new() else { return };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let images = folder.path().join("images");
    build(&images, &["behaviour-host", "behaviour-hub"]);

    let ports = ["--mqtt-port", "0", "--https-port", "0", "--device", "pump", "--json"];
    let mut hub = containers.start(&images.join("behaviour-hub"), &ports, &[], None).await;
    let ready: Value = serde_json::from_str(&hub.line().await).unwrap();
    let authority = hub.file("/var/lib/behaviour-hub/hub-ca.pem");
    let configuration = containers.path().join("configuration");
    fs::create_dir(&configuration).unwrap();
    fs::copy(&authority, configuration.join("hub.pem")).unwrap();
    fs::write(configuration.join("reply.wasm"), fixtures::guest("reply.wat")).unwrap();
    let text = format!(
        "[hub]\nport = {}\nca_file = \"hub.pem\"\n\
         [plugins.reply]\nfile = \"reply.wasm\"\nmethods = [\"*\"]\n",
        ready["mqtt_port"]
    );
    fs::write(configuration.join("host.toml"), text).unwrap();
    let identity = ready["devices"][0]["connectionString"].as_str().unwrap();
    let variable = [("IOTHUB_DEVICE_CONNECTION_STRING", identity)];
    let mount = Some((configuration.as_path(), "/etc/behaviour-host"));
    let host = containers.start(&images.join("behaviour-host"), &[], &variable, mount).await;

    let ca_pem = Some(fs::read_to_string(authority).unwrap());
    let settings = ClientSettings { ca_pem, ..ClientSettings::default() };
    let owner = ready["connectionString"].as_str().unwrap().parse().unwrap();
    let service = Client::new(owner, settings).unwrap();
    let device: DeviceId = "pump".parse().unwrap();
    let method = "anything".parse().unwrap();
    let request = MethodRequest::new(method, json!(null));
    let answer =
        until("the device answers", || async { service.invoke(&device, &request).await.ok() })
            .await;
    assert_eq!(answer.status, 200);
    assert_eq!([host.user(), hub.user()], [65532, 65532]);
    host.stop().await;
    hub.stop().await;
}

#[test]
fn an_image_is_the_same_each_time_and_says_what_it_contains() {
    if !is_root() || super::super::sdk::available(tools()).is_none() {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    build(&one, &["behaviour-hub"]);
    build(&two, &["behaviour-hub"]);
    let archive = |folder: &Path| {
        let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let archive = files.find(|path| path.extension().is_some_and(|it| it == "tar"));
        fs::read(archive.unwrap()).unwrap()
    };
    assert!(archive(&one) == archive(&two), "another image from the same program");

    let blob = |descriptor: &Value| -> Value {
        let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
        let file = one.join("behaviour-hub/blobs").join(digest);
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    };
    let index = fs::read(one.join("behaviour-hub/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let names = &index["manifests"][0]["annotations"];
    assert_eq!(names["io.containerd.image.name"], "localhost/behaviour-hub:1.0.0");
    let manifest = blob(&index["manifests"][0]);
    let config = blob(&manifest["config"]);
    assert_eq!(config["config"]["User"], "65532:65532");
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], "1.0.0");
    assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0 OR MIT");
    assert_eq!(&manifest["annotations"], labels);
}

/// Builds images of programs of this build.
fn build(folder: &Path, programs: &[&str]) {
    let mut images = Command::new("bash");
    images.arg(rig::workspace().join(".ci/images")).arg("--out").arg(folder);
    for name in programs {
        let option = name.replace("behaviour-", "--");
        images.arg(option).arg(program(name));
    }
    let tools = tools().as_ref().unwrap().join("usr/bin");
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&path)));
    images.env("PATH", path.unwrap()).args(["--version", "1.0.0"]);
    run(&mut images).unwrap();
}
