//! The command `behaviour-service configurations`.

use std::collections::BTreeMap;

use behaviour_service::Client;
use clap::{Args, Subcommand};
use program::{candidates, note, say};
use protocol::configuration::{Configuration, ConfigurationContent, DESIRED};
use protocol::id::ConfigurationId;
use serde_json::{Map, Value, json};

use super::{input, show};
use crate::command_error::{CommandError, usage};
use crate::known_ids;
use show::OutputFormat;

pub(super) const EXAMPLES: &str = "\
Examples:
  behaviour-service configurations create speed-1 '{\"properties.desired.speed\": 1}' --target \"tags.site = 'north'\"
  behaviour-service configurations update speed-1 --target '*' --priority 20
  behaviour-service configurations metrics speed-1
  behaviour-service configurations delete speed-1";

#[derive(Subcommand)]
pub(crate) enum ConfigurationsCommand {
    /// Create a configuration, which sets desired properties of all devices that match a condition
    Create {
        /// The configuration's id: lower-case letters, digits and -+%_*!'
        id: ConfigurationId,
        /// Values by path, such as {"properties.desired.speed": 1}; @FILE, or - for standard input
        content: String,
        #[command(flatten)]
        settings: ConfigurationSettings,
    },
    /// Print the configurations, one per line
    List,
    /// Print a configuration
    Show {
        /// The configuration's id
        #[arg(add = candidates(known_ids::of_configurations))]
        id: ConfigurationId,
    },
    /// Change the condition, the priority, the labels or the metrics of a configuration
    Update {
        /// The configuration's id
        #[arg(add = candidates(known_ids::of_configurations))]
        id: ConfigurationId,
        #[command(flatten)]
        settings: ConfigurationSettings,
    },
    /// Delete a configuration; the hub removes its values from the devices
    Delete {
        /// The configuration's id
        #[arg(add = candidates(known_ids::of_configurations))]
        id: ConfigurationId,
    },
    /// Print the metrics of a configuration, as of the hub's last evaluation
    Metrics {
        /// The configuration's id
        #[arg(add = candidates(known_ids::of_configurations))]
        id: ConfigurationId,
    },
}

// Without a doc comment, which would become the description of the command.
// The settings that can be changed.
#[derive(Args)]
pub(crate) struct ConfigurationSettings {
    /// Condition on deviceId, tags and properties.reported; * for all devices
    #[arg(long, value_name = "CONDITION")]
    target: Option<String>,
    /// Priority: the highest one writes a property that several configurations have
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    priority: Option<i32>,
    /// Label, in the form NAME=TEXT; can be repeated
    #[arg(long = "label", value_name = "NAME=TEXT", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Custom metric, in the form NAME=QUERY; can be repeated
    #[arg(long = "metric", value_name = "NAME=QUERY", value_parser = pair)]
    metrics: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl ConfigurationSettings {
    fn apply(self, configuration: &mut Configuration) {
        if let Some(target) = self.target {
            configuration.target_condition = target;
        }
        if let Some(priority) = self.priority {
            configuration.priority = priority;
        }
        if !self.labels.is_empty() {
            configuration.labels.get_or_insert_default().extend(self.labels);
        }
        configuration.metrics.queries.extend(self.metrics);
        configuration.metrics.results.clear();
    }
}

pub(super) async fn run(
    command: ConfigurationsCommand,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    match command {
        ConfigurationsCommand::Create { id, content, settings } => {
            let mut configuration = Configuration::new(id, Map::new());
            configuration.content = Some(parse_content(&content)?);
            settings.apply(&mut configuration);
            print(show, &client.write_configuration(&configuration).await?);
        }
        ConfigurationsCommand::List => {
            for configuration in client.configurations().await? {
                print(show, &configuration);
            }
        }
        ConfigurationsCommand::Show { id } => {
            let configuration = client.configuration(&id).await?;
            match show.as_json {
                true => show::json(&json!(configuration)),
                false => say(format_args!("{:#}", json!(configuration))),
            }
        }
        ConfigurationsCommand::Update { id, settings } => {
            let mut configuration = client.configuration(&id).await?;
            settings.apply(&mut configuration);
            print(show, &client.write_configuration(&configuration).await?);
        }
        ConfigurationsCommand::Delete { id } => client.delete_configuration(&id).await?,
        ConfigurationsCommand::Metrics { id } => {
            print_metrics(show, &client.configuration(&id).await?);
        }
    }
    Ok(())
}

/// Parses the content: values by path, which are for devices, or one kind of content by name.
fn parse_content(text: &str) -> Result<ConfigurationContent, CommandError> {
    let Value::Object(content) = input::value("the content", text)? else {
        return Err(usage("the content is not a JSON object"));
    };
    if content.keys().any(|key| key.starts_with(DESIRED)) {
        let device_content = Some(content);
        return Ok(ConfigurationContent { device_content, ..ConfigurationContent::default() });
    }
    let known = ["deviceContent", "moduleContent", "modulesContent"];
    if content.is_empty() || content.keys().any(|key| !known.contains(&key.as_str())) {
        return Err(usage(format!("the keys of the content do not begin with `{DESIRED}`")));
    }
    serde_json::from_value(Value::Object(content))
        .map_err(|error| usage(format!("the content: {error}")))
}

fn print(show: OutputFormat, configuration: &Configuration) {
    if show.as_json {
        return show::json(&json!(configuration));
    }
    let Configuration { id, priority, target_condition, .. } = configuration;
    let target = if target_condition.is_empty() { "no devices" } else { target_condition };
    let results = &configuration.system_metrics.results;
    let count = |name| results.get(name).map_or("?".to_owned(), u64::to_string);
    let (applied, targeted) = (count("appliedCount"), count("targetedCount"));
    say(format_args!("{id:<32} priority {priority:<6} applied {applied}/{targeted}  {target}"));
}

fn print_metrics(show: OutputFormat, configuration: &Configuration) {
    let all = [&configuration.system_metrics, &configuration.metrics];
    let results: BTreeMap<_, _> = all.iter().flat_map(|metrics| &metrics.results).collect();
    if results.is_empty() {
        note("the hub has not evaluated the configuration yet");
    }
    match show.as_json {
        true => show::json(&json!(results)),
        false => results.iter().for_each(|(name, count)| say(format_args!("{name:<24} {count}"))),
    }
}
