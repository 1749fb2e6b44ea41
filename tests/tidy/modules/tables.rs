//! The allowed dependencies between the modules of each crate.

/// The modules of a crate from the lowest to the highest, each with the modules that it may
/// name.
type Modules = &'static [(&'static str, &'static [&'static str])];

/// The table of each package that has one.
pub(super) const TABLES: &[(&str, Modules)] =
    &[("oci", OCI), ("plugin", PLUGIN), ("host", HOST), ("hub", HUB), ("behaviour", BEHAVIOUR)];

/// The modules of `oci`. `signature` and the parsers below it do no I/O. `registry` and
/// `layout` are the sources of images, which do not name each other.
const OCI: Modules = &[
    ("digest", &[]),
    ("media_type", &[]),
    ("strict", &[]),
    ("credentials", &["strict"]),
    ("reference", &["digest"]),
    ("manifest", &["digest", "media_type", "strict"]),
    ("artifact", &["digest", "manifest", "media_type", "strict"]),
    ("signature", &["digest", "media_type", "strict"]),
    ("source", &["credentials", "digest", "manifest", "media_type", "reference"]),
    ("partial", &["digest", "manifest", "source"]),
    (
        "referrers",
        &["artifact", "digest", "manifest", "media_type", "reference", "signature", "source"],
    ),
    (
        "layout",
        &[
            "digest",
            "manifest",
            "media_type",
            "partial",
            "reference",
            "referrers",
            "source",
            "strict",
        ],
    ),
    (
        "registry",
        &[
            "artifact",
            "credentials",
            "digest",
            "manifest",
            "media_type",
            "partial",
            "reference",
            "referrers",
            "signature",
            "source",
            "strict",
        ],
    ),
];

/// The modules of `plugin`. `about` describes a plugin, and `interfaces` implements the
/// imports of the WIT. Only `engine` and `plugin` name the modules that link and run
/// components.
const PLUGIN: Modules = &[
    ("budget", &[]),
    ("capability", &[]),
    ("lent", &[]),
    ("limits", &[]),
    ("ticker", &[]),
    ("error", &["capability", "limits"]),
    ("settings", &["capability", "limits"]),
    ("component", &["capability", "error", "limits"]),
    ("about", &["component", "limits", "settings"]),
    ("compile", &["budget", "component", "error", "limits"]),
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

/// The modules of `host`. `config` names no other module. Only `connection` uses MQTT. The
/// handles for plugins in `lent` do not name the router. `run` assembles a device, and
/// `simulate` runs many devices.
const HOST: Modules = &[
    ("atomic_file", &[]),
    ("assignment", &["atomic_file"]),
    ("backoff", &[]),
    ("command", &[]),
    ("config", &[]),
    ("content", &["atomic_file"]),
    ("identity", &[]),
    ("ids", &[]),
    ("secret_file", &[]),
    ("pkcs11", &["config", "secret_file"]),
    ("issued", &["atomic_file", "config", "pkcs11", "secret_file"]),
    ("supervision", &[]),
    ("journal", &["config", "supervision"]),
    ("known_good", &["atomic_file", "config", "identity", "journal"]),
    (
        "connection",
        &[
            "assignment",
            "backoff",
            "config",
            "identity",
            "ids",
            "issued",
            "pkcs11",
            "secret_file",
            "supervision",
        ],
    ),
    ("plugins", &["config"]),
    (
        "lent",
        &[
            "backoff",
            "config",
            "connection",
            "identity",
            "ids",
            "journal",
            "plugins",
            "supervision",
        ],
    ),
    ("record", &[]),
    ("router", &["config", "ids", "journal", "lent", "plugins", "record", "supervision"]),
    (
        "fleet",
        &[
            "atomic_file",
            "backoff",
            "config",
            "content",
            "known_good",
            "lent",
            "plugins",
            "router",
            "supervision",
        ],
    ),
    (
        "device",
        &[
            "backoff",
            "connection",
            "fleet",
            "ids",
            "issued",
            "journal",
            "lent",
            "plugins",
            "router",
            "supervision",
        ],
    ),
    ("swap", &["backoff", "config", "journal", "known_good", "plugins", "router", "supervision"]),
    ("control", &["config", "lent", "plugins", "record", "router", "swap"]),
    ("memory", &["device"]),
    (
        "run",
        &[
            "assignment",
            "config",
            "connection",
            "control",
            "device",
            "fleet",
            "identity",
            "issued",
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
    (
        "simulate",
        &[
            "config",
            "connection",
            "device",
            "fleet",
            "identity",
            "plugins",
            "router",
            "run",
            "supervision",
            "swap",
        ],
    ),
];

/// The modules of `hub`. `state` contains the registry and the twins. `sessions` and
/// `methods` contain the connections and calls in flight. MQTT (`session`) and REST (`rest`)
/// do not name each other. `provisioning` has no transport.
const HUB: Modules = &[
    ("body", &[]),
    ("certificates", &[]),
    ("command_error", &[]),
    ("custom_topic", &[]),
    ("ca_file", &["command_error"]),
    ("faults", &[]),
    ("mqtt", &[]),
    ("mqtt5", &["mqtt"]),
    ("peer", &["certificates"]),
    ("query", &[]),
    ("stamps", &[]),
    ("ca", &["certificates", "faults", "stamps"]),
    ("events", &["stamps"]),
    ("telemetry", &["events"]),
    ("policy", &["faults"]),
    ("sessions", &["events", "faults", "mqtt", "mqtt5"]),
    ("methods", &["events", "faults", "mqtt", "mqtt5", "sessions"]),
    ("credentials", &["ca", "faults", "sessions", "stamps"]),
    ("refusal", &[]),
    ("state", &["certificates", "events", "faults", "policy", "stamps"]),
    ("config", &["ca", "custom_topic", "state"]),
    ("twin_writes", &["sessions", "state"]),
    ("configurations", &["query", "refusal", "stamps", "state", "twin_writes"]),
    ("jobs", &["methods", "query", "refusal", "stamps", "state", "twin_writes"]),
    ("trusted", &["ca", "certificates", "config"]),
    ("provisioning", &["ca", "certificates", "faults", "peer", "sessions", "stamps", "state"]),
    ("provisioning_api", &["body", "faults", "peer", "policy", "provisioning", "stamps", "state"]),
    (
        "rest",
        &[
            "body",
            "configurations",
            "events",
            "faults",
            "jobs",
            "methods",
            "policy",
            "query",
            "refusal",
            "sessions",
            "stamps",
            "state",
            "twin_writes",
        ],
    ),
    (
        "session",
        &[
            "certificates",
            "credentials",
            "custom_topic",
            "events",
            "faults",
            "methods",
            "mqtt",
            "mqtt5",
            "peer",
            "provisioning",
            "sessions",
            "stamps",
            "state",
            "telemetry",
        ],
    ),
    (
        "fuzzing",
        &[
            "ca",
            "configurations",
            "credentials",
            "faults",
            "mqtt",
            "mqtt5",
            "query",
            "rest",
            "sessions",
            "state",
        ],
    ),
    ("websocket", &["mqtt", "peer", "session"]),
    ("listener", &["peer", "provisioning_api", "rest", "session", "websocket"]),
    ("sockets", &["config", "listener"]),
];

/// The modules of `behaviour`. `command` is the program, which uses the library like any
/// other crate. The modules that build plugins (`build`) and that run them (`desk`, `cases`)
/// do not name each other.
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
