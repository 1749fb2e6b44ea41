//! Debian's Prometheus, which collects the metrics of a host and answers a query about them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rig::{Rig, set, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::sdk::{available, exclusively, run};

/// Share of the calls of each plugin that trapped, within the last minute.
const ERROR_RATE: &str = "\
sum by (plugin) (rate(behaviour_host_method_calls_total{outcome=\"trapped\"}[1m])) / \
sum by (plugin) (rate(behaviour_host_method_calls_total[1m]))";

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_answers_with_the_error_rate_of_a_plugin() {
    static PROMETHEUS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let Some(program) = available(PROMETHEUS.get_or_init(prepare)) else { return };
    let (metrics, api) = (free_address(), free_address());
    let rig = Rig::new()
        .plugin("misbehaves.wat", set("disable_after", 0))
        .host(set("host.metrics.listen", metrics.to_string()))
        .start()
        .await;
    let folder = tempfile::tempdir().unwrap();
    let configuration = json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
        "scrape_configs": [{
            "job_name": "host",
            "static_configs": [{ "targets": [metrics.to_string()] }],
        }],
    });
    // JSON is YAML.
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, configuration.to_string()).unwrap();
    let mut prometheus = tokio::process::Command::new(program);
    prometheus.arg(format!("--config.file={}", file.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    prometheus.arg(format!("--web.listen-address={api}"));
    let _running = prometheus.stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();

    // The rate is of what has changed since the first sample.
    let up = "behaviour_host_connected == 1";
    until("Prometheus has a sample", || async { query(api, up).await }).await;
    for method in ["echo", "echo", "trap", "echo"] {
        rig.service.call(method, json!(1)).await.unwrap();
    }

    let answer = until("Prometheus knows the error rate", || async {
        query(api, ERROR_RATE).await.filter(|it| it["value"][1] == "0.25")
    })
    .await;
    assert_eq!(answer["metric"], json!({ "plugin": "misbehaves" }));
}

/// Returns the first series of the answer to a query.
async fn query(api: SocketAddr, query: &str) -> Option<Value> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut client = TcpStream::connect(api).await.ok()?;
    let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n");
    client.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let body: Value = serde_json::from_str(body).ok()?;
    assert_ne!(body["status"], "error", "{body}");
    body["data"]["result"].get(0).cloned()
}

/// Returns an address that no program listens on.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Returns the path of Prometheus: the installed one, or else Debian's, unpacked.
fn prepare() -> Result<PathBuf, String> {
    let installed = Path::new("/usr/bin/prometheus");
    if installed.exists() {
        return Ok(installed.to_owned());
    }
    let folder = exclusively("prometheus", "", |folder| {
        let download = || {
            let arguments = ["--quiet=2", "download", "prometheus"];
            run(Command::new("apt-get").args(arguments).current_dir(folder))
        };
        // A machine that was just installed has no lists of packages.
        if download().is_err() {
            run(Command::new("apt-get").arg("update"))?;
            download()?;
        }
        let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for package in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if package.extension().is_some_and(|end| end == "deb") {
                run(Command::new("dpkg").arg("-x").arg(&package).arg(folder.join("root")))?;
                fs::remove_file(&package).ok();
            }
        }
        Ok(())
    })?;
    Ok(folder.join("root/usr/bin/prometheus"))
}
