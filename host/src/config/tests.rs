//! Valid configurations, and the errors of invalid ones.

use ::plugin::Limits;

use super::*;

const REBOOT: &str = "[plugins.reboot]\nfile = \"reboot.wasm\"\nmethods = [\"rebootDevice\"]\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/host"))
}

fn check_refused(text: &str, expected: &str) {
    let error = parse(text).unwrap_err();
    let line = program::chain(&error).to_string();
    assert!(line.starts_with(expected), "{text}\n{line}");
    assert!(!line.contains('\n'), "{line:?}");
}

#[test]
fn only_the_file_and_the_methods_of_a_plugin_are_required() {
    let config = parse(REBOOT).unwrap();

    let plugin = &config.plugins["reboot"];
    assert_eq!(plugin.file, Path::new("/etc/host/reboot.wasm"));
    assert_eq!(plugin.methods, ["rebootDevice".parse().unwrap()]);
    assert_eq!(plugin.settings.limits, Limits::default());
    assert_eq!(config.hub.keep_alive, Duration::from_secs(60));
    assert_eq!(config.hub.token_lifetime, Duration::from_secs(3600));
    assert_eq!(config.host.grace, Duration::from_secs(10));
}

#[test]
fn an_unknown_capability_is_refused_by_name() {
    let text = format!("{REBOOT}capabilities = [\"flying\"]\n");
    check_refused(&text, "[plugins.reboot]: `capabilities`: unknown capability `flying`");
}

#[test]
fn an_unknown_reserved_method_is_refused_with_the_known_ones() {
    let text = format!("{REBOOT}[host.remote]\nmethods = [\"status\", \"behaviour.logs\"]\n");
    let expected = "line 5: `host.remote.methods";
    check_refused(&text, expected);
    let line = program::chain(&parse(&text).unwrap_err()).to_string();
    assert!(line.contains("`behaviour.logs`, expected one of `status`, `plugins`"), "{line}");
}

#[test]
fn no_error_shows_the_password_of_a_url() {
    let url = "https://user:passw0rd@h/a";
    let image = format!("[plugins.a]\nmethods = [\"*\"]\nimage = \"{url}\"\n");
    let http = format!("{REBOOT}capabilities = [\"http\"]\n[plugins.reboot.http]\n");
    for text in [
        format!("{REBOOT}[host.otlp]\nendpoint = \"{url}\"\n"),
        format!("{REBOOT}[host.otlp.logs]\nendpoint = \"{url}\"\n"),
        format!("{REBOOT}[host.metrics]\nlisten = \"{url}\"\n"),
        format!("{REBOOT}[host.registry]\nplain_http = [\"{url}\"]\n"),
        format!("{REBOOT}[host.registry]\nmirrors = \"{url}\"\n"),
        format!("{REBOOT}[host.registry.mirrors]\n\"h.example\" = [\"{url}\"]\n"),
        format!("{REBOOT}[host.registry.mirrors]\n\"{url}\" = [\"h.example\"]\n"),
        format!("{REBOOT}[host.registry.mirrors]\n\"{url}\" = 5\n"),
        format!("{REBOOT}[provisioning]\nid_scope = \"0ne1\"\nendpoint = \"{url}\"\n"),
        format!("{REBOOT}[provisioning]\nid_scope = \"0ne1\"\nendpoint = \"u:passw0rd@h\"\n"),
        format!("{REBOOT}[fleet]\nimages = [\"{url}\"]\n"),
        format!("{http}hosts = [\"{url}\"]\n"),
        format!("{http}hosts = [\"u:passw0rd@h\"]\n"),
        image.replace("https://", ""),
        image,
    ] {
        let line = program::chain(&parse(&text).unwrap_err()).to_string();
        assert!(!line.contains("passw0rd"), "{text}\n{line}");
    }
}

