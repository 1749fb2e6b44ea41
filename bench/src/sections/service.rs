//! The service of this project next to the official SDK. Both invoke one method after the
//! other, as a command-line program would.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};
use protocol::id::DeviceId;
use serde_json::json;
use service::MethodRequest;

use crate::numbers::Rounds;
use crate::peers::{HostToml, Kind, Stage};
use crate::programs::devices;
use crate::report::{self, Table};
use crate::{Effort, say};

pub(crate) async fn measure(stage: &Stage, effort: Effort) -> anyhow::Result<()> {
    let calls = if effort.quick { 100 } else { 1_000 };
    let peer = stage.ready(Kind::Bare, &HostToml::default()).await?;
    let (mut own, mut python) = (Rounds::default(), Rounds::default());
    for round in 1..=effort.rounds.min(5) {
        say(&format!("service: round {round}"));
        own.push(ours(stage, &peer.device, calls).await?);
        python.push(official(stage, &peer.device, calls)?);
    }
    let mut table = Table::new(["service", "calls", "seconds", "ratio"]);
    let calls = calls.to_string();
    let ratio = own.over(&python).spread().to_string();
    table.row(["`service::Client`", &calls, &own.spread().to_string(), &ratio]);
    table.row(["Python service SDK", &calls, &python.spread().to_string(), "1"]);
    report::publish("service", &table.to_markdown(), effort.quick)
}

async fn ours(stage: &Stage, device: &str, calls: usize) -> anyhow::Result<f64> {
    let device: DeviceId = device.parse()?;
    let request = MethodRequest::new("echo".parse()?, json!(1));
    stage.hub.client.invoke(&device, &request).await?;
    let started = Instant::now();
    for _ in 0..calls {
        let answer = stage.hub.client.invoke(&device, &request).await?;
        if answer.status != 200 {
            bail!("the device answered with {}", answer.status);
        }
    }
    Ok(started.elapsed().as_secs_f64())
}

fn official(stage: &Stage, device: &str, calls: usize) -> anyhow::Result<f64> {
    let output = Command::new(stage.programs.sdks()?.python)
        .arg(devices().join("python_service.py"))
        .args([device, &calls.to_string()])
        .env("IOTHUB_CONNECTION_STRING", stage.hub.service.to_text_with_key())
        .env("REQUESTS_CA_BUNDLE", stage.hub.ca_file())
        .output()
        .context("python")?;
    if !output.status.success() {
        bail!("the Python service failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}
