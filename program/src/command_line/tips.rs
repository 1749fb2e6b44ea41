//! Tips of errors about unknown options.

use std::ffi::OsString;

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::options;

/// Removes clap's tip to pass an unknown option as a value, since no value of these programs is
/// one. Adds a tip if the option has the name of a positional argument, or stands in place of a
/// payload.
pub(super) fn correct(error: &mut clap::Error, definition: &Command, arguments: &[OsString]) {
    if error.kind() != ErrorKind::UnknownArgument {
        return;
    }
    let Some(ContextValue::String(found)) = error.get(ContextKind::InvalidArg) else { return };
    let tip = tip(found, subcommand(definition, arguments), arguments);
    let mut tips = match error.remove(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(tips)) => tips,
        _ => Vec::new(),
    };
    tips.retain(|tip| !tip.to_string().contains("as a value, use"));
    tips.extend(tip.map(StyledStr::from));
    if !tips.is_empty() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
}

fn tip(found: &str, command: &Command, arguments: &[OsString]) -> Option<String> {
    let name = found.trim_start_matches('-').split('=').next().unwrap_or_default();
    let has_positional = |name: &str| {
        command
            .get_positionals()
            .any(|argument| argument.get_id().as_str().eq_ignore_ascii_case(name))
    };
    if found.starts_with("--") {
        let tip = || format!("write the {} without '--{name}'", name.to_lowercase());
        return has_positional(name).then(tip);
    }
    let word = options(arguments).find(|word| word.starts_with(found))?;
    let tip = || format!("a payload is JSON, where a string has its own quotes: '\"{word}\"'");
    has_positional("payload").then(tip)
}

/// Returns the command that the arguments name.
fn subcommand<'a>(definition: &'a Command, arguments: &[OsString]) -> &'a Command {
    options(arguments)
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .fold(definition, |command, word| command.find_subcommand(word).unwrap_or(command))
}
