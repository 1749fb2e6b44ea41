//! Forwarding of the events of the log to receivers in the program, beside standard error.
//!
//! Without a receiver, it costs an event one atomic read. The filter of the log applies.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Receiver of events. It is called on the thread that logs, so it must not block.
pub type LogReceiver = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// The receivers of this process. A process with several hosts has one for each.
static RECEIVERS: RwLock<Vec<LogReceiver>> = RwLock::new(Vec::new());

/// `true` if there is a receiver.
static HAS_RECEIVERS: AtomicBool = AtomicBool::new(false);

/// Layer of a `tracing` subscriber that passes events on to the receivers of [`forward_log`].
/// [`log()`](crate::log()) includes it.
#[derive(Debug, Clone, Copy)]
pub struct LogForwarder;

/// Forwarding of events, which ends when this is dropped.
#[must_use = "dropping it ends the forwarding"]
pub struct Forwarding(LogReceiver);

/// Passes the events of the log on to `receiver`.
pub fn forward_log(receiver: LogReceiver) -> Forwarding {
    let mut receivers = RECEIVERS.write();
    receivers.push(Arc::clone(&receiver));
    HAS_RECEIVERS.store(true, Ordering::Relaxed);
    Forwarding(receiver)
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        let mut receivers = RECEIVERS.write();
        receivers.retain(|receiver| !Arc::ptr_eq(receiver, &self.0));
        HAS_RECEIVERS.store(!receivers.is_empty(), Ordering::Relaxed);
    }
}

impl fmt::Debug for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forwarding")
    }
}

impl<S: Subscriber> Layer<S> for LogForwarder {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if HAS_RECEIVERS.load(Ordering::Relaxed) {
            // Recursive, since a receiver may log.
            RECEIVERS.read_recursive().iter().for_each(|receiver| receiver(event));
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tracing::info;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::EventFields;

    #[test]
    fn receivers_get_the_events_until_they_are_dropped() {
        let received = Arc::new(Mutex::new(Vec::new()));
        let receiver = |name: &'static str| {
            let received = Arc::clone(&received);
            forward_log(Arc::new(move |event| {
                received.lock().push((name, EventFields::of(event).message));
            }))
        };
        let subscriber = tracing_subscriber::registry().with(LogForwarder);
        tracing::subscriber::with_default(subscriber, || {
            info!("none");
            let first = receiver("first");
            info!(a = 1, "one");
            let second = receiver("second");
            info!("two");
            drop(first);
            info!("three");
            drop(second);
            info!("none");
        });
        let expected = [("first", "one"), ("first", "two"), ("second", "two"), ("second", "three")];
        assert_eq!(*received.lock(), expected.map(|(name, text)| (name, text.to_owned())));
    }
}
