//! The life of the Debian package on a device.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rig::{Rig, Running, until};
use serde_json::{Value, json};

use super::super::sdk::{available, exclusively, run};
use super::machine::Machine;
use super::{is_root, program};

/// Folders whose files change whatever is installed: logs, and the databases of apt and dpkg.
const CHANGING: [&str; 5] =
    ["/var/cache/apt/", "/var/cache/debconf/", "/var/lib/apt/", "/var/lib/dpkg/", "/var/log/"];

/// Packages with libraries for other processors.
const CROSS: [&str; 2] = ["libc6-arm64-cross", "libc6-armhf-cross"];

/// Folder of the operator's files.
const CONFIGURATION: &str = "/etc/behaviour-host";

#[tokio::test(flavor = "multi_thread")]
async fn the_debian_package_serves_a_device_from_installation_to_purge() {
    if !is_root() {
        return;
    }
    // Not in /tmp, whose files cannot be executed on some machines.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let Some(machine) = Machine::boot(folder.path()).await else { return };
    package(folder.path(), "1.0.0");
    package(folder.path(), "1.1.0");
    let rig = Rig::new().start().await;
    let before: BTreeSet<_> = machine.files().into_iter().collect();

    install(&machine, "1.0.0");
    assert_eq!(machine.must("systemctl is-enabled behaviour-host"), "enabled");
    // Without the connection string of a device, the host is not started.
    assert_eq!(show(&machine, "ConditionResult"), "no");
    configure(&machine, &rig);
    machine.must("systemctl start behaviour-host");
    assert_eq!(show(&machine, "ActiveState"), "active");
    rig.ready().await;
    assert_eq!(call(&rig, "k1", json!(7)).await, 200);
    let rating = machine.must("systemd-analyze security --no-pager behaviour-host | tail -n 1");
    assert!(rating.contains("1.1 OK"), "{rating}");
    assert_eq!(machine.must("stat -c %a /var/lib/private/behaviour-host"), "700");
    let user = machine.must("stat -c %u /var/lib/private/behaviour-host");
    assert!((61184..=65519).contains(&user.parse().unwrap()), "{user} is not a dynamic user");

    // A host that is killed, and one that hangs, are started again.
    machine.must("systemctl kill --signal=KILL behaviour-host");
    until_restarted(&machine, &rig, 1).await;
    let hangs = "/run/systemd/system/behaviour-host.service.d";
    machine.must(&format!("mkdir -p {hangs}"));
    machine.write(&format!("{hangs}/hangs.conf"), "[Service]\nWatchdogSec=5s\n");
    machine.must("systemctl daemon-reload && systemctl restart behaviour-host");
    let restarts: u32 = show(&machine, "NRestarts").parse().unwrap();
    machine.must("systemctl kill --signal=STOP behaviour-host");
    until_restarted(&machine, &rig, restarts + 1).await;
    let journal = machine.must("journalctl --no-pager --unit=behaviour-host");
    assert!(journal.contains("Watchdog timeout (limit 5s)!"), "{journal}");
    machine.must(&format!("rm -r {hangs} && systemctl daemon-reload"));

    // An upgrade keeps configuration and data, and starts the new program.
    let process = show(&machine, "MainPID");
    install(&machine, "1.1.0");
    assert_ne!(show(&machine, "MainPID"), process);
    assert_eq!(answer(&rig, "l", json!("k1")).await, json!(7));

    machine.must("apt-get --quiet --yes remove behaviour-host");
    assert_eq!(show(&machine, "ActiveState"), "inactive");
    assert!(machine.run("test -e /usr/bin/behaviour-host").is_err());
    machine.must("test -e /var/lib/private/behaviour-host/");
    machine.must(&format!("grep keeps {CONFIGURATION}/host.toml"));

    machine.must("apt-get --quiet --yes purge behaviour-host");
    let left = machine.files().into_iter().filter(|file| !before.contains(file));
    let left = left.filter(|file| !CHANGING.iter().any(|folder| file.starts_with(folder)));
    let left: BTreeSet<_> = left.collect();
    let of_the_operator = ["", "/device", "/hub.pem", "/keeps.wasm"];
    let expected = of_the_operator.map(|file| format!("{CONFIGURATION}{file}"));
    assert_eq!(left, expected.into());
    machine.power_off().await;
}

