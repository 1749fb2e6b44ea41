//! The messages of a direct method: probe, ready or rejected, exec, result or abandon.

use super::correlation::CorrelationId;
use super::protobuf::{Field, Message, Printer, ProtobufError, fields};

/// The question to a device: can it run this method?
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// The name of the method. Not validated, since a device answers every name.
    pub method_name: String,
    /// The time that the caller will wait for the result, in seconds.
    pub response_timeout_seconds: u32,
}

/// The answer to a [`Probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAck {
    /// The device waits for an [`Exec`] with this id.
    Ready(CorrelationId),
    /// The device does not run the method.
    Rejected(Rejection),
}

/// The reason for which a device does not run a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// No reason. Unknown values are parsed as this one.
    Unspecified = 0,
    /// There is no such method.
    MethodNotFound = 1,
    /// The method takes longer than the caller would wait.
    InsufficientTime = 2,
    /// The device runs as many methods as it can.
    DeviceBusy = 3,
}

/// The request to run a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// The id that the device has sent in [`ProbeAck::Ready`]. It is valid once.
    pub ready_id: CorrelationId,
    /// The payload of the method: by custom JSON.
    pub params: Vec<u8>,
    /// The time of the request, for information only.
    pub exec_start: Option<Timestamp>,
}

/// A time in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: i32,
}

/// The result of a method.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultMessage {
    /// The status that the device has chosen.
    pub status: i32,
    /// The payload of the result: by custom JSON.
    pub body: Vec<u8>,
}

/// The message that the device does not run a method for which it was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandon {
    /// The id that the device has sent in [`ProbeAck::Ready`].
    pub ready_id: CorrelationId,
    /// The reason.
    pub reason: AbandonReason,
}

/// The reason of an [`Abandon`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbandonReason {
    /// No reason. Unknown values are parsed as this one.
    Unspecified = 0,
    /// No [`Exec`] has arrived in time.
    ReadyWaitTimeout = 1,
    /// The method takes longer than the time that is left.
    InsufficientTime = 2,
}

impl Message for Probe {
    fn decode(bytes: &[u8]) -> Result<Probe, ProtobufError> {
        let mut probe = Probe::default();
        for field in fields(bytes)? {
            let field = field?;
            match field.number {
                1 => field.text()?.clone_into(&mut probe.method_name),
                2 => probe.response_timeout_seconds = field.number32()?,
                _ => {}
            }
        }
        Ok(probe)
    }

    fn encode(&self) -> Vec<u8> {
        Printer::default()
            .bytes(1, self.method_name.as_bytes())
            .number(2, self.response_timeout_seconds.into())
            .finish()
    }
}

impl Message for ProbeAck {
    fn decode(bytes: &[u8]) -> Result<ProbeAck, ProtobufError> {
        let mut answer = None;
        for field in fields(bytes)? {
            let field = field?;
            match field.number {
                1 => {
                    let mut ready_id = None;
                    for field in field.message()? {
                        let field = field?;
                        if field.number == 1 {
                            ready_id = Some(id(&field)?);
                        }
                    }
                    answer = Some(ProbeAck::Ready(ready_id.ok_or(ProtobufError::Missing(1))?));
                }
                2 => {
                    let mut reason = Rejection::Unspecified;
                    for field in field.message()? {
                        let field = field?;
                        if field.number == 1 {
                            reason = Rejection::of(field.number()?);
                        }
                    }
                    answer = Some(ProbeAck::Rejected(reason));
                }
                _ => {}
            }
        }
        answer.ok_or(ProtobufError::Missing(1))
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            ProbeAck::Ready(ready_id) => {
                let ready = Printer::default().bytes(1, ready_id.as_bytes()).finish();
                Printer::default().optional(1, Some(&ready)).finish()
            }
            ProbeAck::Rejected(reason) => {
                let rejected = Printer::default().number(1, *reason as u64).finish();
                Printer::default().optional(2, Some(&rejected)).finish()
            }
        }
    }
}

impl Rejection {
    fn of(number: u64) -> Rejection {
        match number {
            1 => Rejection::MethodNotFound,
            2 => Rejection::InsufficientTime,
            3 => Rejection::DeviceBusy,
            _ => Rejection::Unspecified,
        }
    }
}

impl Message for Exec {
    fn decode(bytes: &[u8]) -> Result<Exec, ProtobufError> {
        let (mut ready_id, mut params, mut exec_start) = (None, Vec::new(), None);
        for field in fields(bytes)? {
            let field = field?;
            match field.number {
                1 => ready_id = Some(id(&field)?),
                2 => params = field.bytes()?.to_vec(),
                3 => {
                    let mut time = Timestamp::default();
                    for field in field.message()? {
                        let field = field?;
                        match field.number {
                            1 => time.seconds = field.number()? as i64,
                            2 => time.nanos = field.number32()? as i32,
                            _ => {}
                        }
                    }
                    exec_start = Some(time);
                }
                _ => {}
            }
        }
        let ready_id = ready_id.ok_or(ProtobufError::Missing(1))?;
        Ok(Exec { ready_id, params, exec_start })
    }

    fn encode(&self) -> Vec<u8> {
        let time = self.exec_start.map(|Timestamp { seconds, nanos }| {
            Printer::default().number(1, seconds as u64).number(2, bits(nanos)).finish()
        });
        Printer::default()
            .bytes(1, self.ready_id.as_bytes())
            .bytes(2, &self.params)
            .optional(3, time.as_deref())
            .finish()
    }
}

impl Message for ResultMessage {
    fn decode(bytes: &[u8]) -> Result<ResultMessage, ProtobufError> {
        let mut result = ResultMessage::default();
        for field in fields(bytes)? {
            let field = field?;
            match field.number {
                1 => result.status = field.number32()? as i32,
                2 => result.body = field.bytes()?.to_vec(),
                _ => {}
            }
        }
        Ok(result)
    }

    fn encode(&self) -> Vec<u8> {
        Printer::default().number(1, bits(self.status)).bytes(2, &self.body).finish()
    }
}

impl Message for Abandon {
    fn decode(bytes: &[u8]) -> Result<Abandon, ProtobufError> {
        let (mut ready_id, mut reason) = (None, AbandonReason::Unspecified);
        for field in fields(bytes)? {
            let field = field?;
            match field.number {
                1 => ready_id = Some(id(&field)?),
                2 => {
                    reason = match field.number()? {
                        1 => AbandonReason::ReadyWaitTimeout,
                        2 => AbandonReason::InsufficientTime,
                        _ => AbandonReason::Unspecified,
                    }
                }
                _ => {}
            }
        }
        Ok(Abandon { ready_id: ready_id.ok_or(ProtobufError::Missing(1))?, reason })
    }

    fn encode(&self) -> Vec<u8> {
        Printer::default().bytes(1, self.ready_id.as_bytes()).number(2, self.reason as u64).finish()
    }
}

/// Returns the bits of a 32-bit number, whose sign is extended to 64 bits.
fn bits(number: i32) -> u64 {
    i64::from(number) as u64
}

fn id(field: &Field<'_>) -> Result<CorrelationId, ProtobufError> {
    let bytes = field.bytes()?;
    let length = bytes.len();
    CorrelationId::try_from(bytes).map_err(|_| ProtobufError::Id { field: field.number, length })
}
