//! The line that a command prints for an event of a plugin.

use behaviour::desk::{Action, Event};

use super::paint::Paint;

/// Formats an event on one line: its time, its kind and its details.
pub(super) fn event_line(event: &Event, paint: Paint) -> String {
    let time = format!("{:>7}.{:03} s", event.at_ms / 1000, event.at_ms % 1000);
    let kind = format!("{:<8}", event.action.kind());
    let kind = match &event.action {
        Action::Log { level: "error", .. } => paint.failure(&kind),
        Action::Log { level: "warn", .. } => paint.warning(&kind),
        Action::Log { .. } => kind,
        _ => paint.success(&kind),
    };
    format!("{}  {kind}  {}", paint.dim(&time), event.action)
}
