//! Messages about twins.

use super::protobuf::{Fields, Message, Printer, ProtobufError, fields};

/// The sections of a twin that a [`TwinGet`] requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sections {
    /// Not a valid request. Unknown values are parsed as this one.
    #[default]
    Unspecified = 0,
    /// The desired properties.
    Desired = 1,
    /// The reported properties.
    Reported = 2,
    /// All properties.
    Both = 3,
}

/// A request for the twin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TwinGet {
    /// The requested sections.
    pub sections: Sections,
    /// The version of desired properties that needs no payload; 0 for none.
    pub if_not_match_desired: u64,
    /// The version of reported properties that needs no payload; 0 for none.
    pub if_not_match_reported: u64,
}

/// The answer to a [`TwinGet`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TwinGetResponse {
    /// The version of the desired properties, also if they were not requested.
    pub desired_version: u64,
    /// The version of the reported properties, also if they were not requested.
    pub reported_version: u64,
    /// The desired properties, as a JSON object.
    pub desired_payload: Option<Vec<u8>>,
    /// The reported properties, as a JSON object.
    pub reported_payload: Option<Vec<u8>>,
}

/// A change of reported properties.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportedPatch {
    /// The version that the change is based on. Another current version refuses the change.
    pub if_match: u64,
    /// The change, as a JSON object.
    pub payload: Vec<u8>,
}

/// The outcome of a [`ReportedPatch`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PatchOutcome {
    /// Not a valid outcome. Unknown values are parsed as this one.
    #[default]
    Unspecified = 0,
    /// The change has been made.
    Ok = 1,
    /// The change is based on another version than the current one.
    VersionMismatch = 2,
    /// The change is not a JSON object, or is not allowed.
    PayloadInvalid = 3,
    /// The change or the result is too large.
    PayloadTooLarge = 4,
    /// A failure of the hub.
    InternalError = 5,
}

/// The answer to a [`ReportedPatch`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportedPatchResponse {
    /// The outcome.
    pub outcome: PatchOutcome,
    /// The current version of the reported properties.
    pub version: u64,
}

/// A change of desired properties. Without a payload, it only announces the version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredUpdate {
    /// The version after the change.
    pub version: u64,
    /// The change, as a JSON object.
    pub payload: Vec<u8>,
}

/// A section of a twin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TwinSection {
    /// The version of the section.
    pub version: u64,
    /// The whole section, as a JSON object.
    pub payload: Vec<u8>,
}

/// Complete sections, which replace those of the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TwinPush {
    /// The desired properties.
    pub desired: Option<TwinSection>,
    /// The reported properties.
    pub reported: Option<TwinSection>,
}

impl Sections {
    /// Returns `true` if the desired properties are requested.
    #[must_use]
    pub fn has_desired(self) -> bool {
        matches!(self, Sections::Desired | Sections::Both)
    }

    /// Returns `true` if the reported properties are requested.
    #[must_use]
    pub fn has_reported(self) -> bool {
        matches!(self, Sections::Reported | Sections::Both)
    }

    fn of(number: u64) -> Sections {
        match number {
            1 => Sections::Desired,
            2 => Sections::Reported,
            3 => Sections::Both,
            _ => Sections::Unspecified,
        }
    }
}

impl PatchOutcome {
    fn of(number: u64) -> PatchOutcome {
        match number {
            1 => PatchOutcome::Ok,
            2 => PatchOutcome::VersionMismatch,
            3 => PatchOutcome::PayloadInvalid,
            4 => PatchOutcome::PayloadTooLarge,
            5 => PatchOutcome::InternalError,
            _ => PatchOutcome::Unspecified,
        }
    }
}

impl Message for TwinGet {
    fn decode(bytes: &[u8]) -> Result<TwinGet, ProtobufError> {
        let mut get = TwinGet::default();
        for field in fields(bytes)? {
            let field = field?;
            match field.number {
                1 => get.sections = Sections::of(field.number()?),
                2 => get.if_not_match_desired = field.number()?,
                3 => get.if_not_match_reported = field.number()?,
                _ => {}
            }
        }
        Ok(get)
    }

