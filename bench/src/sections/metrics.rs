//! The cost of metrics and traces: calls of a host that is scraped or pushes its traces next to one
//! that does neither, and the push of a thousand series.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use protocol::mqtt5::ConnectionProfile;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::devices::{LoadResults, load};
use crate::goals::{Measure, Results};
use crate::numbers::Rounds;
use crate::peers::{HostToml, Peer, Stage};
use crate::report::{self, Table};
use crate::{Effort, say};

/// The number of calls in flight.
const IN_FLIGHT: usize = 32;

/// Interval between two requests for the metrics. Prometheus asks every minute by default.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);

/// Interval between two pushes, as in the goal.
const PUSH_INTERVAL: Duration = Duration::from_secs(10);

/// The number of series, which two plugins with the default limit keep.
const SERIES: usize = 1000;

/// The hosts that are called.
const HOSTS: [&str; 4] = ["off", "off, again", "scraped every second", "every call traced, pushed"];

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let calls = calls(stage, effort).await?;
    let [off, _, scraped, traced] = &calls;
    goals.record(Measure::Scraped, scraped.processor.over(&off.processor));
    goals.record(Measure::Traced, traced.processor.over(&off.processor));
    let idle = idle(stage, effort).await?;
    goals.record(Measure::Export, idle.pushes_percent.clone());
    report::publish("metrics", &text(&calls, &idle), effort.quick)
}

/// Measures calls of each of [`HOSTS`] in turn.
async fn calls(stage: &Stage, effort: Effort) -> anyhow::Result<[LoadResults; HOSTS.len()]> {
    let receiver = Receiver::start().await?;
    let port = free_port().await?;
    let tables = [
        String::new(),
        String::new(),
        listen(port),
        format!("[host.otlp]\nendpoint = \"{}\"\nsignals = [\"traces\"]\n", receiver.endpoint),
    ];
    let mut peers = Vec::new();
    for (number, tables) in tables.into_iter().enumerate() {
        peers.push(host(stage, &format!("observed-{number}"), tables).await?);
    }
    let scraper = Scraper::start(port);
    let mut found: [LoadResults; HOSTS.len()] = Default::default();
    let rounds = effort.rounds * 2;
    for peer in &mut peers {
        // The pages of the first calls are no part of a measurement.
        load(stage, effort, peer, &mut LoadResults::default(), IN_FLIGHT).await?;
    }
    for round in 1..=rounds {
        say(&format!("metrics: round {round} of {rounds}"));
        let mut hosts: Vec<_> = peers.iter_mut().zip(&mut found).collect();
        // A load that heats the processor is not always before the same host.
        if round % 2 == 0 {
            hosts.reverse();
        }
        for (peer, found) in hosts {
            load(stage, effort, peer, found, IN_FLIGHT).await?;
        }
    }
    scraper.check()?;
    ensure!(receiver.requests() > 0, "no trace was pushed");
    Ok(found)
}

/// Starts a host with further tables.
async fn host(stage: &Stage, device: &str, tables: String) -> anyhow::Result<Peer> {
    let profile = Some(ConnectionProfile::Classic);
    let toml = HostToml { profile, tables, ..HostToml::default() };
    stage.ready_with_certificate(device, &toml).await
}

/// The processor time of idle hosts with [`SERIES`].
#[derive(Default)]
struct IdleHosts {
    /// Time of a host that nobody observes, in milliseconds a second.
    off: Rounds,
    /// Time of an answer to Prometheus, in milliseconds.
    scrape: Rounds,
    /// Time of a push, in milliseconds.
    push: Rounds,
    /// Time of the pushes, in percent of a core.
    pushes_percent: Rounds,
}

/// Measures idle hosts with the same series at the same time: one that nobody observes, one that is
/// scraped, and one that pushes.
async fn idle(stage: &Stage, effort: Effort) -> anyhow::Result<IdleHosts> {
    let receiver = Receiver::start().await?;
    let port = free_port().await?;
    let component = stage.folder.path().join("counts.wasm");
    std::fs::write(&component, fixtures::guest("counts.wat"))?;
    let plugin = |number: usize| {
        format!(
            "[plugins.counts-{number}]\nfile = {:?}\nmethods = [\"flood-{number}\"]\n\
             deadline = \"60s\"\n",
            component.display().to_string()
        )
    };
    let push = format!(
        "[host.otlp]\nendpoint = \"{}\"\nsignals = [\"metrics\"]\ninterval = \"{}s\"\n",
        receiver.endpoint,
        PUSH_INTERVAL.as_secs()
    );
    let mut hosts = Vec::new();
    for (name, tables) in
        [("idle", String::new()), ("idle-scraped", listen(port)), ("idle-pushes", push)]
    {
        let peer = host(stage, name, plugin(0) + &plugin(1) + &tables).await?;
        fill(stage, &peer).await?;
        hosts.push(peer);
    }
    let scraper = Scraper::start(port);
    // The start of the hosts and their calls end before the first measurement.
    tokio::time::sleep(PUSH_INTERVAL).await;
    let window = PUSH_INTERVAL * if effort.quick { 1 } else { 3 };
    let spent = || hosts.iter().map(|peer| peer.process.processor_time()).collect::<Vec<_>>();
    let mut found = IdleHosts::default();
    for round in 1..=effort.rounds {
        say(&format!("metrics: idle hosts, round {round} of {}", effort.rounds));
        let (pushed, scraped, before) = (receiver.requests(), scraper.answers(), spent());
        tokio::time::sleep(window).await;
        let (pushed, scraped) = (receiver.requests() - pushed, scraper.answers() - scraped);
        let times: Vec<_> = spent().iter().zip(before).map(|(after, it)| *after - it).collect();
        scraper.check()?;
        ensure!(pushed > 0 && scraped > 0, "{pushed} pushes and {scraped} answers in a round");
        let millis = |index: usize| times[index].as_secs_f64() * 1e3;
        found.off.push(millis(0) / window.as_secs_f64());
        found.scrape.push((millis(1) - millis(0)) / scraped as f64);
        found.push.push((millis(2) - millis(0)) / pushed as f64);
        found.pushes_percent.push((millis(2) - millis(0)) / window.as_secs_f64() / 10.0);
    }
    Ok(found)
}

