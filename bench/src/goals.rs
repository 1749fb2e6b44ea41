//! Goals of the programs and results of a run, the first table of the page.
//!
//! Each section records its results. Rows that a run does not measure keep the values of the
//! page.

use crate::numbers::{Rounds, short};
use crate::report::{self, Table};

/// A row of the table.
struct Goal {
    measure: Measure,
    what: &'static str,
    bound: Bound,
    unit: &'static str,
}

/// The goal of a measure.
#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// No goal. The result is only recorded.
    None,
}

/// A measured quantity that has a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    RoundTrip,
    ProcessorOverBare,
    ProcessorOverNode,
    SystemCalls,
    BesideSpinners,
    OverNode,
    OverPythonAsync,
    OverPythonSync,
    Sandbox1K,
    Sandbox128K,
    UnderExtism,
    IdleMemory,
    Sleepers100,
    Sleepers10000,
    SleeperMemory,
    StartWarm,
    StartCold,
    StartTen,
    SwapNew,
    SwapCached,
    HubMemory,
    HubMethods,
    HubProcessor,
    FleetMemory,
    Mqtt5RoundTrip,
    Mqtt5Methods,
    Mqtt5Processor,
    Mqtt5HubMemory,
    ProvisionedOverPython,
    StartAssigned,
    CertificateMemory,
    Rollout,
    RolloutLost,
    RolloutWrong,
    RolloutOverScript,
    RolloutOneHost,
    FleetOffMemory,
    FleetIdleMemory,
    BrokenBeyond,
    BrokenInForce,
    BrokenBack,
    BrokenLost,
    Scraped,
    Traced,
    Export,
}

