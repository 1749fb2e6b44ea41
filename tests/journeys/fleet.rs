//! Plugins that the cloud names in the desired properties.

use fixtures::{Publisher, Registry};
use oci::Digest;
use oci::artifact::Metadata;
use protocol::id::DeviceId;
use rig::{Rig, Running, Service, Settings, set, until};
use serde_json::{Value, json};

mod broken;
mod hostile;
mod trouble;

/// A device whose plugin `p` the cloud chooses.
struct Fleet {
    rig: Running,
    publisher: Publisher,
    registry: Registry,
}

impl Fleet {
    async fn start() -> Fleet {
        Fleet::start_with(|host| (host.to_owned(), Settings::default())).await
    }

    /// Starts a device. `settings` gets the host of the running registry, and returns that in
    /// the names of images and further settings.
    async fn start_with(settings: impl FnOnce(&str) -> (String, Settings)) -> Fleet {
        let registry = Registry::start().await;
        let host = registry.host();
        let (name, settings) = settings(&host);
        let settings = settings.and([
            set("host.registry.plain_http", vec![host.as_str()]),
            set("host.registry.spread", "0s"),
            set("host.trust.keys", vec!["publisher.pem"]),
            set("fleet.images", vec![format!("{name}/plugins/*")]),
        ]);
        let mut rig = Rig::new().host(settings).start().await;
        let publisher = Publisher::new(rig.directory(), &name);
        registry.serve(publisher.directory());
        rig.start_host().await;
        Fleet { rig, publisher, registry }
    }

    async fn desire(&self, entry: Value) {
        self.rig.service.desire(json!({"plugins": {"p": entry}})).await;
    }

    /// Desires an image, and waits until its version is active.
    async fn move_to(&self, digest: &Digest) {
        self.desire(json!({"image": self.publisher.image(digest)})).await;
        self.until_state("active", digest).await;
    }

    async fn until_state(&self, state: &str, digest: &Digest) -> Value {
        until(format!("{digest} is {state}"), || async {
            let report = self.rig.service.reported().await["plugins"]["p"].take();
            (report["state"] == state && report["digest"] == json!(digest)).then_some(report)
        })
        .await
    }

    async fn check_answer(&self, version: &str) {
        let answer = self.rig.service.call("ask", json!(1)).await.unwrap();
        assert_eq!((answer.status, &answer.payload["first"]), (200, &json!(version)));
    }

    async fn restart(&mut self) {
        self.rig.stop_host().await.unwrap();
        self.rig.start_host().await;
    }
}

fn release(release: u64) -> Metadata {
    Metadata { methods: vec!["ask".to_owned()], release, ..Metadata::default() }
}

