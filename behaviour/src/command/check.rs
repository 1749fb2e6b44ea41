//! The command `behaviour check`.

pub(super) mod compare;
mod meaning;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use behaviour::desk::{DeskError, compile, engine, name};
use plugin::{
    Capability, Compiled, Engine, FileFormat, Inspection, Limits, LoadError, PluginSettings,
};
use program::Progress;
use serde_json::{Value, json};

use super::component::component;
use super::error::{CommandError, FailureKind};
use super::print_line;
use super::values::bytes;
use meaning::{interface, meaning};

const LONG: &str = "\
Describe a component: its imports and exports, what they allow it to do, and whether a host would load it. It is compiled and \
inspected, but not run.

With two files, compare what each may do, to decide about an update.";

const EXAMPLES: &str = "\
Examples:
  behaviour check .
  behaviour check reboot.wasm
  behaviour check reboot.wasm --capability power
  behaviour check running.wasm update.wasm
  behaviour check reboot.wasm --json | jq .capabilities

Exit codes:
  0  a host would load the component (of two files, the second)
  1  a host would not load it with the granted capabilities, or a file could not be checked
  2  the command line is wrong";

/// Show what a component may do, and whether a host would load it.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Check {
    /// A component file, or the folder of a plugin to build first.
    file: PathBuf,
    /// Another component, to compare it with.
    other: Option<PathBuf>,
    /// Grant a capability, as `capabilities` in host.toml does.
    #[arg(long, value_name = "NAME")]
    capability: Vec<Capability>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A component's file and the results of its inspection.
pub(super) struct CheckedFile<'a> {
    /// The name in messages: a path or the reference of an image.
    file: &'a Path,
    /// The name of the plugin.
    name: String,
    inspection: Inspection,
    loads: Result<(), LoadError>,
}

impl Check {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let engine = engine(Limits::default().memory_bytes).map_err(DeskError::Engine)?;
        // The help text documents the same exit code for a failed build and a failed check.
        let component =
            |path| component(path).map_err(|error| error.with_kind(FailureKind::default()));
        let file = component(&self.file)?;
        let other = self.other.as_deref().map(component).transpose()?;
        let first = self.inspect(&engine, &file)?;
        let checked = match &other {
            None if self.json => {
                print_line(&first.to_json().to_string());
                first
            }
            None => {
                first.print();
                first
            }
            Some(other) => {
                let second = self.inspect(&engine, other)?;
                match self.json {
                    true => print_line(&compare::to_json(&first, &second).to_string()),
                    false => compare::print(&first, &second),
                }
                second
            }
        };
        match checked.refusal() {
            None => Ok(ExitCode::SUCCESS),
            // The printed JSON contains the reason.
            Some(_) if self.json => Ok(ExitCode::FAILURE),
            Some(refusal) => Err(refusal),
        }
    }

    fn inspect<'a>(&self, engine: &Engine, file: &'a Path) -> Result<CheckedFile<'a>, DeskError> {
        let _progress = Progress::new(&format!("compiling {}", file.display()));
        let (bytes, compiled) = compile(engine, file)?;
        CheckedFile::of(engine, file, &name(file), &bytes, &compiled, Some(&self.capability))
    }
}

impl<'a> CheckedFile<'a> {
    /// Inspects and loads a component with the granted capabilities; `None` grants all that it
    /// imports.
    pub(super) fn of(
        engine: &Engine,
        file: &'a Path,
        name: &str,
        bytes: &[u8],
        compiled: &Compiled,
        granted: Option<&[Capability]>,
    ) -> Result<CheckedFile<'a>, DeskError> {
        let load = |source| DeskError::Load { file: file.to_owned(), source };
        let inspection = engine.inspect(bytes, compiled).map_err(load)?;
        let capabilities = match granted {
            Some(granted) => granted.iter().copied().collect(),
            None => inspection.capabilities(),
        };
        let settings = PluginSettings { capabilities, ..PluginSettings::default() };
        let loads = engine.plugin(name, compiled, settings).map(drop);
        Ok(CheckedFile { file, name: name.to_owned(), inspection, loads })
    }

    pub(super) fn inspection(&self) -> &Inspection {
        &self.inspection
    }
}

