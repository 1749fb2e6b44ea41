//! Status of the plugins in the device's reported properties, for queries over many devices.
//!
//! The key `plugins` (configurable) contains an object for each plugin, including those that
//! are only being compiled. A second key, with
//! `Configuration` appended to the name, contains the error of a refused `host.toml`. Only
//! differences from the hub's copy are reported, after each connection and change, and at most
//! once a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plugin::TwinAccess as _;
use protocol::twin::difference;
use serde_json::{Map, Value, json};
use tokio::time::sleep;
use tracing::warn;

use crate::fleet::{FleetReports, Report};
use crate::lent::twin::Twin;
use crate::plugins::slot::Changes;
use crate::plugins::{Compilation, Compiling};
use crate::router::{PluginSlot, Router};
use crate::supervision::Pulse;

/// Minimum time between two reports.
const PAUSE: Duration = Duration::from_secs(1);

/// Delay before a report that could not be persisted is retried.
pub(super) const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// Time limit for persisting a report, after which the loop counts as stuck. It is longer than
/// that of the journal's commit, whose own heartbeat comes first.
const LONGEST_REPORT: Duration = Duration::from_secs(180);

/// Maximum length of a reported error, in characters.
const MAX_ERROR_CHARS: usize = 256;

/// Name of the host as the source of a report. Plugins report under their own names.
pub(super) const HOST: &str = "host";

/// Sources of the status.
pub(crate) struct StatusSources {
    pub(crate) router: Arc<Router>,
    pub(crate) compiling: Compiling,
    /// Function that returns the reason why `host.toml` is not in force, if there is one.
    pub(crate) refused: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// FleetReports about plugins from registries; `None` if there are none.
    pub(crate) fleet: Option<FleetReports>,
}

/// FleetReports the status until the future is dropped. `pulse` is the heartbeat of this loop.
pub(crate) async fn run(
    key: String,
    sources: StatusSources,
    twin: Arc<Twin>,
    changes: Changes,
    pulse: Pulse,
) {
    let StatusSources { router, compiling, refused, mut fleet } = sources;
    let configuration_key = format!("{key}Configuration");
    let keys = [key.as_str(), configuration_key.as_str()];
    let mut changed = changes.subscribe();
    let mut twin_changes = twin.changes();
    let mut compilations = compiling.changes();
    // Copy of the hub's sections. `None` until the reports of an earlier run have arrived,
    // because their content is unknown.
    let mut known: Option<Map<String, Value>> = None;
    loop {
        changed.mark_unchanged();
        twin_changes.mark_unchanged();
        compilations.mark_unchanged();
        if let Some(fleet) = &mut fleet {
            fleet.mark_unchanged();
        }
        if twin.is_reported() {
            known = twin.reported().ok().and_then(|document| sections(&document.body, keys));
        }
        if let Some(before) = &mut known {
            let mut plugins = with_compilations(wanted(&router), compiling.list_long());
            if let Some(fleet) = &fleet {
                add_fleet(&mut plugins, &fleet.borrow());
            }
            let mut wanted = Map::from_iter([(key.clone(), plugins.into())]);
            if let Some(error) = refused() {
                let configuration = Map::from_iter([last_error(&error)]);
                wanted.insert(configuration_key.clone(), configuration.into());
            }
            let patch = difference(before, &wanted);
            if !patch.is_empty() {
                match pulse.during(LONGEST_REPORT, twin.report(HOST, patch)).await {
                    Ok(()) => *before = wanted,
                    Err(error) => {
                        warn!("the state of the plugins is not reported: {error}");
                        pulse.during(AFTER_REFUSAL, sleep(AFTER_REFUSAL)).await;
                        continue;
                    }
                }
                pulse.during(PAUSE, sleep(PAUSE)).await;
            }
        }
        tokio::select! {
            Ok(()) = changed.changed() => {}
            Ok(()) = twin_changes.changed() => {}
            Ok(()) = compilations.changed() => {}
            () = changed_reports(fleet.as_mut()) => {}
            () = pulse.due() => pulse.beat(),
        }
    }
}

/// Returns the values under these keys.
fn sections(reported: &str, keys: [&str; 2]) -> Option<Map<String, Value>> {
    let mut reported: Map<String, Value> = serde_json::from_str(reported).ok()?;
    reported.retain(|key, _| keys.contains(&key.as_str()));
    Some(reported)
}

/// Returns the entry for an error, which is truncated to the maximum length.
fn last_error(error: &str) -> (String, Value) {
    ("lastError".to_owned(), error.chars().take(MAX_ERROR_CHARS).collect::<String>().into())
}

/// Returns the status of all plugins.
fn wanted(router: &Router) -> Map<String, Value> {
    let table = router.table();
    table.slots().iter().map(|(name, slot)| (name.clone(), of(slot).into())).collect()
}

/// Adds the times since which plugins are being compiled.
fn with_compilations(
    mut plugins: Map<String, Value>,
    compilations: Vec<Compilation>,
) -> Map<String, Value> {
    for Compilation { plugin, since } in compilations {
        // A plugin that a changed configuration adds has no other status yet.
        let status = plugins.entry(plugin).or_insert_with(|| json!({"state": "loading"}));
        // The oldest one comes first.
        if let Some(status) = status.as_object_mut() {
            status.entry("compilingSince").or_insert(since.into());
        }
    }
    plugins
}

