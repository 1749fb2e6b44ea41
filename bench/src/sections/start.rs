//! Time from the start of a device's process to its first answered method. The call is already
//! pending at the hub, so sending it takes no extra time.

use std::time::Duration;

use crate::goals::{Measure, Results};
use crate::numbers::{Rounds, mib};
use crate::peers::{HostToml, Kind, Stage};
use crate::report::{self, Table};
use crate::{Effort, say};

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let warm = HostToml::default();
    drop(stage.ready(Kind::Host, &warm).await?);
    let mut found: Vec<(String, Rounds, Rounds)> = Vec::new();
    for &kind in effort.kinds {
        let name =
            if kind == Kind::Host { "behaviour-host, from the compile cache" } else { kind.name() };
        found.push((name.to_owned(), Rounds::default(), Rounds::default()));
    }
    found.push(("behaviour-host, compiling".to_owned(), Rounds::default(), Rounds::default()));
    for round in 1..=effort.rounds {
        say(&format!("start: round {round} of {}", effort.rounds));
        for (index, kind) in effort.kinds.iter().enumerate() {
            let (time, memory) = first_answer(stage, *kind, &warm).await?;
            found[index].1.push(time.as_secs_f64() * 1e3);
            found[index].2.push(memory);
        }
        let empty = tempfile::tempdir()?;
        let cold = HostToml { compile_cache: Some(empty.path().to_owned()), ..HostToml::default() };
        let (time, memory) = first_answer(stage, Kind::Host, &cold).await?;
        let last = found.last_mut().expect("the list has the compiling host");
        last.1.push(time.as_secs_f64() * 1e3);
        last.2.push(memory);
    }
    let host = effort.kinds.iter().position(|kind| *kind == Kind::Host).expect("always measured");
    goals.record(Measure::StartWarm, found[host].1.clone());
    goals.record(Measure::StartCold, found[effort.kinds.len()].1.clone());
    let mut table = Table::new(["device", "start to first answer, ms", "RSS at first answer, MiB"]);
    for (name, times, memory) in &found {
        table.row([name.clone(), times.spread().to_string(), memory.spread().to_string()]);
    }
    report::publish("start", &table.to_markdown(), effort.quick)
}

async fn first_answer(
    stage: &Stage,
    kind: Kind,
    toml: &HostToml,
) -> anyhow::Result<(Duration, f64)> {
    let mut connection = stage.invoker.connect().await?;
    let peer = stage.start(kind, toml).await?;
    connection.ask(&stage.echo(&peer.device)).await?;
    let time = peer.started.elapsed();
    Ok((time, mib(peer.process.memory().resident_bytes)))
}
