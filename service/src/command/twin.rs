//! The command `behaviour-service twin`.

use std::time::Duration;

use anyhow::Context as _;
use behaviour_service::{Client, DeviceId, Twin};
use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use program::duration::parse_or_seconds;

use super::input;
use super::show::OutputFormat;
use crate::command_error::CommandError;

mod change;

#[derive(Subcommand)]
pub(crate) enum TwinCommand {
    /// Print the twin
    Get {
        /// The device's id
        device: DeviceId,
    },
    /// Merge a patch into tags and desired properties, and print the changed twin
    Patch {
        /// The device's id
        device: DeviceId,
        /// The patch, such as {"properties":{"desired":{"interval":5}}}, or - for standard input
        patch: String,
        /// Change the twin only if it still has this etag
        #[arg(long, value_name = "ETAG", value_parser = NonEmptyStringValueParser::new())]
        etag: Option<String>,
    },
    /// Replace tags and desired properties, and print the changed twin
    Replace {
        /// The device's id
        device: DeviceId,
        /// The new contents, such as {"tags":{},"properties":{"desired":{}}}, or - for standard input
        twin: String,
        /// Change the twin only if it still has this etag
        #[arg(long, value_name = "ETAG", value_parser = NonEmptyStringValueParser::new())]
        etag: Option<String>,
    },
    /// Print the twin, and again after each change, until Ctrl-C
    Watch {
        /// The device's id
        device: DeviceId,
        /// The time between two reads of the twin
        #[arg(long, default_value = "1s", value_parser = parse_or_seconds, value_name = "TIME")]
        every: Duration,
    },
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
        TwinCommand::Watch { device, every } => watch(client, &device, every, show).await,
    }
}

async fn watch(
    client: &Client,
    device: &DeviceId,
    every: Duration,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let mut last = None;
    loop {
        let twin = client.twin(device).await?;
        // On some hubs, reported properties do not change the version of the twin.
        let now = (twin.version, twin.properties.clone(), twin.connection_state.clone());
        if last.as_ref() != Some(&now) {
            print(show, &twin)?;
            last = Some(now);
        }
        tokio::time::sleep(every).await;
    }
}

fn print(show: OutputFormat, twin: &Twin) -> Result<(), CommandError> {
    Ok(show.twin(twin).context("twin")?)
}
