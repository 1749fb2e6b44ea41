//! `behaviour check`.

mod compare;
mod meaning;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use behaviour::desk::{DeskError, compile, engine, name};
use plugin::{Capability, Engine, Inspection, Kind, Limits, LoadError, PluginSettings};
use program::{Progress, chain};
use serde_json::{Value, json};

use super::values::bytes;
use super::{complain, say};
use meaning::{interface, meaning};

const LONG: &str = "\
Say what a component imports and exports, what that lets it do, and whether a host would load it. It is compiled and looked at, but \
not run.

With two files: what the second may do that the first may not, and the reverse; for whoever decides about an update.";

const EXAMPLES: &str = "\
Examples:
  behaviour check reboot.wasm
  behaviour check reboot.wasm --capability power
  behaviour check running.wasm update.wasm
  behaviour check reboot.wasm --json | jq .capabilities

Exit codes:
  0  a host would load it (of two files, the second)
  1  it would not, as it is and with the capabilities that are given here
  2  the command line asks for something that cannot be meant";

/// Say what a component may do, and whether a host would load it.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Check {
    /// The component's file.
    file: PathBuf,
    /// Another, to be compared with it.
    other: Option<PathBuf>,
    /// Take a capability as granted, as `capabilities` in host.toml does.
    #[arg(long, value_name = "NAME")]
    capability: Vec<Capability>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A file, and what was found out about it.
struct Checked<'a> {
    file: &'a Path,
    found: Inspection,
    loads: Result<(), LoadError>,
}

impl Check {
    pub(crate) fn run(self) -> ExitCode {
        match self.check() {
            Ok(loads) if loads => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                if self.json {
                    let error = json!({"loads": false, "error": chain(&error).to_string(), "hint": error.hint()});
                    say(&error.to_string());
                } else {
                    complain(&error, error.hint());
                }
                ExitCode::FAILURE
            }
        }
    }

    /// Returns whether a host would load it; of two, the second.
    fn check(&self) -> Result<bool, DeskError> {
        let engine = engine(Limits::default().memory_bytes)?;
        let first = self.look(&engine, &self.file)?;
        let Some(other) = &self.other else {
            match self.json {
                true => say(&first.to_json().to_string()),
                false => first.tell(),
            }
            return Ok(first.loads.is_ok());
        };
        let second = self.look(&engine, other)?;
        match self.json {
            true => say(&compare::to_json(&first, &second).to_string()),
            false => compare::tell(&first, &second),
        }
        Ok(second.loads.is_ok())
    }

    fn look<'a>(&self, engine: &Engine, file: &'a Path) -> Result<Checked<'a>, DeskError> {
        let _progress = Progress::new(&format!("compiling {}", file.display()));
        let (bytes, compiled) = compile(engine, file)?;
        let load = |source| DeskError::Load { file: file.to_owned(), source };
        let settings = PluginSettings {
            capabilities: self.capability.iter().copied().collect(),
            ..PluginSettings::default()
        };
        Ok(Checked {
            file,
            found: engine.inspect(&bytes, &compiled).map_err(load)?,
            loads: engine.plugin(&name(file), &compiled, settings).map(drop),
        })
    }
}