#[tokio::test]
async fn a_desired_image_answers_and_its_successor_takes_over_also_after_a_restart() {
    let mut fleet = Fleet::start().await;
    let service = fleet.rig.service.clone();
    assert_eq!(service.call("ask", json!(1)).await.unwrap().status, 404);
    let one = fleet.publisher.publish("version-one.wat", &release(1)).await;
    fleet.move_to(&one).await;
    fleet.check_answer("one").await;

    let two = fleet.publisher.publish("version-two.wat", &release(2)).await;
    fleet.move_to(&two).await;
    fleet.check_answer("two").await;
    let report = fleet.until_state("active", &two).await;
    assert!(report["desiredVersion"].as_u64() > Some(1) && report["runningDigest"].is_null());

    // The host starts with the installed version, without the registry.
    std::fs::remove_dir_all(fleet.publisher.directory()).unwrap();
    fleet.restart().await;
    fleet.check_answer("two").await;

    fleet.desire(Value::Null).await;
    service.until_status("ask", 404).await;
    until("the report is removed", || async {
        service.reported().await["plugins"].get("p").is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_changed_setting_is_a_new_version() {
    let fleet = Fleet::start().await;
    let one = fleet.publisher.publish("version-one.wat", &release(1)).await;
    let healthy = Metadata { health: Some("ask".to_owned()), ..release(2) };
    let two = fleet.publisher.publish("version-two.wat", &healthy).await;
    fleet.move_to(&one).await;
    fleet.move_to(&two).await;
    let image = fleet.publisher.image(&two);
    fleet.desire(json!({"image": image, "config": {"greeting": "hi"}})).await;
    fleet.rig.until_reported("/plugins/p/version", &json!(3)).await;
    fleet.check_answer("two").await;
}

#[tokio::test]
async fn an_entry_beyond_the_bounds_is_refused_with_its_reason() {
    let fleet = Fleet::start().await;
    let one = fleet.publisher.publish("version-one.wat", &release(1)).await;
    fleet.move_to(&one).await;
    let image = fleet.publisher.image(&one);
    for (entry, reason) in [
        (json!({"image": image, "capabilities": ["power"]}), "capability-above-ceiling"),
        (json!({"image": image, "limits": {"jobs": 65}}), "limit-above-ceiling"),
        (json!({"image": image.split('@').next()}), "not-pinned"),
        (json!({"image": image.replace("plugins", "other")}), "image-not-allowed"),
        (json!({"file": "/etc/passwd"}), "invalid-entry"),
    ] {
        fleet.desire(Value::Null).await;
        fleet.desire(entry).await;
        fleet.rig.until_reported("/plugins/p/reason", &json!(reason)).await;
        fleet.rig.until_reported("/plugins/p/state", &json!("refused")).await;
    }
    // The bounds do not end a version that runs.
    fleet.desire(Value::Null).await;
    fleet.move_to(&one).await;
    let wide = json!({"image": image, "capabilities": ["power"], "limits": null});
    fleet.desire(wide).await;
    fleet.rig.until_reported("/plugins/p/state", &json!("refused")).await;
    fleet.check_answer("one").await;
}

#[tokio::test]
async fn simulated_devices_follow_their_own_desired_plugins() {
    const DEVICES: usize = 3;
    let fleet = Fleet::start().await;
    let one = fleet.publisher.publish("version-one.wat", &release(1)).await;
    let two = fleet.publisher.publish("version-two.wat", &release(2)).await;
    let hub = fleet.rig.hub();
    let devices: Vec<DeviceId> =
        (0..DEVICES).map(|number| format!("sim-{number}").parse().unwrap()).collect();
    let identities: Vec<_> =
        devices.iter().map(|it| hub.create_device(it).unwrap().to_text_with_key()).collect();
    let file = fleet.rig.directory().join("devices.txt");
    std::fs::write(&file, identities.join("\n")).unwrap();
    let toml = fleet.rig.directory().join("host.toml");
    let text = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(&toml, text.replace("\"data\"", "\"simulated\"")).unwrap();
    let config = host::Config::read(&toml).unwrap();
    let identities = host::Fleet::read(&file, None).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let simulation =
        tokio::spawn(async move { host::simulate(config, identities, 100, stopped, |_| {}).await });

    for (index, device) in devices.iter().enumerate() {
        let digest = if index == 0 { &two } else { &one };
        let entry = json!({"image": fleet.publisher.image(digest)});
        let patch = json!({"properties": {"desired": {"plugins": {"p": entry}}}});
        fleet.rig.service.client.patch_twin(device, patch, None).await.unwrap();
    }
    for (index, device) in devices.into_iter().enumerate() {
        let service = Service { client: fleet.rig.service.client.clone(), device };
        let (digest, version) = if index == 0 { (&two, "two") } else { (&one, "one") };
        until(format!("{} runs {version}", service.device), || async {
            let report = service.reported().await["plugins"]["p"].take();
            (report["state"] == "active" && report["digest"] == json!(digest)).then_some(())
        })
        .await;
        let answer = service.call("ask", json!(1)).await.unwrap();
        assert_eq!((answer.status, &answer.payload["first"]), (200, &json!(version)));
    }
    stop.send(()).unwrap();
    simulation.await.unwrap().unwrap();
}
