//! The command `behaviour-service twin`.

use anyhow::Context as _;
use behaviour_service::{Client, Target, Twin};
use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use program::{candidates, while_read};

use super::input;
use super::show::OutputFormat;
use crate::command_error::CommandError;
use crate::known_ids;

mod change;
mod watch;

const PATCH_EXAMPLES: &str = "\
Examples:
  behaviour-service twin patch my-device '{\"properties\":{\"desired\":{\"interval\":5}}}'
  behaviour-service twin patch my-device @patch.json";

const REPLACE_EXAMPLES: &str = "\
Examples:
  behaviour-service twin get my-device --json > twin.json
  behaviour-service twin replace my-device @twin.json";

const GET_EXAMPLES: &str = "\
Examples:
  behaviour-service twin get my-device
  behaviour-service twin get my-device --json | jq .etag";

#[derive(Subcommand)]
pub(crate) enum TwinCommand {
    /// Print the twin
    #[command(after_help = GET_EXAMPLES)]
    Get {
        /// The device's id, or DEVICE/MODULE
        #[arg(add = candidates(known_ids::of_devices))]
        device: Target,
    },
    /// Merge a patch into tags and desired properties, and print the changed twin
    #[command(after_help = PATCH_EXAMPLES)]
    Patch {
        /// The device's id, or DEVICE/MODULE
        #[arg(add = candidates(known_ids::of_devices))]
        device: Target,
        /// The patch, such as {"properties":{"desired":{"interval":5}}}, @FILE, or - for standard input
        patch: String,
        /// Change the twin only if it still has this etag
        #[arg(long, value_name = "ETAG", value_parser = NonEmptyStringValueParser::new())]
        etag: Option<String>,
    },
    /// Replace tags and desired properties, and print the changed twin
    #[command(after_help = REPLACE_EXAMPLES)]
    Replace {
        /// The device's id, or DEVICE/MODULE
        #[arg(add = candidates(known_ids::of_devices))]
        device: Target,
        /// The new contents, such as {"tags":{},"properties":{"desired":{}}}, @FILE, or - for standard input
        twin: String,
        /// Change the twin only if it still has this etag
        #[arg(long, value_name = "ETAG", value_parser = NonEmptyStringValueParser::new())]
        etag: Option<String>,
    },
    /// Print the twin, then each changed value with the time at which it was read, until Ctrl-C.
    /// With --json, print the whole twin after each change
    Watch(watch::WatchArguments),
}

pub(crate) async fn run(
    command: TwinCommand,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    match command {
        TwinCommand::Get { device } => print(show, &client.twin(&device).await?),
        TwinCommand::Patch { device, patch, etag } => {
            let patch = input::value("the patch", &patch)?;
            change::check_patch(&patch)?;
            print(show, &client.patch_twin(&device, patch, etag.as_deref()).await?)
        }
        TwinCommand::Replace { device, twin, etag } => {
            let twin = input::value("the twin", &twin)?;
            change::check_replacement(&twin)?;
            print(show, &client.replace_twin(&device, twin, etag.as_deref()).await?)
        }
        TwinCommand::Watch(arguments) => while_read(watch::watch(arguments, client, show)).await,
    }
}

fn print(show: OutputFormat, twin: &Twin) -> Result<(), CommandError> {
    Ok(show.twin(twin).context("twin")?)
}
