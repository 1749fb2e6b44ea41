//! Guests that load, and misbehave when they are called.

use crate::Row;
use crate::trial::Trial;
use behaviour_plugin::{
    Answer, CallError, Capability, HttpSettings, Limits, Plugin, PluginSettings,
};
use futures_util::future::FutureExt;
use std::collections::BTreeSet;
use std::time::Duration;

/// Fixtures that the rows load.
pub(crate) const GUESTS: &[&str] = &[
    "answers.wat",
    "asks.wat",
    "counts.wat",
    "hoards.wat",
    "lasts.wat",
    "misbehaves.wat",
    "never_starts.wat",
    "never_takes_over.wat",
    "requests.wat",
    "talks.wat",
];

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "loops forever in a method",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 8,
        attempt: |trial| trial.outcome("misbehaves.wat", "spin").boxed(),
    },
    Row {
        name: "loops forever in its module's start function",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 8,
        attempt: |trial| trial.outcome("never_starts.wat", "any").boxed(),
    },
    Row {
        name: "loops forever in `lifecycle.start`",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 8,
        attempt: |trial| starts(trial).boxed(),
    },
    Row {
        name: "loops forever in a job",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 8,
        attempt: |trial| runs_job(trial).boxed(),
    },
    Row {
        name: "grows its memory without end",
        expected: "507 out-of-memory: exceeded its limit of 67108864 bytes of memory",
        budget_mib: 72,
        attempt: |trial| trial.patient_outcome("misbehaves.wat", "grow").boxed(),
    },
    Row {
        name: "grows a table without end",
        expected: "500 trapped: exceeded its limit of 20000 table elements",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("hoards.wat", "table").boxed(),
    },
    Row {
        name: "fills all of its memory forever",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 72,
        attempt: |trial| trial.outcome("hoards.wat", "fill").boxed(),
    },
    Row {
        name: "copies all of its memory forever",
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
        attempt: |trial| repeats(trial, "misbehaves.wat", "trap").boxed(),
    },
    Row {
        name: "refuses every call as busy",
        expected: "429 refused: busy; try again in 250 ms, 100 times",
        budget_mib: 8,
        attempt: |trial| repeats(trial, "answers.wat", "busy").boxed(),
    },
    Row {
        name: "returns an answer above the limit",
        expected: "502 bad-answer: answer has 300000 bytes; 131072 are allowed",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("answers.wat", "huge").boxed(),
    },
    Row {
        name: "returns an answer that is not JSON",
        expected: "502 bad-answer: answer is not JSON",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("answers.wat", "json").boxed(),
    },
    Row {
        name: "returns a status out of range",
        expected: "502 bad-answer: answer has status 42",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("answers.wat", "status").boxed(),
    },
    Row {
        name: "writes to the log without end",
        expected: "200, and 201 lines of log, the last one: reboot flood call-1 Warn: this call has \
                   used up its log quota",
        budget_mib: 8,
        attempt: |trial| fills_the_log(trial).boxed(),
    },
    Row {
        name: "writes escape sequences to the log",
        expected: r"200, and 1 lines of log, the last one: reboot once call-1 Info: one\ntwo\u{1b}[31m",
        budget_mib: 8,
        attempt: |trial| escapes(trial).boxed(),
    },
    Row {
        name: "keeps a counter with 100,000 values of a label",
        expected: "200, and 500 series, 99500 dropped updates, 1 lines of log",
        budget_mib: 8,
        attempt: |trial| floods_the_metrics(trial).boxed(),
    },
    Row {
        name: "reports to the twin without end",
        expected: "403, after 100 patches",
        budget_mib: 8,
        attempt: |trial| reports(trial).boxed(),
    },
    Row {
        name: "sends messages without end",
        expected: "403, after 100 messages",
        budget_mib: 8,
        attempt: |trial| sends(trial).boxed(),
    },
    Row {
        name: "changes its state without end",
        expected: "403",
        budget_mib: 8,
        attempt: |trial| trial.patient_outcome("lasts.wat", "often").boxed(),
    },
    Row {
        name: "schedules jobs without end",
        expected: "403, after 64 jobs",
        budget_mib: 8,
        attempt: |trial| schedules(trial).boxed(),
    },
    Row {
        name: "sends HTTP requests without end",
        expected: "502, after 20 requests",
        budget_mib: 8,
        attempt: |trial| requests(trial, "often", "api").boxed(),
    },
    Row {
        name: "sends an HTTP request with a body of 7 MB",
        expected: "503, after 0 requests",
        budget_mib: 16,
        attempt: |trial| requests(trial, "vast", "api").boxed(),
    },
    Row {
        name: "asks for HTTP responses of the maximum size without end",
        expected: "502, after 20 requests",
        budget_mib: 40,
        attempt: |trial| requests(trial, "often", "large").boxed(),
    },
    Row {
        name: "waits for an HTTP response that never arrives",
        expected: "504 deadline-exceeded: no answer within 100ms",
        budget_mib: 8,
        attempt: |trial| waits_for_a_response(trial).boxed(),
    },
];

