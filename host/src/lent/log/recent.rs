//! The last log lines of each plugin, in memory, for the operator.
//!
//! A host that logs nothing uses no memory for it, and a line that nobody follows is kept but
//! not sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use plugin::{Level, LogLine};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;

/// Maximum number of lines of a plugin.
const MAX_LINES: usize = 500;

/// Maximum size of the lines of a plugin, in bytes of text.
const MAX_BYTES: usize = 128 * 1024;

/// Number of lines that a slow follower may lag behind before it misses lines.
const BACKLOG: usize = 256;

/// A log line of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedLine {
    /// Time of the line, in RFC 3339.
    pub time: String,
    /// Severity: `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// Name of the plugin.
    pub plugin: String,
    /// Name of the called method, job or other function.
    pub method: String,
    /// Id of the call.
    pub call: String,
    /// Text of the line.
    pub message: String,
    /// Structured data; a JSON object whose values are strings.
    pub fields: Value,
}

/// The lines of all plugins of a host.
pub(crate) struct RecentLines {
    /// Start of the host, by which a cursor of an earlier run is recognised.
    run: i64,
    plugins: Mutex<BTreeMap<String, PluginLines>>,
}

/// The last lines of one plugin, the oldest first.
#[derive(Default)]
struct PluginLines {
    lines: VecDeque<Arc<LoggedLine>>,
    bytes: usize,
    /// Number of all lines, including those that are no longer kept.
    added: u64,
    /// Followers, each with a backlog that the lines of other plugins do not fill; `None` until the
    /// first one.
    followers: Option<broadcast::Sender<Arc<LoggedLine>>>,
}

/// Lines that follow a cursor.
pub(crate) struct LinesAfter {
    /// The lines, the oldest first.
    pub(crate) lines: Vec<Arc<LoggedLine>>,
    /// Number of lines after the cursor that are no longer kept.
    pub(crate) missed: u64,
    /// Cursor for the lines that follow these.
    pub(crate) cursor: String,
}

impl Default for RecentLines {
    fn default() -> RecentLines {
        let run = jiff::Timestamp::now().as_microsecond();
        RecentLines { run, plugins: Mutex::default() }
    }
}

impl RecentLines {
    /// Keeps a line, and drops the oldest ones that exceed the limits.
    pub(super) fn add(&self, line: &LogLine<'_>, fields: Value) {
        let line = Arc::new(LoggedLine {
            time: format!("{:.3}", jiff::Timestamp::now()),
            level: name(line.level).to_owned(),
            plugin: line.plugin.to_owned(),
            method: line.method.to_owned(),
            call: line.call.to_owned(),
            message: line.message.to_owned(),
            fields,
        });
        let mut plugins = self.plugins.lock();
        let kept = plugins.entry(line.plugin.clone()).or_default();
        kept.bytes += line.bytes();
        kept.added += 1;
        kept.lines.push_back(Arc::clone(&line));
        while kept.lines.len() > MAX_LINES || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.bytes();
        }
        // Sent under the lock, so that a follower neither misses a line nor gets it twice.
        let sent = kept.followers.as_ref().map(|followers| followers.send(line));
        if matches!(sent, Some(Err(_))) {
            // The last follower has left.
            kept.followers = None;
        }
    }

    /// Returns up to `count` last lines of a plugin, the oldest first, and a receiver of its lines
    /// that follow, which is closed if the plugin is forgotten.
    pub(crate) fn follow(
        &self,
        plugin: &str,
        count: usize,
    ) -> (Vec<Arc<LoggedLine>>, broadcast::Receiver<Arc<LoggedLine>>) {
        let mut plugins = self.plugins.lock();
        let kept = plugins.entry(plugin.to_owned()).or_default();
        let skipped = kept.lines.len().saturating_sub(count);
        let lines = kept.lines.iter().skip(skipped).cloned().collect();
        let followers = kept.followers.get_or_insert_with(|| broadcast::Sender::new(BACKLOG));
        (lines, followers.subscribe())
    }

    /// Forgets the lines of plugins that are not configured any more.
    pub(super) fn retain(&self, is_configured: &dyn Fn(&str) -> bool) {
        self.plugins.lock().retain(|plugin, _| is_configured(plugin));
    }

    /// Returns the lines of a plugin that follow a cursor of [`LinesAfter`], or up to `count` last
    /// ones without a cursor. After a restart of the host, all lines follow.
    pub(crate) fn after(&self, plugin: &str, cursor: Option<&str>, count: usize) -> LinesAfter {
        let plugins = self.plugins.lock();
        let none = PluginLines::default();
        let kept = plugins.get(plugin).unwrap_or(&none);
        let seen = cursor.map(|cursor| {
            let (run, seen) = cursor.split_once('-').unwrap_or_default();
            let seen = seen.parse().ok().filter(|seen| *seen <= kept.added);
            seen.filter(|_| run == self.run.to_string()).unwrap_or(0)
        });
        let first = kept.added - kept.lines.len() as u64;
        let skipped = match seen {
            Some(seen) => usize::try_from(seen.saturating_sub(first)).unwrap_or(usize::MAX),
            None => kept.lines.len().saturating_sub(count),
        };
        LinesAfter {
            lines: kept.lines.iter().skip(skipped).cloned().collect(),
            missed: seen.map_or(0, |seen| first.saturating_sub(seen)),
            cursor: format!("{}-{}", self.run, kept.added),
        }
    }

    /// Returns the number of followers.
    pub(crate) fn followers(&self) -> usize {
        let plugins = self.plugins.lock();
        let followers = plugins.values().filter_map(|kept| kept.followers.as_ref());
        followers.map(broadcast::Sender::receiver_count).sum()
    }
}