#[test]
fn a_program_for_another_processor_is_packaged_with_the_libraries_that_it_needs() {
    static UNPACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let unpacked = available(UNPACKED.get_or_init(|| {
        exclusively("debian-cross", &CROSS.join(" "), |folder| {
            let script = rig::workspace().join(".ci/unpack");
            run(Command::new("bash").arg(script).arg(folder).args(CROSS)).map(drop)
        })
    }));
    let Some(unpacked) = unpacked else { return };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (architecture, target, depends) in [
        ("arm64", "aarch64-linux-gnu", "libc6 (>= 2.17)"),
        ("armhf", "arm-linux-gnueabihf", "libc6 (>= 2.4)"),
    ] {
        let mut packages = packages(folder.path(), "1.0.0");
        packages.args(["--architecture", architecture, "--native"]).arg(program("behaviour-host"));
        // A library in place of a program, since it needs no compiler.
        packages.arg("--program").arg(unpacked.join(format!("usr/{target}/lib/libm.so.6")));
        let package = run(&mut packages).unwrap();

        let fields = ["--field", package.trim_end(), "Architecture", "Depends"];
        let fields = run(Command::new("dpkg-deb").args(fields)).unwrap();
        assert_eq!(fields, format!("Architecture: {architecture}\nDepends: {depends}\n"));
        let mut mislabelled = self::packages(folder.path(), "1.0.0");
        mislabelled.args(["--architecture", architecture]);
        mislabelled.arg("--program").arg(program("behaviour-host"));
        let refusal = run(&mut mislabelled).unwrap_err();
        assert!(refusal.ends_with(&format!("is not a program for {architecture}")), "{refusal}");
    }
}

/// Builds a package of the host in a folder.
fn package(folder: &Path, version: &str) {
    run(packages(folder, version).arg("--program").arg(program("behaviour-host"))).unwrap();
}

/// Returns a command that builds a package in a folder. It is not compressed, and its manual page
/// is empty.
fn packages(folder: &Path, version: &str) -> Command {
    let manual = folder.join("man");
    fs::create_dir_all(&manual).unwrap();
    fs::write(manual.join("behaviour-host.1"), ".TH behaviour-host 1\n").unwrap();
    let mut packages = Command::new("bash");
    packages.arg(rig::workspace().join(".ci/packages")).arg("--version").arg(version);
    packages.arg("--man").arg(manual).arg("--out").arg(folder);
    packages.env("BEHAVIOUR_DEB_COMPRESSION", "none");
    packages
}

/// Installs a version of the package, as an operator does.
fn install(machine: &Machine, version: &str) {
    let file = format!("/packages/behaviour-host_{version}_$(dpkg --print-architecture).deb");
    machine.must(&format!("apt-get --quiet --yes install {file}"));
    let installed = machine.must("dpkg-query --show --showformat='${Version}' behaviour-host");
    assert_eq!(installed, version);
}

/// Adds a plugin, the hub and the identity of the device to the configuration of the package.
fn configure(machine: &Machine, rig: &Running) {
    let file = |name: &str| format!("{CONFIGURATION}/{name}");
    machine.write(&file("hub.pem"), rig.hub().ca_pem());
    machine.write(&file("keeps.wasm"), fixtures::guest("keeps.wat"));
    machine.must(&format!("install -m 600 /dev/null {}", file("device")));
    machine.write(&file("device"), rig.device.to_text_with_key());
    let port = rig.hub().mqtt_port();
    let hub = format!("s|^\\[hub\\]|[hub]\\nport = {port}\\nca_file = \"hub.pem\"|");
    machine.must(&format!("sed -i '{hub}' {}", file("host.toml")));
    let plugin = "[plugins.keeps]\\nfile = \"keeps.wasm\"\\nmethods = [\"*\"]\\n";
    machine.must(&format!("printf '{plugin}' >>{}", file("host.toml")));
}

/// Returns a property of the service.
fn show(machine: &Machine, property: &str) -> String {
    machine.must(&format!("systemctl show --value --property={property} behaviour-host"))
}

/// Waits until systemd has restarted the host this many times and the device answers again.
async fn until_restarted(machine: &Machine, rig: &Running, times: u32) {
    until(format!("the host is restarted {times} times"), || async {
        let restarts: u32 = show(machine, "NRestarts").parse().unwrap();
        (restarts >= times).then_some(())
    })
    .await;
    assert_eq!(answer(rig, "l", json!("k1")).await, json!(7));
}

/// Returns the status of a method.
async fn call(rig: &Running, method: &str, payload: Value) -> i32 {
    rig.service.call(method, payload).await.unwrap().status
}

/// Returns the payload of a method's answer. Waits for the device.
async fn answer(rig: &Running, method: &str, payload: Value) -> Value {
    until(format!("the device answers `{method}`"), || async {
        let answer = rig.service.call(method, payload.clone()).await.ok()?;
        (answer.status == 200).then_some(answer.payload)
    })
    .await
}
