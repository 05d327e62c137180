//! Numbers, texts and positions as bytes: the alphabet of frames. Reading never panics: what is no value is `None`.
//!
//! Numbers are varints: seven bits a byte, lowest first, the top bit says that more follow.

use crate::hash::Digest;
use crate::model::action::Position;

/// Positions that are written plain are counted from the begin of the first segment.
const FIRST: u64 = 1 << 28;
const POSITIONS: u64 = 1 << 48;

/// Writes a number.
pub fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a number that may be negative: 0, -1, 1, -2, … as 0, 1, 2, 3, ….
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_number(out, (value << 1 ^ value >> 63) as u64);
}

/// Writes a text with its length.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Writes a position as seen from `own`: how far back, or plain, whichever is the smaller number.
pub fn put_position(out: &mut Vec<u8>, position: Position, own: Position) {
    let plain = position.0.checked_sub(FIRST);
    match (own.0.checked_sub(position.0), plain) {
        (Some(back), None) => put_number(out, back << 1 | 1),
        (Some(back), Some(plain)) if back < plain => put_number(out, back << 1 | 1),
        (_, plain) => put_number(out, plain.unwrap_or_default() << 1),
    }
}

/// Takes values from the front of some bytes.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the first byte on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// That all was read: anything behind a value makes it none.
    pub fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    /// The next bytes.
    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    /// Eight bytes, little endian.
    pub fn fixed64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// Four bytes, little endian.
    pub fn fixed32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// A digest.
    pub fn digest(&mut self) -> Option<Digest> {
        self.bytes(32)?.try_into().ok().map(Digest)
    }

    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A number that fits a smaller type.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.number()?).ok()
    }

    /// A number that may be negative.
    pub fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A text.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.small()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    /// A position as seen from `own`.
    pub fn position(&mut self, own: Position) -> Option<Position> {
        let value = self.number()?;
        let position = match value & 1 {
            1 => own.0.checked_sub(value >> 1)?,
            _ => (value >> 1) + FIRST,
        };
        in_log(position)
    }

    /// A position that lies some steps from another.
    pub fn beside(&mut self, other: Position) -> Option<Position> {
        in_log(other.0.checked_add_signed(self.signed()?)?)
    }
}

/// Writes a position as its distance from another.
pub fn put_beside(out: &mut Vec<u8>, position: Position, other: Position) {
    put_signed(out, position.0.wrapping_sub(other.0) as i64);
}

fn in_log(position: u64) -> Option<Position> {
    (position < POSITIONS).then_some(Position(position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_takes_one_byte_for_seven_bits() {
        let mut out = Vec::new();
        put_number(&mut out, 127);
        put_number(&mut out, 300);
        put_signed(&mut out, -2);
        assert_eq!(out, [0x7f, 0xac, 0x02, 0x03]);
    }

    #[test]
    fn a_number_beyond_64_bits_is_none() {
        assert_eq!(Reader::new(&[0xff; 12]).number(), None);
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).number(), None);
        assert_eq!(Reader::new(&[0x80]).number(), None);
    }

    #[test]
    fn a_near_position_is_short_whichever_way_it_is_near() {
        let length = |position, own| {
            let mut out = Vec::new();
            put_position(&mut out, position, own);
            out.len()
        };
        assert_eq!(length(Position::new(900, 5000), Position::new(900, 5060)), 1);
        assert_eq!(length(Position::new(1, 64), Position::new(900, 5060)), 2);
    }

    proptest! {
        #[test]
        fn values_come_back(number: u64, signed: i64, text: String, own in FIRST..POSITIONS, other in 0..POSITIONS) {
            let (own, other) = (Position(own), Position(other));
            let mut out = Vec::new();
            put_number(&mut out, number);
            put_signed(&mut out, signed);
            put_text(&mut out, &text);
            put_position(&mut out, other, own);
            put_beside(&mut out, other, own);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.signed(), Some(signed));
            prop_assert_eq!(reader.text(), Some(text.as_str()));
            prop_assert_eq!(reader.position(own), Some(other));
            prop_assert_eq!(reader.beside(own), Some(other));
            prop_assert_eq!(reader.end(), Some(()));
        }
    }
}