impl LoggedLine {
    fn bytes(&self) -> usize {
        let fields = self.fields.as_object().into_iter().flatten();
        let fields = fields.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len));
        self.message.len() + self.method.len() + self.call.len() + fields.sum::<usize>()
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    fn add(lines: &RecentLines, plugin: &str, message: &str) {
        let (level, fields) = (Level::Info, &[] as &[_]);
        let line = LogLine { plugin, method: "m", call: "c", level, message, fields };
        lines.add(&line, Value::Object(serde_json::Map::new()));
    }

    fn messages(lines: &RecentLines, plugin: &str, count: usize) -> Vec<String> {
        let (kept, _) = lines.follow(plugin, count);
        kept.iter().map(|line| line.message.clone()).collect()
    }

    #[test]
    fn the_last_lines_of_each_plugin_are_kept() {
        let lines = RecentLines::default();
        for number in 0..MAX_LINES + 2 {
            add(&lines, "fan", &number.to_string());
        }
        add(&lines, "door", "open");
        assert_eq!(messages(&lines, "fan", 2), ["500", "501"]);
        assert_eq!(messages(&lines, "fan", usize::MAX).len(), MAX_LINES);
        assert_eq!(messages(&lines, "door", 9), ["open"]);
        assert_eq!(messages(&lines, "none", 9), [""; 0]);
    }

    #[test]
    fn a_flood_of_one_plugin_does_not_reach_the_follower_of_another() {
        let lines = RecentLines::default();
        let (_, mut followed) = lines.follow("door", 0);
        add(&lines, "door", "open");
        for number in 0..2 * BACKLOG {
            add(&lines, "fan", &number.to_string());
        }
        add(&lines, "door", "closed");
        let mut next = || followed.try_recv().map(|line| line.message.clone());
        assert_eq!([next(), next()], [Ok("open".to_owned()), Ok("closed".to_owned())]);
        assert_eq!(next(), Err(TryRecvError::Empty));
    }

    #[test]
    fn the_followers_of_a_plugin_that_left_receive_no_more() {
        let lines = RecentLines::default();
        let (_, mut of_fan) = lines.follow("fan", 0);
        let (_, mut of_door) = lines.follow("door", 0);
        assert_eq!(lines.followers(), 2);
        lines.retain(&|plugin| plugin == "door");
        assert_eq!(of_fan.try_recv().unwrap_err(), TryRecvError::Closed);
        assert_eq!(of_door.try_recv().unwrap_err(), TryRecvError::Empty);
        drop(of_door);
        add(&lines, "door", "open");
        assert_eq!(lines.followers(), 0);
    }

    #[test]
    fn a_cursor_selects_the_lines_that_were_added_after_it() {
        let lines = RecentLines::default();
        let after = |cursor: Option<&str>| {
            let LinesAfter { lines, missed, cursor } = lines.after("fan", cursor, 2);
            (lines.iter().map(|line| line.message.clone()).collect::<Vec<_>>(), missed, cursor)
        };
        let (none, _, start) = after(None);
        assert_eq!(none, [""; 0]);
        ["one", "two", "three"].iter().for_each(|text| add(&lines, "fan", text));
        assert_eq!(after(None).0, ["two", "three"]);
        let (all, missed, cursor) = after(Some(&start));
        assert_eq!((all.len(), missed), (3, 0));
        assert_eq!(after(Some(&cursor)).0, [""; 0]);
        add(&lines, "fan", &"x".repeat(MAX_BYTES - 2));
        let (kept, missed, _) = after(Some(&start));
        assert_eq!((kept.len(), missed), (1, 3));
        for of_another_run in ["1-4", "4", "", "-", "x-y"] {
            assert_eq!(after(Some(of_another_run)).0.len(), 1, "{of_another_run}");
        }
    }

    #[test]
    fn long_lines_push_out_the_others() {
        let lines = RecentLines::default();
        add(&lines, "fan", "short");
        add(&lines, "fan", &"x".repeat(MAX_BYTES - 2));
        assert_eq!(messages(&lines, "fan", 9).len(), 1);
        add(&lines, "fan", "short");
        assert_eq!(messages(&lines, "fan", 9), ["short"]);
    }
}