const GOALS: &[Goal] = &[
    goal(
        Measure::RoundTrip,
        "round trip of a method, p50 at 1 in flight, against bare rumqttc",
        Bound::AtMost(1.2),
        "",
    ),
    goal(
        Measure::ProcessorOverBare,
        "the host's processor time for a method at 32 in flight, against bare rumqttc",
        Bound::AtMost(2.0),
        "",
    ),
    goal(Measure::ProcessorOverNode, "the same against the Node SDK", Bound::AtMost(0.5), ""),
    goal(
        Measure::SystemCalls,
        "the host's system calls for a method at 32 in flight",
        Bound::AtMost(1.0),
        "",
    ),
    goal(
        Measure::BesideSpinners,
        "p99 of quick methods beside 8 plugins that never stop computing, against without",
        Bound::AtMost(3.0),
        "",
    ),
    goal(
        Measure::OverNode,
        "methods a second at 32 in flight, against the Node SDK",
        Bound::AtLeast(1.5),
        "",
    ),
    goal(
        Measure::OverPythonAsync,
        "the same against the Python SDK, async",
        Bound::AtLeast(20.0),
        "",
    ),
    goal(
        Measure::OverPythonSync,
        "the same against the Python SDK, sync",
        Bound::AtLeast(20.0),
        "",
    ),
    goal(
        Measure::Sandbox1K,
        "a call in a fresh sandbox, 1 KiB, against bare wasmtime",
        Bound::AtMost(1.2),
        "",
    ),
    goal(Measure::Sandbox128K, "the same with 128 KiB", Bound::AtMost(1.2), ""),
    goal(
        Measure::UnderExtism,
        "a fresh Extism plugin, against a call in a fresh sandbox",
        Bound::AtLeast(7.0),
        "",
    ),
    goal(
        Measure::IdleMemory,
        "RSS, one plugin loaded from the compile cache, idle",
        Bound::AtMost(15.0),
        "MB",
    ),
    goal(Measure::Sleepers100, "100 methods of 2 s at once", Bound::AtMost(2.05), "s"),
    goal(Measure::Sleepers10000, "10,000 methods of 2 s at once", Bound::AtMost(2.6), "s"),
    goal(Measure::SleeperMemory, "memory of one of the 10,000", Bound::AtMost(56.0), "KB"),
    goal(
        Measure::StartWarm,
        "start to first answer, from the compile cache",
        Bound::AtMost(100.0),
        "ms",
    ),
    goal(Measure::StartCold, "start to first answer, compiling", Bound::None, "ms"),
    goal(
        Measure::StartTen,
        "start to first answer, ten plugins in the compile cache, against one",
        Bound::AtMost(1.2),
        "",
    ),
    goal(
        Measure::SwapNew,
        "new version in place to its first answer, without compiling it",
        Bound::AtMost(20.0),
        "ms",
    ),
    goal(Measure::SwapCached, "the same from the compile cache", Bound::AtMost(30.0), "ms"),
    goal(Measure::HubMemory, "the hub with 5,000 idle TLS devices", Bound::AtMost(1000.0), "MB"),
    goal(
        Measure::HubMethods,
        "methods a second at 32 in flight, with bare rumqttc, all on the same cores",
        Bound::AtLeast(20_000.0),
        "",
    ),
    goal(
        Measure::HubProcessor,
        "methods a second that the hub's processor time allows, with bare rumqttc",
        Bound::AtLeast(20_000.0),
        "",
    ),
    goal(Measure::FleetMemory, "`simulate` with 2,000 TLS devices", Bound::AtMost(600.0), "MB"),
    goal(
        Measure::Mqtt5RoundTrip,
        "round trip of a method with the profile `mqttV5`, p50 at 1 in flight, against `classic`",
        Bound::AtMost(1.6),
        "",
    ),
    goal(
        Measure::Mqtt5Methods,
        "methods a second with `mqttV5` at 32 in flight, against `classic`",
        Bound::AtLeast(0.6),
        "",
    ),
    goal(
        Measure::Mqtt5Processor,
        "the host's processor time for a method with `mqttV5` at 32 in flight, against `classic`",
        Bound::AtMost(1.6),
        "",
    ),
    goal(
        Measure::Mqtt5HubMemory,
        "the hub with 5,000 idle devices of `mqttV5`, against `classic`",
        Bound::AtMost(1.3),
        "",
    ),
    goal(
        Measure::ProvisionedOverPython,
        "devices of a group provisioned and connected a second, against the Python SDK in 32 processes",
        Bound::AtLeast(5.0),
        "",
    ),
    goal(
        Measure::StartAssigned,
        "start to first answer with an assignment on disk, against a connection string",
        Bound::AtMost(1.1),
        "",
    ),
    goal(
        Measure::CertificateMemory,
        "idle RSS with a certificate in files, against a connection string",
        Bound::AtMost(1.05),
        "",
    ),
    goal(
        Measure::Rollout,
        "10,000 devices on a new version, from its configuration to the last report",
        Bound::AtMost(60.0),
        "s",
    ),
    goal(
        Measure::RolloutLost,
        "calls lost while a fleet moves, at 200 a second",
        Bound::AtMost(0.0),
        "",
    ),
    goal(
        Measure::RolloutWrong,
        "calls answered by another version after the device's report",
        Bound::AtMost(0.0),
        "",
    ),
    goal(
        Measure::RolloutOverScript,
        "the same number of devices by a script that copies and reloads, against the fleet",
        Bound::AtLeast(5.0),
        "",
    ),
    goal(
        Measure::RolloutOneHost,
        "one host, desired image to its first answer, against fetching and compiling it alone",
        Bound::AtMost(1.5),
        "",
    ),
    goal(
        Measure::FleetOffMemory,
        "idle RSS with `[host.registry]` and `[host.trust]` without `[fleet]`, against none of them",
        Bound::AtMost(1.01),
        "",
    ),
    goal(Measure::FleetIdleMemory, "idle RSS that `[fleet]` adds", Bound::AtMost(0.5), "MiB"),
    goal(
        Measure::BrokenBeyond,
        "broken versions: devices reached after the first wave",
        Bound::AtMost(0.0),
        "",
    ),
    goal(
        Measure::BrokenInForce,
        "broken versions: longest time in which one answers on a device",
        Bound::AtMost(10.0),
        "s",
    ),
    goal(
        Measure::BrokenBack,
        "broken versions: `rollout back` to the last device's report",
        Bound::AtMost(10.0),
        "s",
    ),
    goal(Measure::BrokenLost, "broken versions: calls lost", Bound::AtMost(0.0), ""),
    goal(
        Measure::Scraped,
        "the host's processor time for a method at 32 in flight, scraped every second, against off",
        Bound::AtMost(1.03),
        "",
    ),
    goal(Measure::Traced, "the same with every call traced and pushed", Bound::None, ""),
    goal(
        Measure::Export,
        "a push of 1,000 series every 10 s by OTLP",
        Bound::AtMost(1.0),
        "% of a core",
    ),
];

