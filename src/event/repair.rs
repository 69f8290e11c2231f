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
