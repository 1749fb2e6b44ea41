//! `behaviour-host check`.

use std::process::ExitCode;

use behaviour_host::{CheckReport, Config};
use clap::Args;
use program::say;
use serde_json::{Value, json};

use super::configuration::{ConfigurationArguments, read_for_check};
use super::error::CommandError;
use super::source::identity;

const EXAMPLES: &str = "\
Examples:
  behaviour-host check
  behaviour-host check --config /etc/behaviour/host.toml --without-identity
  behaviour-host check --json | jq '.errors[].message'";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    common: ConfigurationArguments,
    /// Skip the connection string or key, for example if only the service can read it
    #[arg(long)]
    without_identity: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the plugins and all errors with their hints. Returns the exit code of the first
/// error.
pub(super) fn check(arguments: &CheckArguments) -> ExitCode {
    let (config, report, errors) = load_and_check(arguments);
    let plugins = config.iter().flat_map(|config| {
        report.plugins.iter().map(move |plugin| (plugin, &config.plugins[&plugin.name]))
    });
    if arguments.json {
        let plugins: Vec<_> = plugins
            .map(|(plugin, section)| {
                let methods: Vec<_> = section.methods.iter().map(ToString::to_string).collect();
                json!({
                    "name": plugin.name,
                    "file": section.file,
                    "methods": methods,
                    "any_method": section.any_method,
                    "imports": plugin.imports,
                })
            })
            .collect();
        let found: Vec<Value> = errors.iter().map(CommandError::to_json).collect();
        say(format_args!("{:#}", json!({"plugins": plugins, "errors": found})));
        return errors.first().map_or(ExitCode::SUCCESS, |error| {
            ExitCode::from(program::ExitKind::exit_code(error.kind()))
        });
    }
    for (plugin, section) in plugins {
        let mut methods: Vec<_> = section.methods.iter().map(ToString::to_string).collect();
        methods.extend(section.any_method.then(|| "all others".to_owned()));
        say(format_args!("{}: {}", plugin.name, section.file.display()));
        say(format_args!("  methods: {}", methods.join(", ")));
        let imports = plugin.imports.join(", ");
        let imports = if imports.is_empty() { "none" } else { &imports };
        say(format_args!("  imports: {imports}"));
    }
    let codes: Vec<ExitCode> = errors.iter().map(CommandError::report).collect();
    codes.into_iter().next().unwrap_or_else(|| {
        say(format_args!("{}: valid", arguments.common.config.display()));
        ExitCode::SUCCESS
    })
}

/// Loads everything that the configuration names. Returns the configuration if it is valid, the
/// report, and all errors.
fn load_and_check(arguments: &CheckArguments) -> (Option<Config>, CheckReport, Vec<CommandError>) {
    let config = match read_for_check(&arguments.common) {
        Ok(config) => config,
        Err(errors) => return (None, CheckReport::default(), errors),
    };
    let mut errors = Vec::new();
    let identity = match arguments.without_identity {
        true => None,
        false => identity(&config).map_err(|error| errors.push(error)).ok(),
    };
    let mut report = behaviour_host::check(&config, identity.as_ref());
    errors.extend(std::mem::take(&mut report.errors).into_iter().map(CommandError::from));
    (Some(config), report, errors)
}
