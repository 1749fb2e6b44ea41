//! Compilation of a component to machine code, within limits.
//!
//! A component that has been compiled before comes from the cache. Any other is checked
//! first: a component that nests too deeply is rejected before it is parsed, and a function
//! that is too large or too complex before it is compiled, because the compiler's time and
//! memory grow faster than the function. Then its memories get headroom. Components are
//! compiled one at a time, on separate threads and within a time limit.
//!
//! A compilation cannot be cancelled. After a timeout it continues in the background until
//! it ends by itself, and keeps its threads and its memory until then. Meanwhile the same
//! component is not compiled again, and the number of abandoned compilations is limited.

pub(crate) mod cache;
mod functions;
mod headroom;

use crate::budget::{Budget, Reservation};
use crate::component::rejection::rejection;
use crate::component::{self, nesting};
use crate::error::one_line;
use crate::{Limits, LoadError};
use cache::{Cache, Digest, InUse, Source};
use parking_lot::{Mutex, MutexGuard};
use rayon_core::ThreadPoolBuilder;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};
use wasmtime::component::Component;

/// Maximum number of abandoned compilations.
const MAX_ABANDONED: usize = 2;

/// Stack size of a compiler thread. The compiler recurses over the structure of the code.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Memory of a conversion to binary form, as a multiple of the input.
const CONVERSION: usize = 10;

/// Interval of the checks for free memory before a compilation.
const MEMORY_CHECK: Duration = Duration::from_millis(50);

/// Size of a WebAssembly page, in bytes.
const PAGE_BYTES: u64 = 64 * 1024;

/// A compiled component. Any number of plugins can be created from it.
#[derive(Clone)]
pub struct Compiled {
    pub(crate) component: Component,
    pub(crate) source: Source,
    /// File in the compile cache.
    pub(crate) in_use: Option<InUse>,
}

impl Compiled {
    /// Returns the linear memory of a call at its start, including headroom, or `None` if
    /// it cannot be determined.
    pub(crate) fn memory_at_start(&self) -> Option<u64> {
        let pages = self.component.resources_required()?.max_initial_memory_size.unwrap_or(0);
        Some(pages.saturating_mul(PAGE_BYTES))
    }

    /// Returns the initial size of a call's tables and of its largest linear memory, as far
    /// as it can be determined.
    pub(crate) fn bytes_at_start(&self) -> usize {
        let tables = self.component.resources_required().map_or(0, |required| {
            let elements = required.max_initial_table_size.unwrap_or(0);
            elements.saturating_mul(required.num_tables.into())
        });
        let bytes = tables.saturating_mul(size_of::<usize>() as u64);
        let bytes = bytes.saturating_add(self.memory_at_start().unwrap_or(0));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// Compiler of components, one at a time.
#[derive(Default)]
pub(crate) struct Compiler {
    turn: Mutex<()>,
    /// Running compilations. Compilations take turns, so all but the current one have been
    /// abandoned.
    running: Arc<Mutex<Vec<Digest>>>,
}

impl Compiler {
    /// Returns the compiled component, from the cache if possible, and its file in the
    /// cache. Blocks.
    pub(crate) fn component(
        &self,
        engine: &wasmtime::Engine,
        cache: Option<&Cache>,
        bytes: &[u8],
        source: Source,
        limits: &Limits,
        budget: &Arc<Budget>,
    ) -> Result<(Component, Option<InUse>), LoadError> {
        let find = || cache.and_then(|cache| cache.get(engine, &source));
        if let Some((component, in_use)) = find() {
            return Ok((component, Some(in_use)));
        }
        nesting::check(bytes).map_err(LoadError::Invalid)?;
        let code_bytes = functions::check_functions(bytes)?;
        let _turn = lock(&self.turn);
        // Another thread may have compiled the same component in the meantime.
        if let Some((component, in_use)) = find() {
            return Ok((component, Some(in_use)));
        }
        let roomy = headroom::insert(bytes, limits.memory_bytes);
        let bytes = roomy.unwrap_or_else(|| bytes.to_vec());
        let needs_bytes = compilation_bytes(bytes.len(), code_bytes);
        let memory = reserve(budget, needs_bytes, limits.compile_time)?;
        let code = self.compile(engine, source.digest, bytes, limits.compile_time, memory)?;
        match cache.map(|cache| cache.put(engine, &source, &code)) {
            Some(Ok((component, in_use))) => return Ok((component, Some(in_use))),
            Some(Err(error)) => {
                tracing::warn!("compiled code not cached: {}", one_line(&error));
            }
            None => {}
        }
        let component = deserialize(engine, &code);
        Ok((component.map_err(|error| LoadError::Compiler(one_line(&error)))?, None))
    }

    /// Returns the component in binary form, converting it if necessary. A conversion
    /// counts as a compilation: it takes its turn and has the same time limit. Blocks.
    pub(crate) fn binary<'a>(
        &self,
        bytes: &'a [u8],
        limits: &Limits,
        budget: &Arc<Budget>,
    ) -> Result<Cow<'a, [u8]>, LoadError> {
        if let Some(binary) = component::as_binary(bytes)? {
            return Ok(Cow::Borrowed(binary));
        }
        let _turn = lock(&self.turn);
        let memory = reserve(budget, CONVERSION * bytes.len(), limits.compile_time)?;
        let (digest, bytes) = (Digest::of(bytes), bytes.to_vec());
        let convert = move || component::to_binary(&bytes);
        let binary = self.run_within(digest, limits.compile_time, memory, convert)??;
        Ok(Cow::Owned(binary))
    }

