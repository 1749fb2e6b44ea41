//! Soak test: runs the real host program under constant load and injects a fault every few
//! seconds. Prints one line per minute, and finally the lost calls, the missing messages and
//! reports, and the growth of the host's memory. Exits with 1 if an accepted message or report
//! is missing, a plugin gave an unexpected answer, a call was lost without a fault, or the memory
//! grew by more than a tenth.
//!
//! ```sh
//! cargo build --release -p behaviour-host
//! cargo run --release -p tests --example soak -- --minutes 60
//! cargo run --release -p tests --example soak -- --minutes 10 --rate 50 \
//!     --token-lifetime 60s --fault-every 0
//! cargo run --release -p tests --example soak -- --minutes 60 --rate 50 \
//!     --certificate-lifetime 60s --fault-every 0
//! ```
//!
//! The clock faults need libfaketime, such as the one in Debian's package `libfaketime`;
//! `--faketime` names another file.

#![allow(clippy::print_stdout, reason = "this is a command-line program")]
#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod accepted;
mod faults;
mod load;
mod site;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use clap::Parser;
use hub::{Hub, HubConfig};
use protocol::id::DeviceId;
use service::{Client, ClientSettings};
use tokio::process::Child;

use accepted::{Accepted, Missing};
use faults::{Faults, Observations};
use load::Load;
use site::{SignIn, Site};

/// Maximum growth of memory from the fifth minute to the end, in per cent.
const ALLOWED_GROWTH: f64 = 10.0;

/// Duration of one round of faults in minutes, with a fault every 10 s.
const ROUND_MINUTES: usize = 5;

/// Log filter with the lines that are counted.
const DEFAULT_LOG: &str =
    "error,behaviour_host::journal=warn,behaviour_host::connection::renewal=info,plugin=warn";

