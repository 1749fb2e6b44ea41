//! A thread of its own for a device.
//!
//! A method takes tens of microseconds from its packet to its answer, and handing it from one
//! thread to another costs a good part of that. Therefore the connection, the event loop and
//! the quick calls of a device share one thread, which has a runtime of its own. Everything
//! else stays in the runtime of the caller: calls that wait or compute for long, jobs, loads
//! and background tasks.
//!
//! A process with many devices does not use this: its devices share the worker threads.

use std::io;
use std::panic::resume_unwind;
use std::thread;

use tokio::runtime::{Builder, Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Device;

/// Runs a device until `stop` completes, in a thread of its own if the caller's runtime has
/// several threads. Dropping the future ends the device without a drain.
///
/// # Errors
///
/// Returns an error if the thread cannot be started.
///
/// # Panics
///
/// Panics if the device panics.
pub(crate) async fn run(device: Device, stop: impl Future<Output = ()>) -> io::Result<()> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        device.run(stop).await;
        return Ok(());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (stopping, dropped) = (CancellationToken::new(), CancellationToken::new());
    let _drop_guard = dropped.clone().drop_guard();
    let (ended, mut has_ended) = oneshot::channel::<()>();
    let work = {
        let stopping = stopping.clone();
        async move {
            // Dropped at the end, also by a panic.
            let _ended = ended;
            tokio::select! {
                () = device.run(stopping.cancelled()) => {}
                () = dropped.cancelled() => {}
            }
        }
    };
    let thread = thread::Builder::new().name("device".into()).spawn(move || {
        runtime.block_on(work);
        // A lookup of a name that hangs must not delay the end.
        runtime.shutdown_background();
    })?;
    tokio::select! {
        _ = &mut has_ended => {}
        () = stop => {
            stopping.cancel();
            // An error is the end of the thread.
            has_ended.await.ok();
        }
    }
    // The thread has nothing left to do but to return.
    thread.join().unwrap_or_else(|panic| resume_unwind(panic));
    Ok(())
}