const fn goal(measure: Measure, what: &'static str, bound: Bound, unit: &'static str) -> Goal {
    Goal { measure, what, bound, unit }
}

/// The results of a run so far.
#[derive(Default)]
pub(crate) struct Results(Vec<(Measure, Rounds)>);

impl Results {
    /// Records the result of one measure.
    pub(crate) fn record(&mut self, measure: Measure, rounds: Rounds) {
        self.0.push((measure, rounds));
    }

    /// Prints the rows of this run and writes them into the page.
    pub(crate) fn publish(&self, quick: bool) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let rows = GOALS.iter().map(|goal| {
            let found = self.0.iter().find(|(measure, _)| *measure == goal.measure);
            (goal.what, found.map(|(_, rounds)| goal.row(rounds)))
        });
        report::publish_rows("goals", head(), rows, quick)
    }
}

fn head() -> Table {
    Table::new(["what", "goal", "measured", "reached"])
}

impl Goal {
    fn row(&self, rounds: &Rounds) -> [String; 4] {
        let Goal { what, bound, unit, .. } = self;
        let with_unit = |number: String| format!("{number} {unit}").trim_end().to_owned();
        let (found, measured) = (rounds.median(), with_unit(rounds.spread().to_string()));
        let (goal, reached) = match bound {
            Bound::None => return [(*what).to_owned(), "–".into(), measured, "–".into()],
            Bound::AtMost(most) if found <= *most => {
                (format!("≤ {}", plain(*most)), "yes".to_owned())
            }
            Bound::AtMost(0.0) => ("0".to_owned(), "no".to_owned()),
            Bound::AtMost(most) => (
                format!("≤ {}", plain(*most)),
                format!("no: {} % above", short((found / most - 1.0) * 100.0)),
            ),
            Bound::AtLeast(least) if found >= *least => {
                (format!("≥ {}", plain(*least)), "yes".to_owned())
            }
            Bound::AtLeast(least) => (
                format!("≥ {}", plain(*least)),
                format!("no: {} % below", short((1.0 - found / least) * 100.0)),
            ),
        };
        [(*what).to_owned(), with_unit(goal), measured, reached]
    }
}

/// Formats a bound with the digits of its definition.
fn plain(bound: f64) -> String {
    if bound >= 1000.0 { short(bound) } else { bound.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bound: Bound, found: f64) -> [String; 4] {
        let mut rounds = Rounds::default();
        rounds.push(found);
        goal(Measure::RoundTrip, "it", bound, "ms").row(&rounds)
    }

    #[test]
    fn a_row_shows_that_the_goal_is_reached_or_how_far_it_is_missed() {
        let at_most = |found| row(Bound::AtMost(20.0), found);
        assert_eq!(at_most(20.0), ["it", "≤ 20 ms", "20.0 (20.0–20.0) ms", "yes"]);
        assert_eq!(at_most(25.0)[3], "no: 25.0 % above");
        assert_eq!(
            row(Bound::AtLeast(20_000.0), 15_000.0)[1..],
            ["≥ 20,000 ms", "15,000 (15,000–15,000) ms", "no: 25.0 % below"]
        );
        assert_eq!(row(Bound::None, 1.0)[3], "–");
        assert_eq!(row(Bound::AtMost(0.0), 2.0)[3], "no");
    }
}
