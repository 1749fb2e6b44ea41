//! Faults as the control endpoint reads and writes them: one flat JSON object.

use std::time::Duration;

use protocol::id::DeviceId;
use serde::{Deserialize, Serialize};

use super::{Effect, Fault, Forget, LASTING, Refused, Step};

/// The longest time in a request.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Fault(Fault),
    /// End the device's connection now.
    Drop(DeviceId),
    /// Let its connection go silent now.
    HalfOpen(DeviceId, Duration),
    /// Let its token expire now.
    ExpireToken(DeviceId),
    /// End every connection now, and take no new one for a while.
    Restart {
        down: Duration,
        forget: Forget,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Name {
    DropBefore,
    DropAfter,
    Lose,
    Delay,
    Reorder,
    Duplicate,
    HalfOpen,
    Throttle,
    Refuse,
    /// Without a step, at once.
    Drop,
    ExpireToken,
    Restart,
}

/// The object of a request, and of each fault in an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<Step>,
    effect: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// How long: of a delay, a silence, or a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    /// The CONNACK code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forget: Option<Forget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasting_ms: Option<u64>,
}

impl Wanted {
    pub(crate) fn parse(body: serde_json::Value) -> Result<Wanted, String> {
        let words: Words = serde_json::from_value(body).map_err(|error| error.to_string())?;
        words.read()
    }
}

impl Words {
    fn read(self) -> Result<Wanted, String> {
        let device = self.device.map(|id| id.parse::<DeviceId>()).transpose();
        let device = device.map_err(|error| format!("`device`: {error}"))?;
        let time = match self.ms.map(Duration::from_millis) {
            Some(time) if time > LONGEST => return Err(format!("`ms` is more than {LONGEST:?}")),
            time => time,
        };
        let named = |device: Option<DeviceId>| device.ok_or("`device` is missing".to_owned());
        let timed = || time.ok_or("`ms` is missing".to_owned());
        let Some(step) = self.step else {
            return match self.effect {
                Name::Drop => Ok(Wanted::Drop(named(device)?)),
                Name::HalfOpen => Ok(Wanted::HalfOpen(named(device)?, timed()?)),
                Name::ExpireToken => Ok(Wanted::ExpireToken(named(device)?)),
                Name::Restart => Ok(Wanted::Restart {
                    down: time.unwrap_or_default(),
                    forget: self.forget.unwrap_or_default(),
                }),
                other => Err(format!("`step` is missing: when is {other:?} to happen?")),
            };
        };
        let effect = match self.effect {
            Name::DropBefore => Effect::DropBefore,
            Name::DropAfter => Effect::DropAfter,
            Name::Lose => Effect::Lose,
            Name::Delay => Effect::Delay(timed()?),
            Name::Reorder => Effect::Reorder(timed()?),
            Name::Duplicate => Effect::Duplicate,
            Name::HalfOpen => Effect::HalfOpen(timed()?),
            Name::Throttle => Effect::Throttle,
            Name::Refuse => Effect::Refuse(match self.code {
                Some(1) => Refused::Protocol,
                Some(2) => Refused::ClientId,
                Some(3) => Refused::Unavailable,
                Some(4) => Refused::Password,
                Some(5) => Refused::NotAuthorized,
                _ => return Err("`code` is a CONNACK code from 1 to 5".to_owned()),
            }),
            other => return Err(format!("{other:?} happens at once, not at a step")),
        };
        let lasting = self.lasting_ms.map_or(LASTING, Duration::from_millis).min(LONGEST);
        let (after, times) = (self.after.unwrap_or(0), self.times.unwrap_or(1));
        Ok(Wanted::Fault(Fault { step, effect, device, after, times, lasting }))
    }
}

impl From<&Fault> for Words {
    fn from(fault: &Fault) -> Words {
        let millis = |time: Duration| u64::try_from(time.as_millis()).ok();
        let (effect, ms, code) = match fault.effect {
            Effect::DropBefore => (Name::DropBefore, None, None),
            Effect::DropAfter => (Name::DropAfter, None, None),
            Effect::Lose => (Name::Lose, None, None),
            Effect::Delay(time) => (Name::Delay, millis(time), None),
            Effect::Reorder(time) => (Name::Reorder, millis(time), None),
            Effect::Duplicate => (Name::Duplicate, None, None),
            Effect::HalfOpen(time) => (Name::HalfOpen, millis(time), None),
            Effect::Throttle => (Name::Throttle, None, None),
            Effect::Refuse(code) => (Name::Refuse, None, Some(code as u8)),
        };
        Words {
            step: Some(fault.step),
            effect,
            device: fault.device.as_ref().map(ToString::to_string),
            ms,
            code,
            forget: None,
            after: Some(fault.after),
            times: Some(fault.times),
            lasting_ms: millis(fault.lasting),
        }
    }
}
