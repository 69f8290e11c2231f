//! Event ids: UUIDs as they are, and deterministic ones for everything else.

use sha2::{Digest, Sha256};

/// Where the hyphens of a UUID stand (RFC 9562, section 4).
const PATTERN: &[u8; 36] = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

/// Whether the text is a UUID in lower case.
#[inline]
pub(super) fn is_uuid(text: &[u8]) -> bool {
    let Ok(text) = <&[u8; 36]>::try_from(text) else { return false };
    // Without branches, so that the compiler compares many bytes at a time.
    let mut wrong = 0;
    for (byte, pattern) in text.iter().zip(PATTERN) {
        let digit = byte.wrapping_sub(b'0') < 10;
        let letter = byte.wrapping_sub(b'a') < 6;
        let hyphen = *byte == b'-';
        let expected = *pattern == b'-';
        wrong |= u8::from((digit | letter | hyphen) & (hyphen == expected)) ^ 1;
    }
    wrong == 0
}

/// The UUID that a source id stands for: itself in lower case, also behind `evt_`.
#[must_use]
pub fn uuid_of(text: &[u8]) -> Option<[u8; 36]> {
    let text = text.strip_prefix(b"evt_").unwrap_or(text);
    let mut uuid = <[u8; 36]>::try_from(text).ok()?;
    uuid.make_ascii_lowercase();
    is_uuid(&uuid).then_some(uuid)
}

/// The deterministic id of a record whose source id is no UUID (`inputs.md` 7.0).
///
/// UUID version 8 (RFC 9562, section 5.8): the first 16 bytes of SHA-256 over format, source id and
/// the raw line without its ending, joined by 0x1F.
#[must_use]
pub fn derived_id(format: &str, source_id: &[u8], line: &[u8]) -> [u8; 36] {
    let mut hash = Sha256::new();
    hash.update(format.as_bytes());
    hash.update([0x1f]);
    hash.update(source_id);
    hash.update([0x1f]);
    hash.update(line);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid_text(bytes, 8)
}

/// A UUID of these bits with its version and the variant of RFC 9562 set.
#[must_use]
pub fn uuid_text(mut bytes: [u8; 16], version: u8) -> [u8; 36] {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = *PATTERN;
    let mut digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for place in text.iter_mut().filter(|place| **place != b'-') {
        let digit = digits.next().expect("16 bytes have a digit for each place of the pattern");
        *place = b"0123456789abcdef"[usize::from(digit)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_kept_in_lower_case() {
        const UUID: &str = "019c322d-fa80-7f99-8d84-b44109f58c77";
        for (text, expected) in [
            (UUID.to_owned(), Some(UUID)),
            (UUID.to_uppercase(), Some(UUID)),
            (format!("evt_{UUID}"), Some(UUID)),
            (UUID.replace('-', ""), None),
            (UUID.replace('-', "_"), None),
            (UUID.replace("fa80-7", "fa807-"), None),
            (UUID.replace('c', "g"), None),
            (format!("{UUID}0"), None),
            (String::new(), None),
        ] {
            let seen = uuid_of(text.as_bytes()).map(|uuid| uuid.to_vec());
            assert_eq!(seen.as_deref(), expected.map(str::as_bytes), "{text}");
            assert_eq!(is_uuid(text.as_bytes()), text == UUID, "{text}");
        }
    }

    #[test]
    fn derived_ids_are_the_ones_of_the_specification() {
        const VELAR: &str = include_str!("../../tests/fixtures/velar-line-10.json");
        const OPENCLAW: &str = include_str!("../../tests/fixtures/openclaw-line-4.json");
        for (format, source_id, line, expected) in [
            ("velar.audit", "", VELAR, "8d64985d-6f24-8887-8d33-cb085ee9493e"),
            (
                "clawdstrike.openclaw",
                "evt-1770382803111-brk3y5",
                OPENCLAW,
                "33ac4e23-dfb8-8a0a-bc6f-48dabcb202cb",
            ),
        ] {
            let id = derived_id(format, source_id.as_bytes(), line.trim_end().as_bytes());
            assert_eq!(str::from_utf8(&id), Ok(expected), "{format}");
        }
    }
}
