//! The command `behaviour-service sas`.

use std::time::Duration;

use behaviour_service::Client;
use clap::Args;
use program::{duration, say};
use serde_json::json;

use super::show::{self, OutputFormat};
use crate::command_error::{CommandError, usage};

/// Maximum lifetime of a token. A token cannot be revoked without a new key of the policy.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const EXAMPLES: &str = "\
Examples:
  behaviour-service sas
  behaviour-service sas /twins/my-device --ttl 10m";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SasArguments {
    /// The path that the token covers, with all paths below it, such as /twins/my-device; the
    /// whole hub by default
    #[arg(default_value = "", hide_default_value = true, value_parser = path)]
    path: String,
    /// The lifetime of the token, 1s to 365d
    #[arg(long, default_value = "1h", value_parser = lifetime, value_name = "TIME")]
    ttl: Duration,
}

pub(super) fn print(
    SasArguments { path, ttl }: &SasArguments,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let without_key = || {
        usage("only the key of a policy signs SAS tokens").with_hint(
            "use --auth key; Microsoft Entra ID issues access tokens, such as those of \
             `az account get-access-token`",
        )
    };
    let token = client.sas_token(path, *ttl).ok_or_else(without_key)?;
    match show.as_json {
        true => {
            show::json(&json!({"token": token.to_string(), "expires_at_unix": token.expiry()}));
        }
        false => say(token),
    }
    Ok(())
}

fn path(text: &str) -> Result<String, String> {
    match text.is_empty() || text.starts_with('/') {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err("a path begins with a slash, such as /twins/my-device".to_owned()),
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let time = duration::parse_or_seconds(text).map_err(|error| error.to_string())?;
    match time >= Duration::from_secs(1) && time <= MAX_LIFETIME {
        true => Ok(time),
        false => Err("must be 1s to 365d".to_owned()),
    }
}
