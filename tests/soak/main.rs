//! A long run of the real host program under constant load, with a fault every few seconds.
//! Prints one line per minute, and finally the number of lost calls and the host's memory.
//!
//! ```sh
//! cargo build --release -p behaviour-host
//! cargo run --release -p tests --example soak -- --minutes 60
//! cargo run --release -p tests --example soak -- --minutes 10 --rate 50 \
//!     --token-lifetime 60s --fault-every 0
//! ```

#![allow(clippy::print_stdout, reason = "this is a command-line program")]
#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod faults;
mod load;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use hub::{Hub, HubConfig};
use service::{Client, ClientSettings};
use tokio::process::{Child, Command};

use load::Load;

/// Runs a host under load with faults, and observes its memory.
#[derive(Parser)]
struct Arguments {
    /// Duration of the run, in minutes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Calls a second
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Seconds between two faults; 0 injects none
    #[arg(long, default_value_t = 10)]
    fault_every: u64,
    /// Lifetime of a token, as in host.toml
    #[arg(long, default_value = "1h")]
    token_lifetime: String,
    /// Log filter of the host, which logs to standard error
    #[arg(long, default_value = "off")]
    log: String,
    /// Host program; by default `behaviour-host` in the parent folder of this program
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let directory = tempfile::tempdir().unwrap();
    // The hub ends a connection as soon as its token expires.
    let config = HubConfig { token_grace: Duration::ZERO, ..HubConfig::default() };
    let hub = Arc::new(Hub::start(config).await.unwrap());
    let device = hub.create_device(&rig::DEVICE.parse().unwrap()).unwrap();
    let plugin = fixtures::write("tells.wat", directory.path());
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, hub.ca_pem()).unwrap();
    let toml = format!(
        "[hub]\nport = {}\nca_file = {ca_file:?}\nkeep_alive = \"4s\"\ntoken_lifetime = \"{}\"\n\
         [host]\ndata = {:?}\ncommits_per_minute = 100_000\n\
         plugin_commits_per_minute = 100_000\n[plugins.tells]\nfile = {plugin:?}\nmethods = [\"*\"]\n\
         limits.calls_at_once = 1000\nlimits.jobs = 1000\n",
        hub.mqtt_port(),
        arguments.token_lifetime,
        directory.path().join("data"),
    );
    let host_toml = directory.path().join("host.toml");
    std::fs::write(&host_toml, toml).unwrap();
    let program = arguments.host.unwrap_or_else(|| {
        let this_program = std::env::current_exe().unwrap();
        this_program.parent().unwrap().with_file_name("behaviour-host")
    });
    let host = Command::new(&program)
        .args(["run", "--log", &arguments.log, "--config"])
        .arg(&host_toml)
        .env("IOTHUB_DEVICE_CONNECTION_STRING", device.to_text_with_key())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    hub.connected(&device.device).await;

    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();
    let load = Load::start(client, device.device.clone(), arguments.rate);
    let injecting = (arguments.fault_every > 0).then(|| {
        let every = Duration::from_secs(arguments.fault_every);
        tokio::spawn(faults::inject(Arc::clone(&hub), device.device.clone(), every))
    });

    println!("minute  MiB  calls  answered  refused  lost  p50 ms  p99 ms  faults");
    let started = Instant::now();
    let mut memory = Vec::new();
    for minute in 1..=arguments.minutes {
        tokio::time::sleep_until((started + Duration::from_secs(60 * minute)).into()).await;
        memory.push(resident_mib(&host));
        let outcomes = load.since_last();
        println!(
            "{minute:6}  {:.1}  {}  {}  {}  {}  {:.1}  {:.1}  {}",
            memory.last().unwrap(),
            outcomes.calls,
            outcomes.answered,
            outcomes.refused,
            outcomes.lost,
            outcomes.p50_ms,
            outcomes.p99_ms,
            hub.faults().happened()
        );
    }
    let faults = injecting.map_or(0, |task| {
        task.abort();
        hub.faults().happened()
    });
    hub.faults().clear();
    let others = load.others();
    let total = load.finish().await;
    println!(
        "{} minutes at {} calls a second, {faults} faults: {} calls, {} answered with 200, {} with \
         another status, {} lost",
        arguments.minutes, arguments.rate, total.calls, total.answered, total.refused, total.lost
    );
    others.iter().for_each(|(answer, times)| println!("  answered {answer}: {times}"));
    let settled = memory.get(4).or(memory.first()).copied().unwrap_or_default();
    let last = memory.last().copied().unwrap_or_default();
    println!(
        "memory of the host: {settled:.1} MiB after five minutes, {last:.1} MiB at the end ({:+.1} %)",
        (last / settled - 1.0) * 100.0
    );
}

/// Returns the resident memory of the host in MiB.
fn resident_mib(host: &Child) -> f64 {
    let id = host.id().expect("the host is running");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
