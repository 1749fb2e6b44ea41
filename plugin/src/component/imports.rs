//! Comparison of a component's imports with the interfaces that the host provides, and a list
//! of its exports.
//!
//! The component is not instantiated. Its bytes name all imports, so an import that the host
//! does not provide is reported at load, before the compiler starts, which can take seconds.

use crate::{Capability, LoadError};
use std::collections::BTreeSet;
#[cfg(feature = "compiler")]
use wasmparser::{Chunk, Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Version of `device:behaviour` that this host implements.
pub(crate) const SUPPORTED_VERSION: &str = "0.1.2";

/// Prefix of the versions that are compatible with this host.
const COMPATIBLE_PREFIX: &str = "0.1.";

const OUR_PACKAGE: &str = "device:behaviour";

/// Interfaces of the default world, which every plugin can import.
const DEFAULT_INTERFACES: [&str; 10] =
    ["types", "context", "clock", "log", "config", "twin", "telemetry", "state", "jobs", "metrics"];

/// Packages of WASI 0.2 that every plugin can import, without access to the system.
/// `filesystem` and `sockets` are included because common adapters import their types;
/// their functions only return errors.
const WASI_PACKAGES: [&str; 6] =
    ["wasi:cli", "wasi:clocks", "wasi:random", "wasi:io", "wasi:filesystem", "wasi:sockets"];

/// Imports of a component, all of which the host provides.
#[derive(Debug)]
pub(crate) struct Imports {
    pub(crate) names: Vec<String>,
    pub(crate) wasi: bool,
    /// `true` if the component imports `wasi:http`, which implies `wasi`.
    pub(crate) wasi_http: bool,
    /// `true` if the component imports `device:behaviour/http`.
    pub(crate) http: bool,
    /// Capabilities that are both imported and granted.
    pub(crate) capabilities: BTreeSet<Capability>,
}

/// Optional interfaces that a component exports in addition to its methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exports {
    /// `true` if it exports `deferred`, which runs jobs.
    pub deferred: bool,
    /// `true` if it exports `desired`, which is called when the desired properties change.
    pub desired: bool,
    /// `true` if it exports `lifecycle`, which is called when its version starts and stops.
    pub lifecycle: bool,
    /// `true` if it exports `messages`, which receives cloud-to-device messages.
    pub messages: bool,
}

/// Checks the imports before the component is compiled. Returns an error for the first one
/// that the host does not provide. Malformed bytes pass: the compiler rejects them with a better
/// message.
#[cfg(feature = "compiler")]
pub(crate) fn check_imports_of_bytes(
    bytes: &[u8],
    plugin: &str,
    granted: &BTreeSet<Capability>,
) -> Result<(), LoadError> {
    let mut parser = Parser::new(0);
    let mut rest = bytes;
    while let Ok(Chunk::Parsed { consumed, payload }) = parser.parse(rest, true) {
        let mut passed = consumed;
        match payload {
            Payload::ComponentImportSection(imports) => {
                for import in imports.into_iter().filter_map(Result::ok) {
                    check_import(plugin, import.name.name, granted)?;
                }
            }
            // Imports of nested modules and components are not those of the plugin.
            Payload::ModuleSection { unchecked_range: within, .. }
            | Payload::ComponentSection { unchecked_range: within, .. } => passed += within.len(),
            Payload::End(_) => break,
            _ => {}
        }
        let Some(behind) = rest.get(passed..) else { break };
        rest = behind;
    }
    Ok(())
}

/// Returns the imports of a component, or an error for the first one that the host does not
/// provide.
pub(crate) fn check_imports(
    engine: &Engine,
    component: &Component,
    plugin: &str,
    granted: &BTreeSet<Capability>,
) -> Result<Imports, LoadError> {
    let mut imports = Imports {
        names: Vec::new(),
        wasi: false,
        wasi_http: false,
        http: false,
        capabilities: BTreeSet::new(),
    };
    for (name, _) in component.component_type().imports(engine) {
        match check_import(plugin, name, granted)? {
            Provider::Host => {}
            Provider::Wasi => imports.wasi = true,
            Provider::Granted(capability) => {
                if capability == Capability::Http {
                    let is_ours = split(name).0 == OUR_PACKAGE;
                    imports.http |= is_ours;
                    // The bodies of its messages are WASI streams.
                    imports.wasi_http |= !is_ours;
                    imports.wasi |= !is_ours;
                }
                imports.capabilities.insert(capability);
            }
        }
        imports.names.push(name.to_owned());
    }
    Ok(imports)
}

/// Returns the optional exports of a component, or an error if it exports no methods.
pub(crate) fn check_exports(engine: &Engine, component: &Component) -> Result<Exports, LoadError> {
    exports(component.component_type().exports(engine).map(|(name, _)| name))
}

/// Provider of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// The host, to every plugin.
    Host,
    /// The host, to every plugin: WASI 0.2, without access to the system.
    Wasi,
    /// The host, to plugins that were granted the capability.
    Granted(Capability),
}

