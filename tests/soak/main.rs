//! A long run of the real host program under constant load, with a fault every few seconds.
//! Prints one line per minute, and finally the number of lost calls, the missing messages
//! and reports, and the host's memory. Exits with 1 if anything accepted is missing, if a
//! plugin did not answer as expected, or if the memory grew by more than a tenth.
//!
//! ```sh
//! cargo build --release -p behaviour-host
//! cargo run --release -p tests --example soak -- --minutes 60
//! cargo run --release -p tests --example soak -- --minutes 10 --rate 50 \
//!     --token-lifetime 60s --fault-every 0
//! ```
//!
//! The clock of the host is only changed if a library can do that: Debian's package
//! `libfaketime` has one, and `--faketime` names another.

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
use service::{Client, ClientSettings};
use tokio::process::Child;

use accepted::{Accepted, Missing};
use faults::{Faults, Seen};
use load::Load;
use site::Site;

/// Maximum growth of the memory from the fifth minute to the end, in per cent.
const ALLOWED_GROWTH: f64 = 10.0;

/// The minutes of one round of faults, one every 10 s.
const ROUND_MINUTES: usize = 5;

/// The library of Debian's package `libfaketime`.
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
    /// Log filter of the host, which logs to standard error
    #[arg(long, default_value = "error,behaviour_host::journal=warn,plugin=warn")]
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
    let config = HubConfig { token_grace: Duration::ZERO, ..HubConfig::default() };
    let hub = Arc::new(Hub::start(config).await.unwrap());
    let identity = hub.create_device(&rig::DEVICE.parse().unwrap()).unwrap();
    let device = identity.device.clone();
    let program = arguments.host.unwrap_or_else(|| {
        let this_program = std::env::current_exe().unwrap();
        this_program.parent().unwrap().with_file_name("behaviour-host")
    });
    let faketime = Some(arguments.faketime).filter(|library| library.exists());
    if faketime.is_none() {
        println!("no library changes the host's clock: its clock steps are left out");
    }
    let lifetime = &arguments.token_lifetime;
    let site = Site::new(directory.path(), &hub, lifetime, program, arguments.log, faketime);
    let host = site.start(&identity);
    hub.connected(&device).await;

    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();
    let accepted = Arc::new(Accepted::default());
    let listening = accepted.listen(&hub);
    let load = Load::start(client.clone(), device.clone(), arguments.rate, Arc::clone(&accepted));
    let site = Arc::new(site);
    let seen = Arc::new(Seen::default());
    let injecting = (arguments.fault_every > 0).then(|| {
        let faults = Faults {
            hub: Arc::clone(&hub),
            client: client.clone(),
            device: device.clone(),
            site: Arc::clone(&site),
            seen: Arc::clone(&seen),
        };
        tokio::spawn(faults.inject(Duration::from_secs(arguments.fault_every)))
    });

    println!("minute  MiB  calls  answered  refused  lost  p50 ms  p99 ms  faults");
    let started = Instant::now();
    let mut memory = Vec::new();
    for minute in 1..=arguments.minutes {
        tokio::time::sleep_until((started + Duration::from_secs(60 * minute)).into()).await;
        memory.push(resident_mib(&host.child));
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
            seen.injected.load(Relaxed)
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
        seen.injected.load(Relaxed),
        faults::KINDS,
        total.calls,
        total.answered,
        total.refused,
        total.lost
    );
    others.iter().for_each(|(answer, times)| println!("  answered {answer}: {times}"));
    let growth = print_memory(&memory);
    let set_aside = host.log.set_aside.load(Relaxed);
    println!(
        "poison: {set_aside} messages and {} reports on which the hub closed each time were dropped",
        host.log.reports_set_aside.load(Relaxed)
    );
    println!("corrupt files recognised: {}", host.log.corrupt.load(Relaxed));
    let is_lost = print_missing(&missing, set_aside);
    let broken = seen.broken.lock();
    broken.iter().for_each(|promise| println!("broken: {promise}"));
    if is_lost || !broken.is_empty() || growth > ALLOWED_GROWTH {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Prints the host's memory from the fifth minute on and at the end, and returns the growth
/// in per cent. Each is the mean of the minutes of one round of faults, because a minute after
/// a silence needs more than one after a duplicate.
fn print_memory(memory: &[f64]) -> f64 {
    let of_a_round = if memory.len() > 2 * ROUND_MINUTES + 4 { ROUND_MINUTES } else { 1 };
    let mean = |minutes: &[f64]| minutes.iter().sum::<f64>() / minutes.len() as f64;
    let first = memory.len().saturating_sub(of_a_round).min(4);
    let settled = mean(&memory[first..first + of_a_round]);
    let last = mean(&memory[memory.len() - of_a_round..]);
    let growth = (last / settled - 1.0) * 100.0;
    println!(
        "memory of the host: {settled:.1} MiB from the fifth minute on, {last:.1} MiB at the end \
         ({growth:+.1} %)"
    );
    growth
}

/// Prints what was accepted and has not arrived. Returns `true` if that is more than the
/// messages that were dropped because the hub closed the connection on each of them.
fn print_missing(missing: &Missing, set_aside: u64) -> bool {
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
    println!("  {} messages arrived faster than this program received them", missing.overlooked);
    let messages = u64::try_from(missing.messages.len() + missing.jobs.len()).unwrap();
    messages > set_aside + missing.overlooked || !missing.reports.is_empty()
}

/// Returns the resident memory of the host in MiB.
fn resident_mib(host: &Child) -> f64 {
    let id = host.id().expect("the host is running");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
