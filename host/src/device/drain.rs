//! Time limits of a drain.

use std::time::Duration;
use tokio::time::Instant;

/// Interval at which a drain is checked for completion.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// Time limit for sending the answers of cancelled calls.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Purpose of a drain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DrainPurpose {
    Stop,
    Reboot,
}

/// Next step of a drain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DrainStep {
    /// Wait for calls or deliveries.
    Wait,
    /// Cancel the running calls, because the grace period is over. Returned once.
    StopCalls,
    /// End the drain, because it is complete or has timed out.
    End(DrainPurpose),
}

/// Drain in progress.
pub(super) struct Drain {
    calls_until: Instant,
    answers_until: Instant,
    stopped: bool,
    then: DrainPurpose,
}

impl Drain {
    /// Begins a drain in which calls may run for `grace`.
    pub(super) fn begin(grace: Duration, then: DrainPurpose) -> Self {
        let calls_until = Instant::now() + grace;
        Drain { calls_until, answers_until: calls_until + LAST_ANSWERS, stopped: false, then }
    }

    /// Returns the next step. `idle` is `true` if no call or job is running and all calls are
    /// answered, `delivered` if the hub has acknowledged all reports and messages.
    pub(super) fn step(&mut self, now: Instant, idle: bool, delivered: bool) -> DrainStep {
        let over = now >= self.calls_until;
        if (idle && (delivered || over)) || now >= self.answers_until {
            return DrainStep::End(self.then);
        }
        if over && !self.stopped {
            self.stopped = true;
            return DrainStep::StopCalls;
        }
        DrainStep::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(drain: &mut Drain, seconds: u64, idle: bool, delivered: bool) -> DrainStep {
        let began = drain.calls_until - Duration::from_secs(10);
        drain.step(began + Duration::from_secs(seconds), idle, delivered)
    }

    fn drain() -> Drain {
        Drain::begin(Duration::from_secs(10), DrainPurpose::Stop)
    }

    #[test]
    fn a_drain_ends_when_all_calls_are_done_and_everything_is_delivered() {
        assert_eq!(after(&mut drain(), 0, true, true), DrainStep::End(DrainPurpose::Stop));
        assert_eq!(after(&mut drain(), 1, false, true), DrainStep::Wait);
        assert_eq!(after(&mut drain(), 1, true, false), DrainStep::Wait);
    }

    #[test]
    fn without_a_connection_a_drain_ends_after_the_grace_period() {
        assert_eq!(after(&mut drain(), 10, true, false), DrainStep::End(DrainPurpose::Stop));
    }

    #[test]
    fn calls_are_cancelled_once_and_unsent_answers_delay_the_end_by_a_few_seconds() {
        let mut drain = drain();
        assert_eq!(after(&mut drain, 9, false, false), DrainStep::Wait);
        assert_eq!(after(&mut drain, 10, false, false), DrainStep::StopCalls);
        assert_eq!(after(&mut drain, 11, false, false), DrainStep::Wait);
        assert_eq!(after(&mut drain, 12, false, false), DrainStep::Wait);
        assert_eq!(after(&mut drain, 13, false, false), DrainStep::End(DrainPurpose::Stop));
    }
}
