//! The faults of a long run, which are injected in turn.

use std::sync::Arc;
use std::time::Duration;

use hub::{Effect, Fault, Forget, Hub, Refused, Step};
use protocol::id::DeviceId;

/// The delay of a packet, and the downtime of a restarting hub.
const DELAY: Duration = Duration::from_millis(300);

/// The duration of a half-open connection, which is longer than the host's keep-alive.
const HALF_OPEN: Duration = Duration::from_secs(60);

/// Injects one fault per interval. Never returns.
pub(crate) async fn inject(hub: Arc<Hub>, device: DeviceId, interval: Duration) {
    let at = [
        (Step::Acknowledge, Effect::DropBefore),
        (Step::Method, Effect::DropAfter),
        (Step::Answer, Effect::DropBefore),
        (Step::TwinReport, Effect::DropAfter),
        (Step::Method, Effect::Duplicate),
        (Step::Answer, Effect::Delay(DELAY)),
        (Step::Method, Effect::Reorder(DELAY)),
        (Step::TwinReport, Effect::Throttle),
        (Step::Acknowledge, Effect::HalfOpen(HALF_OPEN)),
        (Step::Method, Effect::Lose),
    ];
    for round in 0_usize.. {
        tokio::time::sleep(interval).await;
        match round % (at.len() + 4) {
            0 => drop(hub.drop_connection(&device)),
            1 => drop(hub.expire_token(&device)),
            2 => hub.restart(DELAY, Forget::Sessions).unwrap(),
            3 => {
                let refuse = Effect::Refuse(Refused::Unavailable);
                hub.faults().set(Fault::new(Step::Connect, refuse)).unwrap();
                hub.drop_connection(&device);
            }
            other => {
                let (step, effect) = at[other - 4];
                hub.faults().set(Fault::new(step, effect)).unwrap();
            }
        }
    }
}
