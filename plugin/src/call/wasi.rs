//! WASI 0.2 without access to the system, for toolchains that always import it.
//!
//! The wall clock is that of the host, which can be virtual. Random numbers are
//! real. Standard output and standard error go to the plugin's log, line by line. Files,
//! environment, arguments, standard input and sockets can be imported, but are empty or
//! fail.

use super::log::CallLog;
use super::stdio::LogStream;
use crate::{Clock, Level};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView};

/// Maximum number of streams and timers that a guest can hold. They use host memory, which
/// the guest's memory limit does not cover.
pub(crate) const MAX_RESOURCES: usize = 128;

/// Maximum number of random bytes in one request. The host buffers them until the guest has
/// copied them; the default of wasmtime-wasi is 64 MiB.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;

/// WASI state of one call.
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
            .max_random_size(MAX_RANDOM_BYTES)
            .stdout(LogStream::new(log, Level::Info))
            .stderr(LogStream::new(log, Level::Warn))
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Wasi { ctx, table }
    }

    pub(crate) fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }

    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

/// Wall clock of the host.
struct Wall(Arc<dyn Clock>);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0.now().duration_since(Timestamp::UNIX_EPOCH).try_into().unwrap_or_default()
    }
}

/// Time since the start of the call, measured by the clock of its timers. Even with a
/// virtual clock, a guest must see that time has passed after a timer has fired.
struct Monotonic(Instant);

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1
    }

    // One second is added because Go rejects a clock that reads zero.
    fn now(&self) -> u64 {
        (self.0.elapsed() + Duration::from_secs(1)).as_nanos().try_into().unwrap_or(u64::MAX)
    }
}
