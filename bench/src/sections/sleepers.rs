//! Many methods at once that sleep two seconds each: what is left of the time is
//! what the device takes to begin and to end them.

use std::time::Duration;

use crate::goals::{Found as Goals, Measure};
use crate::invoker::{Invoker, Line, Request};
use crate::numbers::{Rounds, mib, short};
use crate::peers::{HostToml, Kind, Stage};
use crate::report::{self, Table};
use crate::{Effort, say};

const AT_ONCE: [usize; 3] = [100, 1_000, 10_000];

/// How long a method sleeps.
const SLEEP: Duration = Duration::from_secs(2);

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Goals,
) -> anyhow::Result<()> {
    let toml = HostToml { calls_at_once: Some(AT_ONCE[2]), ..HostToml::default() };
    let rounds = effort.rounds.min(3);
    let heads = [
        "device",
        "at once",
        "all answered after, s",
        "a second time, s",
        "RSS at most, MiB",
        "KiB a sleeper",
    ];
    let mut table = Table::new(heads);
    for &kind in effort.kinds {
        let is_ours = matches!(kind, Kind::Bare | Kind::Host);
        let most = if effort.quick && !is_ours { AT_ONCE[1] } else { AT_ONCE[2] };
        for at_once in AT_ONCE.into_iter().filter(|at_once| *at_once <= most) {
            // Its four threads take a second for every two calls.
            if kind == Kind::PythonSync {
                table.row(unmeasured(kind, at_once, "four at a time"));
                continue;
            }
            say(&format!("sleepers: {} with {at_once} at once", kind.name()));
            let (mut times, mut again) = (Rounds::default(), Rounds::default());
            let (mut peak, mut each) = (Rounds::default(), Rounds::default());
            // A minute each for those that cannot: once is enough to know.
            let rounds = if is_ours || at_once < AT_ONCE[2] { rounds } else { 1 };
            for _ in 0..rounds {
                // A process of its own, so that the peak is of this burst.
                let mut peer = stage.ready(kind, &toml).await?;
                let before = peer.process.memory().resident_bytes;
                let text = SLEEP.as_millis().to_string();
                let request = stage.invoker.request(&peer.device, "sleep", &text);
                // Just before they are used: the hub closes those that say nothing.
                let mut lines = stage.invoker.lines(at_once).await?;
                let Some(first) = burst(kind, &mut lines, &request).await? else { break };
                peer.process.check()?;
                let most = peer.process.memory().peak_bytes;
                // Its instances, stacks and heap are there now.
                let Some(second) = burst(kind, &mut lines, &request).await? else { break };
                peer.process.check()?;
                times.push(first);
                again.push(second);
                peak.push(mib(most));
                each.push(most.saturating_sub(before) as f64 / 1024.0 / at_once as f64);
            }
            if times.is_empty() {
                table.row(unmeasured(kind, at_once, "not all within 60 s"));
                continue;
            }
            match (kind, at_once) {
                (Kind::Host, 100) => goals.note(Measure::Sleepers100, times.clone()),
                (Kind::Host, 10_000) => {
                    goals.note(Measure::Sleepers10000, times.clone());
                    goals.note(Measure::SleeperMemory, each.map(|kib| kib * 1.024));
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
    report::put("sleepers", &table.to_markdown(), effort.quick)
}

/// All at once, and the seconds until the last was answered. Others than the host
/// may not manage it, which is said.
async fn burst(
    kind: Kind,
    lines: &mut Vec<Line>,
    request: &Request,
) -> anyhow::Result<Option<f64>> {
    match Invoker::burst(lines, request).await {
        Ok(load) => Ok(Some(load.elapsed.as_secs_f64())),
        Err(error) if kind != Kind::Host => {
            say(&format!("sleepers: {}: {error:#}", kind.name()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A row that says why there are no figures.
fn unmeasured(kind: Kind, at_once: usize, why: &str) -> [String; 6] {
    let none = || "–".to_owned();
    [kind.name().to_owned(), at_once.to_string(), why.to_owned(), none(), none(), none()]
}
