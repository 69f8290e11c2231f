//! Protocol Buffers: the bytes of fields (protobuf.dev, Encoding).
//!
//! A message is its fields one after the other, each a tag and a value; a message inside another is
//! its bytes behind their length. Who knows which fields there are reads and writes them with this.

/// A field's value as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire<'a> {
    /// A number in as many bytes as it needs.
    Varint(u64),
    /// Eight bytes.
    Eight([u8; 8]),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
    /// Four bytes.
    Four([u8; 4]),
}

/// Takes the first field of a message that has some: its number and its value.
///
/// Returns nothing where the bytes are no field; groups, which are out of use, are none.
pub fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let key = take_varint(bytes)?;
    let value = match key & 7 {
        0 => Wire::Varint(take_varint(bytes)?),
        1 => Wire::Eight(take_array(bytes)?),
        2 => {
            let length = usize::try_from(take_varint(bytes)?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Wire::Bytes(value)
        }
        5 => Wire::Four(take_array(bytes)?),
        _ => return None,
    };
    (key >> 3 > 0).then_some((key >> 3, value))
}

/// The fields of a message with their numbers, up to the first that is none.
pub fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Wire<'_>)> {
    std::iter::from_fn(move || field(&mut bytes))
}

/// A number as a varint: its bytes, and how many there are.
#[must_use]
pub const fn varint(number: u64) -> ([u8; VARINT_MAX], usize) {
    let mut bytes = [0; VARINT_MAX];
    let (mut rest, mut len) = (number, 0);
    while rest >= 0x80 {
        bytes[len] = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
        len += 1;
    }
    bytes[len] = rest as u8;
    (bytes, len + 1)
}

/// Appends a number in as many bytes as it needs.
pub fn put_number(field: u64, number: u64, out: &mut Vec<u8>) {
    put_varint(field << 3, out);
    put_varint(number, out);
}

/// Appends a text, bytes, or a message.
pub fn put_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(field << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Bytes of the longest varint.
pub const VARINT_MAX: usize = 10;

/// Appends a number.
pub fn put_varint(number: u64, out: &mut Vec<u8>) {
    let (bytes, len) = varint(number);
    out.extend_from_slice(&bytes[..len]);
}

/// Takes the first number; `None` where the bytes are none.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_in_as_few_bytes_as_they_need() {
        for (number, expected) in
            [(0, 1), (1, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)]
        {
            let (bytes, len) = varint(number);
            assert_eq!(len, expected, "{number}");
            let mut rest = &bytes[..len];
            assert_eq!(take_varint(&mut rest), Some(number));
            assert!(rest.is_empty());
        }
        assert_eq!(take_varint(&mut &[0xff; 10][..]), None, "there is no end");
    }

    #[test]
    fn fields_come_back() {
        let mut message = Vec::new();
        put_number(1, 300, &mut message);
        put_bytes(16, b"text", &mut message);
        message.extend_from_slice(&[3 << 3 | 5, 1, 0, 0, 0, 4 << 3 | 1, 2, 0, 0, 0, 0, 0, 0, 0]);
        let found: Vec<_> = fields(&message).collect();
        let expected = [
            (1, Wire::Varint(300)),
            (16, Wire::Bytes(b"text")),
            (3, Wire::Four([1, 0, 0, 0])),
            (4, Wire::Eight([2, 0, 0, 0, 0, 0, 0, 0])),
        ];
        assert_eq!(found, expected);
        for wrong in [&b"\x0b"[..], b"\x0a\x05four", b"\x02\x00", b"\x08", b"\x0d123"] {
            assert_eq!(fields(wrong).count(), 0, "{wrong:?}");
        }
    }
}
