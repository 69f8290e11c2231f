//! Writers that tables of several schemas and vendors name.

use super::pattern::DatePart;
use super::{Choices, Encoder, json};
use crate::event::{Civil, Event, FieldId as F, Time, Value};

/// The value as it is: strings as text, numbers as numbers, objects as objects.
///
/// Where nothing has to be escaped, plans copy such values without calling this.
#[inline(never)]
pub fn value(encoder: &mut Encoder<'_>, value: Value<'_>) {
    encoder.value(value);
}

/// The value as text, numbers and bools included.
pub fn text(encoder: &mut Encoder<'_>, value: Value<'_>) {
    encoder.value_as_text(value);
}

/// The value as text without quotes, for places inside a text.
pub fn bare(encoder: &mut Encoder<'_>, value: Value<'_>) {
    match json::string(value.json) {
        Some(text) => encoder.characters(text),
        None => encoder.plain(value.json),
    }
}

/// The event's time as epoch seconds with 3 fraction digits, 6 where they say more.
///
/// Splunk keeps microseconds; finer digits are cut, never rounded up into the future.
pub fn epoch_seconds(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let Time { secs, nanos } = event.opened.time;
    let micros = nanos / 1000;
    // -0.25 s is secs -1 and nanos 750,000,000: count down from zero instead.
    let (sign, whole, micros) = match (secs < 0, micros) {
        (false, micros) => (&b""[..], secs.unsigned_abs(), micros),
        (true, 0) => (&b"-"[..], secs.unsigned_abs(), 0),
        (true, micros) => (&b"-"[..], secs.unsigned_abs() - 1, 1_000_000 - micros),
    };
    encoder.raw(sign);
    encoder.number(whole);
    encoder.literal(b".");
    if micros % 1000 == 0 {
        digits::<3>(encoder, micros / 1000);
    } else {
        digits::<6>(encoder, micros);
    }
    true
}

/// The event's time as epoch milliseconds.
pub fn epoch_millis(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    millis(encoder, event.opened.time);
    true
}

/// A time of the event's as epoch milliseconds; false when the text is no time.
pub fn text_millis(encoder: &mut Encoder<'_>, text: &[u8]) -> bool {
    match Time::parse(text) {
        Some(time) => {
            millis(encoder, time);
            true
        }
        None => false,
    }
}

fn millis(encoder: &mut Encoder<'_>, time: Time) {
    // Times are within years 0 to 9999, far from what would not fit.
    let millis = time.secs.saturating_mul(1000).saturating_add(i64::from(time.nanos / 1_000_000));
    if millis < 0 {
        encoder.literal(b"-");
    }
    encoder.number(millis.unsigned_abs());
}

/// The event's time as RFC 3339 text in UTC with milliseconds.
pub fn rfc3339_millis(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    rfc3339::<3>(encoder, event.opened.time)
}

/// The event's time as RFC 3339 text in UTC with microseconds.
pub fn rfc3339_micros(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    rfc3339::<6>(encoder, event.opened.time)
}

/// The event's time as RFC 3164 writes it, in UTC: `Feb  6 09:00:03`.
pub fn rfc3164(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let Civil { month, day, second, .. } = event.opened.time.civil();
    let at = (month as usize - 1) * 3;
    encoder.raw(&MONTHS[at..at + 3]);
    encoder.raw(if day < 10 { b"  " } else { b" " });
    encoder.number(u64::from(day));
    for (separator, number) in
        [(b" ", second / 3600), (b":", second / 60 % 60), (b":", second % 60)]
    {
        encoder.literal(separator);
        digits::<2>(encoder, number);
    }
    true
}

/// Picks by severity, from info to critical.
#[must_use]
pub fn severity(event: &Event<'_>, _: Choices) -> usize {
    event.opened.severity as usize
}