    fn encode(&self) -> Vec<u8> {
        Printer::default()
            .number(1, self.sections as u64)
            .number(2, self.if_not_match_desired)
            .number(3, self.if_not_match_reported)
            .finish()
    }
}

impl Message for TwinGetResponse {
    fn decode(bytes: &[u8]) -> Result<TwinGetResponse, ProtobufError> {
        let mut response = TwinGetResponse::default();
        for field in fields(bytes)? {
            let field = field?;
            match field.number {
                1 => response.desired_version = field.number()?,
                2 => response.reported_version = field.number()?,
                3 => response.desired_payload = Some(field.bytes()?.to_vec()),
                4 => response.reported_payload = Some(field.bytes()?.to_vec()),
                _ => {}
            }
        }
        Ok(response)
    }

    fn encode(&self) -> Vec<u8> {
        Printer::default()
            .number(1, self.desired_version)
            .number(2, self.reported_version)
            .optional(3, self.desired_payload.as_deref())
            .optional(4, self.reported_payload.as_deref())
            .finish()
    }
}

impl Message for ReportedPatch {
    fn decode(bytes: &[u8]) -> Result<ReportedPatch, ProtobufError> {
        let (if_match, payload) = number_and_bytes(fields(bytes)?)?;
        Ok(ReportedPatch { if_match, payload })
    }

    fn encode(&self) -> Vec<u8> {
        Printer::default().number(1, self.if_match).bytes(2, &self.payload).finish()
    }
}

impl Message for ReportedPatchResponse {
    fn decode(bytes: &[u8]) -> Result<ReportedPatchResponse, ProtobufError> {
        let mut response = ReportedPatchResponse::default();
        for field in fields(bytes)? {
            let field = field?;
            match field.number {
                1 => response.outcome = PatchOutcome::of(field.number()?),
                2 => response.version = field.number()?,
                _ => {}
            }
        }
        Ok(response)
    }

    fn encode(&self) -> Vec<u8> {
        Printer::default().number(1, self.outcome as u64).number(2, self.version).finish()
    }
}

impl Message for DesiredUpdate {
    fn decode(bytes: &[u8]) -> Result<DesiredUpdate, ProtobufError> {
        let (version, payload) = number_and_bytes(fields(bytes)?)?;
        Ok(DesiredUpdate { version, payload })
    }

    fn encode(&self) -> Vec<u8> {
        Printer::default().number(1, self.version).bytes(2, &self.payload).finish()
    }
}

impl Message for TwinPush {
    fn decode(bytes: &[u8]) -> Result<TwinPush, ProtobufError> {
        let mut push = TwinPush::default();
        for field in fields(bytes)? {
            let field = field?;
            let section = match field.number {
                1 => &mut push.desired,
                2 => &mut push.reported,
                _ => continue,
            };
            let (version, payload) = number_and_bytes(field.message()?)?;
            *section = Some(TwinSection { version, payload });
        }
        Ok(push)
    }

    fn encode(&self) -> Vec<u8> {
        let section = |section: &Option<TwinSection>| {
            section.as_ref().map(|TwinSection { version, payload }| {
                Printer::default().number(1, *version).bytes(2, payload).finish()
            })
        };
        Printer::default()
            .optional(1, section(&self.desired).as_deref())
            .optional(2, section(&self.reported).as_deref())
            .finish()
    }
}

/// Parses a message with a number as field 1 and bytes as field 2.
fn number_and_bytes(fields: Fields<'_>) -> Result<(u64, Vec<u8>), ProtobufError> {
    let (mut number, mut bytes): (u64, &[u8]) = (0, &[]);
    for field in fields {
        let field = field?;
        match field.number {
            1 => number = field.number()?,
            2 => bytes = field.bytes()?,
            _ => {}
        }
    }
    Ok((number, bytes.to_vec()))
}
