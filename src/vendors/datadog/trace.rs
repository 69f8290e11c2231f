//! Trace ids: Datadog wants decimal numbers of 64 bits, producers have many forms.
//!
//! "Connecting logs and traces": `dd.trace_id` is the decimal of the low 64 bits.

use crate::event::{Event, FieldId as F};
use crate::transform::{Encoder, json};

/// What ids are read from.
pub(super) const FIELDS: &[F] = &[F::TraceId, F::SpanId, F::Traceparent, F::Metadata];

/// The trace's id, low 64 bits.
pub(super) fn id(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    decimal(encoder, trace(event).map(|id| low(id.value)))
}

/// The span's id.
pub(super) fn span(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    decimal(encoder, own_span(event).or_else(|| parents_span(event)))
}

/// The id of the span that the span is in.
pub(super) fn parent(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let said = own(event, b"parent_id").or_else(|| member(event, b"parent_span_id"));
    let said = said.and_then(|(text, is_decimal)| number(text, is_decimal));
    // Beside a span of its own, a traceparent names the one around it.
    let around = own_span(event).and_then(|_| parents_span(event));
    decimal(encoder, said.map(|id| low(id.value)).or(around))
}

/// All 128 bits as W3C spells them, where there are more than 64.
pub(super) fn whole(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    match trace(event) {
        Some(Id { value, is_wide: true }) => {
            let mut text = [b'0'; 32];
            for (at, digit) in text.iter_mut().enumerate() {
                *digit = HEX[(value >> (124 - 4 * at) & 15) as usize];
            }
            encoder.text(&text);
            true
        }
        _ => false,
    }
}

/// An id that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    value: u128,
    /// Whether it was spelled with 128 bits.
    is_wide: bool,
}

fn trace(event: &Event<'_>) -> Option<Id> {
    let said = field(event, F::TraceId).or_else(|| own(event, b"trace_id"));
    let said = said.or_else(|| member(event, b"trace_id"));
    let said = said.and_then(|(text, is_decimal)| number(text, is_decimal));
    said.or_else(|| number(traceparent(event)?.0, false))
}

fn own_span(event: &Event<'_>) -> Option<u64> {
    let said = field(event, F::SpanId).or_else(|| own(event, b"span_id"));
    let (text, is_decimal) = said.or_else(|| member(event, b"span_id"))?;
    number(text, is_decimal).map(|id| low(id.value))
}

fn parents_span(event: &Event<'_>) -> Option<u64> {
    number(traceparent(event)?.1, false).map(|id| low(id.value))
}

/// A text, and whether digits in it are decimal whatever their number.
type Said<'a> = (&'a [u8], bool);

fn field<'a>(event: &Event<'a>, field: F) -> Option<Said<'a>> {
    let text = event.text(field);
    (!text.is_empty()).then_some((text, false))
}

/// A member of `metadata.dd`, which Datadog's own libraries write in decimal.
fn own<'a>(event: &Event<'a>, name: &[u8]) -> Option<Said<'a>> {
    let metadata = event.value(F::Metadata)?.json;
    // Most metadata has no such member, and looking for bytes is cheaper than walking.
    memchr::memmem::find(metadata, b"\"dd\"")?;
    let value = json::member(json::member(metadata, b"dd")?, name)?;
    Some((json::string(value).unwrap_or(value), true))
}

/// A member of `metadata`; the fields above are texts alone, and some producers write numbers.
fn member<'a>(event: &Event<'a>, name: &[u8]) -> Option<Said<'a>> {
    let metadata = event.value(F::Metadata)?.json;
    memchr::memmem::find(metadata, name)?;
    let value = json::member(metadata, name)?;
    let text = json::string(value);
    Some((text.unwrap_or(value), text.is_none()))
}

/// The trace and the span of a traceparent: `00-{32 digits}-{16 digits}-{2 digits}` (W3C Trace
/// Context, 3.2.2).
fn traceparent<'a>(event: &Event<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let mut parts = event.text(F::Traceparent).split(|&byte| byte == b'-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let is_known = version.len() == 2 && version != b"ff" && parts.next().is_some();
    (is_known && trace.len() == 32 && span.len() == 16).then_some((trace, span))
}

/// Reads an id: 32 or 16 hexadecimal digits, else decimal; zero and anything else is none.
fn number(text: &[u8], is_decimal: bool) -> Option<Id> {
    let is_hex = text.len() == 32 || (text.len() == 16 && !(is_decimal && all_digits(text)));
    let radix = match is_hex {
        true if text.iter().all(u8::is_ascii_hexdigit) => 16,
        false if all_digits(text) => 10,
        _ => return None,
    };
    let value = u128::from_str_radix(std::str::from_utf8(text).ok()?, radix).ok()?;
    let fits = radix == 16 || value <= u128::from(u64::MAX);
    (fits && low(value) != 0).then_some(Id { value, is_wide: text.len() == 32 })
}

fn all_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn low(value: u128) -> u64 {
    (value & u128::from(u64::MAX)) as u64
}

fn decimal(encoder: &mut Encoder<'_>, id: Option<u64>) -> bool {
    let Some(id) = id else { return false };
    encoder.open_text();
    encoder.number(id);
    encoder.close_text();
    true
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_many_forms() {
        let wide = "8abd18d08f36d7d51832b154b1c957ab";
        let cases: &[(&str, bool, Option<u64>)] = &[
            (wide, false, Some(0x1832_b154_b1c9_57ab)),
            ("06a328da49cbf3fa", false, Some(0x06a3_28da_49cb_f3fa)),
            ("1234567890123456", false, Some(0x1234_5678_9012_3456)),
            ("1234567890123456", true, Some(1_234_567_890_123_456)),
            ("18446744073709551615", false, Some(u64::MAX)),
            ("18446744073709551616", false, None),
            ("7", true, Some(7)),
            ("0", true, None),
            ("00000000000000000000000000000000", false, None),
            ("8abd18d08f36d7d50000000000000000", false, None),
            ("xyz", false, None),
            ("-7", false, None),
            ("+7", false, None),
            ("", false, None),
        ];
        for &(text, is_decimal, expected) in cases {
            let found = number(text.as_bytes(), is_decimal).map(|id| low(id.value));
            assert_eq!(found, expected, "{text}");
        }
    }
}