impl Checked<'_> {
    fn tell(&self) {
        let found = &self.found;
        say(&format!(
            "{}: {}, {}",
            self.file.display(),
            kind(found.kind),
            bytes(found.bytes as u64)
        ));
        let row = |what: &str, text: &str| say(&format!("  {what:<10} {text}"));
        row(
            "built for",
            &list(found.wit_versions.iter().map(|version| format!("device:behaviour@{version}"))),
        );
        row("imports", &list(self.own_imports()));
        row("WASI", &wasi(found));
        row("exports", &list(found.exports.iter().map(|name| interface(name).to_owned())));
        row("lacks", &list(self.lacks()));
        let may = self.may().into_iter().collect::<Vec<_>>().join("\n             ");
        row("may", if may.is_empty() { "nothing but answer" } else { &may });
        row("memory", &memory(found));
        match &self.loads {
            Ok(()) => say(&self.line_to_add().map_or_else(
                || "A host would load it.".to_owned(),
                |line| {
                    format!(
                        "A host would load it with this line under [plugins.{}]: {line}",
                        name(self.file)
                    )
                },
            )),
            Err(error) => complain(error, self.hint().as_deref()),
        }
    }

    fn to_json(&self) -> Value {
        let found = &self.found;
        let error = self.loads.as_ref().err();
        json!({
            "file": self.file.display().to_string(),
            "kind": kind(found.kind),
            "bytes": found.bytes,
            "wit_versions": found.wit_versions,
            "imports": found.imports.iter().map(|import| &import.name).collect::<Vec<_>>(),
            "exports": found.exports,
            "optional_exports": {
                "deferred": found.optional.deferred,
                "desired": found.optional.desired,
                "lifecycle": found.optional.lifecycle,
            },
            "capabilities": self.capabilities(),
            "wasi": found.wasi(),
            "may": self.may(),
            "memory_bytes": found.memory_bytes,
            "loads": error.is_none(),
            "error": error.map(|error| chain(error).to_string()),
            "hint": error.and_then(|_| self.hint()),
            "host_toml": self.line_to_add(),
        })
    }

    fn capabilities(&self) -> Vec<&'static str> {
        self.found.capabilities().into_iter().map(Capability::name).collect()
    }

    /// The line of `host.toml` that it needs beyond the usual ones.
    fn line_to_add(&self) -> Option<String> {
        let capabilities = self.capabilities();
        (!capabilities.is_empty()).then(|| format!("capabilities = {capabilities:?}"))
    }

    /// The way out; of several missing capabilities, all in one line.
    fn hint(&self) -> Option<String> {
        let error = self.loads.as_ref().err()?;
        match (error, self.line_to_add()) {
            (LoadError::NotGranted { import, .. }, Some(line))
                if self.is_granted_by_line(import) =>
            {
                Some(format!(
                    "add `{line}` under [plugins.{}] in host.toml, if it may",
                    name(self.file)
                ))
            }
            _ => error.hint().map(str::to_owned),
        }
    }

    fn is_granted_by_line(&self, import: &str) -> bool {
        self.found.imports.iter().any(|found| found.name == import && found.lender.is_some())
    }

    /// The imports that are not of WASI; `types` has nothing but names.
    fn own_imports(&self) -> impl Iterator<Item = String> {
        let names = self.found.imports.iter().map(|import| interface(&import.name));
        names.filter(|name| *name != "types" && !name.starts_with("wasi:")).map(str::to_owned)
    }

    /// The optional exports that it has not.
    fn lacks(&self) -> impl Iterator<Item = String> {
        let optional = self.found.optional;
        let all = [
            ("deferred", optional.deferred),
            ("desired", optional.desired),
            ("lifecycle", optional.lifecycle),
        ];
        all.into_iter().filter(|(_, has)| !has).map(|(name, _)| name.to_owned())
    }

    /// Returns the abilities that its imports give it, in words.
    fn may(&self) -> BTreeSet<String> {
        self.found.imports.iter().filter_map(|import| meaning(&import.name)).collect()
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Component => "component",
        Kind::CoreModule => "core module with embedded WIT",
    }
}

fn wasi(found: &Inspection) -> String {
    let names = found.imports.iter().filter_map(|import| {
        let path = import.name.strip_prefix("wasi:")?;
        Some(path.split('@').next().unwrap_or(path).to_owned())
    });
    let names = list(names);
    if found.wasi() { format!("closed: {names}") } else { names }
}

fn memory(found: &Inspection) -> String {
    found.memory_bytes.map_or_else(|| "unknown".to_owned(), |memory| bytes(memory) + " at start")
}

/// With commas, or that there is nothing.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}
