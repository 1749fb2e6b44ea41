//! Metrics of a host, as OpenMetrics text or family by family.
//!
//! [`HostMetrics::text`] reads the numbers that the parts of the host have anyway, so nothing
//! runs while nobody asks. A call only changes the counters of its method.
//!
//! All label values are from the configuration or from fixed lists, never from a caller, so their
//! number is bounded. Names of methods are not part of it beyond [`MAX_METHODS`], since the cloud
//! may choose them. Plugins have metrics of their own within limits, and with another prefix, so
//! that none of theirs has the name of one of the host's. The listener serves the text on a
//! loopback address. [`crate::otlp`] pushes the same families.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::{Registry, Unit};

use crate::connection::ConnectionHistory;
use crate::journal::Journal;
use crate::lent::jobs::Jobs;
use crate::lent::metrics::Metrics;
use crate::lent::telemetry::Telemetry;
use crate::lent::twin::Twin;
use crate::plugins::Loader;
use crate::plugins::slot::{OUTCOMES, SlotStatus};
use crate::router::Router;
#[cfg(test)]
pub(crate) use families::Distribution;
use families::Families;
pub(crate) use families::{Count, Family, Label, Samples, Series};
pub(crate) use lost::LostEntries;

mod families;
pub(crate) mod listener;
mod lost;
mod of_plugins;

/// Prefix of the names of the host's own metrics, and of those of plugins.
const PREFIX: &str = "behaviour_host";
const PLUGIN_PREFIX: &str = "behaviour_plugin";

/// Media type of the text.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Maximum number of methods with series of their own. A method has 34 series of some 100 bytes,
/// so they take at most 2 MiB.
const MAX_METHODS: usize = 512;

/// The parts of a host that have numbers.
pub(crate) struct MetricSources {
    pub(crate) router: Arc<Router>,
    pub(crate) loader: Loader,
    pub(crate) history: Arc<ConnectionHistory>,
    pub(crate) twin: Arc<Twin>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) of_plugins: Arc<Metrics>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) lost: Arc<LostEntries>,
    pub(crate) started: Instant,
    /// The same time by the clock of the system.
    pub(crate) started_at: SystemTime,
}

/// Function that returns the current metrics as text.
pub(crate) type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Metrics of a host.
pub(crate) struct HostMetrics {
    /// The host's own metrics, and those of plugins.
    registries: [Registry; 2],
    sources: Arc<MetricSources>,
}

impl HostMetrics {
    /// Creates the metrics of a host.
    pub(crate) fn new(sources: MetricSources) -> HostMetrics {
        let sources = Arc::new(sources);
        let registry = |prefix: &'static str, collect| {
            let mut registry = Registry::with_prefix(prefix);
            let sources = Arc::clone(&sources);
            registry.register_collector(Box::new(TextCollector { sources, collect }));
            registry
        };
        let registries = [
            registry(PREFIX, MetricSources::own as Collect),
            registry(PLUGIN_PREFIX, MetricSources::of_plugins),
        ];
        HostMetrics { registries, sources }
    }

    /// Returns the current metrics as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.registries
            .iter()
            .try_for_each(|registry| encode_registry(&mut text, registry))
            .and_then(|()| encode_eof(&mut text))
            .expect("writing to a string does not fail");
        text
    }

    /// Calls `receive` with each family.
    pub(crate) fn each(&self, mut receive: impl FnMut(&Family<'_>)) {
        let mut receive = |family: &Family<'_>| {
            receive(family);
            Ok(())
        };
        let mut families = Families(&mut receive);
        let own = self.sources.own(&mut families);
        own.and_then(|()| self.sources.of_plugins(&mut families))
            .expect("the receiver does not fail");
    }

    /// Returns the counter of entries that are not pushed.
    pub(crate) fn lost(&self) -> Arc<LostEntries> {
        Arc::clone(&self.sources.lost)
    }

    /// Returns the time since when a series counts, by the clock of the system. Without one, that is
    /// the start of the host.
    pub(crate) fn since(&self, series: Option<Instant>) -> SystemTime {
        let MetricSources { started, started_at, .. } = &*self.sources;
        *started_at
            + series.map_or(Duration::ZERO, |since| since.saturating_duration_since(*started))
    }
}