/// Adds the reports about plugins from registries.
fn add_fleet(plugins: &mut Map<String, Value>, reports: &BTreeMap<String, Report>) {
    for (name, report) in reports {
        let status = plugins.entry(name.clone()).or_insert_with(|| json!({}));
        if let Some(status) = status.as_object_mut() {
            report.add_to(status);
        }
    }
}

/// Waits for a change of the reports; forever if there are none.
async fn changed_reports(fleet: Option<&mut FleetReports>) {
    let is_changed = match fleet {
        Some(fleet) => fleet.changed().await.is_ok(),
        None => false,
    };
    if !is_changed {
        std::future::pending::<()>().await;
    }
}

/// Returns the status of one plugin.
fn of(slot: &PluginSlot) -> Map<String, Value> {
    let view = slot.view();
    let mut status = Map::from_iter([("state".to_owned(), json!(view.state))]);
    if let Some(version) = &view.active {
        let granted = version.loaded.plugin.capabilities().iter();
        let granted: Vec<_> = granted.map(|it| it.name()).collect();
        status.extend([
            ("version".to_owned(), json!(version.number)),
            ("digest".to_owned(), json!(version.loaded.digest)),
            ("since".to_owned(), json!(format!("{:.3}", version.since))),
            ("capabilities".to_owned(), json!(granted)),
        ]);
    }
    if let Some(error) = view.last_error {
        status.extend([last_error(&error)]);
    }
    if let Some(rejected) = view.desired_rejected {
        status.insert("desired".to_owned(), json!(rejected));
    }
    if let Some(rolled_back) = view.rolled_back {
        status.insert("rolledBack".to_owned(), json!(rolled_back));
    }
    status
}

#[cfg(test)]
mod tests {
    use protocol::topic::DeviceTopic;

    use super::*;
    use crate::journal::tests::journal;
    use crate::lent::twin::TwinRequest;
    use crate::router::tests::router_in;
    use crate::supervision::Supervisor;

    fn sources(router: Arc<Router>) -> StatusSources {
        let (compiling, refused) = (Compiling::default(), Box::new(|| None));
        StatusSources { router, compiling, refused, fleet: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_is_never_persisted_makes_the_loop_silent() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Arc::new(journal(&directory));
        let twin = Arc::new(Twin::new("d1".parse().unwrap(), Some(Arc::clone(&journal))));
        twin.connected();
        let TwinRequest { topic: DeviceTopic::TwinGet { rid }, .. } = twin.next().unwrap() else {
            panic!("the first request reads the twin")
        };
        twin.answered(&rid, 200, None, br#"{"desired":{"$version":1},"reported":{"$version":1}}"#);
        let supervisor = Supervisor::new(Some(Duration::from_secs(60)));
        let router = router_in(directory.path(), "reply.wat", "");
        // A commit on the journal's thread, during which the paused time passes.
        let (release, blocked) = std::sync::mpsc::sync_channel::<()>(1);
        let commit = tokio::spawn(async move {
            journal
                .write(move |_| {
                    blocked.recv().ok();
                    Ok(())
                })
                .await
        });
        tokio::task::yield_now().await;

        let (pulse, changes) = (supervisor.pulse("status"), Changes::new(()));
        let run = run("plugins".into(), sources(router), twin, changes, pulse.clone());
        tokio::spawn(pulse.over(run));
        sleep(LONGEST_REPORT).await;
        assert!(supervisor.silent().is_empty());
        sleep(Duration::from_secs(60)).await;
        assert_eq!(supervisor.silent(), ["status"]);
        drop((release, commit));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_without_changes_is_never_silent() {
        let directory = tempfile::tempdir().unwrap();
        let twin = Arc::new(Twin::new("d1".parse().unwrap(), None));
        let supervisor = Supervisor::new(Some(Duration::from_secs(60)));
        let router = router_in(directory.path(), "reply.wat", "");
        let (pulse, changes) = (supervisor.pulse("status"), Changes::new(()));
        let run = run("plugins".into(), sources(router), twin, changes, pulse.clone());
        tokio::spawn(pulse.over(run));
        for _ in 0..100 {
            sleep(Duration::from_secs(20)).await;
            assert!(supervisor.silent().is_empty());
        }
    }

    #[test]
    fn compilations_are_reported_with_the_status_of_their_plugins() {
        let compiling = |plugin: &str, since: &str| Compilation {
            plugin: plugin.to_owned(),
            since: since.to_owned(),
        };
        let plugins = Map::from_iter([("a".to_owned(), json!({"version": 1}))]);
        let compilations = vec![compiling("a", "1"), compiling("a", "2"), compiling("b", "3")];
        let expected = json!({
            "a": {"version": 1, "compilingSince": "1"},
            "b": {"state": "loading", "compilingSince": "3"},
        });
        assert_eq!(Value::from(with_compilations(plugins, compilations)), expected);
    }

    #[test]
    fn the_sections_are_the_values_under_the_two_keys() {
        let keys = ["plugins", "pluginsConfiguration"];
        let check = |reported: &str, expected: Value| {
            assert_eq!(Value::from(sections(reported, keys).unwrap()), expected);
        };
        let reported = r#"{"plugins":{"a":{"version":1}},"other":{"plugins":2}}"#;
        check(reported, json!({"plugins": {"a": {"version": 1}}}));
        check(r#"{"pluginsConfiguration":3}"#, json!({"pluginsConfiguration": 3}));
        check("{}", json!({}));
    }
}
