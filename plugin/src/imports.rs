//! Compares what a component imports with what there is to lend.
//!
//! Nothing is instantiated: the type of a component names all of its imports,
//! so a refusal comes at load, with the import's name, and not at the first call.

use crate::LoadError;
use wasmtime::Engine;
use wasmtime::component::Component;

/// The version of `device:behaviour` that this host has.
const HELD: &str = "0.1.0";

/// Every version that a plugin may have been built with begins like this.
const COMPATIBLE: &str = "0.1.";

const OURS: &str = "device:behaviour";

/// The interfaces of the default world, which every plugin is lent.
const LENT: [&str; 7] = ["types", "context", "clock", "log", "config", "twin", "telemetry"];

/// The packages of WASI 0.2 that are lent closed. `filesystem` and `sockets`
/// are among them because the usual adapters import their types; there is
/// nothing behind either.
const WASI: [&str; 6] =
    ["wasi:cli", "wasi:clocks", "wasi:random", "wasi:io", "wasi:filesystem", "wasi:sockets"];

/// What a component imports, all of it lent.
#[derive(Debug)]
pub(crate) struct Imports {
    pub(crate) names: Vec<String>,
    pub(crate) wasi: bool,
}

/// Lists the imports of a component, or refuses it at the first that is not lent
/// and where there is nothing to call.
pub(crate) fn check(
    engine: &Engine,
    component: &Component,
    plugin: &str,
) -> Result<Imports, LoadError> {
    let ty = component.component_type();
    let mut imports = Imports { names: Vec::new(), wasi: false };
    for (name, _) in ty.imports(engine) {
        imports.wasi |= lend(plugin, name)? == Lender::Wasi;
        imports.names.push(name.to_owned());
    }
    has_methods(ty.exports(engine).map(|(name, _)| name))?;
    Ok(imports)
}

#[derive(Debug, PartialEq, Eq)]
enum Lender {
    Host,
    Wasi,
}

fn lend(plugin: &str, import: &str) -> Result<Lender, LoadError> {
    let not_granted = |hint: String| LoadError::NotGranted {
        plugin: plugin.to_owned(),
        import: import.to_owned(),
        hint,
    };
    let (package, interface, version) = split(import);
    if package == OURS && LENT.contains(&interface) {
        return match version.starts_with(COMPATIBLE) {
            true => Ok(Lender::Host),
            false => Err(LoadError::Version { interface: import.to_owned(), held: HELD }),
        };
    }
    if package == OURS {
        return Err(not_granted(format!(
            "this release cannot grant \"{interface}\"; one that can takes \
             `capabilities = [\"{interface}\"]` under [plugins.{plugin}]"
        )));
    }
    if WASI.contains(&package) && version.starts_with("0.2.") {
        return Ok(Lender::Wasi);
    }
    Err(not_granted(match package.starts_with("wasi:") {
        true => format!(
            "of WASI a plugin is lent version 0.2 of {}, all closed; build it without `{package}`",
            WASI.map(|package| &package["wasi:".len()..]).join(", ")
        ),
        false => format!("a plugin is lent {OURS}/{} and a closed WASI 0.2", LENT.join(", ")),
    }))
}

fn has_methods<'a>(exports: impl Iterator<Item = &'a str>) -> Result<(), LoadError> {
    let mut other_version = None;
    for export in exports {
        let (package, interface, version) = split(export);
        if (package, interface) != (OURS, "methods") {
            continue;
        }
        if version.starts_with(COMPATIBLE) {
            return Ok(());
        }
        other_version = Some(export.to_owned());
    }
    Err(match other_version {
        Some(interface) => LoadError::Version { interface, held: HELD },
        None => LoadError::NoMethods("device:behaviour/methods@0.1.0"),
    })
}

/// `package/interface@version`; what is missing is empty.
fn split(name: &str) -> (&str, &str, &str) {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    let (package, interface) = path.split_once('/').unwrap_or((path, ""));
    (package, interface, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(import: &str) -> (String, String) {
        let error = lend("reboot", import).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_default_world_and_closed_wasi_are_lent() {
        assert_eq!(lend("reboot", "device:behaviour/clock@0.1.0").unwrap(), Lender::Host);
        assert_eq!(lend("reboot", "device:behaviour/twin@0.1.3").unwrap(), Lender::Host);
        assert_eq!(lend("reboot", "wasi:cli/stderr@0.2.6").unwrap(), Lender::Wasi);
    }

    #[test]
    fn a_power_that_is_not_granted_is_refused_with_the_line_that_would_grant_it() {
        let (error, hint) = refused("device:behaviour/power@0.1.0");

        assert_eq!(error, "imports `device:behaviour/power@0.1.0`, which is not granted");
        assert!(hint.contains("`capabilities = [\"power\"]` under [plugins.reboot]"), "{hint}");
    }

    #[test]
    fn a_version_that_is_not_here_is_refused_with_the_one_that_is() {
        let (error, _) = refused("device:behaviour/clock@0.2.0");
        assert_eq!(error, "needs `device:behaviour/clock@0.2.0`; this host has version 0.1.0");
    }

    #[test]
    fn the_network_by_way_of_wasi_is_refused() {
        let (error, hint) = refused("wasi:http/outgoing-handler@0.2.0");

        assert_eq!(error, "imports `wasi:http/outgoing-handler@0.2.0`, which is not granted");
        assert!(hint.contains("build it without `wasi:http`"), "{hint}");
        refused("wasi:cli/stderr@0.3.0");
    }

    #[test]
    fn strangers_are_refused() {
        let (_, hint) = refused("env");
        assert!(hint.starts_with("a plugin is lent device:behaviour/types, context,"), "{hint}");
        refused("device:behaviours/clock@0.1.0");
    }

    #[test]
    fn a_component_without_methods_is_refused() {
        let methods = "device:behaviour/methods@0.1.0";
        has_methods(["init", methods].into_iter()).unwrap();

        let error = has_methods(["init"].into_iter()).unwrap_err();
        assert!(matches!(error, LoadError::NoMethods(name) if name == methods));
        let error = has_methods(["device:behaviour/methods@1.0.0"].into_iter()).unwrap_err();
        assert!(matches!(error, LoadError::Version { .. }));
    }
}