/// Lets the plugins of a host make their series.
async fn fill(stage: &Stage, peer: &Peer) -> anyhow::Result<()> {
    let mut connection = stage.invoker.connect().await?;
    for number in 0..2 {
        let flood = stage.invoker.request(&peer.device, &format!("flood-{number}"), "null");
        connection.ask(&flood).await?;
    }
    let series = own_series(stage, &peer.device)?;
    ensure!(series == SERIES, "{} has {series} series of plugins", peer.device);
    Ok(())
}

/// Returns the table of a host that serves its metrics.
fn listen(port: u16) -> String {
    format!("[host.metrics]\nlisten = \"127.0.0.1:{port}\"\n")
}

/// Returns the number of series that the plugins of a host keep, as `behaviour-host metrics` prints
/// them.
fn own_series(stage: &Stage, device: &str) -> anyhow::Result<usize> {
    let file = stage.folder.path().join(device).join("host.toml");
    let mut command = Command::new(&stage.programs.host);
    command.arg("metrics").arg("--config").arg(file);
    let printed = command.output().context("cannot start `behaviour-host metrics`")?;
    let text = String::from_utf8(printed.stdout)?;
    Ok(text.lines().filter(|line| line.starts_with("behaviour_plugin_")).count())
}

/// A reader of the metrics of a host, as Prometheus is one.
struct Scraper {
    answers: Arc<AtomicUsize>,
    reading: JoinHandle<anyhow::Result<()>>,
}

impl Scraper {
    fn start(port: u16) -> Scraper {
        let answers = Arc::new(AtomicUsize::new(0));
        let reading = tokio::spawn(scrape(port, Arc::clone(&answers)));
        Scraper { answers, reading }
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Returns an error if a request has failed.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.reading.is_finished(), "the metrics of a host were not served");
        Ok(())
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Reads the metrics of a host every [`SCRAPE_INTERVAL`] until a request fails.
async fn scrape(port: u16, answers: Arc<AtomicUsize>) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(SCRAPE_INTERVAL);
    loop {
        ticks.tick().await;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        ensure!(text.ends_with("# EOF\n"), "the metrics end with {:?}", text.lines().last());
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// A receiver of OTLP that accepts every request unread.
struct Receiver {
    endpoint: String,
    requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Receiver {
    async fn start() -> anyhow::Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                // A host that stops closes its connection, possibly within a request.
                tokio::spawn(async move { receive(stream, &count).await.ok() });
            }
        });
        Ok(Receiver { endpoint, requests, serving })
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Accepts the requests of a connection.
async fn receive(stream: TcpStream, requests: &AtomicUsize) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        requests.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    }
}

/// Returns a port that is free now.
async fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

fn text(calls: &[LoadResults; HOSTS.len()], idle: &IdleHosts) -> String {
    let headings = ["host", "calls/s", "p50 µs", "CPU µs per call", "processor time against off"];
    let mut table = Table::new(headings);
    for (name, found) in HOSTS.into_iter().zip(calls) {
        table.row([
            name.to_owned(),
            found.per_second.spread().to_string(),
            found.p50.spread().to_string(),
            found.processor.spread().to_string(),
            found.processor.over(&calls[0].processor).spread().to_string(),
        ]);
    }
    let mut times = Table::new(["an idle host with 1,000 series of plugins", "measured"]);
    for (name, rounds) in [
        ("processor time without observers, ms a second", &idle.off),
        ("processor time of an answer to Prometheus, ms", &idle.scrape),
        ("processor time of a push by OTLP, ms", &idle.push),
        ("a push every 10 s, % of a core", &idle.pushes_percent),
    ] {
        times.row([name.to_owned(), rounds.spread().to_string()]);
    }
    format!(
        "{IN_FLIGHT} calls in flight, medians over {} rounds. *Off, again* is the same host a second \
         time, which shows how much two equal hosts differ.\n\n{}\n{}",
        calls[0].processor.count(),
        table.to_markdown(),
        times.to_markdown()
    )
}
