//! Descriptions of imports, for the operator who installs a plugin.

/// Returns the name of an interface without its version and without the package
/// `device:behaviour`.
pub(super) fn interface(name: &str) -> &str {
    let path = name.split('@').next().unwrap_or(name);
    path.strip_prefix("device:behaviour/").unwrap_or(path)
}

/// Describes what an import allows a plugin to do. Returns `None` if it allows nothing.
pub(super) fn meaning(import: &str) -> Option<String> {
    let interface = interface(import);
    let description = match interface {
        "types" => return None,
        "context" => "read the names of its plugin, device and call",
        "clock" => "read the time and wait",
        "log" => "write to the log",
        "config" => "read its settings",
        "twin" => "read the twin and report to it",
        "telemetry" => "send messages to the cloud",
        "state" => "keep state between calls",
        "metrics" => "keep metrics",
        "jobs" => "schedule jobs for after the call",
        "power" => "reboot the machine",
        _ if interface == "http" || interface.starts_with("wasi:http/") => {
            "make HTTP requests to hosts that host.toml names"
        }
        _ if interface.starts_with("wasi:clocks/") => "read the time and wait",
        _ if interface.starts_with("wasi:random/") => "generate random numbers",
        "wasi:cli/stdout" | "wasi:cli/stderr" => "write to the log",
        // The host links all other WASI imports to stubs that do nothing.
        _ if interface.starts_with("wasi:") => return None,
        _ => return Some(format!("use `{interface}`")),
    };
    Some(description.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_that_allows_something_has_a_description() {
        assert_eq!(meaning("device:behaviour/power@0.1.2").unwrap(), "reboot the machine");
        assert_eq!(meaning("wasi:cli/stderr@0.2.6").unwrap(), "write to the log");
        assert_eq!(meaning("device:behaviour/types@0.1.2"), None);
        // An entry of `hosts` can begin with `http://`.
        let http = "make HTTP requests to hosts that host.toml names";
        assert_eq!(meaning("device:behaviour/http@0.1.2").unwrap(), http);
        assert_eq!(meaning("wasi:http/types@0.2.6").unwrap(), http);
        assert_eq!(meaning("wasi:filesystem/types@0.2.6"), None);
        assert_eq!(meaning("acme:door/lock").unwrap(), "use `acme:door/lock`");
    }
}
