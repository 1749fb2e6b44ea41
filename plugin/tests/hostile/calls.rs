//! Those that are loaded, and misbehave when they are called.

use crate::Row;
use crate::trial::Trial;
use behaviour_plugin::{Answer, CallError, Limits, Plugin, PluginSettings};
use futures_util::future::FutureExt;
use std::time::Duration;

/// The guests that are called.
pub(crate) const GUESTS: &[&str] = &[
    "answers.wat",
    "asks.wat",
    "hoards.wat",
    "lasts.wat",
    "misbehaves.wat",
    "never_starts.wat",
    "never_takes_over.wat",
    "talks.wat",
];

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "loops for ever",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 8,
        attempt: |trial| trial.outcome("misbehaves.wat", "spin").boxed(),
    },
    Row {
        name: "loops for ever in its start",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 8,
        attempt: |trial| trial.outcome("never_starts.wat", "any").boxed(),
    },
    Row {
        name: "loops for ever as it takes over",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 8,
        attempt: |trial| takes_over(trial).boxed(),
    },
    Row {
        name: "loops for ever in a job",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 8,
        attempt: |trial| job(trial).boxed(),
    },
    Row {
        name: "hoards memory",
        expected: "507 out-of-memory: asked for more than its 67108864 bytes of memory",
        budget_mib: 72,
        attempt: |trial| trial.patient_outcome("misbehaves.wat", "grow").boxed(),
    },
    Row {
        name: "hoards a table",
        expected: "500 trapped: asked for more than its 20000 elements of a table",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("hoards.wat", "table").boxed(),
    },
    Row {
        name: "fills all its memory for ever",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 72,
        attempt: |trial| trial.outcome("hoards.wat", "fill").boxed(),
    },
    Row {
        name: "copies all its memory for ever",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 72,
        attempt: |trial| trial.outcome("hoards.wat", "copy").boxed(),
    },
    Row {
        name: "copies more memory than it has",
        expected: "500 trapped: wasm trap: out of bounds memory access",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("hoards.wat", "past").boxed(),
    },
    Row {
        name: "recurses without end",
        expected: "500 trapped: wasm trap: call stack exhausted",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("misbehaves.wat", "recurse").boxed(),
    },
    Row {
        name: "traps on every call",
        expected: "500 trapped: wasm trap: wasm `unreachable` instruction executed, 100 times",
        budget_mib: 8,
        attempt: |trial| always(trial, "misbehaves.wat", "trap").boxed(),
    },
    Row {
        name: "says it is busy for ever",
        expected: "429 refused: busy; try again in 250 ms, 100 times",
        budget_mib: 8,
        attempt: |trial| always(trial, "answers.wat", "busy").boxed(),
    },
    Row {
        name: "answers too much",
        expected: "502 bad-answer: answer has 300000 bytes; 131072 are allowed",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("answers.wat", "huge").boxed(),
    },
    Row {
        name: "answers what is not JSON",
        expected: "502 bad-answer: answer is not JSON",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("answers.wat", "json").boxed(),
    },
    Row {
        name: "answers a status that is none",
        expected: "502 bad-answer: answer has status 42",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("answers.wat", "status").boxed(),
    },
    Row {
        name: "floods the log",
        expected: "200, and 201 lines of log, the last: reboot flood call-1 Warn: this call has \
                   used up its log quota",
        budget_mib: 8,
        attempt: |trial| floods_the_log(trial).boxed(),
    },
    Row {
        name: "steers the reader's terminal",
        expected: r"200, and 1 lines of log, the last: reboot once call-1 Info: one\ntwo\u{1b}[31m",
        budget_mib: 8,
        attempt: |trial| steers(trial).boxed(),
    },
    Row {
        name: "floods the twin",
        expected: "403, after 100 patches",
        budget_mib: 8,
        attempt: |trial| floods_the_twin(trial).boxed(),
    },
    Row {
        name: "floods telemetry",
        expected: "403, after 100 messages",
        budget_mib: 8,
        attempt: |trial| floods_telemetry(trial).boxed(),
    },
    Row {
        name: "floods its state",
        expected: "403",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("lasts.wat", "often").boxed(),
    },
    Row {
        name: "floods the jobs",
        expected: "403, after 64 jobs",
        budget_mib: 8,
        attempt: |trial| floods_the_jobs(trial).boxed(),
    },
];

