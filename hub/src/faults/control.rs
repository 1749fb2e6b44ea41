//! JSON format of faults at the control endpoint: a flat object.

use std::time::Duration;

use protocol::id::DeviceId;
use protocol::mqtt5::ReasonCode;
use serde::{Deserialize, Serialize};

use super::fault::{DEFAULT_LIFETIME, Effect, Fault, Forget, Refused, Step};

/// Maximum duration in a request.
const MAX_TIME: Duration = Duration::from_secs(3600);

/// Parsed request to the control endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ControlRequest {
    /// Setting a fault.
    Fault(Fault),
    /// Ending the device's connection immediately.
    Drop(DeviceId),
    /// Ending the device's connection immediately, with MQTT 5 by a DISCONNECT with this reason.
    Disconnect(DeviceId, ReasonCode),
    /// Silencing the device's connection immediately.
    HalfOpen(DeviceId, Duration),
    /// Expiring the device's token immediately.
    ExpireToken(DeviceId),
    /// Ending every connection immediately and refusing new ones for `down`.
    Restart { down: Duration, forget: Forget },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EffectName {
    DropBefore,
    DropAfter,
    Lose,
    Delay,
    Reorder,
    Duplicate,
    HalfOpen,
    Throttle,
    Refuse,
    Conflict,
    ServerError,
    BrokenBody,
    Assigning,
    Disable,
    RejectCsr,
    ExpiredChain,
    UntrustedChain,
    StaleNonce,
    // Effects without a step, which happen immediately.
    Disconnect,
    Drop,
    ExpireToken,
    Restart,
}

impl std::fmt::Display for EffectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // serde writes a unit variant as its name.
        self.serialize(f)
    }
}

/// JSON object of a request, and of each fault in a response.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<Step>,
    effect: EffectName,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Duration of a delay, a silence or a restart, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    /// CONNACK code of a refusal, or reason code of a DISCONNECT.
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

impl ControlRequest {
    /// Parses the body of a request. The error is a message for the caller.
    pub(crate) fn parse(body: serde_json::Value) -> Result<ControlRequest, String> {
        let json: FaultJson = serde_json::from_value(body).map_err(|error| error.to_string())?;
        json.into_request()
    }
}

impl FaultJson {
    fn into_request(self) -> Result<ControlRequest, String> {
        let device = self.device.map(|id| id.parse::<DeviceId>()).transpose();
        let device = device.map_err(|error| format!("`device`: {error}"))?;
        let time = match self.ms.map(Duration::from_millis) {
            Some(time) if time > MAX_TIME => {
                return Err(format!("`ms` is {}; at most 3600000 is allowed", time.as_millis()));
            }
            time => time,
        };
        let required = |device: Option<DeviceId>| device.ok_or("`device` is missing".to_owned());
        let timed = || time.ok_or("`ms` is missing".to_owned());
        let Some(step) = self.step else {
            return match self.effect {
                EffectName::Drop => Ok(ControlRequest::Drop(required(device)?)),
                EffectName::Disconnect => {
                    let code = self.code.filter(|code| *code == 0 || *code >= 0x80);
                    let code = code.ok_or("`code` must be 0 or a reason code from 128")?;
                    Ok(ControlRequest::Disconnect(required(device)?, ReasonCode(code)))
                }
                EffectName::HalfOpen => Ok(ControlRequest::HalfOpen(required(device)?, timed()?)),
                EffectName::ExpireToken => Ok(ControlRequest::ExpireToken(required(device)?)),
                EffectName::Restart => Ok(ControlRequest::Restart {
                    down: time.unwrap_or_default(),
                    forget: self.forget.unwrap_or_default(),
                }),
                other => Err(format!("`step` is missing; the effect `{other}` needs one")),
            };
        };
        let effect = match self.effect {
            EffectName::DropBefore => Effect::DropBefore,
            EffectName::DropAfter => Effect::DropAfter,
            EffectName::Lose => Effect::Lose,
            EffectName::Delay => Effect::Delay(timed()?),
            EffectName::Reorder => Effect::Reorder(timed()?),
            EffectName::Duplicate => Effect::Duplicate,
            EffectName::HalfOpen => Effect::HalfOpen(timed()?),
            EffectName::Throttle => Effect::Throttle,
            EffectName::Conflict => Effect::Conflict,
            EffectName::ServerError => Effect::ServerError,
            EffectName::BrokenBody => Effect::BrokenBody,
            EffectName::Assigning => Effect::Assigning,
            EffectName::Disable => Effect::Disable,
            EffectName::StaleNonce => Effect::StaleNonce,
            EffectName::RejectCsr => Effect::RejectCsr,
            EffectName::ExpiredChain => Effect::ExpiredChain,
            EffectName::UntrustedChain => Effect::UntrustedChain,
            EffectName::Refuse => Effect::Refuse(match self.code {
                Some(1) => Refused::Protocol,
                Some(2) => Refused::ClientId,
                Some(3) => Refused::Unavailable,
                Some(4) => Refused::Password,
                Some(5) => Refused::NotAuthorized,
                _ => return Err("`code` must be a CONNACK code from 1 to 5".to_owned()),
            }),
            other => return Err(format!("the effect `{other}` happens at once; remove `step`")),
        };
        let lasting = self.lasting_ms.map_or(DEFAULT_LIFETIME, Duration::from_millis).min(MAX_TIME);
        let (after, times) = (self.after.unwrap_or(0), self.times.unwrap_or(1));
        Ok(ControlRequest::Fault(Fault { step, effect, device, after, times, lasting }))
    }
}

impl From<&Fault> for FaultJson {
    fn from(fault: &Fault) -> FaultJson {
        let millis = |time: Duration| u64::try_from(time.as_millis()).ok();
        let (effect, ms, code) = match fault.effect {
            Effect::DropBefore => (EffectName::DropBefore, None, None),
            Effect::DropAfter => (EffectName::DropAfter, None, None),
            Effect::Lose => (EffectName::Lose, None, None),
            Effect::Delay(time) => (EffectName::Delay, millis(time), None),
            Effect::Reorder(time) => (EffectName::Reorder, millis(time), None),
            Effect::Duplicate => (EffectName::Duplicate, None, None),
            Effect::HalfOpen(time) => (EffectName::HalfOpen, millis(time), None),
            Effect::Throttle => (EffectName::Throttle, None, None),
            Effect::Conflict => (EffectName::Conflict, None, None),
            Effect::ServerError => (EffectName::ServerError, None, None),
            Effect::BrokenBody => (EffectName::BrokenBody, None, None),
            Effect::Assigning => (EffectName::Assigning, None, None),
            Effect::Disable => (EffectName::Disable, None, None),
            Effect::StaleNonce => (EffectName::StaleNonce, None, None),
            Effect::RejectCsr => (EffectName::RejectCsr, None, None),
            Effect::ExpiredChain => (EffectName::ExpiredChain, None, None),
            Effect::UntrustedChain => (EffectName::UntrustedChain, None, None),
            Effect::Refuse(code) => (EffectName::Refuse, None, Some(code as u8)),
        };
        FaultJson {
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
