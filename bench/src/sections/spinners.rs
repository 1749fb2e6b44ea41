//! Quick methods next to plugins that never answer and never stop computing.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::goals::{Measure, Results};
use crate::invoker::Invoker;
use crate::numbers::Rounds;
use crate::peers::{HostToml, Kind, Stage};
use crate::report::{self, Table};
use crate::{Effort, say};

/// The number of plugins that never stop computing.
const SPINNERS: usize = 8;

/// The number of quick calls in flight.
const IN_FLIGHT: usize = 8;

/// Time for the host to notice that the plugins are busy, some ticks of its engine.
const NOTICE: Duration = Duration::from_millis(200);

/// The results with or without spinners.
#[derive(Default)]
struct SpinnersResults {
    per_second: Rounds,
    p50: Rounds,
    p99: Rounds,
}

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let toml = HostToml { spinners: SPINNERS, ..HostToml::default() };
    let (mut alone, mut beside) = (SpinnersResults::default(), SpinnersResults::default());
    for round in 1..=effort.rounds {
        say(&format!("spinners: round {round} of {}", effort.rounds));
        // The end of the process ends the spinners.
        let mut peer = stage.ready(Kind::Host, &toml).await?;
        let requests = Arc::from([stage.echo(&peer.device)]);
        let mut connections = stage.invoker.connections(IN_FLIGHT).await?;
        let warm_up = effort.time / 5;
        Invoker::load(&mut connections, &requests, warm_up).await?;
        alone.push(&Invoker::load(&mut connections, &requests, effort.time).await?);
        let mut spinning = JoinSet::new();
        for (index, mut connection) in
            stage.invoker.connections(SPINNERS).await?.into_iter().enumerate()
        {
            let request = stage.invoker.request(&peer.device, &format!("spin-{index}"), "null");
            spinning.spawn(async move { connection.ask(&request).await });
        }
        tokio::time::sleep(NOTICE).await;
        beside.push(&Invoker::load(&mut connections, &requests, effort.time).await?);
        peer.process.check()?;
        if let Some(ended) = spinning.try_join_next() {
            anyhow::bail!("a spinner has ended: {:?}", ended?);
        }
    }
    goals.record(Measure::BesideSpinners, beside.p99.over(&alone.p99));
    let mut table = Table::new(["plugins that spin", "calls/s", "p50 µs", "p99 µs"]);
    for (count, results) in [(0, &alone), (SPINNERS, &beside)] {
        table.row([
            count.to_string(),
            results.per_second.spread().to_string(),
            results.p50.spread().to_string(),
            results.p99.spread().to_string(),
        ]);
    }
    report::publish("spinners", &table.to_markdown(), effort.quick)
}

impl SpinnersResults {
    fn push(&mut self, load: &crate::invoker::Load) {
        self.per_second.push(load.per_second());
        self.p50.push(load.times.micros(0.5));
        self.p99.push(load.times.micros(0.99));
    }
}
