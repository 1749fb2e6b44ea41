//! The abilities that an import gives a plugin, in words for its operator.

/// The name of an interface as one speaks of it: ours by its last part, others
/// without their version.
pub(super) fn interface(name: &str) -> &str {
    let path = name.split('@').next().unwrap_or(name);
    path.strip_prefix("device:behaviour/").unwrap_or(path)
}

/// `None` for what lets it do nothing by itself.
pub(super) fn meaning(import: &str) -> Option<String> {
    let interface = interface(import);
    let words = match interface {
        "types" => return None,
        "context" => "know its plugin, device and call",
        "clock" => "read the time and wait",
        "log" => "write to the log",
        "config" => "read its settings",
        "twin" => "read the twin and report to it",
        "telemetry" => "send messages to the cloud",
        "state" => "remember things between calls",
        "jobs" => "ask for work after the call",
        "power" => "reboot the machine",
        _ if interface.starts_with("wasi:http/") => {
            "make HTTPS requests to hosts that host.toml names"
        }
        _ if interface.starts_with("wasi:clocks/") => "read the time and wait",
        _ if interface.starts_with("wasi:random/") => "draw random numbers",
        "wasi:cli/stdout" | "wasi:cli/stderr" => "write to the log",
        // There is nothing behind the rest of WASI.
        _ if interface.starts_with("wasi:") => return None,
        _ => return Some(format!("use `{interface}`")),
    };
    Some(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_power_has_words_and_types_have_none() {
        assert_eq!(meaning("device:behaviour/power@0.1.0").unwrap(), "reboot the machine");
        assert_eq!(meaning("wasi:cli/stderr@0.2.6").unwrap(), "write to the log");
        assert_eq!(meaning("device:behaviour/types@0.1.0"), None);
        assert_eq!(meaning("wasi:filesystem/types@0.2.6"), None);
        assert_eq!(meaning("acme:door/lock").unwrap(), "use `acme:door/lock`");
    }
}