/// Rows with several large calls in sequence. They are not called concurrently.
pub(crate) const SEQUENCES: &[Row] = &[Row {
    name: "fills all of its memory in each of ten calls",
    expected: "504 deadline-exceeded: no answer within 100ms",
    budget_mib: 72,
    attempt: |trial| fills_in_sequence(trial).boxed(),
}];

impl Trial {
    /// Loads a guest with a deadline of 100 ms.
    async fn load(&self, guest: &str) -> Plugin {
        let limits = Limits { deadline: Duration::from_millis(100), ..Limits::default() };
        self.load_guest(guest, limits).await
    }

    /// Loads a guest with the default deadline, for calls that must end before it even on a slow
    /// machine.
    async fn load_patiently(&self, guest: &str) -> Plugin {
        self.load_guest(guest, Limits::default()).await
    }

    async fn load_guest(&self, guest: &str, limits: Limits) -> Plugin {
        let hosts = ["api", "large", "silent"].map(|name| format!("{name}.example.com"));
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        let settings = PluginSettings {
            limits,
            capabilities: BTreeSet::from([Capability::Http]),
            http: HttpSettings { hosts, ..HttpSettings::default() },
            ..PluginSettings::default()
        };
        let plugin = self.load_with(fixtures::guest(guest), settings).await.unwrap();
        self.loaded().await;
        plugin
    }

    async fn outcome(&self, guest: &str, method: &str) -> String {
        let plugin = self.load(guest).await;
        describe(&self.host.call(&plugin, method, "1").await)
    }

    async fn patient_outcome(&self, guest: &str, method: &str) -> String {
        let plugin = self.load_patiently(guest).await;
        describe(&self.host.call(&plugin, method, "1").await)
    }
}

fn describe(outcome: &Result<Answer, CallError>) -> String {
    match outcome {
        Ok(answer) => answer.status.to_string(),
        Err(error) => format!("{} {}: {}", error.status(), error.code(), error.message()),
    }
}

async fn starts(trial: &Trial) -> String {
    let plugin = trial.load("never_takes_over.wat").await;
    match plugin.start(trial.host.a_call("start", "null"), None).await {
        Ok(started) => format!("{started:?}"),
        Err(error) => describe(&Err(error)),
    }
}

async fn runs_job(trial: &Trial) -> String {
    let plugin = trial.load("lasts.wat").await;
    match plugin.run_job(trial.host.a_call("spin", "null")).await {
        Ok(ended) => format!("{ended:?}"),
        Err(error) => describe(&Err(error)),
    }
}

async fn repeats(trial: &Trial, guest: &str, method: &str) -> String {
    let plugin = trial.load_patiently(guest).await;
    let first = describe(&trial.host.call(&plugin, method, "1").await);
    for times in 2..=100 {
        let again = describe(&trial.host.call(&plugin, method, "1").await);
        if again != first {
            return format!("{again} in call {times}");
        }
    }
    format!("{first}, 100 times")
}

async fn fills_in_sequence(trial: &Trial) -> String {
    let plugin = trial.load("hoards.wat").await;
    let mut outcome = String::new();
    for _ in 0..10 {
        outcome = describe(&trial.host.call(&plugin, "fill", "1").await);
    }
    outcome
}

async fn fills_the_log(trial: &Trial) -> String {
    let status = trial.patient_outcome("talks.wat", "flood").await;
    let log = trial.host.log();
    format!("{status}, and {} lines of log, the last one: {}", log.len(), log[log.len() - 1])
}

async fn escapes(trial: &Trial) -> String {
    let status = trial.patient_outcome("talks.wat", "once").await;
    let log = trial.host.log();
    format!("{status}, and {} lines of log, the last one: {}", log.len(), log[log.len() - 1])
}

async fn floods_the_metrics(trial: &Trial) -> String {
    let status = trial.patient_outcome("counts.wat", "flood").await;
    let ((series, dropped), log) = (trial.host.metrics(), trial.host.log());
    let (series, lines) = (series.len(), log.len());
    format!("{status}, and {series} series, {dropped} dropped updates, {lines} lines of log")
}

async fn reports(trial: &Trial) -> String {
    let plugin = trial.load_patiently("asks.wat").await;
    let status = describe(&trial.host.call(&plugin, "often", "{\"a\":1}").await);
    format!("{status}, after {} patches", trial.host.patches().len())
}

async fn sends(trial: &Trial) -> String {
    let status = trial.patient_outcome("asks.wat", "send").await;
    format!("{status}, after {} messages", trial.host.messages().len())
}

async fn schedules(trial: &Trial) -> String {
    let status = trial.patient_outcome("lasts.wat", "many").await;
    format!("{status}, after {} jobs", trial.host.jobs().len())
}

async fn requests(trial: &Trial, method: &str, server: &str) -> String {
    let plugin = trial.load_patiently("requests.wat").await;
    let url = format!("\"https://{server}.example.com/\"");
    let outcome = describe(&trial.host.call(&plugin, method, &url).await);
    format!("{outcome}, after {} requests", trial.host.requests().len())
}

async fn waits_for_a_response(trial: &Trial) -> String {
    let plugin = trial.load("requests.wat").await;
    describe(&trial.host.call(&plugin, "ask", "\"https://silent.example.com/\"").await)
}
