//! The command `behaviour-service rollout`.

use std::time::Duration;

use behaviour_service::rollout::{
    self, Percent, Rollout, RolloutOutcome, RolloutPlan, RolloutState,
};
use behaviour_service::{Client, ServiceErrorKind};
use clap::{Args, Subcommand};
use program::duration::parse_or_seconds;
use program::{Progress, candidates, counted, note};
use serde_json::{Map, Value, json};

use super::input;
use super::show::OutputFormat;
use crate::command_error::{CommandError, FailureKind, usage};
use crate::known_ids;
use image::{ImageOptions, image};
use preview::Preview;
use screen::Screen;

mod image;
mod preview;
mod screen;
mod status;

pub(super) const EXAMPLES: &str = "\
Examples:
  behaviour-service rollout start --plugin reboot --image registry.example/reboot@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef --method rebootDevice --target \"tags.site = 'north'\" --waves 1%,10%,50%,100% --healthy 99% --pause 10m
  behaviour-service rollout status reboot --watch
  behaviour-service rollout pause reboot
  behaviour-service rollout resume reboot
  behaviour-service rollout back reboot";

#[derive(Subcommand)]
pub(crate) enum RolloutCommand {
    /// Roll a plugin out in waves, and stop by itself if too many devices fail
    Start(Box<StartArguments>),
    /// Print the rollouts and the health of their devices, the newest last
    Status(status::StatusArguments),
    /// Begin no further wave for now
    Pause(Selection),
    /// Continue a rollout that is paused or stopped, or whose command was interrupted
    Resume {
        #[command(flatten)]
        selection: Selection,
        /// Minimum share of healthy devices from now on
        #[arg(long, value_name = "SHARE")]
        healthy: Option<Percent>,
        #[command(flatten)]
        watching: Watching,
    },
    /// End a rollout; the devices of the waves so far keep the plugin
    Abort(Selection),
    /// Take a rollout back from all devices, which return to the rollout before it
    Back {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        watching: Watching,
    },
}

#[derive(Args)]
pub(crate) struct StartArguments {
    /// The plugin's name on the devices
    #[arg(long, value_name = "NAME")]
    plugin: String,
    /// The image with its digest: REGISTRY/REPOSITORY@sha256:…
    #[arg(long, value_name = "REF", value_parser = image)]
    image: oci::Reference,
    /// Condition on deviceId, tags and properties.reported
    #[arg(long, default_value = "*", value_name = "CONDITION")]
    target: String,
    /// Method of the plugin; can be repeated
    #[arg(long = "method", value_name = "NAME")]
    methods: Vec<protocol::id::MethodName>,
    /// Capability of the plugin; can be repeated
    #[arg(long = "capability", value_name = "NAME")]
    capabilities: Vec<String>,
    /// The plugin's configuration: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// The plugin's limits: JSON or @FILE
    #[arg(long, value_name = "JSON")]
    limits: Option<String>,
    /// Accept an image with a lower release number than before
    #[arg(long)]
    allow_downgrade: bool,
    /// Share of the devices in each wave, including the waves before it
    #[arg(long, value_delimiter = ',', default_value = "1%,10%,50%,100%", value_name = "SHARES")]
    waves: Vec<Percent>,
    /// Minimum share of healthy devices
    #[arg(long, default_value = "99%", value_name = "SHARE")]
    healthy: Percent,
    /// Minimum time between two waves
    #[arg(long, default_value = "10m", value_parser = parse_or_seconds, value_name = "TIME")]
    pause: Duration,
    /// Maximum time for the connected devices of a wave to report
    #[arg(long, default_value = "30m", value_parser = parse_or_seconds, value_name = "TIME")]
    timeout: Duration,
    /// Key of plugins in the desired and reported properties
    #[arg(long, default_value = "plugins", value_name = "KEY")]
    key: String,
    /// Start although the image is unsigned, unreadable from here, older, or more capable
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    image_options: ImageOptions,
}

// Without a doc comment, which would become the description of the command.
// A rollout of a plugin.
#[derive(Args)]
pub(crate) struct Selection {
    /// The plugin
    #[arg(add = candidates(known_ids::of_rollouts))]
    plugin: String,
    /// Number of the rollout; the newest by default
    #[arg(long, value_name = "N")]
    number: Option<u32>,
}

// Without a doc comment, which would become the description of the command.
// The wait for the devices.
#[derive(Args)]
pub(crate) struct Watching {
    /// Time between two reads of the devices' health
    #[arg(long, default_value = "5s", value_parser = parse_or_seconds, value_name = "TIME")]
    poll: Duration,
    /// Do not wait for the devices
    #[arg(long)]
    no_wait: bool,
}

