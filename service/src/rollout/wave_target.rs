//! The target condition of a wave.
//!
//! Target conditions have comparisons but neither lists nor functions, and a rollout writes no
//! tags. A wave is therefore a few ranges of device ids, spread over all ids, and the next wave
//! extends each range. A device stays in the rollout until its end, also if devices are added or
//! removed meanwhile.

use std::fmt;
use std::ops::RangeInclusive;

use protocol::id::DeviceId;

use super::Percent;

/// A range of device ids, in the order of their characters.
pub type DeviceRange = RangeInclusive<DeviceId>;

/// Maximum number of ranges. With the longest ids, their condition has some 5,000 characters.
const MAX_RANGES: usize = 16;

/// The devices of a wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveTarget {
    /// The ranges; none for all devices of the target.
    pub ranges: Vec<DeviceRange>,
    /// The condition of the operator; `*` for all devices.
    pub target: String,
}

/// A condition that is not that of a wave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the target condition is not that of a wave")]
pub struct WaveTargetError;

impl WaveTarget {
    /// Selects a share of the devices `ids`. The ranges extend the `earlier` ones.
    #[must_use]
    pub fn new(
        target: &str,
        share: Percent,
        mut ids: Vec<DeviceId>,
        earlier: &[DeviceRange],
    ) -> WaveTarget {
        let target = target.to_owned();
        ids.sort();
        let wanted = usize::try_from(share.of_up(ids.len() as u64)).unwrap_or(usize::MAX);
        if share == Percent::ALL || wanted == 0 {
            return WaveTarget { ranges: Vec::new(), target };
        }
        let starts: Vec<DeviceId> = if earlier.is_empty() {
            let count = wanted.min(MAX_RANGES);
            (0..count).map(|index| ids[index * ids.len() / count].clone()).collect()
        } else {
            earlier.iter().map(|range| range.start().clone()).collect()
        };
        let count = starts.len();
        let range = |(index, start): (usize, &DeviceId)| {
            let begin = ids.partition_point(|id| id < start);
            let end = starts.get(index + 1).map(|next| ids.partition_point(|id| id < next));
            let members = &ids[begin..end.unwrap_or(ids.len()).max(begin)];
            let share = wanted * (index + 1) / count - wanted * index / count;
            let last = members.get(share.min(members.len()).saturating_sub(1)).unwrap_or(start);
            let before = earlier.get(index).map_or(last, |range| range.end());
            start.clone()..=last.max(before).clone()
        };
        let ranges = starts.iter().enumerate().map(range).collect();
        WaveTarget { ranges, target }
    }

    /// Parses the condition of a wave with ranges.
    ///
    /// # Errors
    ///
    /// Fails for every other condition.
    pub fn parse(condition: &str) -> Result<WaveTarget, WaveTargetError> {
        let mut rest = condition.strip_prefix('(').ok_or(WaveTargetError)?;
        let mut ranges = Vec::new();
        loop {
            rest = rest.strip_prefix("(deviceId >= ").ok_or(WaveTargetError)?;
            let (start, after) = unquoted(rest)?;
            rest = after.strip_prefix(" AND deviceId <= ").ok_or(WaveTargetError)?;
            let (end, after) = unquoted(rest)?;
            rest = after.strip_prefix(')').ok_or(WaveTargetError)?;
            ranges.push(start..=end);
            match rest.strip_prefix(" OR ") {
                Some(after) => rest = after,
                None => break,
            }
        }
        let rest = rest.strip_prefix(')').ok_or(WaveTargetError)?;
        let target = match rest {
            "" => "*",
            rest => rest
                .strip_prefix(" AND (")
                .and_then(|rest| rest.strip_suffix(')'))
                .ok_or(WaveTargetError)?,
        };
        Ok(WaveTarget { ranges, target: target.to_owned() })
    }
}

