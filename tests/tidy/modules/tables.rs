//! The allowed arrows between the modules of each crate.

/// The modules of a crate from the lowest to the highest, each with those that it may name.
type Modules = &'static [(&'static str, &'static [&'static str])];

/// The table of each package that has one.
pub(super) const TABLES: &[(&str, Modules)] =
    &[("plugin", PLUGIN), ("host", HOST), ("hub", HUB), ("behaviour", BEHAVIOUR)];

/// `about` describes a plugin, and all that a call needs is below `call`; `interfaces` are
/// the host's side of the WIT. Only `engine` and `plugin` name what links and runs.
const PLUGIN: Modules = &[
    ("budget", &[]),
    ("capability", &[]),
    ("lent", &[]),
    ("limits", &[]),
    ("ticker", &[]),
    ("error", &["limits"]),
    ("settings", &["capability", "limits"]),
    ("component", &["capability", "error", "limits"]),
    ("about", &["component", "limits", "settings"]),
    ("compile", &["component", "error", "limits"]),
    ("call", &["about", "budget", "capability", "lent", "limits", "ticker"]),
    ("interfaces", &["call", "capability", "error", "lent"]),
    (
        "engine",
        &[
            "budget",
            "call",
            "capability",
            "compile",
            "component",
            "error",
            "interfaces",
            "limits",
            "ticker",
        ],
    ),
    (
        "plugin",
        &[
            "about",
            "call",
            "capability",
            "compile",
            "component",
            "engine",
            "error",
            "interfaces",
            "limits",
            "settings",
        ],
    ),
];

/// `config` imports nothing. `connection` alone knows MQTT, and the plugins' handles in
/// `lent` do not name the router. `run` assembles everything, `simulate` runs it many times.
const HOST: Modules = &[
    ("backoff", &[]),
    ("command", &[]),
    ("config", &[]),
    ("ids", &[]),
    ("supervision", &[]),
    ("journal", &["config", "supervision"]),
    ("known_good", &["config", "journal"]),
    ("connection", &["backoff", "config", "supervision"]),
    ("plugins", &["config"]),
    ("lent", &["backoff", "config", "connection", "ids", "journal", "plugins", "supervision"]),
    ("router", &["config", "ids", "journal", "lent", "plugins", "supervision"]),
    ("device", &["backoff", "connection", "journal", "lent", "plugins", "router", "supervision"]),
    ("swap", &["backoff", "config", "journal", "known_good", "plugins", "router", "supervision"]),
    ("control", &["config", "plugins", "router", "swap"]),
    ("memory", &["device"]),
    (
        "run",
        &[
            "config",
            "connection",
            "control",
            "device",
            "journal",
            "known_good",
            "lent",
            "memory",
            "plugins",
            "router",
            "supervision",
            "swap",
        ],
    ),
    ("simulate", &["config", "connection", "device", "plugins", "run", "supervision"]),
];

/// `state` is the registry and the twins, `sessions` and `methods` what is in flight.
/// MQTT (`session`) and REST (`rest`) do not name each other.
const HUB: Modules = &[
    ("ca", &[]),
    ("command_error", &[]),
    ("faults", &[]),
    ("mqtt", &[]),
    ("query", &[]),
    ("stamps", &[]),
    ("telemetry", &[]),
    ("policy", &["faults"]),
    ("sessions", &["faults", "mqtt"]),
    ("methods", &["faults", "mqtt", "sessions"]),
    ("state", &["faults", "policy", "stamps"]),
    ("config", &["ca", "state"]),
    ("rest", &["faults", "methods", "policy", "query", "sessions", "stamps", "state"]),
    ("session", &["faults", "methods", "mqtt", "sessions", "stamps", "state", "telemetry"]),
    ("fuzzing", &["query", "rest", "state"]),
    ("websocket", &["mqtt", "session"]),
    ("listener", &["rest", "session", "websocket"]),
];

/// `command` is the program, which uses the library as any other crate does. What builds
/// plugins (`build`) and what runs them (`desk`, `cases`) do not name each other.
const BEHAVIOUR: Modules = &[
    ("command", &[]),
    ("desk", &[]),
    ("language", &[]),
    ("name", &[]),
    ("wit", &[]),
    ("build", &["language", "name", "wit"]),
    ("cases", &["desk"]),
    ("create", &["language", "name", "wit"]),
];