pub(super) async fn run(
    command: RolloutCommand,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let mut screen = Screen::new(show);
    match command {
        RolloutCommand::Start(arguments) => {
            let (plan, image) = (arguments.plan()?, &arguments.image);
            let preview = Preview::read(client, image, &plan, &arguments.image_options).await?;
            preview.show(show, arguments.yes)?;
            let rollout = rollout::start(client, plan).await?;
            screen.started(&rollout);
            drive(client, rollout, &arguments.watching, screen).await
        }
        RolloutCommand::Status(arguments) => arguments.run(client, &screen).await,
        RolloutCommand::Pause(selection) => {
            set(client, &selection, RolloutState::Paused, screen).await
        }
        RolloutCommand::Abort(selection) => {
            set(client, &selection, RolloutState::Aborted, screen).await
        }
        RolloutCommand::Resume { selection, healthy, watching } => {
            let mut rollout = selection.find(client).await?;
            if matches!(rollout.state, RolloutState::Back | RolloutState::Done) {
                return Err(ended(&rollout));
            }
            if rollout.state != RolloutState::Running || healthy.is_some() {
                // The devices get the whole time again.
                rollout.wave_began = jiff::Timestamp::now();
                rollout.state = RolloutState::Running;
                rollout.reason.clear();
                rollout.healthy = healthy.unwrap_or(rollout.healthy);
                client.write_configuration(&rollout.to_configuration()).await?;
            }
            screen.started(&rollout);
            drive(client, rollout, &watching, screen).await
        }
        RolloutCommand::Back { selection, watching } => {
            let rollout = selection.find(client).await?;
            if watching.no_wait {
                screen.ended(&rollout::take_back(client, rollout).await?);
                return Ok(());
            }
            let progress = Progress::new("the devices go back");
            let on_wait = |left| progress.set(&format!("{left} devices go back"));
            let back = rollout::go_back(client, rollout, watching.poll, on_wait).await?;
            drop(progress);
            screen.ended(&back);
            Ok(())
        }
    }
}

impl StartArguments {
    fn plan(&self) -> Result<RolloutPlan, CommandError> {
        let ascending = self.waves.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || self.waves.last() != Some(&Percent::ALL) {
            return Err(usage("--waves is not an ascending list that ends with 100%"));
        }
        let mut entry = Map::from_iter([("image".to_owned(), json!(self.image.to_string()))]);
        let mut add = |name: &str, value: Value| drop(entry.insert(name.to_owned(), value));
        if !self.methods.is_empty() {
            add("methods", json!(self.methods));
        }
        if !self.capabilities.is_empty() {
            add("capabilities", json!(self.capabilities));
        }
        if let Some(config) = &self.config {
            add("config", input::value("--config", config)?);
        }
        if let Some(limits) = &self.limits {
            add("limits", input::value("--limits", limits)?);
        }
        if self.allow_downgrade {
            add("allowDowngrade", json!(true));
        }
        Ok(RolloutPlan {
            plugin: self.plugin.clone(),
            key: self.key.clone(),
            entry,
            target: self.target.clone(),
            waves: self.waves.clone(),
            healthy: self.healthy,
            pause: self.pause,
            timeout: self.timeout,
        })
    }
}

impl Selection {
    async fn find(&self, client: &Client) -> Result<Rollout, CommandError> {
        let all = Rollout::all(client.configurations().await?).into_iter();
        let mut of_plugin = all.filter(|rollout| {
            rollout.plugin == self.plugin && self.number.is_none_or(|n| rollout.number == n)
        });
        of_plugin.next_back().ok_or_else(|| {
            let kind = FailureKind::Service(ServiceErrorKind::NotFound);
            CommandError::new(kind, format!("plugin `{}` has no such rollout", self.plugin))
                .with_hint("`behaviour-service rollout status` prints all rollouts")
        })
    }
}

/// Moves a rollout from wave to wave, unless the command does not wait.
async fn drive(
    client: &Client,
    rollout: Rollout,
    watching: &Watching,
    mut screen: Screen,
) -> Result<(), CommandError> {
    if watching.no_wait {
        return Ok(());
    }
    let id = rollout.id();
    let outcome = rollout::drive(client, id, watching.poll, |event| screen.event(&event)).await?;
    let rollout = match outcome {
        RolloutOutcome::Ended(rollout) => rollout,
        RolloutOutcome::Deleted => {
            let text = format!("configuration `{id}` of the rollout was deleted");
            return Err(CommandError::new(FailureKind::default(), text));
        }
    };
    screen.ended(&rollout);
    match rollout.state {
        RolloutState::Done => {
            let deleted = rollout::forget_earlier(client, &rollout).await?;
            if deleted > 0 {
                let earlier = counted(deleted, "earlier rollout");
                note(format_args!("deleted {earlier} to the same devices"));
            }
            Ok(())
        }
        RolloutState::Stopped => {
            for (device, reason) in rollout::failures(client, &rollout).await? {
                screen.failure(&device, &reason);
            }
            let text = format!("rollout `{}` stopped: {}", rollout.id(), rollout.reason);
            let plugin = &rollout.plugin;
            let hint = format!(
                "`behaviour-service rollout back {plugin}` takes it back, `rollout resume {plugin}` \
                 tries again"
            );
            let kind = FailureKind::Service(ServiceErrorKind::Device);
            Err(CommandError::new(kind, text).with_hint(hint))
        }
        _ => Err(ended(&rollout)),
    }
}

/// Returns the error of a rollout that does not run.
fn ended(rollout: &Rollout) -> CommandError {
    let text = format!("rollout `{}` is {}", rollout.id(), rollout.state.name());
    CommandError::new(FailureKind::default(), text)
}

/// Sets the state of a rollout that has not ended.
async fn set(
    client: &Client,
    selection: &Selection,
    state: RolloutState,
    mut screen: Screen,
) -> Result<(), CommandError> {
    let mut rollout = selection.find(client).await?;
    if matches!(rollout.state, RolloutState::Back | RolloutState::Done) {
        return Err(ended(&rollout));
    }
    rollout.state = state;
    rollout.reason.clear();
    client.write_configuration(&rollout.to_configuration()).await?;
    screen.ended(&rollout);
    Ok(())
}
