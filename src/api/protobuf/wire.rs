//! The bytes of a protobuf message as numbered values.

use super::ProtobufError;

/// One value as it lies on the wire.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// A message, read from front to back. Ends after the first error.
pub(super) struct Wire<'a> {
    rest: &'a [u8],
}

impl<'a> Wire<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
    pub fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(ProtobufError::Malformed("it ends inside a number"))?;
            self.rest = rest;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Malformed("a number is too long"))
    }
    fn take(&mut self, count: u64) -> Result<&'a [u8], ProtobufError> {
        let short = ProtobufError::Malformed("it ends inside a field");
        let count = usize::try_from(count).map_err(|_| short.clone())?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }
    fn entry(&mut self) -> Result<(u32, Raw<'a>), ProtobufError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0);
        let number = number.ok_or(ProtobufError::Malformed("a field has no number"))?;
        let value = match tag & 7 {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(u64::from_le_bytes(array(self.take(8)?)?)),
            2 => {
                let count = self.varint()?;
                Raw::Bytes(self.take(count)?)
            }
            5 => Raw::Fixed32(u32::from_le_bytes(array(self.take(4)?)?)),
            _ => return Err(ProtobufError::Malformed("a field has an unknown wire type")),
        };
        Ok((number, value))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ProtobufError> {
    bytes.try_into().map_err(|_| ProtobufError::Malformed("it ends inside a field"))
}

impl<'a> Iterator for Wire<'a> {
    type Item = Result<(u32, Raw<'a>), ProtobufError>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

impl<'a> Raw<'a> {
    pub fn bytes(self) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::Malformed("a field has the wrong wire type")),
        }
    }
    pub fn text(self) -> Result<String, ProtobufError> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| ProtobufError::Malformed("a text is no UTF-8"))?;
        Ok(text.to_owned())
    }
    pub fn integer(self) -> Result<i64, ProtobufError> {
        match self {
            // Negative numbers are written as their two's complement.
            Self::Varint(value) | Self::Fixed64(value) => Ok(value.cast_signed()),
            Self::Fixed32(value) => Ok(i64::from(value.cast_signed())),
            Self::Bytes(_) => Err(ProtobufError::Malformed("a field has the wrong wire type")),
        }
    }
    pub fn float(self) -> Result<f64, ProtobufError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            Self::Fixed32(bits) => Ok(f64::from(f32::from_bits(bits))),
            _ => Err(ProtobufError::Malformed("a field has the wrong wire type")),
        }
    }
}