    fn compile(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        bytes: Vec<u8>,
        limit: Duration,
        memory: Reservation,
    ) -> Result<Vec<u8>, LoadError> {
        let engine = engine.clone();
        let compile = move || {
            let compiled = engine.precompile_component(&bytes);
            compiled.map_err(|error| rejection(&bytes, &error))
        };
        self.run_within(digest, limit, memory, compile)?
    }

    /// Runs `work` on separate threads and abandons it after `limit`. Releases `memory` when
    /// the work ends, even if it was abandoned.
    fn run_within<T: Send + 'static>(
        &self,
        digest: Digest,
        limit: Duration,
        memory: Reservation,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LoadError> {
        let running = lock(&self.running).clone();
        if running.contains(&digest) || running.len() >= MAX_ABANDONED {
            return Err(LoadError::StillCompiling { others: running.len() });
        }
        // A new pool for each compilation: in wasmtime's shared pool, one compilation
        // that does not end would block all others.
        let threads = available_parallelism().map_or(1, usize::from);
        let pool = ThreadPoolBuilder::new()
            .thread_name(|_| "wasm-compile".to_owned())
            .num_threads(threads)
            .stack_size(STACK_BYTES)
            // The dropped channel notifies the caller.
            .panic_handler(|_| {})
            .build()
            .map_err(|error| LoadError::CompilerThreads(error.to_string()))?;
        let (done, outcome) = sync_channel(1);
        let guard = RunningGuard { digest, running: Arc::clone(&self.running), _memory: memory };
        lock(&self.running).push(digest);
        pool.spawn(move || {
            let outcome = work();
            drop(guard);
            // The caller may have timed out.
            let _ = done.send(outcome);
        });
        match outcome.recv_timeout(limit) {
            Ok(outcome) => Ok(outcome),
            Err(RecvTimeoutError::Timeout) => Err(LoadError::CompileTime(limit)),
            Err(RecvTimeoutError::Disconnected) => Err(LoadError::Compiler(
                "it panicked: the component nests too deeply, or the compiler has a bug".to_owned(),
            )),
        }
    }
}

/// Removes a compilation from the list when it ends, even by a panic.
struct RunningGuard {
    digest: Digest,
    running: Arc<Mutex<Vec<Digest>>>,
    _memory: Reservation,
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        lock(&self.running).retain(|digest| *digest != self.digest);
    }
}

/// Estimates the memory of a compilation, in bytes.
///
/// Measured with two threads: CPython takes 335 MiB (6.3 MiB of code in a file of 17.5 MiB), a
/// guest in Go 96 MiB (2.9 of 4.3 MiB) and QuickJS 49 MiB (0.7 of 1.2 MiB).
fn compilation_bytes(component_bytes: usize, code_bytes: usize) -> usize {
    const OF_THREADS: usize = 24 * 1024 * 1024;
    let code = code_bytes.saturating_mul(40);
    component_bytes.saturating_mul(3).saturating_add(code).saturating_add(code.min(OF_THREADS))
}

/// Waits until the memory of a compilation is free, and reserves it.
fn reserve(
    budget: &Arc<Budget>,
    needs_bytes: usize,
    limit: Duration,
) -> Result<Reservation, LoadError> {
    let limit_bytes = budget.limit_bytes();
    if needs_bytes > limit_bytes {
        return Err(LoadError::CompileMemory { needs_bytes, limit_bytes });
    }
    let until = Instant::now() + limit;
    loop {
        match Reservation::for_compilation(budget, needs_bytes) {
            Ok(memory) => return Ok(memory),
            Err(_) if Instant::now() < until => thread::sleep(MEMORY_CHECK),
            Err(_) => return Err(LoadError::CompileBusy { needs_bytes, limit }),
        }
    }
}

/// Loads a component again, with a separate mapping of its machine code.
pub(crate) fn load_again(
    engine: &wasmtime::Engine,
    cache: Option<&Cache>,
    source: &Source,
    component: &Component,
) -> wasmtime::Result<Component> {
    // The cache may have evicted its file, or the file may be corrupt.
    if let Some(cached) = cache.and_then(|cache| cache.map_again(engine, source)) {
        return Ok(cached);
    }
    deserialize(engine, &component.serialize()?)
}

fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[allow(unsafe_code, reason = "there is no other way to load compiled code")]
    // SAFETY: `code` comes from the compiler of this engine.
    unsafe {
        Component::deserialize(engine, code)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