impl Trial {
    /// A guest of the fixtures, that may take 100 ms a call.
    fn load(&self, guest: &str) -> Plugin {
        let limits = Limits { deadline: Duration::from_millis(100), ..Limits::default() };
        let settings = PluginSettings { limits, ..PluginSettings::default() };
        self.engine.load("reboot", &fixtures::guest(guest), settings).unwrap()
    }

    /// One that ends by something else than its deadline, on a machine however
    /// slow.
    fn load_patiently(&self, guest: &str) -> Plugin {
        let bytes = fixtures::guest(guest);
        self.engine.load("reboot", &bytes, PluginSettings::default()).unwrap()
    }

    async fn outcome(&self, guest: &str, method: &str) -> String {
        let plugin = self.load(guest);
        all_are_loaded().await;
        words(&self.host.call(&plugin, method, "1").await)
    }

    async fn patient_outcome(&self, guest: &str, method: &str) -> String {
        let plugin = self.load_patiently(guest);
        all_are_loaded().await;
        words(&self.host.call(&plugin, method, "1").await)
    }
}

/// Lets the other attempts load their plugins before the first call begins. Calls could
/// take the memory that the compiler needs, and a thread that compiles runs no calls.
async fn all_are_loaded() {
    tokio::task::yield_now().await;
}

fn words(outcome: &Result<Answer, CallError>) -> String {
    match outcome {
        Ok(answer) => answer.status.to_string(),
        Err(error) => format!("{} {}: {}", error.status(), error.word(), error.message()),
    }
}

async fn takes_over(trial: &Trial) -> String {
    let plugin = trial.load("never_takes_over.wat");
    match plugin.start(trial.host.a_call("start", "null"), None).await {
        Ok(started) => format!("{started:?}"),
        Err(error) => words(&Err(error)),
    }
}

async fn job(trial: &Trial) -> String {
    let plugin = trial.load("lasts.wat");
    match plugin.run_job(trial.host.a_call("spin", "null")).await {
        Ok(ended) => format!("{ended:?}"),
        Err(error) => words(&Err(error)),
    }
}

async fn always(trial: &Trial, guest: &str, method: &str) -> String {
    let plugin = trial.load_patiently(guest);
    let first = words(&trial.host.call(&plugin, method, "1").await);
    for times in 2..=100 {
        let again = words(&trial.host.call(&plugin, method, "1").await);
        if again != first {
            return format!("{again}, the {times}th time");
        }
    }
    format!("{first}, 100 times")
}

async fn floods_the_log(trial: &Trial) -> String {
    let status = trial.patient_outcome("talks.wat", "flood").await;
    let log = trial.host.log();
    format!("{status}, and {} lines of log, the last: {}", log.len(), log[log.len() - 1])
}

async fn steers(trial: &Trial) -> String {
    let status = trial.patient_outcome("talks.wat", "once").await;
    let log = trial.host.log();
    format!("{status}, and {} lines of log, the last: {}", log.len(), log[log.len() - 1])
}

async fn floods_the_twin(trial: &Trial) -> String {
    let plugin = trial.load_patiently("asks.wat");
    let status = words(&trial.host.call(&plugin, "often", "{\"a\":1}").await);
    format!("{status}, after {} patches", trial.host.patches().len())
}

async fn floods_telemetry(trial: &Trial) -> String {
    let status = trial.patient_outcome("asks.wat", "send").await;
    format!("{status}, after {} messages", trial.host.messages().len())
}

async fn floods_the_jobs(trial: &Trial) -> String {
    let status = trial.patient_outcome("lasts.wat", "many").await;
    format!("{status}, after {} jobs", trial.host.jobs().len())
}