#[test]
fn the_port_of_every_host_is_checked() {
    let mirrors = |host: &str| format!("{REBOOT}[host.registry.mirrors]\na = [\"{host}\"]\n");
    let plain = |host: &str| format!("{REBOOT}[host.registry]\nplain_http = [\"{host}\"]\n");
    let images = |host: &str| format!("{REBOOT}[fleet]\nimages = [\"{host}/a\"]\n");
    let receiver = |host: &str| format!("{REBOOT}[host.otlp]\nendpoint = \"https://{host}\"\n");
    for host in ["h:99999", "h:abc", "h:", "h:0", "[::1]:65536", "::1", ""] {
        check_refused(&mirrors(host), &format!("[host.registry]: `{host}` is not a host"));
        check_refused(&plain(host), &format!("[host.registry]: `{host}` is not a host"));
        let line = program::chain(&parse(&images(host)).unwrap_err()).to_string();
        assert!(line.contains(&format!("`images`: `{host}/a`")), "{line}");
        check_refused(&receiver(host), &format!("`host.otlp.endpoint`: `https://{host}`"));
    }
    for host in ["h", "h:1", "[::1]:65535", "a.example:5000"] {
        parse(&mirrors(host)).unwrap();
        parse(&plain(host)).unwrap();
        parse(&receiver(host)).unwrap();
    }
    check_refused(
        &format!("{REBOOT}[hub]\nport = 0\n"),
        "line 5: `hub.port` is 0, not an integer from 1 to 65535",
    );
}

#[test]
fn the_capability_http_needs_a_list_of_hosts() {
    let granted = format!("{REBOOT}capabilities = [\"http\"]\n");
    let hosts = "[plugins.reboot.http]\nhosts = [\"a.example.com\", \"*.example.org\"]\n";
    let config =
        parse(&format!("{granted}{hosts}timeout = \"3s\"\nca_file = \"ca.pem\"\n")).unwrap();
    let settings = &config.plugins["reboot"].settings;
    assert_eq!(settings.http_ca_file(), Some(Path::new("/etc/host/ca.pem")));
    let http = settings.to_sandbox().http;
    assert_eq!((http.hosts.len(), http.timeout), (2, Duration::from_secs(3)));

    check_refused(&granted, "[plugins.reboot.http]: the capability `http` needs `hosts`");
    check_refused(&format!("{REBOOT}{hosts}"), "[plugins.reboot.http]: needs `capabilities");
    let wrong = |hosts: &str| format!("{granted}[plugins.reboot.http]\nhosts = {hosts}\n");
    check_refused(&wrong("[]"), "[plugins.reboot.http]: the capability `http` needs `hosts`");
    check_refused(
        &wrong("[\"http://a/b\"]"),
        "[plugins.reboot.http]: `hosts`: `http://a/b` has a path",
    );
    check_refused(&wrong("[\"*.com\"]"), "[plugins.reboot.http]: `hosts`: `*.com`: a pattern");
    let never = format!("{granted}{hosts}timeout = \"1h\"\n");
    check_refused(&never, "[plugins.reboot.http]: `timeout` is 1h, not between 1ms and 5m");
}

#[test]
fn the_example_file_is_valid_and_shows_the_defaults() {
    let text = include_str!("../../host.example.toml");
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n");
    parse(text).unwrap();
    let config = parse(&uncommented).unwrap();
    // Every value in the example is the default.
    assert_eq!(config.plugins["reboot"].settings.limits.memory_bytes, 64 * 1024 * 1024);
    let defaults = parse(REBOOT).unwrap();
    assert_eq!(config.host, defaults.host);
    assert_eq!(config.plugins["reboot"].patience, defaults.plugins["reboot"].patience);
}

