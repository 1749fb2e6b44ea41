//! Compilation of a component to machine code, within limits.
//!
//! A component that has been compiled before comes from the cache. Any other component is checked
//! first: one that nests too deeply is rejected before it is parsed, and one with a function that
//! is too large or too complex before it is compiled, because the compiler's time and memory grow
//! faster than the function. Then modules that share a table are fused, and its memories get
//! headroom. A compilation needs a permit ([`permits`](super::permits)), and runs on separate
//! threads and within a time limit. Loading a component from the cache needs no permit.
//!
//! A compilation cannot be cancelled. After a timeout it continues in the background until
//! it completes, and keeps its threads and its memory until then. Meanwhile the same
//! component is not compiled again, and the number of abandoned compilations is limited.

use super::cache::{Cache, Digest, InUse, Source};
use super::permits::{Length, Permit, Permits};
use super::{deserialize, functions, fusion, headroom};
use crate::budget::{Budget, Reservation};
use crate::component::rejection::rejection;
use crate::component::{convert, nesting};
use crate::error::one_line;
use crate::{Limits, LoadError};
use rayon_core::ThreadPoolBuilder;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};
use wasmtime::component::Component;

/// Stack size of a compiler thread. The compiler recurses over the structure of the code.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Memory of a conversion to binary form, as a multiple of the size of the input.
const CONVERSION_FACTOR: usize = 10;

/// Interval of the checks for free memory before a compilation.
const MEMORY_CHECK: Duration = Duration::from_millis(50);

/// Compiler of components.
#[derive(Default)]
pub(crate) struct Compiler {
    permits: Permits,
}

impl Compiler {
    /// Returns the compiled component, from the cache if possible, and the guard of its file in
    /// the cache. Blocks.
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
        let checked = Checked::new(bytes)?;
        let permit = self.permits.acquire(source.digest, checked.length())?;
        // Another thread may have compiled the same component in the meantime.
        if let Some((component, in_use)) = find() {
            return Ok((component, Some(in_use)));
        }
        let (code, _permit) = self.code(engine, checked, limits, budget, permit)?;
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

    /// Compiles a component for the target of `engine`, which need not be this machine. Blocks.
    pub(crate) fn code_of(
        &self,
        engine: &wasmtime::Engine,
        bytes: &[u8],
        limits: &Limits,
        budget: &Arc<Budget>,
    ) -> Result<Vec<u8>, LoadError> {
        let checked = Checked::new(bytes)?;
        let permit = self.permits.acquire(Digest::of(bytes), checked.length())?;
        self.code(engine, checked, limits, budget, permit).map(|(code, _permit)| code)
    }

    fn code(
        &self,
        engine: &wasmtime::Engine,
        component: Checked<'_>,
        limits: &Limits,
        budget: &Arc<Budget>,
        permit: Permit,
    ) -> Result<(Vec<u8>, Permit), LoadError> {
        let Checked { bytes, code_bytes } = component;
        let fused = fusion::fuse(bytes).map_or(Cow::Borrowed(bytes), Cow::Owned);
        let with_headroom = headroom::insert(&fused, limits.memory_bytes);
        let bytes = with_headroom.unwrap_or_else(|| fused.into_owned());
        let needs_bytes = compilation_bytes(bytes.len(), code_bytes);
        let memory = reserve(budget, needs_bytes, limits.compile_time, &permit)?;
        let compiling = engine.clone();
        let compile = move || {
            let compiled = compiling.precompile_component(&bytes);
            compiled.map_err(|error| rejection(&bytes, &error))
        };
        let (code, permit) = self.run_within(limits.compile_time, permit, memory, compile)?;
        Ok((code?, permit))
    }