/// Path of libfaketime on Debian.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

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
    /// Lifetime of the certificates that the hub issues to the device, in place of tokens
    #[arg(long, value_parser = program::duration::parse, value_name = "TIME")]
    certificate_lifetime: Option<Duration>,
    /// Log filter of the host, which logs to standard error
    #[arg(long, default_value = DEFAULT_LOG)]
    log: String,
    /// Library that changes the time of a process
    #[arg(long, default_value = FAKETIME, value_name = "FILE")]
    faketime: PathBuf,
    /// Host program; by default `behaviour-host` in the parent folder of this program
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let directory = tempfile::tempdir().unwrap();
    // The hub ends a connection as soon as its token expires.
    let mut config = HubConfig { token_grace: Duration::ZERO, ..HubConfig::default() };
    if let Some(lifetime) = arguments.certificate_lifetime {
        config.certificate_lifetime = lifetime;
    }
    let hub = Arc::new(Hub::start(config).await.unwrap());
    let device: DeviceId = rig::DEVICE.parse().unwrap();
    let sign_in = match arguments.certificate_lifetime {
        Some(_) => SignIn::with_issued_certificates(&hub),
        None => SignIn::with_key(&hub, &arguments.token_lifetime),
    };
    let program = rig::host_program(arguments.host).unwrap();
    let faketime = Some(arguments.faketime).filter(|library| library.exists());
    if faketime.is_none() {
        println!("libfaketime not found: the clock faults are skipped");
    }
    let site = Site::new(directory.path(), &hub, sign_in, program, arguments.log, faketime);
    let host = site.start();
    hub.connected(&device).await;

    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();
    let accepted = Arc::new(Accepted::default());
    let listening = accepted.listen(&hub);
    let load = Load::start(client.clone(), device.clone(), arguments.rate, Arc::clone(&accepted));
    let site = Arc::new(site);
    let observations = Arc::new(Observations::default());
    let injecting = (arguments.fault_every > 0).then(|| {
        let faults = Faults {
            hub: Arc::clone(&hub),
            client: client.clone(),
            device: device.clone(),
            site: Arc::clone(&site),
            observations: Arc::clone(&observations),
        };
        tokio::spawn(faults.inject(Duration::from_secs(arguments.fault_every)))
    });

    println!("minute  MiB  calls  answered  refused  lost  p50 ms  p99 ms  faults  renewals");
    let started = Instant::now();
    let mut memory = Vec::new();
    for minute in 1..=arguments.minutes {
        tokio::time::sleep_until((started + Duration::from_secs(60 * minute)).into()).await;
        memory.push(resident_mib(&host.child));
        let outcomes = load.since_last();
        println!(
            "{minute:6}  {:.1}  {}  {}  {}  {}  {:.1}  {:.1}  {}  {}",
            memory.last().unwrap(),
            outcomes.calls,
            outcomes.answered,
            outcomes.refused,
            outcomes.lost,
            outcomes.p50_ms,
            outcomes.p99_ms,
            observations.injected.load(Relaxed),
            host.log.renewals.load(Relaxed)
        );
    }
    if let Some(injecting) = injecting {
        injecting.abort();
        let _ = injecting.await;
    }
    hub.faults().clear();
    site.set_clock(0);
    let others = load.others();
    let total = load.finish().await;
    let missing = accepted.missing(&client, &device).await;
    listening.abort();
    println!(
        "{} minutes at {} calls a second, {} faults of {} kinds: {} calls, {} answered with 200, \
         {} with another status, {} lost",
        arguments.minutes,
        arguments.rate,
        observations.injected.load(Relaxed),
        faults::FAULT_KINDS,
        total.calls,
        total.answered,
        total.refused,
        total.lost
    );
    others.iter().for_each(|(answer, times)| println!("  answered {answer}: {times}"));
    let growth = print_memory(&memory);
    let dropped_messages = host.log.dropped_messages.load(Relaxed);
    println!(
        "dropped because the hub disconnected: {dropped_messages} messages and {} reports",
        host.log.dropped_reports.load(Relaxed)
    );
    println!("corrupt files detected: {}", host.log.corrupt.load(Relaxed));
    println!("renewals: {}", host.log.renewals.load(Relaxed));
    let has_losses = print_missing(&missing, dropped_messages);
    let broken = observations.broken.lock();
    broken.iter().for_each(|promise| println!("broken: {promise}"));
    let lost_without_fault = arguments.fault_every == 0 && total.lost > 0;
    if has_losses || lost_without_fault || !broken.is_empty() || growth > ALLOWED_GROWTH {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Prints the host's memory at the fifth minute and at the end, and returns the growth in per
/// cent. Each value is the mean over one round of faults, because the memory depends on the
/// fault of the minute.
fn print_memory(memory: &[f64]) -> f64 {
    let minutes = if memory.len() > 2 * ROUND_MINUTES + 4 { ROUND_MINUTES } else { 1 };
    let mean = |minutes: &[f64]| minutes.iter().sum::<f64>() / minutes.len() as f64;
    let first = memory.len().saturating_sub(minutes).min(4);
    let settled = mean(&memory[first..first + minutes]);
    let last = mean(&memory[memory.len() - minutes..]);
    let growth = (last / settled - 1.0) * 100.0;
    println!(
        "memory of the host: {settled:.1} MiB from the fifth minute on, {last:.1} MiB at the end \
         ({growth:+.1} %)"
    );
    growth
}

/// Prints the accepted messages, jobs and reports that have not arrived. Returns `true` if more
/// are missing than the host has dropped because the hub disconnected on them.
fn print_missing(missing: &Missing, dropped_messages: u64) -> bool {
    println!(
        "accepted: {} calls; not arrived: {} of their messages, {} of their jobs, {} of the last \
         reports",
        missing.accepted,
        missing.messages.len(),
        missing.jobs.len(),
        missing.reports.len()
    );
    println!("  messages {:?}", missing.messages.iter().take(50).collect::<Vec<_>>());
    println!("  jobs {:?}", missing.jobs.iter().take(50).collect::<Vec<_>>());
    println!("  reports {:?}", missing.reports);
    println!("  {} messages arrived faster than this program received them", missing.lagged);
    let messages = u64::try_from(missing.messages.len() + missing.jobs.len()).unwrap();
    messages > dropped_messages + missing.lagged || !missing.reports.is_empty()
}

/// Returns the resident memory of the host in MiB.
fn resident_mib(host: &Child) -> f64 {
    let id = host.id().expect("the host is running");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
