//! A closed WASI 0.2, for plugins of toolchains that always import it.
//!
//! Its clocks are those that the host lends, virtual ones included; random
//! numbers are real. Standard output and standard error go
//! line by line into the plugin's log. There are no files, no environment, no
//! arguments, no standard input and no sockets: those interfaces can be
//! imported, but have nothing behind them.

use super::log::CallLog;
use super::stdio::Lines;
use crate::{Clock, Level};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView};

/// Streams and timers that a guest may hold at once. Each is in the host's memory,
/// which the limit on the guest's own memory does not cover.
pub(crate) const RESOURCES: usize = 128;

/// Limit of the random bytes of one request. They are made one at a time and held by
/// the host until the guest has copied them; the default of wasmtime-wasi is 64 MiB.
const RANDOM_BYTES: u64 = 64 * 1024;

pub(crate) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl Wasi {
    pub(crate) fn new(log: &Arc<CallLog>, clock: &Arc<dyn Clock>) -> Wasi {
        let ctx = WasiCtx::builder()
            .wall_clock(Wall(Arc::clone(clock)))
            .monotonic_clock(Monotonic(Instant::now()))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES)
            .stdout(Lines::new(log, Level::Info))
            .stderr(Lines::new(log, Level::Warn))
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        Wasi { ctx, table }
    }

    pub(crate) fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }

    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

/// The time, as the host has it.
struct Wall(Arc<dyn Clock>);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0.now().duration_since(Timestamp::UNIX_EPOCH).try_into().unwrap_or_default()
    }
}

/// The time since the call began, by the clock of its timers: a guest whose
/// timer has rung must see that its time has gone by, though it is virtual.
struct Monotonic(Instant);

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1
    }

    // A second more, because Go refuses a clock that reads zero.
    fn now(&self) -> u64 {
        (self.0.elapsed() + Duration::from_secs(1)).as_nanos().try_into().unwrap_or(u64::MAX)
    }
}
