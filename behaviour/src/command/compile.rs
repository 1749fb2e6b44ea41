//! The command `behaviour compile`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use oci::{Digest, signature};
use plugin::{Limits, LoadError, TARGET, compile_for};
use program::{Progress, text};
use serde_json::json;

use super::component::component;
use super::error::{CommandError, FailureKind};
use super::print_line;
use super::sign::KeyOptions;

const LONG: &str = "\
Compile a plugin for hosts without a compiler.

The file runs only on the named target, on hosts with the same version of wasmtime, which --version prints. It is machine code, which can do everything that the host can. \
So a host loads it only with a signature of a key under [host.trust], or if nobody but the host's user and root can write to the \
file. The file contains the digest of the code, by which a host refuses a damaged file. With --key, the signature is written beside it, to FILE.sigstore.json.

A component in an image is compiled by the host; a compiled file cannot be published.";

const EXAMPLES: &str = "\
Examples:
  behaviour compile reboot.wasm -o reboot.compiled
  behaviour compile --target aarch64-unknown-linux-gnu --key release.key reboot.wasm -o reboot.compiled

Exit codes:
  0  the file is written
  1  a file cannot be read or written
  2  the command line is wrong, or there is no code for the target
  3  a host would not compile the component";

/// Compile a plugin for hosts without a compiler.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Compile {
    /// The component, or the plugin's folder, which is built first.
    #[arg(value_name = "FILE", default_value = ".")]
    file: PathBuf,
    /// The target: `x86_64-unknown-linux-gnu` or `aarch64-unknown-linux-gnu`. `pulley64` and
    /// `pulley32` are code for wasmtime's interpreter.
    #[arg(long, value_name = "TRIPLE", default_value = TARGET)]
    target: String,
    /// The compiled file.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    key: KeyOptions,
    /// Print the outcome as one JSON object, and errors as JSON.
    #[arg(long)]
    json: bool,
}

impl Compile {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        // Before the compilation, which can take a minute.
        let key = self.key.read()?;
        let file = component(&self.file)?;
        let named = |error: CommandError| error.context(file.display());
        let bytes = text::read_bytes(&file).map_err(|error| named(error.into()))?;
        let code = {
            let _progress = Progress::new(&format!("compiling {}", file.display()));
            compile_for(&self.target, &bytes, &Limits::default()).map_err(|error| {
                let kind = match error {
                    LoadError::Target { .. } => FailureKind::Usage,
                    _ => FailureKind::NotLoaded,
                };
                let hint = error.hint().map(str::to_owned);
                let failed = named(CommandError::new(kind, error.to_string()));
                match hint {
                    Some(hint) => failed.with_hint(hint),
                    None => failed,
                }
            })?
        };
        write(&self.out, &code)?;
        let mut signed_by = None;
        if let Some(key) = key {
            let bundle = signature::sign(&key, &Digest::of(&code), &BTreeMap::new())?;
            write(&signature::bundle_path(&self.out), &bundle.json)?;
            signed_by = Some(key.public_key().id());
        }
        let path = self.out.display().to_string();
        match self.json {
            true => print_line(
                &json!({
                    "path": path,
                    "target": self.target,
                    "bytes": code.len(),
                    "key": signed_by,
                })
                .to_string(),
            ),
            false => print_line(&path),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes a file completely or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let mut unfinished = path.to_owned().into_os_string();
    unfinished.push(".unfinished");
    let written = fs::File::create(&unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    });
    written.map_err(|error| CommandError::from(error).context(path.display()))
}