impl CheckedFile<'_> {
    pub(super) fn print(&self) {
        let inspection = &self.inspection;
        print_line(&format!(
            "{}: {}, {}",
            self.file.display(),
            format_name(inspection.format),
            bytes(inspection.bytes as u64)
        ));
        let row = |what: &str, text: &str| print_line(&format!("  {what:<10} {text}"));
        row(
            "built for",
            &list(
                inspection.wit_versions.iter().map(|version| format!("device:behaviour@{version}")),
            ),
        );
        row("imports", &list(self.own_imports()));
        row("WASI", &wasi(inspection));
        row("exports", &list(inspection.exports.iter().map(|name| interface(name).to_owned())));
        row("lacks", &list(self.lacks()));
        let may = self.may().into_iter().collect::<Vec<_>>().join("\n             ");
        row("may", if may.is_empty() { "nothing but answer" } else { &may });
        row("memory", &memory(inspection));
        if self.loads.is_ok() {
            print_line(&self.line_to_add().map_or_else(
                || "A host would load it.".to_owned(),
                |line| {
                    format!(
                        "A host would load it with this line under [plugins.{}]: {line}",
                        self.name
                    )
                },
            ));
        }
    }

    /// Returns the error that a host would report instead of loading the component. Returns
    /// `None` if a host would load it.
    pub(super) fn refusal(self) -> Option<CommandError> {
        let hint = self.hint();
        let refusal = CommandError::from(anyhow::Error::from(self.loads.err()?));
        Some(match hint {
            Some(hint) => refusal.with_hint(hint),
            None => refusal,
        })
    }

    pub(super) fn to_json(&self) -> Value {
        let inspection = &self.inspection;
        let error = self.loads.as_ref().err();
        json!({
            "file": self.file.display().to_string(),
            "kind": format_name(inspection.format),
            "bytes": inspection.bytes,
            "wit_versions": inspection.wit_versions,
            "imports": inspection.imports.iter().map(|import| &import.name).collect::<Vec<_>>(),
            "exports": inspection.exports,
            "optional_exports": {
                "deferred": inspection.optional.deferred,
                "desired": inspection.optional.desired,
                "lifecycle": inspection.optional.lifecycle,
                "messages": inspection.optional.messages,
            },
            "capabilities": self.capabilities(),
            "wasi": inspection.wasi(),
            "may": self.may(),
            "memory_bytes": inspection.memory_bytes,
            "loads": error.is_none(),
            "error": error.map(|error| program::chain(error).to_string()),
            "hint": error.and_then(|_| self.hint()),
            "host_toml": self.line_to_add(),
        })
    }

    pub(super) fn capabilities(&self) -> Vec<&'static str> {
        self.inspection.capabilities().into_iter().map(Capability::name).collect()
    }

    /// Returns the line of `host.toml` that grants all capabilities that the component
    /// imports, or `None` if it imports none.
    fn line_to_add(&self) -> Option<String> {
        let capabilities = self.capabilities();
        (!capabilities.is_empty()).then(|| format!("capabilities = {capabilities:?}"))
    }

    /// Returns the hint of the load error. For a missing grant, the hint contains a line that
    /// grants all capabilities at once.
    fn hint(&self) -> Option<String> {
        let error = self.loads.as_ref().err()?;
        match (error, self.line_to_add()) {
            (LoadError::NotGranted { capability: Some(_), .. }, Some(line)) => Some(format!(
                "add `{line}` under [plugins.{}] in host.toml to grant this",
                self.name
            )),
            _ => error.hint().map(str::to_owned),
        }
    }

    /// Returns the imports except WASI and `types`, which contains only type definitions.
    fn own_imports(&self) -> impl Iterator<Item = String> {
        let names = self.inspection.imports.iter().map(|import| interface(&import.name));
        names.filter(|name| *name != "types" && !name.starts_with("wasi:")).map(str::to_owned)
    }

    /// Returns the optional exports that the component does not have.
    fn lacks(&self) -> impl Iterator<Item = String> {
        let optional = self.inspection.optional;
        let all = [
            ("deferred", optional.deferred),
            ("desired", optional.desired),
            ("lifecycle", optional.lifecycle),
            ("messages", optional.messages),
        ];
        all.into_iter().filter(|(_, has)| !has).map(|(name, _)| name.to_owned())
    }

    /// Describes what the imports allow the component to do.
    fn may(&self) -> BTreeSet<String> {
        self.inspection.imports.iter().filter_map(|import| meaning(&import.name)).collect()
    }
}

fn format_name(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Component => "component",
        FileFormat::CoreModule => "core module with embedded WIT",
    }
}

fn wasi(inspection: &Inspection) -> String {
    let names = inspection.imports.iter().filter_map(|import| {
        let path = import.name.strip_prefix("wasi:")?;
        Some(path.split('@').next().unwrap_or(path).to_owned())
    });
    let names = list(names);
    if inspection.wasi() { format!("closed: {names}") } else { names }
}

fn memory(inspection: &Inspection) -> String {
    inspection
        .memory_bytes
        .map_or_else(|| "unknown".to_owned(), |memory| bytes(memory) + " at start")
}

/// Joins items with commas. Returns `none` if there are no items.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}
