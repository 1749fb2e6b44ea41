//! Native entries of systemd's journal: each field of an event is a field of its entry.
//!
//! They are used if standard error is connected to the journal, as it is in a service. The
//! message of an entry has the fields as well, so that `journalctl` prints what a terminal
//! would show. An entry that the journal does not accept, for example because it is too large, is
//! written to standard error as text.
//!
//! Source: "Native Journal Protocol" (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>),
//! systemd.journal-fields(7), and systemd.exec(5) for `JOURNAL_STREAM`.

use std::env;
use std::fs::File;
use std::io::{self, Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::LogWriter;
use super::event::{EventFields, write_short};
use super::format::PLUGIN;

/// Socket of the journal for native entries.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Maximum length of a field's name. The journal ignores longer ones.
const NAME_CHARS: usize = 64;

/// Prefix of the keys that a plugin chooses, so that they replace no other field.
const PLUGIN_PREFIX: &str = "FIELD_";

/// Name of the program in each entry, as for a line on standard error.
static IDENTIFIER: LazyLock<String> = LazyLock::new(|| {
    let program = env::args_os().next();
    let name = program.as_ref().and_then(|path| Path::new(path).file_name()?.to_str());
    name.unwrap_or("behaviour").to_owned()
});

/// Returns `true` if standard error is connected to the journal.
pub(super) fn has_journal() -> bool {
    let stream = env::var("JOURNAL_STREAM");
    stream.is_ok_and(|stream| is_stream(&stream, stderr()) && Path::new(SOCKET).exists())
}

/// Returns `true` if `stream` is the device and the inode number of a file.
fn is_stream(stream: &str, file: impl AsFd) -> bool {
    let parsed = stream.split_once(':').and_then(|(device, inode)| {
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    let file = file.as_fd().try_clone_to_owned().map(File::from);
    let found = file.and_then(|file| file.metadata()).map(|found| (found.dev(), found.ino()));
    parsed.is_some() && parsed == found.ok()
}

/// Layer of a subscriber that writes entries instead of lines.
pub(super) struct JournalLayer(pub(super) LogWriter);

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        self.0.write_line(&entry(event));
    }
}

/// Writer of entries, one with each write.
pub(super) struct JournalWriter {
    socket: io::Result<UnixDatagram>,
}

impl JournalWriter {
    pub(super) fn new() -> JournalWriter {
        JournalWriter { socket: UnixDatagram::unbound() }
    }
}

impl Write for JournalWriter {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let sent = self.socket.as_ref().is_ok_and(|it| it.send_to(entry, SOCKET).is_ok());
        if !sent {
            stderr().write_all(text_of(entry))?;
            stderr().write_all(b"\n")?;
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the entry of a line that is no event.
pub(super) fn entry_of_text(text: &str) -> Vec<u8> {
    let mut entry = Vec::new();
    push(&mut entry, "MESSAGE", text.trim_end_matches('\n'));
    push(&mut entry, "PRIORITY", priority(Level::INFO));
    push(&mut entry, "SYSLOG_IDENTIFIER", &IDENTIFIER);
    entry
}

/// Returns the entry of an event. The message is its first field.
fn entry(event: &Event<'_>) -> Vec<u8> {
    let EventFields { message, fields } = EventFields::of(event);
    let target = event.metadata().target();
    let prefix = if target == PLUGIN { "plugin: " } else { "" };
    let mut text = format!("{prefix}{message}");
    for (name, value) in &fields {
        write_short(&mut text, name, value, str::to_owned).expect("a string accepts text");
    }
    let mut entry = Vec::with_capacity(2 * text.len() + 128);
    push(&mut entry, "MESSAGE", &text);
    push(&mut entry, "PRIORITY", priority(*event.metadata().level()));
    push(&mut entry, "SYSLOG_IDENTIFIER", &IDENTIFIER);
    push(&mut entry, "TARGET", target);
    for (name, value) in &fields {
        match value {
            Value::Object(members) => {
                let members = members.iter();
                members.for_each(|(key, value)| push_value(&mut entry, PLUGIN_PREFIX, key, value));
            }
            value => push_value(&mut entry, "", name, value),
        }
    }
    entry
}

/// Returns the level as a priority of syslog.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

fn push_value(entry: &mut Vec<u8>, prefix: &str, name: &str, value: &Value) {
    let name = name.strip_prefix("r#").unwrap_or(name).chars().map(|c| match c {
        'a'..='z' => c.to_ascii_uppercase(),
        'A'..='Z' | '0'..='9' => c,
        _ => '_',
    });
    let name: String = prefix.chars().chain(name).take(NAME_CHARS).collect();
    match value {
        Value::String(text) => push(entry, &name, text),
        value => push(entry, &name, &value.to_string()),
    }
}

/// Appends a field. A value with a line feed has its length in front.
fn push(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// Returns the message of an entry, without its further lines.
fn text_of(entry: &[u8]) -> &[u8] {
    let text = entry.strip_prefix(b"MESSAGE=").or_else(|| entry.get("MESSAGE\n".len() + 8..));
    text.and_then(|text| text.split(|byte| *byte == b'\n').next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::{error, info};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Layer that keeps the entries.
    #[derive(Clone, Default)]
    struct Entries(Arc<Mutex<Vec<Vec<u8>>>>);

    impl<S: Subscriber> Layer<S> for Entries {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            self.0.lock().push(entry(event));
        }
    }

    fn entries(log: impl FnOnce()) -> Vec<Vec<u8>> {
        let entries = Entries::default();
        let subscriber = tracing_subscriber::registry().with(entries.clone());
        tracing::subscriber::with_default(subscriber, log);
        std::mem::take(&mut entries.0.lock())
    }

    #[test]
    fn an_entry_has_the_fields_of_the_event_and_a_message_for_people() {
        let found = entries(|| {
            let fields = r#"{"PRIORITY":"0","été":"1"}"#;
            info!(target: "plugin", plugin = "fan", elapsed_ms = 12, %fields, "said hello");
        });
        let identifier = &*IDENTIFIER;
        let expected = format!(
            "MESSAGE=plugin: said hello plugin=fan elapsed_ms=12 PRIORITY=0 été=1\nPRIORITY=6\n\
             SYSLOG_IDENTIFIER={identifier}\nTARGET=plugin\nPLUGIN=fan\nELAPSED_MS=12\n\
             FIELD_PRIORITY=0\nFIELD__T_=1\n"
        );
        assert_eq!(String::from_utf8(found[0].clone()).unwrap(), expected);
    }

    #[test]
    fn a_value_with_line_feeds_has_its_length_in_front() {
        let found = entries(|| error!("panic: one\ntwo"));
        assert!(found[0].starts_with(b"MESSAGE\n\x0e\0\0\0\0\0\0\0panic: one\ntwo\nPRIORITY=3\n"));
        assert_eq!(text_of(&found[0]), b"panic: one");
        assert_eq!(text_of(&entry_of_text("line\n")), b"line");
    }

    #[test]
    fn only_the_file_that_the_variable_names_is_the_journal() {
        let file = tempfile::tempfile().unwrap();
        let metadata = file.metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        assert!(is_stream(&stream, &file));
        for other in ["", "1", "a:b", &format!("{stream}1")] {
            assert!(!is_stream(other, &file), "{other}");
        }
    }
}
