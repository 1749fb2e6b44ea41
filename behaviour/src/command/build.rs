//! The command `behaviour build`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use behaviour::{BuildOptions, BuiltComponent, build};
use program::note;
use serde_json::json;

use super::error::{CommandError, build_failed};
use super::print_line;

const EXAMPLES: &str = "\
Examples:
  behaviour build
  behaviour build guest-reboot --out reboot.wasm
  cp \"$(behaviour build front-door --quiet)\" door.wasm
  behaviour build --json | jq -r .path";

/// Build a component from a plugin's sources.
///
/// Prints the component's path. The language is set in behaviour.toml or detected
/// from the folder's files. `behaviour setup` fetches its tools. If the active Rust
/// has no target wasm32-unknown-unknown, Debian's compiler is fetched once into the
/// cache. A tool that has not ended after 15 minutes is stopped;
/// BEHAVIOUR_STEP_LIMIT=60m raises the limit.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Build {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The component's file [default: components/NAME.wasm in the target directory].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The directory for fetched tools [default: behaviour in the user's cache directory].
    #[arg(long, value_name = "DIR", env = "BEHAVIOUR_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Print only the component's path, or the error.
    #[arg(long, short)]
    quiet: bool,
    /// Print the outcome as one JSON object, and errors as JSON.
    #[arg(long)]
    json: bool,
}

impl Build {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let Build { dir, out, cache_dir, quiet, json } = self;
        let progress = |line: &str| {
            if !quiet {
                note(format_args!("{line}"));
            }
        };
        let started = Instant::now();
        let options = BuildOptions { out, cache_dir, progress: &progress, target_dir: None };
        let built = build(&dir, &options).map_err(build_failed)?;
        let (kilobytes, seconds) = (built.bytes.div_ceil(1000), started.elapsed().as_secs_f32());
        progress(&match built.unchanged {
            true => format!("{}: {kilobytes} KB, unchanged", built.name),
            false => format!("{}: {kilobytes} KB in {seconds:.1} s", built.name),
        });
        let path = built.path.display().to_string();
        if json {
            let BuiltComponent { name, bytes, unchanged, .. } = built;
            let outcome = json!({
                "name": name,
                "path": path,
                "bytes": bytes,
                "unchanged": unchanged,
                "seconds": started.elapsed().as_secs_f64(),
            });
            print_line(&outcome.to_string());
        } else {
            print_line(&path);
        }
        Ok(ExitCode::SUCCESS)
    }
}
