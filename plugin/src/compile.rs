//! Compilation of a component to machine code, within bounds.
//!
//! A component that was compiled before comes from the cache. Any other is examined
//! first: one that nests too deep never reaches a reader, and a function that is too
//! large or too tangled never reaches the compiler, whose time and memory grow faster
//! than the function. Then its memories get headroom, and it is compiled in threads of
//! its own, one component at a time, within a time limit.
//!
//! Nothing can stop a compiler halfway: an abandoned compilation ends by itself at some
//! time, and until then keeps its threads and its memory. The same component is not
//! tried again before, and the number of abandoned compilations is limited.

pub(crate) mod cache;
mod functions;
mod headroom;

use crate::component::{self, nesting};
use crate::error::one_line;
use crate::{Limits, LoadError};
use cache::{Cache, Digest, Source};
use parking_lot::{Mutex, MutexGuard};
use rayon_core::ThreadPoolBuilder;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::available_parallelism;
use std::time::Duration;
use wasmtime::component::Component;

/// Compilations that may be left behind at once.
const MOST_LEFT: usize = 2;

/// The compiler's own threads recurse over what they compile.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// The core WebAssembly page.
const PAGE_BYTES: u64 = 64 * 1024;

/// A compiled component, of which any number of plugins can be made.
#[derive(Clone)]
pub struct Compiled {
    pub(crate) component: Component,
    pub(crate) source: Source,
}

impl Compiled {
    /// Returns the memory of a call at its start, headroom included; `None` if that
    /// cannot be known.
    pub(crate) fn memory_at_start(&self) -> Option<u64> {
        let pages = self.component.resources_required()?.max_initial_memory_size.unwrap_or(0);
        Some(pages.saturating_mul(PAGE_BYTES))
    }

    /// Returns the memory of a call's tables and of its largest linear memory at its
    /// start, as far as they can be known.
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

/// Compiles one component at a time.
#[derive(Default)]
pub(crate) struct Compiler {
    turn: Mutex<()>,
    /// Compilations that timed out and are still running.
    left: Arc<Mutex<Vec<Digest>>>,
}

impl Compiler {
    /// The component, ready to be linked. Blocks.
    pub(crate) fn component(
        &self,
        engine: &wasmtime::Engine,
        cache: Option<&Cache>,
        bytes: &[u8],
        source: Source,
        limits: &Limits,
    ) -> Result<Component, LoadError> {
        let find = || cache.and_then(|cache| cache.get(engine, &source));
        if let Some(component) = find() {
            return Ok(component);
        }
        nesting::check(bytes).map_err(LoadError::Invalid)?;
        functions::check_functions(bytes)?;
        let _turn = lock(&self.turn);
        // The compilation before this one may have been of the same component.
        if let Some(component) = find() {
            return Ok(component);
        }
        let roomy = headroom::give(bytes, limits.memory_bytes);
        let bytes = roomy.unwrap_or_else(|| bytes.to_vec());
        let code = self.compile(engine, source.digest, bytes, limits.compile_time)?;
        match cache.map(|cache| cache.put(engine, &source, &code)) {
            Some(Ok(component)) => return Ok(component),
            Some(Err(error)) => {
                tracing::warn!("compiled, but not kept for the next start: {}", one_line(&error));
            }
            None => {}
        }
        run_as_it_stands(engine, &code).map_err(|error| LoadError::Compiler(one_line(&error)))
    }

    /// Returns a component in binary form, which may have to be made first. That is held
    /// to the time of a compilation, and takes its turn. Blocks.
    pub(crate) fn binary<'a>(
        &self,
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<Cow<'a, [u8]>, LoadError> {
        if let Some(binary) = component::as_binary(bytes)? {
            return Ok(Cow::Borrowed(binary));
        }
        let _turn = lock(&self.turn);
        let (digest, bytes) = (Digest::of(bytes), bytes.to_vec());
        let made = self.within(digest, limits.compile_time, move || component::make(&bytes))??;
        Ok(Cow::Owned(made))
    }

    fn compile(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        bytes: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, LoadError> {
        let engine = engine.clone();
        let compiled = self.within(digest, limit, move || engine.precompile_component(&bytes))?;
        compiled.map_err(|error| LoadError::of_reader(one_line(&error)))
    }

    /// Does work on a component in threads of its own, and abandons it past the limit.
    fn within<T: Send + 'static>(
        &self,
        digest: Digest,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LoadError> {
        let left = lock(&self.left).clone();
        if left.contains(&digest) || left.len() >= MOST_LEFT {
            return Err(LoadError::StillCompiling { others: left.len() });
        }
        // A pool of its own: wasmtime would share one, and a component that
        // keeps it busy for ever would be the last.
        let threads = available_parallelism().map_or(1, usize::from);
        let pool = ThreadPoolBuilder::new()
            .thread_name(|_| "wasm-compile".to_owned())
            .num_threads(threads)
            .stack_size(STACK_BYTES)
            // The end of the channel notifies the caller.
            .panic_handler(|_| {})
            .build()
            .map_err(|error| LoadError::Compiler(error.to_string()))?;
        let (done, outcome) = sync_channel(1);
        let ends = Ends { digest, left: Arc::clone(&self.left) };
        lock(&self.left).push(digest);
        pool.spawn(move || {
            let outcome = work();
            drop(ends);
            // The caller may have given up.
            let _ = done.send(outcome);
        });
        match outcome.recv_timeout(limit) {
            Ok(outcome) => Ok(outcome),
            Err(RecvTimeoutError::Timeout) => Err(LoadError::CompileTime(limit)),
            Err(RecvTimeoutError::Disconnected) => Err(LoadError::Compiler(
                "the compiler stopped halfway: it nests too deep, or the compiler has a fault"
                    .to_owned(),
            )),
        }
    }
}

/// Takes a component off the list when its compilation ends, however it does.
struct Ends {
    digest: Digest,
    left: Arc<Mutex<Vec<Digest>>>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        lock(&self.left).retain(|digest| *digest != self.digest);
    }
}

/// Loads a component that this engine has compiled once more, with machine code of its own.
pub(crate) fn anew(
    engine: &wasmtime::Engine,
    cache: Option<&Cache>,
    source: &Source,
    component: &Component,
) -> wasmtime::Result<Component> {
    // Its file may have made room for others.
    if let Some(cached) = cache.and_then(|cache| cache.again(engine, source).ok()) {
        return Ok(cached);
    }
    run_as_it_stands(engine, &component.serialize()?)
}

fn run_as_it_stands(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[allow(unsafe_code, reason = "there is no other way to load compiled code")]
    // SAFETY: the compiler of this very engine has made it.
    unsafe {
        Component::deserialize(engine, code)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
