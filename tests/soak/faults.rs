//! The faults of a long run, one after the other and again from the first.

use std::sync::Arc;
use std::time::Duration;

use hub::{Effect, Fault, Forget, Hub, Refused, Step};
use protocol::id::DeviceId;

/// The delay of a late packet, and the downtime of a restarting hub.
const LATE: Duration = Duration::from_millis(300);

/// The duration of a silence: longer than the host's keep-alive.
const SILENT: Duration = Duration::from_secs(60);

/// Injects one fault after each such time; never returns.
pub(crate) async fn happen(hub: Arc<Hub>, device: DeviceId, every: Duration) {
    let at = [
        (Step::Acknowledge, Effect::DropBefore),
        (Step::Method, Effect::DropAfter),
        (Step::Answer, Effect::DropBefore),
        (Step::TwinReport, Effect::DropAfter),
        (Step::Method, Effect::Duplicate),
        (Step::Answer, Effect::Delay(LATE)),
        (Step::Method, Effect::Reorder(LATE)),
        (Step::TwinReport, Effect::Throttle),
        (Step::Acknowledge, Effect::HalfOpen(SILENT)),
        (Step::Method, Effect::Lose),
    ];
    for round in 0_usize.. {
        tokio::time::sleep(every).await;
        match round % (at.len() + 4) {
            0 => drop(hub.drop_connection(&device)),
            1 => drop(hub.expire_token(&device)),
            2 => hub.restart(LATE, Forget::Sessions).unwrap(),
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
