//! wasmtime's settings: for compiled code, and for the engine of a pool.

use crate::component::features::SUPPORTED;
use crate::engine::ready::TARGET_OF_32_BITS;
use crate::engine::{BATCH, EngineSettings};
use crate::error::one_line;
use wasmparser::WasmFeatures;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, ModuleVersionStrategy, PoolingAllocationConfig,
};

const KIB: usize = 1024;

/// Stack for host functions, in addition to the guest's. Host functions run on the guest's
/// stack; the deepest ones parse a patch or format a log line.
const HOST_STACK_BYTES: usize = 512 * KIB;

/// Memory for the functions, globals and resources of one call's instances. CPython needs
/// 395 KiB, Go 91 KiB and QuickJS 55 KiB; wasmtime's default is 1 MiB for each core
/// instance.
pub(super) const INSTANCE_BYTES: usize = 512 * KIB;

/// `true` if instances are allocated for each call, because the process has 32 bits.
pub(super) const ON_DEMAND: bool = cfg!(target_pointer_width = "32");

/// Number of instances of the pool for steady load. Calls that do not wait are rarely concurrent,
/// so few instances suffice for them.
pub(super) const STEADY_INSTANCES: u32 = 128;

/// Maximum numbers of core instances, tables and memories of a component.
const CORE_INSTANCES: u32 = 16;
const TABLES: u32 = 16;
const MEMORIES: u32 = 4;

/// Number of parts in a batch. A queue can be emptied only by a module that is compiled for it
/// (`freed`), so there is no queue without the compiler.
const DECOMMIT_BATCH: usize = if cfg!(feature = "compiler") { BATCH } else { 1 };

/// Prefix of a linear memory that stays resident between calls. It covers the stack and data of
/// a small guest, and the first 64 KiB of its heap, whose last page an allocator writes to.
const RESIDENT_BYTES: usize = 192 * KIB;

/// Parts of a stack and of a table that stay resident between calls. They cover the pages that
/// a small guest touches.
const RESIDENT_STACK_BYTES: usize = 16 * KIB;
const RESIDENT_TABLE_BYTES: usize = 8 * KIB;

/// Address space by which a memory of a 32-bit host can grow before it is moved. Compiled guests
/// grow by one or two pages of 64 KiB.
const GROWTH_BYTES: u64 = 256 * KIB as u64;

/// Purpose of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Calls that rarely wait. Keeps the first pages of an instance resident.
    Steady,
    /// Further calls of a burst. Keeps no pages resident.
    Burst,
}

impl Purpose {
    /// Returns the number of instances of a pool, of all that the settings allow.
    pub(super) fn instances(self, settings: &EngineSettings) -> u32 {
        match self {
            // Nothing is kept between calls, so bursts need no other pool.
            Purpose::Steady if ON_DEMAND => settings.instances,
            Purpose::Burst if ON_DEMAND => 0,
            Purpose::Steady => settings.instances.min(STEADY_INSTANCES),
            Purpose::Burst => settings.instances.saturating_sub(STEADY_INSTANCES),
        }
    }
}

/// Address space reserved for a linear memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AddressSpace {
    /// 4 GiB, which is all that a guest can address and wasmtime's default.
    Full,
    /// The limit [`EngineSettings::max_call_memory_bytes`], for machines with a small address
    /// space.
    Compact,
    /// The current size of the memory, which is moved when it has to grow further, for processes
    /// of 32 bits.
    Current,
}

/// Creates the engine of a pool. Returns it with the number of its instances, which is smaller if
/// the process has little address space.
pub(super) fn create(
    settings: &EngineSettings,
    purpose: Purpose,
) -> wasmtime::Result<(wasmtime::Engine, u32)> {
    create_with(settings, purpose, cfg!(feature = "compiler"))
}

fn create_with(
    settings: &EngineSettings,
    purpose: Purpose,
    has_compiler: bool,
) -> wasmtime::Result<(wasmtime::Engine, u32)> {
    let instances = purpose.instances(settings);
    let attempt = |space, instances| {
        wasmtime::Engine::new(&wasmtime_config(settings, purpose, space, instances)?)
    };
    if ON_DEMAND {
        return Ok((attempt(AddressSpace::Current, instances)?, instances));
    }
    // Large reservations make bounds checks unnecessary, but many small machines have
    // 39 bits of address space, too few for large reservations.
    let error = match attempt(AddressSpace::Full, instances) {
        Ok(wasmtime) => return Ok((wasmtime, instances)),
        Err(error) => error,
    };
    let reason = one_line(&error);
    if has_compiler {
        tracing::info!(reason, "fell back to compact address space");
        return Ok((attempt(AddressSpace::Compact, instances)?, instances));
    }
    // Code that was compiled elsewhere has no bounds checks, so each memory needs all of its space.
    let halves = |instances| Some(instances / 2).filter(|instances| *instances > 0);
    let fitting = std::iter::successors(halves(instances), |instances| halves(*instances))
        .find(|instances| attempt(AddressSpace::Full, *instances).is_ok());
    let Some(fitting) = fitting else { return Err(error) };
    // Half of it, because the rest of the process needs addresses too.
    let instances = halves(fitting).unwrap_or(fitting);
    tracing::info!(reason, instances, "fell back to fewer concurrent calls");
    Ok((attempt(AddressSpace::Full, instances)?, instances))
}