    /// Returns the component in binary form, converting it if necessary. A conversion
    /// counts as a compilation: it needs a permit and has the same time limit. Blocks.
    pub(crate) fn binary<'a>(
        &self,
        bytes: &'a [u8],
        limits: &Limits,
        budget: &Arc<Budget>,
    ) -> Result<Cow<'a, [u8]>, LoadError> {
        if let Some(binary) = convert::as_binary(bytes)? {
            return Ok(Cow::Borrowed(binary));
        }
        let permit = self.permits.acquire(Digest::of(bytes), Length::of(bytes.len()))?;
        let memory =
            reserve(budget, CONVERSION_FACTOR * bytes.len(), limits.compile_time, &permit)?;
        let bytes = bytes.to_vec();
        let convert = move || convert::to_binary(&bytes);
        let (binary, _permit) = self.run_within(limits.compile_time, permit, memory, convert)?;
        Ok(Cow::Owned(binary?))
    }

    /// Runs `work` on separate threads and abandons it after `limit`. Releases `memory` when
    /// the work ends, even if it was abandoned or panicked. Returns the permit, which is still
    /// held, together with the result.
    fn run_within<T: Send + 'static>(
        &self,
        limit: Duration,
        permit: Permit,
        memory: Reservation,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, Permit), LoadError> {
        // A new pool for each compilation: in wasmtime's shared pool, one compilation
        // that does not end would block all others.
        let threads = available_parallelism().map_or(1, usize::from);
        let pool = ThreadPoolBuilder::new()
            .thread_name(|_| "wasm-compile".to_owned())
            .num_threads(threads)
            .stack_size(STACK_BYTES)
            // A panic drops `done`, which notifies the caller.
            .panic_handler(|_| {})
            .build()
            .map_err(|error| LoadError::CompilerThreads(error.to_string()))?;
        let (done, outcome) = sync_channel(1);
        let number = permit.number();
        pool.spawn(move || {
            let held = (permit, memory);
            let outcome = work();
            let (permit, memory) = held;
            drop(memory);
            // If the caller has timed out, this drops the permit.
            let _ = done.send((outcome, permit));
        });
        match outcome.recv_timeout(limit) {
            Ok(outcome) => Ok(outcome),
            Err(RecvTimeoutError::Timeout) => {
                self.permits.abandon(number);
                Err(LoadError::CompileTime(limit))
            }
            Err(RecvTimeoutError::Disconnected) => Err(LoadError::Compiler(
                "it panicked: the component nests too deeply, or the compiler has a bug".to_owned(),
            )),
        }
    }
}

/// A component that the compiler may read.
struct Checked<'a> {
    bytes: &'a [u8],
    /// Size of its functions, in bytes.
    code_bytes: usize,
}

impl Checked<'_> {
    fn new(bytes: &[u8]) -> Result<Checked<'_>, LoadError> {
        nesting::check(bytes).map_err(LoadError::Invalid)?;
        Ok(Checked { bytes, code_bytes: functions::check_functions(bytes)? })
    }

    fn length(&self) -> Length {
        Length::of(self.code_bytes)
    }
}

/// Estimates the memory of a compilation, in bytes.
///
/// Measured with two threads: CPython takes 335 MiB (6.3 MiB of code in a file of 17.5 MiB), a
/// guest in Go 96 MiB (2.9 of 4.3 MiB) and QuickJS 49 MiB (0.7 of 1.2 MiB).
fn compilation_bytes(component_bytes: usize, code_bytes: usize) -> usize {
    const THREAD_BYTES: usize = 24 * 1024 * 1024;
    let code = code_bytes.saturating_mul(40);
    component_bytes.saturating_mul(3).saturating_add(code).saturating_add(code.min(THREAD_BYTES))
}

/// Waits until the memory of a compilation is free, and reserves it. The time in which
/// another compilation runs does not count against the limit.
fn reserve(
    budget: &Arc<Budget>,
    needs_bytes: usize,
    limit: Duration,
    permit: &Permit,
) -> Result<Reservation, LoadError> {
    let limit_bytes = budget.limit_bytes();
    if needs_bytes > limit_bytes {
        return Err(LoadError::CompileMemory { needs_bytes, limit_bytes });
    }
    let mut until = Instant::now() + limit;
    loop {
        if let Ok(memory) = Reservation::for_compilation(budget, needs_bytes) {
            permit.begin();
            return Ok(memory);
        }
        if permit.another_is_compiling() {
            until = Instant::now() + limit;
        } else if Instant::now() >= until {
            return Err(LoadError::CompileBusy { needs_bytes, limit });
        }
        thread::sleep(MEMORY_CHECK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_compilation_does_not_delay_a_short_one() {
        let (compiler, budget) = (Compiler::default(), Arc::new(Budget::new(1 << 30)));
        let _long = compiler.permits.acquire(Digest::of(b"long"), Length::Long).unwrap();
        let (bytes, limits) = (fixtures::laborious(1, 10), Limits::default());
        let (engine, source) = (wasmtime::Engine::default(), Source::of(&bytes, &limits));
        compiler.component(&engine, None, &bytes, source, &limits, &budget).unwrap();
        compiler.binary(b"(component)", &limits, &budget).unwrap();
    }

    #[test]
    fn waiting_for_another_compilation_does_not_count_against_the_time_limit() {
        let (permits, budget) = (Permits::default(), Arc::new(Budget::new(800)));
        let acquire = |name: &[u8]| permits.acquire(Digest::of(name), Length::Short).unwrap();
        let (first, second) = (acquire(b"first"), acquire(b"second"));
        let memory = reserve(&budget, 600, Duration::ZERO, &first).unwrap();
        let waiting = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || reserve(&budget, 200, Duration::ZERO, &second))
        };
        drop(memory);
        assert!(waiting.join().unwrap().is_ok());
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
    }
}
