//! Event ids that carry the sequence number and the scheduled time.
//!
//! The id is a UUIDv7 (RFC 9562, 5.7) with the extra clock precision of method 3 (6.2): 48 bits of
//! milliseconds, 12 bits of their fraction (244 ns a step), then our mark, the run and the
//! sequence number in the bits that are free. So whoever accepts an event can book it and measure
//! its age from the id alone.

/// Which event this is, and when it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    /// Position in the run, from 0; below [`SEQUENCE_LIMIT`].
    pub sequence: u64,
    /// When the event was due, nanoseconds since 1970; kept to 245 ns.
    pub scheduled_ns: u64,
    /// The run, so that two runs in one account cannot be mistaken for each other.
    pub run: u8,
}

impl EventId {
    /// Writes the id as 36 lower-case characters.
    pub fn write(self, out: &mut [u8; LEN]) {
        let ms = self.scheduled_ns / NS_PER_MS;
        let fraction = (self.scheduled_ns % NS_PER_MS) * 4096 / NS_PER_MS;
        let high = (ms << 16) | 0x7000 | fraction;
        let low = (u64::from(MARK) << 48) | (u64::from(self.run) << 40) | self.sequence;
        let (high, low) = (high.to_be_bytes(), low.to_be_bytes());
        for (at, byte) in PLACES.iter().zip(high.iter().chain(&low)) {
            out[*at..*at + 2].copy_from_slice(&HEX[usize::from(*byte)]);
        }
        for at in [8, 13, 18, 23] {
            out[at] = b'-';
        }
    }

    /// The id as text.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = [0; LEN];
        self.write(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads an id; nothing when it is none of ours.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; LEN] = text.try_into().ok()?;
        if text[18..24] != MARK_TEXT || text[8] != b'-' || text[13] != b'-' || text[14] != b'7' {
            return None;
        }
        let mut bytes = [0u8; 16];
        let mut wrong = 0;
        for (at, byte) in PLACES.iter().zip(&mut bytes) {
            let (high, low) = (NIBBLE[usize::from(text[*at])], NIBBLE[usize::from(text[*at + 1])]);
            wrong |= high | low;
            *byte = (high << 4) | (low & 0x0f);
        }
        if wrong > 0x0f {
            return None;
        }
        let value = u128::from_be_bytes(bytes);
        let ms = (value >> 80) as u64;
        let fraction = (value >> 64) as u64 & 0x0fff;
        Some(Self {
            sequence: value as u64 & (SEQUENCE_LIMIT - 1),
            // Rounded up, so that the id writes back as it was.
            scheduled_ns: ms.checked_mul(NS_PER_MS)? + (fraction * NS_PER_MS).div_ceil(4096),
            run: (value >> 40) as u8,
        })
    }
}

/// Characters of an id.
pub const LEN: usize = 36;
/// Sequence numbers stay below this: 40 bits, over ten days at a million a second.
pub const SEQUENCE_LIMIT: u64 = 1 << 40;
/// Our mark with its hyphens, for a fast search through a body.
pub const MARK_TEXT: [u8; 6] = *b"-b10c-";
/// Where the mark starts in an id.
pub const MARK_AT: usize = 18;

/// The fourth group: the variant bits `10` and fourteen bits that say that the id is ours.
const MARK: u16 = 0xb10c;
const NS_PER_MS: u64 = 1_000_000;
/// Where each byte's two digits stand.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
/// The digits of each byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};
/// The value of each lower-case digit; 0xff for anything else.
const NIBBLE: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_to_245_ns() {
        for (sequence, scheduled_ns) in
            [(0, 0), (1, 1_795_191_846_123_456_789), (SEQUENCE_LIMIT - 1, u64::MAX / 2)]
        {
            let id = EventId { sequence, scheduled_ns, run: 7 };
            let read = EventId::parse(id.text().as_bytes()).expect("our own id");
            assert_eq!((read.sequence, read.run), (sequence, 7));
            assert_eq!(read.text(), id.text(), "it writes back as it was");
            assert!(scheduled_ns - read.scheduled_ns <= 245, "{scheduled_ns} {read:?}");
        }
    }

    #[test]
    fn ids_ascend_with_time_and_sequence() {
        let at = 1_795_191_846_000_000_000;
        let texts: Vec<String> = (0..2_000u64)
            .map(|k| EventId { sequence: k, scheduled_ns: at + k * 50, run: 0 }.text())
            .collect();
        assert!(texts.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_foreign_uuid_is_not_ours() {
        for text in [
            "019c322d-fa80-7f99-8d84-b44109f58c77",
            "019c322d-fa80-4f99-b10c-b44109f58c77",
            "019c322d-fa80-7f99-b10c-b44109f58cZ7",
            "019C322D-fa80-7f99-b10c-b44109f58c77",
            "short",
        ] {
            assert_eq!(EventId::parse(text.as_bytes()), None, "{text}");
        }
    }
}
