//! Time from the start of a device's process to its first answered method. The call is already
//! pending at the hub, so sending it takes no extra time. Also the ratio
//! of the times with ten plugins in the compile cache and with one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::goals::{Measure, Results};
use crate::numbers::{Rounds, mib};
use crate::peers::{HostToml, Kind, Stage};
use crate::report::{self, Table};
use crate::{Effort, say};

/// Number of starts with one and with ten plugins in a round. A start takes tens of
/// milliseconds and varies more than other measures.
const STARTS_PER_ROUND: usize = 5;

/// Pause before each start. The hub delays a device that connects more than five times in a
/// second, as IoT Hub limits the rate of connections.
const BETWEEN_STARTS: Duration = Duration::from_millis(250);

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
    say("start: ten plugins");
    let is_host = |kind: &Kind| matches!(kind, Kind::Host | Kind::OtherHost);
    for (start, is_first) in [("a later start", false), ("a first start", true)] {
        for &kind in effort.kinds.iter().filter(|kind| is_host(kind)) {
            let name = kind.name();
            let (one, ten) = ten_plugins(stage, effort, kind, is_first).await?;
            for (plugins, times) in [("one plugin", &one), ("ten plugins", &ten)] {
                let name = format!("{name}, {start} with {plugins} in the compile cache");
                table.row([name, times.spread().to_string(), "–".to_owned()]);
            }
            let ratio = ten.over(&one);
            say(&format!("{name}, {start}, ten plugins against one: {}", ratio.spread()));
            if kind == Kind::Host && !is_first {
                goals.record(Measure::StartTen, ratio);
            }
        }
    }
    report::publish("start", &table.to_markdown(), effort.quick)
}

async fn first_answer(
    stage: &Stage,
    kind: Kind,
    toml: &HostToml,
) -> anyhow::Result<(Duration, f64)> {
    tokio::time::sleep(BETWEEN_STARTS).await;
    let mut connection = stage.invoker.connect().await?;
    let peer = stage.start(kind, toml).await?;
    connection.ask(&stage.echo(&peer.device)).await?;
    let time = peer.started.elapsed();
    Ok((time, mib(peer.process.memory().resident_bytes)))
}

/// Measures starts with one and with ten plugins in turn, in milliseconds. A first start loads
/// all plugins before it connects, a later one while it connects.
async fn ten_plugins(
    stage: &Stage,
    effort: Effort,
    kind: Kind,
    is_first: bool,
) -> anyhow::Result<(Rounds, Rounds)> {
    let folder = tempfile::tempdir()?;
    let further = further_plugins(&stage.programs.probe, folder.path(), 9)?;
    let (mut one, mut ten) = (Rounds::default(), Rounds::default());
    for start in 0..=effort.rounds * STARTS_PER_ROUND {
        for (further, times) in [(Vec::new(), &mut one), (further.clone(), &mut ten)] {
            // A cache of its own, because a host removes the plugins that it does not have.
            let cache = folder.path().join(format!("compiled-{}", further.len()));
            let toml = HostToml { compile_cache: Some(cache), further, ..HostToml::default() };
            let data = stage.host_folder(kind).join("data");
            if is_first && data.exists() {
                std::fs::remove_dir_all(data)?;
            }
            let (time, _) = first_answer(stage, kind, &toml).await?;
            // The very first start of each compiles the plugins.
            if start > 0 {
                times.push(time.as_secs_f64() * 1e3);
            }
        }
    }
    Ok((one, ten))
}

/// Copies a component under other digests.
fn further_plugins(component: &Path, folder: &Path, count: u8) -> anyhow::Result<Vec<PathBuf>> {
    let bytes = std::fs::read(component)?;
    let copies = (0..count).map(|index| {
        let mut bytes = bytes.clone();
        // A custom section (0) of three bytes: a name of one byte, and one byte of content.
        bytes.extend([0, 3, 1, b'n', index]);
        let file = folder.join(format!("further-{index}.wasm"));
        std::fs::write(&file, bytes)?;
        Ok(file)
    });
    copies.collect()
}
