//! Health of a version: the method that its artifact names, and the first calls.

use std::sync::Arc;
use std::time::Duration;

use oci::Digest;
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::Failure;
use crate::plugins::slot::{Changes, SlotStatus};
use crate::router::{PluginSlot, Router};

/// Calls the health method of the version in force, within `limit`.
pub(super) async fn call(
    router: &Router,
    plugin: &str,
    method: &str,
    limit: Duration,
) -> Result<(), Failure> {
    let active = slot(router, plugin).and_then(|slot| slot.view().active);
    let Some(version) = active else {
        return Err(Failure::unhealthy("the version is no longer active"));
    };
    let call = router.new_call(method, "null");
    let id = Arc::clone(&call.id);
    let outcome = timeout(limit, version.loaded.plugin.invoke(call)).await;
    router.call_ended(&id);
    let problem = match outcome {
        Ok(Ok(answer)) if answer.status < 400 => return Ok(()),
        Ok(Ok(answer)) => format!("answered {}", answer.status),
        Ok(Err(error)) => error.message(),
        Err(_) => format!("no answer within {limit:?}"),
    };
    Err(Failure::unhealthy(format!("health method `{method}`: {problem}")))
}

/// Waits until a version has been healthy for `limit`. Its first calls decide: if they fail, the
/// slot rolls it back, or disables the plugin.
pub(super) async fn prove(
    router: &Router,
    changes: &Changes,
    plugin: &str,
    component: &Digest,
    limit: Duration,
) -> Result<(), Failure> {
    let until = Instant::now() + limit;
    let mut changed = changes.subscribe();
    loop {
        changed.mark_unchanged();
        if let Some(problem) = slot(router, plugin).and_then(|slot| problem(&slot, component)) {
            return Err(Failure::unhealthy(problem));
        }
        match timeout_at(until, changed.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Ok(()),
        }
    }
}

/// Returns the reason why a version is not healthy, if there is one.
fn problem(slot: &PluginSlot, component: &Digest) -> Option<String> {
    let view = slot.view();
    let hex = component.hex();
    let reason = || view.last_error.clone().unwrap_or_else(|| "its first calls failed".to_owned());
    if view.rolled_back.as_ref().is_some_and(|bad| bad.digest == hex) {
        return Some(reason());
    }
    let is_active = view.active.as_ref().is_some_and(|active| active.loaded.digest == hex);
    let has_failed = match view.state {
        SlotStatus::Disabled | SlotStatus::NotStarted => true,
        SlotStatus::Active | SlotStatus::Off | SlotStatus::Loading => false,
    };
    (is_active && has_failed).then(reason)
}

fn slot(router: &Router, plugin: &str) -> Option<Arc<PluginSlot>> {
    router.table().slot(plugin).cloned()
}