/// Returns the settings that compiled code depends on, of this host or of another target.
pub(super) fn code_settings(target: Option<&str>) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .wasm_features(SUPPORTED, true)
        .wasm_features(WasmFeatures::all().difference(SUPPORTED), false)
        .concurrency_support(false)
        .epoch_interruption(true)
        // By default, wasmtime accepts code of each version with the same major number.
        .module_version(ModuleVersionStrategy::Custom(env!("BEHAVIOUR_WASMTIME").to_owned()))
        .expect("a version is shorter than 256 bytes");
    if let Some(target) = target {
        config.target(target)?;
    }
    if target.map_or(ON_DEMAND, |target| target == TARGET_OF_32_BITS) {
        // wasmtime's defaults for this target do not fit its own runtime on ARM, which has no
        // handler of signals there. So the interpreter checks all bounds.
        config
            .signals_based_traps(false)
            .memory_reservation(0)
            .memory_guard_size(0)
            .memory_reservation_for_growth(GROWTH_BYTES);
    }
    Ok(config)
}

fn wasmtime_config(
    settings: &EngineSettings,
    purpose: Purpose,
    space: AddressSpace,
    instances: u32,
) -> wasmtime::Result<Config> {
    let mut config = code_settings(None)?;
    config
        .async_stack_zeroing(true)
        .max_wasm_stack(settings.stack_bytes)
        .async_stack_size(settings.stack_bytes + HOST_STACK_BYTES)
        .allocation_strategy(match space {
            AddressSpace::Current => InstanceAllocationStrategy::OnDemand,
            _ => InstanceAllocationStrategy::Pooling(pool_config(settings, purpose, instances)),
        });
    if space == AddressSpace::Compact {
        config
            .memory_reservation(settings.max_call_memory_bytes as u64)
            .memory_guard_size(64 * KIB as u64);
    }
    Ok(config)
}

fn pool_config(
    settings: &EngineSettings,
    purpose: Purpose,
    instances: u32,
) -> PoolingAllocationConfig {
    // A component often has two or three core modules, each with a table: the guest, its WASI
    // adapter, and a shim between them. A place for steady load suffices for every component.
    let (core_instances, tables, memories) = match purpose {
        Purpose::Steady => (CORE_INSTANCES, TABLES, MEMORIES),
        Purpose::Burst => (8, 4, 1),
    };
    let kept = |bytes: usize| if purpose == Purpose::Steady { bytes } else { 0 };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_memories(instances.saturating_mul(memories))
        .total_core_instances(instances.saturating_mul(core_instances))
        .total_tables(instances.saturating_mul(tables))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(BATCH as u32)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_memory_size(settings.max_call_memory_bytes)
        // The page scan of wasmtime 48 misses pages that are swapped out or being migrated.
        // It does not reset them, so the next call in the slot could read them (fixed in
        // wasmtime 50.0.1). Without the scan, wasmtime clears the whole resident prefix
        // after each call. For the pages that a small guest touches, this is cheaper than
        // unmapping and faulting them in again; after a burst they are released with the
        // pool.
        .pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(kept(RESIDENT_BYTES))
        .table_keep_resident(kept(RESIDENT_TABLE_BYTES))
        .async_stack_keep_resident(kept(RESIDENT_STACK_BYTES))
        .decommit_batch_size(DECOMMIT_BATCH);
    pool
}

// An emulator cannot start the program of the test again. For ARM, `.ci/cross` runs a host with 39 bits.
#[cfg(all(test, feature = "compiler", target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::compile::deserialize;
    use crate::compile::file::CompiledCode;
    use crate::{Limits, TARGET, compile_for};
    use std::process::Command;

    /// Tells the process with little address space from the one that starts it.
    const INSIDE: &str = "BEHAVIOUR_LITTLE_ADDRESS_SPACE";

    #[test]
    fn in_little_address_space_compiled_code_has_fewer_instances() {
        if std::env::var_os(INSIDE).is_none() {
            let name = "in_little_address_space_compiled_code_has_fewer_instances";
            let output = Command::new("sh")
                // 512 GiB: 39 bits.
                .args(["-c", "ulimit -v 536870912 && exec \"$@\"", "sh"])
                .arg(std::env::current_exe().unwrap())
                .arg(name)
                .env(INSIDE, "1")
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        let settings = EngineSettings::default();
        let file =
            compile_for(TARGET, &fixtures::guest("answers.wat"), &Limits::default()).unwrap();
        let code = CompiledCode::parse(&file).ok().unwrap().code;
        let (steady, steady_instances) = create_with(&settings, Purpose::Steady, false).unwrap();
        let (burst, burst_instances) = create_with(&settings, Purpose::Burst, false).unwrap();
        assert_eq!((steady_instances, burst_instances), (8, 28));
        for wasmtime in [steady, burst] {
            assert!(deserialize(&wasmtime, code).is_ok());
        }
        let (compact, instances) = create_with(&settings, Purpose::Steady, true).unwrap();
        assert_eq!(instances, STEADY_INSTANCES);
        assert!(
            deserialize(&compact, code).is_err(),
            "its memories have less space than the code needs"
        );
    }
}
