//! Figures of a simulated fleet.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::device::counts::Counts;

/// Figures of a simulated fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Number of devices and modules in the fleet. Each counts as a device below.
    pub devices: usize,
    /// Number of devices that are connected now.
    pub connected: usize,
    /// Maximum number of devices connected at the same time.
    pub max_connected: usize,
    /// Number of connections made, including first connections.
    pub connects: u64,
    /// Number of answered methods.
    pub methods: u64,
    /// Number of methods answered with a status of 400 or above.
    pub errors: u64,
    /// Methods answered per second since the previous report.
    pub methods_per_second: f64,
    /// Maximum of `methods_per_second` so far.
    pub max_methods_per_second: f64,
    /// Resident memory of the process, in bytes; `None` if it is not known.
    pub memory_bytes: Option<u64>,
    /// Maximum of `memory_bytes` so far.
    pub max_memory_bytes: Option<u64>,
    /// Time since the start.
    pub elapsed: Duration,
}

impl Figures {
    /// Updates the figures from the counters. `elapsed` is the time since the start.
    pub(super) fn update(&mut self, counts: &Counts, elapsed: Duration) {
        let (methods, errors) = counts.methods();
        let since = elapsed.saturating_sub(self.elapsed).as_secs_f64();
        // A shorter interval gives no meaningful rate.
        if since > 0.1 {
            self.methods_per_second = (methods - self.methods) as f64 / since;
            self.max_methods_per_second = self.max_methods_per_second.max(self.methods_per_second);
        }
        (self.connected, self.max_connected) = counts.devices();
        self.connects = counts.connects();
        (self.methods, self.errors) = (methods, errors);
        (self.memory_bytes, self.max_memory_bytes) = memory();
        self.elapsed = elapsed;
    }

    /// Returns a summary in several lines.
    #[must_use]
    pub fn summary(&self) -> String {
        let Figures { devices, max_connected, connects, methods, errors, .. } = self;
        let seconds = self.elapsed.as_secs_f64();
        let again = connects.saturating_sub(*max_connected as u64);
        let memory = self.max_memory_bytes.map_or("unknown".to_owned(), |bytes| {
            let each = bytes / (*max_connected).max(1) as u64 / 1024;
            format!("{} MiB at most, {each} KiB a device", bytes >> 20)
        });
        format!(
            "devices    {devices}, {max_connected} connected at once, {again} connected again\n\
             methods    {methods}, of them {errors} errors; {:.0} a second, {:.0} at most\n\
             memory     {memory}\n\
             time       {seconds:.1} s",
            *methods as f64 / seconds.max(0.001),
            self.max_methods_per_second,
        )
    }
}

impl Figures {
    /// Returns the figures of the whole run as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let seconds = self.elapsed.as_secs_f64();
        json!({
            "devices": self.devices,
            "connected_at_once": self.max_connected,
            "connections": self.connects,
            "methods": self.methods,
            "errors": self.errors,
            "methods_per_second": self.methods as f64 / seconds.max(0.001),
            "max_methods_per_second": self.max_methods_per_second,
            "max_memory_bytes": self.max_memory_bytes,
            "seconds": seconds,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { devices, connected, methods, errors, .. } = self;
        let seconds = self.elapsed.as_secs();
        let rate = self.methods_per_second;
        write!(
            f,
            "{seconds:>5} s  connected {connected}/{devices}  methods {methods} ({rate:.0}/s)  errors {errors}"
        )?;
        match self.memory_bytes {
            Some(bytes) => write!(f, "  memory {} MiB", bytes >> 20),
            None => Ok(()),
        }
    }
}

/// Returns the current and the peak resident memory of the process, in bytes.
fn memory() -> (Option<u64>, Option<u64>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    (bytes("VmRSS:"), bytes("VmHWM:"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn figures_follow_the_counts_and_keep_their_peaks() {
        let counts = Arc::new(Counts::default());
        let mut figures = Figures { devices: 3, ..Figures::default() };
        let online = [counts.online(), counts.online()];
        for _ in 0..50 {
            counts.answered(200);
        }
        figures.update(&counts, Duration::from_secs(1));
        drop(online);
        counts.answered(504);
        figures.update(&counts, Duration::from_secs(2));

        assert_eq!((figures.connected, figures.max_connected), (0, 2));
        assert_eq!((figures.methods, figures.errors), (51, 1));
        assert_eq!((figures.methods_per_second, figures.max_methods_per_second), (1.0, 50.0));
        let line = figures.to_string();
        assert!(line.starts_with("    2 s  connected 0/3  methods 51 (1/s)  errors 1"), "{line}");
        let summary = figures.summary();
        assert!(summary.starts_with("devices    3, 2 connected at once, 0 connected again\n"));
        let json = figures.to_json();
        assert_eq!(
            (&json["devices"], &json["methods"], &json["errors"], &json["methods_per_second"]),
            (&json!(3), &json!(51), &json!(1), &json!(25.5))
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_the_process_is_known_on_linux() {
        let (now, peak) = memory();
        assert!(now.unwrap() > 0 && peak >= now);
    }
}
