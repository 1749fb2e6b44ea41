//! Fields of protobuf messages.
//!
//! The messages of the profile have 14 small types with 30 fields of five kinds, so this file
//! takes the place of a library and its code generator.

/// Maximum size of a message, in bytes: that of a packet of IoT Hub.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// A message of the profile.
pub trait Message: Sized {
    /// Parses a message. Unknown fields are skipped; the last value of a repeated field counts.
    fn decode(bytes: &[u8]) -> Result<Self, ProtobufError>;

    /// Prints the message. Fields with default values are left out.
    fn encode(&self) -> Vec<u8>;
}

/// A malformed message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// A message above [`MAX_MESSAGE_BYTES`].
    #[error("message of {0} bytes; at most {MAX_MESSAGE_BYTES} are allowed")]
    TooLarge(usize),
    /// A message that ends within a field.
    #[error("message ends within a field")]
    Short,
    /// A number with more than 64 bits.
    #[error("number with more than 64 bits")]
    Varint,
    /// A field with the number 0, or with a kind that does not exist.
    #[error("field key {0}, which does not exist")]
    Key(u64),
    /// A field of another kind than that of its definition.
    #[error("field {0} is of another kind")]
    Kind(u64),
    /// A text that is not UTF-8.
    #[error("field {0} is not UTF-8")]
    Text(u64),
    /// An id that does not have 16 bytes.
    #[error("field {field} has {length} bytes; 16 are required")]
    Id {
        /// The number of the field.
        field: u64,
        /// The length, in bytes.
        length: usize,
    },
    /// A required field that is missing.
    #[error("field {0} is missing")]
    Missing(u64),
}

/// A field: its number and its value.
pub(super) struct Field<'a> {
    pub(super) number: u64,
    value: Value<'a>,
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A fixed-size number, which no known field is.
    Fixed,
}

impl<'a> Field<'a> {
    /// Returns an unsigned number or the bits of a signed one.
    pub(super) fn number(&self) -> Result<u64, ProtobufError> {
        match self.value {
            Value::Varint(number) => Ok(number),
            _ => Err(ProtobufError::Kind(self.number)),
        }
    }

    /// Returns the lower half of a number, as protobuf defines it for 32-bit fields.
    pub(super) fn number32(&self) -> Result<u32, ProtobufError> {
        Ok(self.number()? as u32)
    }

    pub(super) fn boolean(&self) -> Result<bool, ProtobufError> {
        Ok(self.number()? != 0)
    }

    pub(super) fn bytes(&self) -> Result<&'a [u8], ProtobufError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::Kind(self.number)),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, ProtobufError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| ProtobufError::Text(self.number))
    }

    /// Returns the fields of an embedded message.
    pub(super) fn message(&self) -> Result<Fields<'a>, ProtobufError> {
        Ok(Fields(self.bytes()?))
    }
}

/// The fields of a message, in order.
pub(super) struct Fields<'a>(&'a [u8]);

/// Returns the fields of a message.
pub(super) fn fields(bytes: &[u8]) -> Result<Fields<'_>, ProtobufError> {
    match bytes.len() {
        length if length > MAX_MESSAGE_BYTES => Err(ProtobufError::TooLarge(length)),
        _ => Ok(Fields(bytes)),
    }
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut number = 0;
        for (index, byte) in self.0.iter().enumerate() {
            // The tenth byte has one bit.
            if index == 9 && *byte > 1 {
                return Err(ProtobufError::Varint);
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = &self.0[index + 1..];
                return Ok(number);
            }
        }
        Err(ProtobufError::Short)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], ProtobufError> {
        let count = usize::try_from(count).map_err(|_| ProtobufError::Short)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(ProtobufError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<Field<'a>, ProtobufError> {
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 || number >= 1 << 29 {
            return Err(ProtobufError::Key(key));
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(ProtobufError::Key(key)),
        };
        Ok(Field { number, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Printer of a message.
#[derive(Default)]
pub(super) struct Printer(Vec<u8>);

impl Printer {
    /// Adds a number unless it is 0.
    pub(super) fn number(mut self, field: u64, number: u64) -> Printer {
        if number != 0 {
            self.varint(field << 3);
            self.varint(number);
        }
        self
    }

    /// Adds bytes unless there are none.
    pub(super) fn bytes(self, field: u64, bytes: &[u8]) -> Printer {
        self.optional(field, Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// Adds bytes or an embedded message if present, also empty ones.
    pub(super) fn optional(mut self, field: u64, bytes: Option<&[u8]>) -> Printer {
        if let Some(bytes) = bytes {
            self.varint(field << 3 | 2);
            self.varint(bytes.len() as u64);
            self.0.extend_from_slice(bytes);
        }
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}
