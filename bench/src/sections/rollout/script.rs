//! A script in the place of a registry: copies the component to each device and reloads it, one
//! device after the other.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::ensure;

use super::images::{PLUGIN, Publisher, host_toml};
use crate::invoker::Request;
use crate::numbers::Rounds;
use crate::peers::{IDENTITY, Stage};
use crate::process::Process;
use crate::programs::run;
use crate::versions::answered;

/// A device of its own, with its own files.
struct Device {
    component: PathBuf,
    toml: PathBuf,
    call: Request,
    _process: Process,
}

/// Moves `count` devices from version `from` to the next one. Returns the seconds of each device.
/// The copy is a local one, which is faster than one over a network.
pub(super) async fn measure(
    stage: &Stage,
    publisher: &Publisher<'_>,
    count: usize,
    from: usize,
) -> anyhow::Result<Rounds> {
    let mut connection = stage.invoker.connect().await?;
    let mut devices = Vec::new();
    for index in 0..count {
        let device = Device::start(stage, publisher, index, from).await?;
        ensure!(answered(&connection.ask(&device.call).await?) == Some(from), "another version");
        devices.push(device);
    }
    let new = stage.folder.path().join("new.wasm");
    fs::write(&new, publisher.component(from + 1)?)?;
    let mut seconds = Rounds::default();
    for device in &devices {
        let begun = Instant::now();
        let mut copy = Command::new("cp");
        copy.arg(&new).arg(device.component.with_extension("new"));
        run(copy)?;
        fs::rename(device.component.with_extension("new"), &device.component)?;
        let mut reload = Command::new(&stage.programs.host);
        reload.args(["plugins", "reload", PLUGIN, "--config"]).arg(&device.toml);
        run(reload)?;
        seconds.push(begun.elapsed().as_secs_f64());
        let answer = connection.ask(&device.call).await?;
        ensure!(answered(&answer) == Some(from + 1), "not the new version: {answer}");
    }
    Ok(seconds)
}

impl Device {
    async fn start(
        stage: &Stage,
        publisher: &Publisher<'_>,
        index: usize,
        version: usize,
    ) -> anyhow::Result<Device> {
        let id = format!("script-{index:02}");
        let folder = stage.folder.path().join(&id);
        fs::create_dir_all(&folder)?;
        let (component, toml) = (folder.join("probe.wasm"), folder.join("host.toml"));
        fs::write(&component, publisher.component(version)?)?;
        let (socket, identity) = (folder.join("run/control"), stage.hub.device(&id, true).await?);
        let tables = format!(
            "control_socket = {socket:?}\n[plugins.{PLUGIN}]\nfile = {component:?}\n\
             methods = [\"version\"]\n"
        );
        fs::write(&toml, host_toml(stage, &folder, &tables))?;
        let mut command = Command::new(&stage.programs.host);
        command.arg("run").arg("--config").arg(&toml);
        command.env(IDENTITY, identity);
        let process = Process::start(&id, stage.folder.path(), command)?;
        let call = stage.invoker.request(&id, "version", "null");
        Ok(Device { component, toml, call, _process: process })
    }
}
