//! The command `behaviour-service groups derive-key`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use program::{say, text};
use protocol::provisioning::RegistrationId;
use protocol::sas::Key;
use serde_json::json;

use crate::command::show::{self, OutputFormat};
use crate::command_error::{CommandError, usage};

const EXAMPLES: &str = "\
Examples:
  behaviour-service groups key fleet | behaviour-service groups derive-key sn-1
  behaviour-service groups derive-key sn-1 sn-2 --key-file group-key.txt --json";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DerivedKeys {
    /// The registration ids of the devices
    #[arg(required = true)]
    ids: Vec<RegistrationId>,
    /// The file with the key of the group; standard input by default
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl DerivedKeys {
    /// Prints the key of the only device, or each device with its key.
    pub(super) fn print(&self, show: OutputFormat) -> Result<(), CommandError> {
        let group = self.group_key()?;
        let keys = self.ids.iter().map(|id| (id, group.derive(id).to_base64()));
        let is_single = self.ids.len() == 1;
        for (id, key) in keys {
            match (show.as_json, is_single) {
                (true, _) => show::json(&json!({ "registrationId": id, "key": key })),
                (false, true) => say(key),
                (false, false) => say(format_args!("{id} {key}")),
            }
        }
        Ok(())
    }

    fn group_key(&self) -> Result<Key, CommandError> {
        let (text, source) = match &self.key_file {
            Some(path) => {
                let source = format!("key file {}", path.display());
                (text::read(path).with_context(|| source.clone())?, source)
            }
            None => {
                let source = "standard input".to_owned();
                (text::read_stdin().with_context(|| source.clone())?, source)
            }
        };
        text.trim().parse().map_err(|error| {
            let hint = "the key is one line of base64; `behaviour-service groups key ID` prints it";
            usage(format!("{source}: {error}")).with_hint(hint)
        })
    }
}
