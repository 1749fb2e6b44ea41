//! Many methods that sleep for two seconds at the same time. The remaining measured time is
//! the device's overhead for starting and ending the calls.

use std::time::Duration;

use crate::goals::{Measure, Results};
use crate::invoker::{Connection, Invoker, Request};
use crate::numbers::{Rounds, mib, short};
use crate::peers::{HostToml, Kind, Stage};
use crate::report::{self, Table};
use crate::{Effort, say};

/// The numbers of concurrent calls.
const AT_ONCE: [usize; 3] = [100, 1_000, 10_000];

/// The duration of a sleep.
const SLEEP: Duration = Duration::from_secs(2);

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let toml = HostToml { calls_at_once: Some(AT_ONCE[2]), ..HostToml::default() };
    let rounds = effort.rounds.min(3);
    let headings = [
        "device",
        "at once",
        "all answered after, s",
        "a second time, s",
        "peak RSS, MiB",
        "KiB per sleeper",
    ];
    let mut table = Table::new(headings);
    for &kind in effort.kinds {
        let is_ours = matches!(kind, Kind::Bare | Kind::Host | Kind::OtherHost);
        let max = if effort.quick && !is_ours { AT_ONCE[1] } else { AT_ONCE[2] };
        for at_once in AT_ONCE.into_iter().filter(|at_once| *at_once <= max) {
            // The four threads of this device complete only two calls per second.
            if kind == Kind::PythonSync {
                table.row(unmeasured(kind, at_once, "four at a time"));
                continue;
            }
            say(&format!("sleepers: {} with {at_once} at once", kind.name()));
            let (mut times, mut again) = (Rounds::default(), Rounds::default());
            let (mut peak, mut each) = (Rounds::default(), Rounds::default());
            // A device that cannot answer all calls takes a minute, so one round is enough.
            let rounds = if is_ours || at_once < AT_ONCE[2] { rounds } else { 1 };
            for _ in 0..rounds {
                // In a fresh process, the memory peak belongs to this burst.
                let mut peer = stage.ready(kind, &toml).await?;
                let before = peer.process.memory().resident_bytes;
                let text = SLEEP.as_millis().to_string();
                let request = stage.invoker.request(&peer.device, "sleep", &text);
                // The hub closes idle connections, so they are opened immediately before their
                // use.
                let mut connections = stage.invoker.connections(at_once).await?;
                let Some(first) = burst(kind, &mut connections, &request).await? else { break };
                peer.process.check()?;
                let peak_bytes = peer.process.memory().peak_bytes;
                // The second burst finds instances, stacks and heap already allocated.
                let Some(second) = burst(kind, &mut connections, &request).await? else { break };
                peer.process.check()?;
                times.push(first);
                again.push(second);
                peak.push(mib(peak_bytes));
                each.push(peak_bytes.saturating_sub(before) as f64 / 1024.0 / at_once as f64);
            }
            if times.is_empty() {
                table.row(unmeasured(kind, at_once, "not all within 60 s"));
                continue;
            }
            match (kind, at_once) {
                (Kind::Host, 100) => goals.record(Measure::Sleepers100, times.clone()),
                (Kind::Host, 10_000) => {
                    goals.record(Measure::Sleepers10000, times.clone());
                    goals.record(Measure::SleeperMemory, each.map(|kib| kib * 1.024));
                }
                _ => {}
            }
            table.row([
                kind.name().to_owned(),
                at_once.to_string(),
                times.spread().to_string(),
                again.spread().to_string(),
                short(peak.median()),
                short(each.median()),
            ]);
        }
    }
    report::publish("sleepers", &table.to_markdown(), effort.quick)
}

/// Makes all calls at once and returns the number of seconds until the last answer. If a
/// device other than the host does not answer all calls, prints the reason and returns
/// `None`.
async fn burst(
    kind: Kind,
    connections: &mut Vec<Connection>,
    request: &Request,
) -> anyhow::Result<Option<f64>> {
    match Invoker::burst(connections, request).await {
        Ok(load) => Ok(Some(load.elapsed.as_secs_f64())),
        Err(error) if kind != Kind::Host => {
            say(&format!("sleepers: {}: {error:#}", kind.name()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns a row that contains a reason instead of results.
fn unmeasured(kind: Kind, at_once: usize, reason: &str) -> [String; 6] {
    let none = || "–".to_owned();
    [kind.name().to_owned(), at_once.to_string(), reason.to_owned(), none(), none(), none()]
}