/// Function that writes some of the families.
type Collect = fn(&MetricSources, &mut Families<'_>) -> fmt::Result;

/// Collector for the text.
struct TextCollector {
    sources: Arc<MetricSources>,
    collect: Collect,
}

impl fmt::Debug for TextCollector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TextCollector")
    }
}

impl Collector for TextCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut encode = |family: &Family<'_>| family.encode(&mut encoder);
        (self.collect)(&self.sources, &mut Families(&mut encode))
    }
}

impl MetricSources {
    /// Writes the host's own families.
    fn own(&self, families: &mut Families<'_>) -> fmt::Result {
        self.host(families)?;
        self.connection(families)?;
        self.methods(families)?;
        self.plugins(families)?;
        self.about_plugins(families)
    }

    fn host(&self, families: &mut Families<'_>) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        families.gauge("version", "Version of the host, always 1.", None, [(version, 1.0)])?;
        let uptime = self.started.elapsed().as_secs_f64();
        let seconds = Some(&Unit::Seconds);
        families.single("uptime", "Time since the start of the host.", seconds, uptime)?;
        let (used, limit) = self.loader.memory();
        let memory = "Memory of running calls, compilations and queues.";
        families.single("memory", memory, Some(&Unit::Bytes), used as f64)?;
        let limited = "Limit of that memory.";
        families.single("memory_limit", limited, Some(&Unit::Bytes), limit as f64)?;

        let usage = self.journal.usage();
        families.total("journal_commits", "Commits of the journal.", None, usage.commits)?;
        let size = "Size of the journal after its last commit.";
        families.single("journal", size, Some(&Unit::Bytes), usage.bytes as f64)?;

        let compiled = self.loader.compiling().ended();
        let compiled_help = "Compilations of plugins, without those from the cache.";
        families.total("compilations", compiled_help, None, compiled.count)?;
        let total = compiled.total.as_secs_f64();
        families.total("compilation", "Time of all compilations.", seconds, total)?;
        let longest = compiled.longest.as_secs_f64();
        families.single("compilation_longest", "Longest compilation.", seconds, longest)?;

        let lost = "Log lines dropped because standard error was not read.";
        families.total("log_lines_dropped", lost, None, program::lost_lines())?;
        let counts = self.lost.counts();
        let lost = counts.into_iter().map(|(signal, count)| ([("signal", signal.name())], count));
        let help = "Metrics, spans and log lines that were not pushed by OTLP.";
        families.counter("otlp_entries_lost", help, None, lost)
    }

    fn connection(&self, families: &mut Families<'_>) -> fmt::Result {
        let view = self.history.view();
        let connected = f64::from(u8::from(view.connected));
        families.single("connected", "1 while the host is connected.", None, connected)?;
        let connections = "Connections to the hub, including those with a renewed token.";
        families.total("connections", connections, None, view.connections)?;
        let failures = view.failures.iter().map(|(kind, count)| ([("reason", *kind)], *count));
        let help = "Lost connections and failed attempts to connect.";
        families.counter("connection_failures", help, None, failures)?;

        let now = Timestamp::now();
        let left = |until: Timestamp| until.duration_since(now).as_secs_f64();
        let seconds = Some(&Unit::Seconds);
        // The remaining time, not the time of the end, because the clock of a device may be wrong.
        let token = view.token_expires.map(|until| ([], left(until)));
        families.gauge("token_validity", "Time until the token expires.", seconds, token)?;
        let certificate = view.certificate.map(|it| ([], left(it.until)));
        let help = "Time until the certificate expires.";
        families.gauge("certificate_validity", help, seconds, certificate)?;

        let queues = [
            ([("queue", "reports")], self.twin.pending_reports() as f64),
            ([("queue", "messages")], self.telemetry.pending() as f64),
            ([("queue", "jobs")], self.jobs.pending() as f64),
        ];
        families.gauge(
            "pending",
            "Entries that wait for the hub or for their time.",
            None,
            queues,
        )?;
        let dropped = "Messages dropped because their queue was full.";
        families.total("messages_dropped", dropped, None, self.telemetry.dropped())?;
        let running = self.router.running() as f64;
        families.single("methods_in_flight", "Methods in flight.", None, running)?;
        let unserved = "Methods that no plugin serves.";
        families.total("methods_unserved", unserved, None, self.router.unserved())
    }