/// Returns the provider of an import, or an error if the host does not provide it.
fn check_import(
    plugin: &str,
    import: &str,
    granted: &BTreeSet<Capability>,
) -> Result<Provider, LoadError> {
    let not_granted = |capability, hint: String| LoadError::NotGranted {
        plugin: plugin.to_owned(),
        import: import.to_owned(),
        capability,
        hint,
    };
    let (package, interface, version) = split(import);
    if package == OUR_PACKAGE && DEFAULT_INTERFACES.contains(&interface) {
        check_version(import, version)?;
        return Ok(Provider::Host);
    }
    if let Some(capability) = Capability::of_import(package, interface) {
        match package {
            OUR_PACKAGE => check_version(import, version)?,
            _ if is_wasi(version) => {}
            _ => {
                return Err(not_granted(None, format!("build it for version 0.2 of `{package}`")));
            }
        }
        return match granted.contains(&capability) {
            true => Ok(Provider::Granted(capability)),
            false => Err(not_granted(
                Some(capability),
                format!(
                    "add \"{capability}\" to `capabilities` under [plugins.{plugin}] to grant it{}",
                    unused_hint(package)
                ),
            )),
        };
    }
    if WASI_PACKAGES.contains(&package) && is_wasi(version) {
        return Ok(Provider::Wasi);
    }
    let hint = match package.starts_with("wasi:") {
        true => format!(
            "only {} of WASI 0.2 are available, without system access; build it without \
             `{package}`",
            WASI_PACKAGES.map(|package| &package["wasi:".len()..]).join(", ")
        ),
        false => format!(
            "a plugin can import {OUR_PACKAGE}/{} and parts of WASI 0.2",
            DEFAULT_INTERFACES.join(", ")
        ),
    };
    Err(LoadError::Unknown { import: import.to_owned(), hint })
}

/// Returns a hint for a component that imports a package without using it.
fn unused_hint(package: &str) -> &'static str {
    match package {
        // Some toolchains add the import to every component.
        "wasi:http" => {
            "; if it sends no requests, build it without (componentize-js: `-d http -d fetch-event`)"
        }
        _ => "",
    }
}

/// Returns `true` for a released version of WASI 0.2.
fn is_wasi(version: &str) -> bool {
    version.starts_with("0.2.") && !version.contains('-')
}

/// Returns the interface and version of an import that is compatible but newer than this
/// host.
pub(crate) fn newer_than_host(import: &str) -> Option<(&str, &str)> {
    let patch = |version: &str| version.strip_prefix(COMPATIBLE_PREFIX)?.parse::<u64>().ok();
    let (package, interface, version) = split(import);
    (package == OUR_PACKAGE && patch(version)? > patch(SUPPORTED_VERSION)?)
        .then_some((interface, version))
}

/// Returns the provider of an import, assuming that all capabilities are granted. Returns
/// `None` if the host does not have the interface.
pub(crate) fn provider(import: &str) -> Option<Provider> {
    check_import("", import, &Capability::ALL.into_iter().collect()).ok()
}

/// Returns the version in the name of an interface of `device:behaviour`.
pub(crate) fn version(name: &str) -> Option<String> {
    let (package, _, version) = split(name);
    (package == OUR_PACKAGE).then(|| version.to_owned())
}

/// Returns the optional exports among `names`, or none if any of them has an incompatible
/// version.
pub(crate) fn optional<'a>(names: impl Iterator<Item = &'a str>) -> Exports {
    find(names).map(|(_methods, exports)| exports).unwrap_or_default()
}

fn exports<'a>(names: impl Iterator<Item = &'a str>) -> Result<Exports, LoadError> {
    match find(names)? {
        (true, exports) => Ok(exports),
        (false, _) => Err(LoadError::NoMethods("device:behaviour/methods@0.1.2")),
    }
}

/// Returns `true` if methods are exported, and the optional exports.
fn find<'a>(names: impl Iterator<Item = &'a str>) -> Result<(bool, Exports), LoadError> {
    let mut methods = false;
    let mut exports = Exports::default();
    for export in names {
        let (package, interface, version) = split(export);
        let found = match (package, interface) {
            (OUR_PACKAGE, "methods") => &mut methods,
            (OUR_PACKAGE, "deferred") => &mut exports.deferred,
            (OUR_PACKAGE, "desired") => &mut exports.desired,
            (OUR_PACKAGE, "lifecycle") => &mut exports.lifecycle,
            (OUR_PACKAGE, "messages") => &mut exports.messages,
            _ => continue,
        };
        check_version(export, version)?;
        *found = true;
    }
    Ok((methods, exports))
}

fn check_version(interface: &str, version: &str) -> Result<(), LoadError> {
    // Pre-release versions are not compatible with any other version (semver.org, item 9).
    match version.starts_with(COMPATIBLE_PREFIX) && !version.contains('-') {
        true => Ok(()),
        false => Err(LoadError::Version {
            interface: interface.to_owned(),
            supported: SUPPORTED_VERSION,
        }),
    }
}

