//! What privacy looks for without being told how: secrets and numbers of people.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::event::{Needs, PatternRule};

/// A built-in pattern; rows of one name belong together.
struct BuiltIn {
    name: &'static str,
    regex: &'static str,
    needs: Needs,
    check: Option<fn(&[u8]) -> bool>,
}

/// An expression that begins with literals.
const fn literal(name: &'static str, regex: &'static str) -> BuiltIn {
    BuiltIn { name, regex, needs: Needs::Beginning, check: None }
}

/// An expression about digits.
const fn digits(
    name: &'static str,
    regex: &'static str,
    check: Option<fn(&[u8]) -> bool>,
) -> BuiltIn {
    BuiltIn { name, regex, needs: Needs::Digits, check }
}

/// The names of the built-in patterns.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = BUILT_IN.iter().map(|row| row.name).collect();
    names.dedup();
    names
}

/// The patterns of a name.
pub(super) fn named(name: &str) -> impl Iterator<Item = PatternRule> {
    BUILT_IN.iter().filter(move |row| row.name == name).map(|row| PatternRule {
        name: row.name.to_owned(),
        regex: row.regex.to_owned(),
        replacement: None,
        needs: row.needs,
        check: row.check,
    })
}

/// Each expression begins with few literals, which one search looks for in every record: the
/// first six names are on by default, and have to cost next to nothing.
const BUILT_IN: &[BuiltIn] = &[
    // A block without its end was cut: everything after the beginning goes.
    literal(
        "private_key",
        r"(?s-u)-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    literal("aws_key", r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?-u:\b)"),
    literal(
        "aws_key",
        r#"(?:ecretAccessKey|ecret_access_key|ECRET_ACCESS_KEY)[^A-Za-z0-9/+]{1,6}(?P<secret>[A-Za-z0-9/+]{40})"#,
    ),
    literal(
        "github_token",
        r"(?-u:\b)(?:gh[oprsu]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,})",
    ),
    literal("slack_token", r"(?-u:\b)(?:xox[a-z]-|xapp-[A-Za-z0-9])[A-Za-z0-9-]{9,}"),
    literal(
        "slack_token",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[A-Za-z0-9/]{8,})",
    ),
    literal(
        "bearer",
        r"(?-u:\b)(?:[Bb]earer|BEARER)[^A-Za-z0-9]{1,3}(?P<secret>[A-Za-z0-9._~+/=-]{16,})",
    ),
    // A word like `basic` is common; what follows it decides.
    BuiltIn {
        name: "bearer",
        regex: r"(?-u:\b)(?:[Bb]asic|BASIC)[^A-Za-z0-9]{1,3}(?P<secret>[A-Za-z0-9+/]{8,}={0,2})",
        needs: Needs::Beginning,
        check: Some(is_credentials),
    },
    literal("bearer", r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*"),
    literal("llm_key", r"(?-u:\b)sk-(?:ant|proj)-[A-Za-z0-9_-]{16,}"),
    // Each key of OpenAI has this in its midst, and means nothing without its second half.
    literal("llm_key", r"T3BlbkFJ[A-Za-z0-9_-]{16,}"),
    // Up to the last `@`: whoever writes such an address forgets to escape the others.
    BuiltIn {
        name: "url_password",
        regex: r#"[A-Za-z0-9+.-]:(?:\\?/){2}[^\s/?\#@:"'<>]*:(?P<secret>[^\s/?\#"'<>]+)@"#,
        needs: Needs::Byte(b'@'),
        check: None,
    },
    BuiltIn {
        name: "email",
        regex: r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}",
        needs: Needs::Byte(b'@'),
        check: None,
    },
    digits("credit_card", r"(?-u:\b)[0-9](?:[ -]?[0-9]){12,18}(?-u:\b)", Some(is_card)),
    digits("ssn", r"(?-u:\b)[0-9]{3}-[0-9]{2}-[0-9]{4}(?-u:\b)", Some(is_ssn)),
    digits(
        "phone",
        r"(?:\+[0-9]{1,3}[ .-]?(?:\(?[0-9]{1,4}\)?[ .-]?){2,5}[0-9]{2,4}|(?:\([0-9]{3}\) ?|(?-u:\b)[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4})(?-u:\b)",
        None,
    ),
    digits(
        "ipv4",
        r"(?-u:\b)(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?-u:\b)",
        None,
    ),
    BuiltIn {
        name: "generic_secret",
        regex: r#"(?i-u)(?:api[_-]?key|access[_-]?key|auth[_-]?token|client[_-]?secret|secret|token|passw(?:or)?d|pwd)(?:\\{0,7}["' ]){0,2}[=:](?:\\{0,7}["' ]){0,2}(?P<secret>(?:[^\s"'&,;\\]|\\+[^\s"'&,;\\]){6,})"#,
        needs: Needs::Assignment(SECRET_WORDS),
        check: None,
    },
];

/// How the names of what is kept secret end.
const SECRET_WORDS: &[&str] = &["key", "token", "secret", "password", "passwd", "pwd"];

/// Whether a text is a user and a password as basic authentication spells them (RFC 7617, section
/// 2): base64 of a name, a colon and the rest.
fn is_credentials(text: &[u8]) -> bool {
    let decoded = BASIC.decode(text).unwrap_or_default();
    let name = decoded.iter().position(|&byte| byte == b':').map(|at| &decoded[..at]);
    name.and_then(|name| str::from_utf8(name).ok()).is_some_and(|it| !it.contains(char::is_control))
}

/// Base64 with or without its end.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether digits are the number of a card: 13 to 19, not all the same, the last one as Luhn says
/// (ISO/IEC 7812-1, annex B).
fn is_card(text: &[u8]) -> bool {
    let digits = || text.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0');
    let doubled = |(n, digit): (usize, u8)| match n % 2 {
        0 => u32::from(digit),
        _ => u32::from(digit) * 2 - if digit > 4 { 9 } else { 0 },
    };
    let sum: u32 = digits().enumerate().map(doubled).sum();
    let first = digits().next();
    (13..=19).contains(&digits().count())
        && sum.is_multiple_of(10)
        && digits().any(|digit| Some(digit) != first)
}

/// Whether digits can be a social security number: some areas were never given out.
fn is_ssn(text: &[u8]) -> bool {
    let is_area = !(text.starts_with(b"000") || text.starts_with(b"666") || text[0] == b'9');
    is_area && &text[4..6] != b"00" && !text.ends_with(b"0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_cards_end_as_luhn_says() {
        for card in ["4111111111111111", "5500 0000 0000 0004", "3400-000000-00009"] {
            assert!(is_card(card.as_bytes()), "{card}");
        }
        for other in ["4111111111111112", "0000000000000000", "1771234567890"] {
            assert!(!is_card(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn credentials_are_a_name_a_colon_and_the_rest() {
        for text in
            ["YWxhZGRpbjpvcGVuc2VzYW1l", "dXNlcjpwYXNz", "dTpw", "OnRva2VuMTI=", "OnRva2VuMTI"]
        {
            assert!(is_credentials(text.as_bytes()), "{text}");
        }
        for other in ["authentication", "information", "security", "training", "YWxhZGRpbg=="] {
            assert!(!is_credentials(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn numbers_that_were_never_given_out_are_none() {
        assert!(is_ssn(b"123-45-6789"));
        for other in ["000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000"] {
            assert!(!is_ssn(other.as_bytes()), "{other}");
        }
    }
}