    fn methods(&self, families: &mut Families<'_>) -> fmt::Result {
        let table = self.router.table();
        let mut routes = table.routes();
        let left_out = routes.len().saturating_sub(MAX_METHODS);
        routes.truncate(MAX_METHODS);
        let views: Vec<_> = routes
            .iter()
            .map(|(method, route)| {
                ([("plugin", route.slot.name()), ("method", *method)], route.meter.view())
            })
            .collect();
        let calls = views.iter().flat_map(|([plugin, method], view)| {
            let counts = OUTCOMES.into_iter().zip(view.outcomes);
            counts.map(|(outcome, count)| {
                ([*plugin, *method, ("outcome", outcome)], count, view.since)
            })
        });
        let help = "Calls of methods by outcome.";
        families.counter_since("method_calls", help, None, calls)?;
        families.durations("method_duration", "Time from a method to its answer.", &views)?;
        let help = "Methods without series of their own.";
        families.single("methods_left_out", help, None, left_out as f64)
    }

    fn plugins(&self, families: &mut Families<'_>) -> fmt::Result {
        let table = self.router.table();
        let views: Vec<_> = table
            .slots()
            .iter()
            .map(|(name, slot)| ([("plugin", name.as_str())], slot.view()))
            .collect();
        let active = views
            .iter()
            .map(|(plugin, view)| (*plugin, f64::from(u8::from(view.state == SlotStatus::Active))));
        families.gauge("plugin_active", "1 if the plugin accepts calls.", None, active)?;
        let runs = views.iter().flat_map(|([plugin], view)| {
            let counts = view.counters.by_outcome();
            counts.map(|(outcome, count)| ([*plugin, ("outcome", outcome)], count, view.since))
        });
        let help = "Calls of methods, jobs and other functions of plugins by outcome.";
        families.counter_since("plugin_calls", help, None, runs)?;
        let time = |ms: u64| Duration::from_millis(ms).as_secs_f64();
        let busy =
            views.iter().map(|(plugin, view)| (*plugin, time(view.counters.total_ms), view.since));
        let seconds = Some(&Unit::Seconds);
        families.counter_since("plugin_call", "Time of all calls of plugins.", seconds, busy)?;
        let peak = views.iter().map(|(plugin, view)| (*plugin, view.counters.memory_bytes as f64));
        let help = "Peak memory of a single call.";
        families.gauge("plugin_memory_peak", help, Some(&Unit::Bytes), peak)?;
        let swaps = views.iter().map(|(plugin, view)| (*plugin, view.counters.swaps, view.since));
        families.counter_since("plugin_swaps", "Activations of a new version.", None, swaps)?;
        let rollbacks =
            views.iter().map(|(plugin, view)| (*plugin, view.counters.rollbacks, view.since));
        let help = "Rollbacks to the previous version.";
        families.counter_since("plugin_rollbacks", help, None, rollbacks)?;
        let disables =
            views.iter().map(|(plugin, view)| (*plugin, view.counters.disables, view.since));
        let help = "Times that the plugin was disabled after failures.";
        families.counter_since("plugin_disables", help, None, disables)
    }
}
