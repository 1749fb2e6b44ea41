//! The progress of a rollout in the labels of its configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::configuration::{Configuration, DESIRED};
use serde_json::Value;

use super::{Percent, Rollout, RolloutState};

/// The label that every rollout has, with the version of the other labels.
const MARK: (&str, &str) = ("behaviour-rollout", "1");

/// Reads a rollout. Returns `None` for another configuration or other labels.
pub(super) fn read(configuration: Configuration) -> Option<Rollout> {
    let label = |name: &str| configuration.label(name);
    if label(MARK.0) != Some(MARK.1) {
        return None;
    }
    let seconds = |name: &str| label(name)?.parse().ok().map(Duration::from_secs);
    let waves: Result<Vec<Percent>, _> = label("waves")?.split(',').map(str::parse).collect();
    let (key, plugin) = (label("key")?.to_owned(), label("plugin")?.to_owned());
    let content = configuration.content.as_ref()?.device_content.as_ref()?;
    let entry = content.get(&format!("{DESIRED}.{key}.{plugin}"))?;
    Some(Rollout {
        number: label("number")?.parse().ok()?,
        image: entry.get("image").and_then(Value::as_str)?.to_owned(),
        target: label("target")?.to_owned(),
        waves: waves.ok().filter(|waves| !waves.is_empty())?,
        wave: label("wave")?.parse::<usize>().ok()?.checked_sub(1)?,
        wave_began: label("wave-began")?.parse().ok()?,
        healthy: label("healthy")?.parse().ok()?,
        pause: seconds("pause")?,
        timeout: seconds("timeout")?,
        state: RolloutState::from_name(label("state")?)?,
        reason: label("reason").unwrap_or_default().to_owned(),
        plugin,
        key,
        configuration,
    })
}

/// Returns the configuration of a rollout with its labels.
pub(super) fn write(rollout: &Rollout) -> Configuration {
    let waves: Vec<String> = rollout.waves.iter().map(ToString::to_string).collect();
    let labels = [
        (MARK.0, MARK.1.to_owned()),
        ("number", rollout.number.to_string()),
        ("plugin", rollout.plugin.clone()),
        ("key", rollout.key.clone()),
        ("target", rollout.target.clone()),
        ("waves", waves.join(",")),
        ("wave", (rollout.wave + 1).to_string()),
        ("wave-began", rollout.wave_began.to_string()),
        ("healthy", rollout.healthy.to_string()),
        ("pause", rollout.pause.as_secs().to_string()),
        ("timeout", rollout.timeout.as_secs().to_string()),
        ("state", rollout.state.name().to_owned()),
        ("reason", rollout.reason.clone()),
    ];
    let labels: BTreeMap<String, String> =
        labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Configuration { labels: Some(labels), ..rollout.configuration.clone() }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::super::RolloutPlan;
    use super::*;

    #[test]
    fn a_rollout_survives_a_round_trip_and_other_configurations_are_none() {
        let Value::Object(entry) = json!({"image": "r.example/p@sha256:00"}) else { panic!() };
        let plan = RolloutPlan {
            plugin: "reBoot".to_owned(),
            key: "plugins".to_owned(),
            entry,
            target: "tags.site = 'north'".to_owned(),
            waves: vec!["1%".parse().unwrap(), Percent::ALL],
            healthy: "99.5%".parse().unwrap(),
            pause: Duration::from_secs(600),
            timeout: Duration::from_secs(1800),
        };
        let mut rollout = Rollout::new(plan.clone(), &[], Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(rollout.id().as_str(), "rollout-reboot-1");
        let ids = ["d1", "d2"].map(|id| id.parse().unwrap());
        rollout.begin_wave(0, ids.into(), Timestamp::UNIX_EPOCH).unwrap();
        rollout.configuration = rollout.to_configuration();
        assert_eq!(Rollout::read(rollout.to_configuration()), Some(rollout.clone()));
        let next = Rollout::new(plan, &[rollout], Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((next.number, next.configuration.priority), (2, 1002));

        let other = Configuration::new("c1".parse().unwrap(), serde_json::Map::new());
        assert_eq!(Rollout::read(other), None);
    }
}
