//! Repairs of a text that is nearly JSON: bytes that are not UTF-8, lone surrogates, leading NULs.

use super::{Class, Classes, Reject, rewrite};

/// A text after its repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The repaired text.
    pub text: Vec<u8>,
    /// What was repaired.
    pub classes: Classes,
}

impl Repaired {
    /// The refusal of a text that was repaired in vain: the first damage is the class to report.
    #[must_use]
    pub fn refused(&self, again: Reject) -> Reject {
        let damages = [Class::InvalidUtf8, Class::NulBytes];
        let only_nul = self.text.is_empty();
        let class = match damages.into_iter().find(|&class| self.classes.contains(class)) {
            Some(Class::InvalidUtf8) if again.class == Class::JsonSyntax => Class::InvalidUtf8,
            Some(Class::NulBytes) if only_nul => Class::NulBytes,
            _ => again.class,
        };
        Reject { class, ..again }
    }
}

/// Checks that the text is UTF-8; `Err` says where it is not.
#[inline]
pub(super) fn check_utf8(text: &[u8]) -> Result<(), usize> {
    // Most events are ASCII, and that is cheaper to see.
    if is_ascii(text) {
        return Ok(());
    }
    str::from_utf8(text).map(drop).map_err(|error| error.valid_up_to())
}

/// Whether each byte is ASCII: whole vectors, the last one overlapping the one before.
#[inline(always)]
fn is_ascii(text: &[u8]) -> bool {
    let merge = |bytes: &[u8; 64]| bytes.iter().fold(0, |merged, byte| merged | byte);
    let (chunks, _) = text.as_chunks::<64>();
    let Some(last) = text.last_chunk::<64>() else { return text.is_ascii() };
    chunks.iter().fold(merge(last), |merged, chunk| merged | merge(chunk)) < 0x80
}

/// What repairs make of a text that was refused as `class`; `None` when there is nothing to repair.
///
/// Bytes that are not UTF-8 become U+FFFD, as does half of a surrogate pair; NULs before the object
/// (a hole that a crash left in a file) go.
#[must_use]
pub fn repair(text: &[u8], class: Class) -> Option<Repaired> {
    let mut classes = Classes::NONE;
    let start = match class {
        Class::InvalidUtf8 | Class::LoneSurrogate => 0,
        Class::JsonSyntax if text.first() == Some(&0) => {
            classes.insert(Class::NulBytes);
            text.iter().take_while(|&&byte| byte == 0).count()
        }
        _ => return None,
    };
    let mut repaired = String::from_utf8_lossy(&text[start..]).into_owned().into_bytes();
    if repaired != text[start..] {
        classes.insert(Class::InvalidUtf8);
    }
    if rewrite::replace_lone_surrogates(&mut repaired) {
        classes.insert(Class::LoneSurrogate);
    }
    Some(Repaired { text: repaired, classes })
}
