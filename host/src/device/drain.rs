//! Time limits of a drain: of the running calls, then of everything.

use std::time::Duration;
use tokio::time::Instant;

/// Interval of the checks for the end of a drain.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// Time that the answers of stopped calls have to leave.
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
    Wait,
    /// The grace is over: once.
    StopCalls,
    /// Nothing runs any more, or nothing more is waited for.
    End(DrainPurpose),
}

/// A drain that goes on.
pub(super) struct Drain {
    calls_until: Instant,
    answers_until: Instant,
    stopped: bool,
    then: DrainPurpose,
}

impl Drain {
    /// Begins now; calls may run for `grace`.
    pub(super) fn begin(grace: Duration, then: DrainPurpose) -> Self {
        let calls_until = Instant::now() + grace;
        Drain { calls_until, answers_until: calls_until + LAST_ANSWERS, stopped: false, then }
    }

    /// `idle`: no call and no job runs, or waits to be answered. `delivered`: the
    /// hub has all that was reported and sent.
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
    fn it_ends_when_nothing_runs_and_the_hub_has_everything() {
        assert_eq!(after(&mut drain(), 0, true, true), DrainStep::End(DrainPurpose::Stop));
        assert_eq!(after(&mut drain(), 1, false, true), DrainStep::Wait);
        assert_eq!(after(&mut drain(), 1, true, false), DrainStep::Wait);
    }

    #[test]
    fn without_a_hub_it_ends_with_the_grace() {
        assert_eq!(after(&mut drain(), 10, true, false), DrainStep::End(DrainPurpose::Stop));
    }

    #[test]
    fn calls_are_stopped_once_and_an_answer_that_cannot_leave_is_not_waited_for() {
        let mut drain = drain();
        assert_eq!(after(&mut drain, 9, false, false), DrainStep::Wait);
        assert_eq!(after(&mut drain, 10, false, false), DrainStep::StopCalls);
        assert_eq!(after(&mut drain, 11, false, false), DrainStep::Wait);
        assert_eq!(after(&mut drain, 12, false, false), DrainStep::Wait);
        assert_eq!(after(&mut drain, 13, false, false), DrainStep::End(DrainPurpose::Stop));
    }
}