/// A date of the event's time.
pub(super) fn date(parts: &[DatePart], event: &Event<'_>, encoder: &mut Encoder<'_>) {
    // Opened timestamps are spelled in UTC: their digits are those of the date.
    if let Some(text) = event.text(F::Timestamp).first_chunk::<13>()
        && [text[4], text[7], text[10]] == *b"--T"
    {
        return spelled_date(parts, text, encoder);
    }
    let civil = event.opened.time.civil();
    for part in parts {
        match *part {
            DatePart::Year => digits::<4>(encoder, civil.year),
            DatePart::Month => digits::<2>(encoder, civil.month),
            DatePart::Day => digits::<2>(encoder, civil.day),
            DatePart::Hour => digits::<2>(encoder, civil.second / 3600),
            DatePart::One => encoder.literal(b"01"),
            DatePart::Zero => encoder.literal(b"00"),
            DatePart::Text(char) => encoder.char(char),
        }
    }
}

/// The same from a text that begins with year, month, day and hour, `2026-02-06T09`.
fn spelled_date(parts: &[DatePart], text: &[u8; 13], encoder: &mut Encoder<'_>) {
    let [y0, y1, y2, y3, _, m0, m1, _, d0, d1, _, h0, h1] = *text;
    for part in parts {
        match *part {
            DatePart::Year => encoder.literal(&[y0, y1, y2, y3]),
            DatePart::Month => encoder.literal(&[m0, m1]),
            DatePart::Day => encoder.literal(&[d0, d1]),
            DatePart::Hour => encoder.literal(&[h0, h1]),
            DatePart::One => encoder.literal(b"01"),
            DatePart::Zero => encoder.literal(b"00"),
            DatePart::Text(char) => encoder.char(char),
        }
    }
}

/// The characters of a date.
pub(super) fn date_characters(parts: &[DatePart], time: Time, mut take: impl FnMut(char)) {
    let civil = time.civil();
    for part in parts {
        let (number, width) = match *part {
            DatePart::Year => (civil.year, 4),
            DatePart::Month => (civil.month, 2),
            DatePart::Day => (civil.day, 2),
            DatePart::Hour => (civil.second / 3600, 2),
            DatePart::One => (1, 2),
            DatePart::Zero => (0, 2),
            DatePart::Text(char) => {
                take(char);
                continue;
            }
        };
        for place in (0..width).rev() {
            let digit = number / 10_u32.pow(place) % 10;
            take(char::from_digit(digit, 10).expect("a digit is below 10"));
        }
    }
}

/// Bytes that a date takes.
pub(super) fn date_len(parts: &[DatePart]) -> usize {
    let len = |part: &DatePart| match part {
        DatePart::Year => 4,
        DatePart::Text(char) => char.len_utf8(),
        _ => 2,
    };
    parts.iter().map(len).sum()
}

fn rfc3339<const FRACTION: usize>(encoder: &mut Encoder<'_>, time: Time) -> bool {
    let Civil { year, month, day, second } = time.civil();
    encoder.open_text();
    digits::<4>(encoder, year);
    for (separator, number) in [
        (b"-", month),
        (b"-", day),
        (b"T", second / 3600),
        (b":", second / 60 % 60),
        (b":", second % 60),
    ] {
        encoder.literal(separator);
        digits::<2>(encoder, number);
    }
    encoder.literal(b".");
    let fraction = time.nanos / 10_u32.pow(9 - u32::try_from(FRACTION).expect("3 or 6 digits"));
    digits::<FRACTION>(encoder, fraction);
    encoder.literal(b"Z");
    encoder.close_text();
    true
}

/// Exactly this many decimal digits, zeros in front.
fn digits<const WIDTH: usize>(encoder: &mut Encoder<'_>, number: u32) {
    let mut text = [b'0'; WIDTH];
    let mut rest = number;
    for pair in text.rchunks_mut(2) {
        let digits = PAIRS[(rest % 100) as usize];
        pair.copy_from_slice(&digits[2 - pair.len()..]);
        rest /= 100;
    }
    encoder.literal(&text);
}

/// The digits of 0 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};
