//! The command `behaviour keygen`.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use oci::signature::{KeyType, PrivateKey};
use program::note;
use serde_json::json;

use super::error::CommandError;
use super::print_line;

const LONG: &str = "\
Create a pair of keys for signatures: NAME.key for `behaviour sign`, which only its owner can read, and NAME.pub for devices and \
`behaviour verify`. Existing files are not replaced.";

const EXAMPLES: &str = "\
Examples:
  behaviour keygen release
  behaviour keygen release --type ed25519

Exit codes:
  0  both files are written
  1  a file exists, or cannot be written
  2  the command line is wrong";

/// Create a pair of keys for signatures.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Keygen {
    /// The path of the files without their ends .key and .pub.
    name: PathBuf,
    /// The kind of key. `cosign` verifies signatures of p256 only.
    #[arg(long = "type", value_enum, default_value = "p256")]
    kind: KeyTypeName,
    /// Print the outcome as one JSON object, and errors as JSON.
    #[arg(long)]
    json: bool,
}

/// The name of a kind of key on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum KeyTypeName {
    P256,
    Ed25519,
}

impl Keygen {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let kind = match self.kind {
            KeyTypeName::P256 => KeyType::P256,
            KeyTypeName::Ed25519 => KeyType::Ed25519,
        };
        let (key, der) = PrivateKey::generate(kind)?;
        let with_end = |end: &str| {
            let mut name = self.name.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        };
        let (private, public) = (with_end(".key"), with_end(".pub"));
        write(&private, 0o600, &PrivateKey::pem_of_pkcs8(&der))?;
        write(&public, 0o644, &key.public_key().to_pem())?;
        let id = key.public_key().id();
        if self.json {
            let outcome = json!({
                "privateKey": private.display().to_string(),
                "publicKey": public.display().to_string(),
                "id": id,
            });
            print_line(&outcome.to_string());
        } else {
            note(format_args!("{}: keep it secret", private.display()));
            note(format_args!("{}: for devices, key id {id}", public.display()));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes a new file, so that an existing key is never lost.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), CommandError> {
    let written = (|| -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })();
    written.map_err(|error| {
        let exists = error.kind() == io::ErrorKind::AlreadyExists;
        let error = CommandError::from(error).context(path.display());
        if exists {
            error.with_hint("choose another name; a lost key cannot be replaced")
        } else {
            error
        }
    })
}