impl fmt::Display for WaveTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ranges.is_empty() {
            return f.write_str(&self.target);
        }
        let range = |range: &DeviceRange| {
            let (start, end) = (quoted(range.start()), quoted(range.end()));
            format!("(deviceId >= {start} AND deviceId <= {end})")
        };
        let ranges: Vec<String> = self.ranges.iter().map(range).collect();
        write!(f, "({})", ranges.join(" OR "))?;
        match self.target.as_str() {
            "*" => Ok(()),
            target => write!(f, " AND ({target})"),
        }
    }
}

/// Returns an id as a string of the query language. Ids have no backslash.
fn quoted(id: &DeviceId) -> String {
    format!("'{}'", id.as_str().replace('\'', "\\'"))
}

/// Parses a quoted id, and returns it with the text after it.
fn unquoted(text: &str) -> Result<(DeviceId, &str), WaveTargetError> {
    let text = text.strip_prefix('\'').ok_or(WaveTargetError)?;
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            '\\' if !escaped => escaped = true,
            '\'' if !escaped => {
                let id = text[..index].replace("\\'", "'").parse().map_err(|_| WaveTargetError)?;
                return Ok((id, &text[index + 1..]));
            }
            _ => escaped = false,
        }
    }
    Err(WaveTargetError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: impl Iterator<Item = usize>) -> Vec<DeviceId> {
        numbers.map(|number| format!("d{number:05}").parse().unwrap()).collect()
    }

    fn selected(target: &WaveTarget, ids: &[DeviceId]) -> usize {
        let in_range = |id: &&DeviceId| target.ranges.iter().any(|range| range.contains(id));
        ids.iter().filter(in_range).count()
    }

    fn share(text: &str) -> Percent {
        text.parse().unwrap()
    }

    #[test]
    fn a_wave_has_its_share_of_the_devices_spread_over_all_ids() {
        let ids = ids(0..10_000);
        let first = WaveTarget::new("*", share("1%"), ids.clone(), &[]);
        assert_eq!((first.ranges.len(), selected(&first, &ids)), (16, 100));
        assert!(first.ranges[15].start() > &ids[9000]);
        let second = WaveTarget::new("*", share("10%"), ids.clone(), &first.ranges);
        assert_eq!(selected(&second, &ids), 1000);
        let few = WaveTarget::new("*", share("1%"), ids[..3].to_vec(), &[]);
        assert_eq!(selected(&few, &ids), 1);
        let all = WaveTarget::new("tags.a = 1", Percent::ALL, ids, &second.ranges);
        assert_eq!(all.to_string(), "tags.a = 1");
    }

    #[test]
    fn no_device_leaves_a_rollout_when_devices_come_and_go() {
        let before = ids((0..2000).map(|number| number * 3));
        let first = WaveTarget::new("*", share("10%"), before.clone(), &[]);
        let members: Vec<_> = before
            .iter()
            .filter(|id| first.ranges.iter().any(|range| range.contains(id)))
            .cloned()
            .collect();
        let after = ids(0..6000);
        let second = WaveTarget::new("*", share("10%"), after, &first.ranges);
        assert_eq!(selected(&second, &members), members.len());
        let fewer = WaveTarget::new("*", share("50%"), members[..20].to_vec(), &first.ranges);
        assert_eq!(selected(&fewer, &members), members.len());
    }

    #[test]
    fn a_condition_survives_a_round_trip_and_the_longest_one_is_short_enough() {
        let odd: Vec<DeviceId> = ["it's", "a(b)", "x='y"].map(|id| id.parse().unwrap()).into();
        for target in ["*", "tags.a = ')' OR tags.b = 1"] {
            let wave = WaveTarget::new(target, share("99%"), odd.clone(), &[]);
            assert_eq!(WaveTarget::parse(&wave.to_string()), Ok(wave));
        }
        let long = (0..100).map(|n| format!("{}{n:03}", "'".repeat(125)).parse().unwrap());
        let wave = WaveTarget::new("*", share("50%"), long.collect(), &[]);
        assert!(wave.to_string().len() < 9000);
        for other in ["", "*", "tags.a = 1", "((deviceId >= 'a' AND deviceId <= 'b')", "(("] {
            assert_eq!(WaveTarget::parse(other), Err(WaveTargetError), "{other}");
        }
    }
}