#[test]
fn a_plugin_has_its_own_limits_deadlines_and_settings() {
    let text = format!(
        "{REBOOT}deadline = \"5s\"\ndeadlines.slow = \"2m\"\nlimits.calls_at_once = 7\nlimits.job_attempts = 3\n\
         config = {{ delay_seconds = 2, name = \"x\", report = {{ a = [1] }} }}\n"
    );
    let settings = &parse(&text).unwrap().plugins["reboot"].settings;

    assert_eq!(settings.limits.deadline_of("slow"), Duration::from_secs(120));
    assert_eq!(settings.limits.deadline_of("other"), Duration::from_secs(5));
    assert_eq!(settings.limits.calls_at_once, 7);
    assert_eq!(settings.job_attempts(), 3);
    let config: Vec<_> = settings.config.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(config, [("delay_seconds", "2"), ("name", "x"), ("report", r#"{"a":[1]}"#)]);
}

#[test]
fn repeated_calls_are_recognised_by_a_field_for_a_limited_time() {
    let section = |text: &str| parse(&format!("{REBOOT}{text}")).unwrap().plugins["reboot"].clone();
    assert_eq!(section("").idempotency_key, None);
    let section = section("idempotency_key = \"requestId\"\n");
    assert_eq!(section.idempotency_key.as_deref(), Some("requestId"));
    assert_eq!(section.idempotency_time, Duration::from_secs(300));
    check_refused(
        &format!("{REBOOT}idempotency_time = \"0s\"\n"),
        "`idempotency_time` is 0s, not between 1s and 24h",
    );
}

#[test]
fn shortest_times_of_methods_are_within_the_longest_deadline() {
    let section = |text: &str| parse(&format!("{REBOOT}{text}")).unwrap().plugins["reboot"].clone();
    assert!(section("").min_times.is_empty());
    let times = section("min_times.calibrate = \"20s\"\n").min_times;
    assert_eq!(times, [("calibrate".to_owned(), Duration::from_secs(20))].into());
    check_refused(
        &format!("{REBOOT}min_times.calibrate = \"6m\"\n"),
        "`min_times` is 6m, not between 1ms and 5m",
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    check_refused(
        &format!("{REBOOT}dedline = \"5s\"\n"),
        "line 4: unknown key `plugins.reboot.dedline`, expected one of `file`, `image`, `allow_tag`, `sha256`, `methods`",
    );
    check_refused("[hub]\n\nprot = 1\n", "line 3: unknown key `hub.prot`");
    check_refused(
        &format!("{REBOOT}[plugins.reboot.limits]\nmemory = 1\n"),
        "line 5: unknown key `plugins.reboot.limits.memory`",
    );
}

#[test]
fn all_errors_of_a_file_are_reported() {
    let text = "[hub]\nport = 70000\nkeep_alive = \"2h\"\ntoken_lifetime = 5\n\
                [host]\ngrace = \"9h\"\ndata = 5\n\
                [plugins.a]\nfile = \"a\"\nmethods = \"x\"\n\
                [plugins.b]\nfile = \"b\"\nmethods = [\"m\"]\nsha256 = \"0\"\n\
                capabilities = [\"http\"]\nlimits.answer_bytes = 200000\n\
                [plugins.b.http]\nhost = [\"a.org\"]\n";
    let errors = parse(text).unwrap_err().into_all();
    let lines: Vec<_> = errors.iter().map(|error| program::chain(error).to_string()).collect();
    let expected = [
        "line 2: `hub.port` is 70000, not an integer from 1 to 65535",
        "line 4: `hub.token_lifetime` is 5, not a duration in quotes such as \"30s\"",
        "line 7: `host.data` is 5, not a string",
        "line 10: `plugins.a.methods` is the string \"x\", not an array",
        "line 17: key `plugins.b.http.hosts` is missing",
        "line 18: unknown key `plugins.b.http.host`, expected one of `hosts`, ",
        "`hub.keep_alive` is 2h, not between",
        "`host.grace` is 9h, not between",
        "[plugins.b.limits]: `answer_bytes` is 200000; IoT Hub allows at most",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    let joined = parse(text).unwrap_err().to_string();
    assert!(joined.starts_with(&format!("{}; {}; ", lines[0], lines[1])), "{joined}");
}

#[test]
fn an_invalid_value_is_named_with_its_key_or_line() {
    check_refused(
        "[hub]\nport = \"x\"\n",
        "line 2: `hub.port` is the string \"x\", not an integer from 1 to 65535",
    );
    check_refused(
        "[host]\ngrace = \"soon\"\n",
        "line 2: `host.grace`: invalid duration `soon`: expected a value such as 20s, 500ms or 1h 30m",
    );
    check_refused("[plugins.reboot\n", "line 1: ");
    check_refused("[hub]\nkeep_alive = \"2h\"\n", "`hub.keep_alive` is 2h, not between 2s and");
    check_refused(
        "[host]\nreport_plugins_under = \"a.b\"\n",
        "`host.report_plugins_under` is `a.b`, not 1 to 64 letters",
    );
    check_refused("", "no [plugins.NAME]");
    check_refused("[plugins.x]\nfile = \"x\"\n", "line 1: key `plugins.x.methods` is missing");
    check_refused("[plugins.x]\nfile = \"x\"\nmethods = []\n", "[plugins.x]: `methods` is empty");
    check_refused(
        "[plugins.\"a b\"]\nfile = \"x\"\nmethods = [\"*\"]\n",
        "[plugins.a b]: a plugin's name is",
    );
    check_refused(
        "[plugins.x]\nfile = \"x\"\nmethods = [\"a b\"]\n",
        "[plugins.x]: `methods`: method name `a b` has a ' '",
    );
    check_refused(
        &format!("{REBOOT}deadline = \"10m\"\n"),
        "[plugins.reboot]: limits: `deadline` is 600s, not between 1 ms and 300s",
    );
    check_refused(
        &format!("{REBOOT}limits.answer_bytes = 200000\n"),
        "[plugins.reboot.limits]: `answer_bytes` is 200000; IoT Hub allows at most 131072",
    );
}

#[test]
fn two_plugins_cannot_serve_the_same_method() {
    let second = |methods| format!("[plugins.second]\nfile = \"s.wasm\"\nmethods = [{methods}]\n");
    check_refused(
        &format!("{REBOOT}{}", second("\"rebootDevice\"")),
        "both `reboot` and `second` serve `rebootDevice`; a method has one plugin",
    );
    parse(&format!("{REBOOT}{}", second("\"*\""))).unwrap();
    let first = REBOOT.replace("rebootDevice", "*");
    check_refused(&format!("{first}{}", second("\"*\"")), "both `reboot` and `second` serve `*`");
}

const FLEET: &str =
    "host.trust.keys = [\"k.pem\"]\n[fleet]\nimages = [\"r.example/p/*\", \"r.example/q\"]\n";

#[test]
fn a_plugin_has_either_a_file_or_an_image_with_a_digest() {
    let image = |name: &str, more: &str| {
        format!("[plugins.p]\nimage = \"r.example/p{name}\"\nmethods = [\"m\"]\n{more}")
    };
    let digest = format!("@sha256:{}", "0".repeat(64));
    let config = parse(&image(&digest, "")).unwrap();
    assert_eq!(config.images["p"].image.repository(), "p");
    assert!(config.plugins.is_empty() && config.fetches());
    parse(&image(":1.0", "allow_tag = true\n")).unwrap();

    check_refused(
        &image(":1.0", ""),
        "[plugins.p]: `image` is `r.example/p:1.0`, which has no digest; a tag can move",
    );
    check_refused(&image("/P", ""), "[plugins.p]: `image`: image reference `r.example/p/P`: its");
    let file = "file = \"p.wasm\"\n";
    check_refused(&image(&digest, file), "[plugins.p]: `file` and `image` are both present");
    let sha256 = format!("sha256 = \"{}\"\n", "0".repeat(64));
    check_refused(&image(&digest, &sha256), "[plugins.p]: `sha256` is of a `file`");
    check_refused(&format!("{REBOOT}allow_tag = true\n"), "[plugins.reboot]: `allow_tag` needs");
    let second = image(&digest, "").replace("\"m\"", "\"rebootDevice\"");
    check_refused(&format!("{REBOOT}{second}"), "both `reboot` and `p` serve `rebootDevice`");
}

#[test]
fn the_cloud_chooses_nothing_without_keys_repositories_and_reports() {
    assert!(parse(REBOOT).unwrap().fleet.is_none());
    let fleet = parse(FLEET).unwrap().fleet.unwrap();
    assert!(fleet.allows_image("r.example/p/a/b") && fleet.allows_image("r.example/q"));
    for other in ["r.example/p", "r.example/qq", "r.example/p/", "other.example/p/a"] {
        assert!(!fleet.allows_image(other), "{other}");
    }
    let unsigned = FLEET.replace("keys = [\"k.pem\"]", "signature = \"off\"");
    parse(&unsigned).unwrap();

    check_refused("[fleet]\nimages = [\"r.example/p\"]\n", "[host.trust]: `keys` is empty");
    check_refused("[fleet]\nimages = []\n", "[fleet]: `images` is empty");
    for image in ["r.example", "*", "r.example/p:1", "r.example/p*", "/p", "r.example/P"] {
        check_refused(&format!("[fleet]\nimages = [\"{image}\"]\n"), "[fleet]: `images`: `");
    }
    check_refused(&format!("{FLEET}replaces = [\"p\"]\n"), "[fleet]: `replaces`: no [plugins.p]");
    check_refused(
        &format!("{FLEET}capabilities = [\"fly\"]\n"),
        "[fleet]: `capabilities`: unknown",
    );
    check_refused(&format!("{FLEET}capabilities = [\"http\"]\n"), "[fleet.http]: the capability");
    check_refused(&format!("{FLEET}desired_key = \"a.b\"\n"), "`fleet.desired_key` is `a.b`, not");
    check_refused(&format!("{FLEET}methods = [\"a b\"]\n"), "[fleet]: `methods`: method name");
    let silent = format!("host.report_plugins_under = \"\"\n{FLEET}");
    check_refused(&silent, "[fleet] needs `report_plugins_under` under [host], which is empty");
    check_refused(
        &format!("{FLEET}limits.memory_bytes = 0\n"),
        "[fleet]: limits: `memory_bytes` is zero",
    );
    check_refused(
        "host.registry.plain_http = [\"https://r\"]\n",
        "[host.registry]: `https://r` is not a host with an optional port",
    );
}

#[test]
fn an_entry_of_the_cloud_is_refused_beyond_its_bounds() {
    use serde_json::json;

    let bounds = "plugins = [\"p\", \"reboot\"]\nmethods = [\"m\"]\ncapabilities = [\"power\"]\n\
        deadline = \"5s\"\nlimits.memory_bytes = 1_000_000\n";
    let fleet = parse(&format!("{FLEET}{bounds}{REBOOT}")).unwrap().fleet.unwrap();
    let digest = format!("@sha256:{}", "0".repeat(64));
    let image = format!("r.example/q{digest}");
    let checked = |name: &str, mut more: serde_json::Value| {
        if more.get("image").is_none() {
            more["image"] = image.clone().into();
        }
        let entry = desired::DesiredPlugin::parse(&more)?;
        fleet.check(name, &entry, name == "reboot").map(|()| entry)
    };
    let check = |name: &str, more: serde_json::Value, code: &str| {
        let error = checked(name, more.clone()).unwrap_err();
        assert_eq!(error.code, code, "{more}: {error}");
    };
    check("other", json!({}), "name-not-allowed");
    check("reboot", json!({}), "local-plugin");
    check("p", json!({"image": "r.example/q:1"}), "not-pinned");
    check("p", json!({"image": "r.example/other".to_owned() + &digest}), "image-not-allowed");
    check("p", json!({"methods": ["m", "n"]}), "method-not-allowed");
    check("p", json!({"methods": ["*"]}), "method-not-allowed");
    check("p", json!({"capabilities": ["power", "http"]}), "capability-above-ceiling");
    check("p", json!({"limits": {"memory_bytes": 1_000_001}}), "limit-above-ceiling");
    check("p", json!({"deadline": "6s"}), "limit-above-ceiling");
    check("p", json!({"file": "/etc/passwd"}), "invalid-entry");
    check("p", json!({"image": 1}), "invalid-entry");

    let more = json!({"methods": ["m"], "config": {"a": 1, "b": "x"}, "capabilities": ["power"]});
    let entry = checked("p", more).unwrap();
    let proposals = desired::Proposals {
        config: [("a", "0"), ("c", "3")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..Default::default()
    };
    let section = fleet.section("p", &entry, &proposals, "c.wasm".into(), "0".into()).unwrap();
    assert_eq!(section.methods, ["m".parse().unwrap()]);
    assert_eq!(section.settings.limits.memory_bytes, 1_000_000);
    assert_eq!(section.settings.limits.deadline, Duration::from_secs(5));
    let config: Vec<_> = section.settings.config.into_iter().collect();
    assert_eq!(
        config,
        [("a", "1"), ("b", "x"), ("c", "3")].map(|(k, v)| (k.to_owned(), v.to_owned()))
    );

    let entry = checked("p", json!({})).unwrap();
    let error = fleet.section("p", &entry, &Default::default(), "c".into(), "0".into());
    assert_eq!(error.unwrap_err().code, "no-methods");
}

#[test]
fn the_receiver_of_messages_is_a_plugin() {
    let config = parse(&format!("[hub]\nmessages = \"reboot\"\n{REBOOT}")).unwrap();
    assert_eq!(config.hub.messages.as_deref(), Some("reboot"));
    let text = format!("[hub]\nmessages = \"nobody\"\n{REBOOT}");
    check_refused(&text, "[hub]: `messages`: no [plugins.nobody]");
}
