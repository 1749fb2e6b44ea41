//! The output of the tutorial: each line starts with the part that printed it.
//!
//! The parts log events of `tracing`; the target of an event names its part.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The events that are shown unless RUST_LOG is set. The hub logs each packet, which
/// would drown the other parts.
const HEARD: &str = "plugin=info,behaviour_host=info,behaviour_hub=warn,error";

/// Prints the events of all parts from now on.
pub(crate) fn listen() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(HEARD));
    tracing_subscriber::registry().with(Speakers.with_filter(filter)).init();
}

/// Prints one line: `service   Last reboot time: …`.
pub(crate) fn say(speaker: &str, text: &str) {
    let mut out = io::stdout().lock();
    let colour = match speaker {
        "hub" => 34,
        "host" => 36,
        "plugin" => 32,
        "service" => 35,
        _ => 2,
    };
    let said = match out.is_terminal() {
        true => writeln!(out, "\x1b[{colour}m{speaker:<9}\x1b[0m {text}"),
        false => writeln!(out, "{speaker:<9} {text}"),
    };
    // The tutorial continues if standard output is closed.
    said.ok();
}

struct Speakers;

impl<S: Subscriber> Layer<S> for Speakers {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let target = event.metadata().target();
        let module = target.split("::").next().unwrap_or(target);
        let speaker = module.strip_prefix("behaviour_").unwrap_or(module);
        let mut line = EventText::default();
        event.record(&mut line);
        // The fields of a plugin's events are left out: there is only one plugin and one call.
        let facts = if speaker == "plugin" { "" } else { &line.facts };
        let mark = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "",
        };
        say(speaker, &format!("{mark}{}{facts}", line.message));
    }
}

#[derive(Default)]
struct EventText {
    message: String,
    facts: String,
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.facts += &format!(" {}={value:?}", field.name());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