/// Splits `package/interface@version`; missing parts are empty.
fn split(name: &str) -> (&str, &str, &str) {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    let (package, interface) = path.split_once('/').unwrap_or((path, ""));
    (package, interface, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_import(import: &str, granted: &[Capability]) -> Result<Provider, LoadError> {
        super::check_import("reboot", import, &granted.iter().copied().collect())
    }

    #[track_caller]
    fn refused(import: &str) -> (String, String) {
        let error = check_import(import, &[]).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_default_world_and_wasi_are_provided() {
        assert_eq!(check_import("device:behaviour/clock@0.1.2", &[]).unwrap(), Provider::Host);
        assert_eq!(check_import("device:behaviour/twin@0.1.3", &[]).unwrap(), Provider::Host);
        assert_eq!(check_import("device:behaviour/state@0.1.2", &[]).unwrap(), Provider::Host);
        assert_eq!(check_import("wasi:cli/stderr@0.2.6", &[]).unwrap(), Provider::Wasi);
    }

    #[test]
    fn a_capability_that_is_not_granted_is_refused_with_a_hint_to_grant_it() {
        let (error, hint) = refused("device:behaviour/power@0.1.2");

        assert_eq!(error, "imports `device:behaviour/power@0.1.2`, which is not granted");
        let line = "add \"power\" to `capabilities` under [plugins.reboot] to grant it";
        assert_eq!(hint, line);
    }

    #[test]
    fn a_granted_capability_is_provided() {
        let provider = check_import("device:behaviour/power@0.1.2", &[Capability::Power]).unwrap();
        assert_eq!(provider, Provider::Granted(Capability::Power));
    }

    #[test]
    fn an_incompatible_version_is_refused_with_the_supported_one() {
        let (error, _) = refused("device:behaviour/clock@0.2.0");
        assert_eq!(error, "needs `device:behaviour/clock@0.2.0`; this host has version 0.1.2");
    }

    #[test]
    fn a_pre_release_version_is_refused() {
        let (error, _) = refused("device:behaviour/clock@0.1.2-rc.1");
        assert_eq!(error, "needs `device:behaviour/clock@0.1.2-rc.1`; this host has version 0.1.2");
        refused("wasi:clocks/wall-clock@0.2.0-rc-2023-12-05");
    }

    #[test]
    fn http_through_wasi_is_refused_unless_it_is_granted() {
        let (error, hint) = refused("wasi:http/outgoing-handler@0.2.0");

        assert_eq!(error, "imports `wasi:http/outgoing-handler@0.2.0`, which is not granted");
        assert!(hint.contains("add \"http\" to `capabilities`"), "{hint}");
        assert!(hint.contains("componentize-js: `-d http -d fetch-event`"), "{hint}");
        let provider = check_import("wasi:http/types@0.2.6", &[Capability::Http]).unwrap();
        assert_eq!(provider, Provider::Granted(Capability::Http));
        check_import("wasi:http/types@0.3.0", &[Capability::Http]).unwrap_err();
        check_import("wasi:http/incoming-handler@0.2.0", &[Capability::Http]).unwrap_err();
        refused("wasi:cli/stderr@0.3.0");
    }

    #[test]
    fn http_of_the_contract_is_refused_unless_it_is_granted() {
        let (error, hint) = refused("device:behaviour/http@0.1.2");

        assert_eq!(error, "imports `device:behaviour/http@0.1.2`, which is not granted");
        let line = "add \"http\" to `capabilities` under [plugins.reboot] to grant it";
        assert_eq!(hint, line);
        let provider = check_import("device:behaviour/http@0.1.2", &[Capability::Http]).unwrap();
        assert_eq!(provider, Provider::Granted(Capability::Http));
    }

    #[test]
    fn unknown_packages_are_refused() {
        let (error, hint) = refused("env");
        assert_eq!(error, "imports `env`, which this host does not have");
        assert!(hint.starts_with("a plugin can import device:behaviour/types, context,"), "{hint}");
        refused("device:behaviours/clock@0.1.2");
    }

    #[test]
    fn a_component_without_methods_is_refused() {
        let methods = "device:behaviour/methods@0.1.2";
        assert_eq!(exports(["init", methods].into_iter()).unwrap(), Exports::default());

        let error = exports(["init"].into_iter()).unwrap_err();
        assert!(matches!(error, LoadError::NoMethods(name) if name == methods));
        let error = exports(["device:behaviour/methods@1.0.0"].into_iter()).unwrap_err();
        assert!(matches!(error, LoadError::Version { .. }));
    }

    #[test]
    fn optional_exports_are_found() {
        let names = ["methods", "deferred", "lifecycle"];
        let names = names.map(|name| format!("device:behaviour/{name}@0.1.2"));
        let found = exports(names.iter().map(String::as_str)).unwrap();
        assert_eq!(found, Exports { deferred: true, lifecycle: true, ..Exports::default() });
    }
}
