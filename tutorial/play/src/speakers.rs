//! Output of the tutorial. Each line starts with the name of the part that printed it.
//!
//! The parts log `tracing` events, and an event's target determines the name.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Default log filter, which `RUST_LOG` overrides. The hub logs every packet, so only its
/// warnings are shown.
const DEFAULT_FILTER: &str = "plugin=info,behaviour_host=info,behaviour_hub=warn,error";

/// Starts printing the events of all parts.
pub(crate) fn print_events() {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    tracing_subscriber::registry().with(SpeakerLayer.with_filter(filter)).init();
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
    let written = match out.is_terminal() {
        true => writeln!(out, "\x1b[{colour}m{speaker:<9}\x1b[0m {text}"),
        false => writeln!(out, "{speaker:<9} {text}"),
    };
    // The tutorial continues if standard output is closed.
    written.ok();
}

struct SpeakerLayer;

impl<S: Subscriber> Layer<S> for SpeakerLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let target = event.metadata().target();
        let module = target.split("::").next().unwrap_or(target);
        let speaker = module.strip_prefix("behaviour_").unwrap_or(module);
        let mut line = EventText::default();
        event.record(&mut line);
        // A plugin's events carry the plugin and the call as fields. The tutorial has one of
        // each.
        let fields = if speaker == "plugin" { "" } else { &line.fields };
        let mark = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "",
        };
        say(speaker, &format!("{mark}{}{fields}", line.message));
    }
}

#[derive(Default)]
struct EventText {
    message: String,
    fields: String,
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields += &format!(" {}={value:?}", field.name());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
