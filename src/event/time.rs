//! Reads and writes RFC 3339 timestamps.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Time;

/// Seconds in a day.
const DAY: i64 = 86_400;

/// A timestamp that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The instant.
    pub time: Time,
    /// How it was written.
    pub form: Form,
}

/// How a timestamp was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// RFC 3339 in UTC with `T`, `Z`, up to nine fraction digits: passes byte for byte.
    Canonical,
    /// The same instant in another spelling: offset, lower case, blank for `T`, leap second, more
    /// than nine digits.
    Other,
    /// No zone; taken as UTC.
    NoZone,
}

/// A day of the Gregorian calendar and the second inside it, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// 0 to 9999, as RFC 3339 has four digits.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 86399.
    pub second: u32,
}

impl Time {
    /// The date and the second of its day; of a time before or after the years that RFC 3339 has,
    /// the nearest that are in them.
    #[inline(always)]
    #[must_use]
    pub fn civil(self) -> Civil {
        let secs = self.secs.clamp(YEAR_0, YEAR_10000 - 1);
        let (year, month, day) = date(secs.div_euclid(DAY));
        Civil { year, month, day, second: secs.rem_euclid(DAY) as u32 }
    }

    /// From nanoseconds since 1970.
    #[must_use]
    pub fn from_ns(ns: u64) -> Self {
        let (secs, nanos) = (ns / 1_000_000_000, ns % 1_000_000_000);
        Self {
            secs: i64::try_from(secs).expect("the quotient is small"),
            nanos: u32::try_from(nanos).expect("the rest is small"),
        }
    }

    /// The time by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_ns(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since 1970; 0 before, the most there can be far after.
    #[must_use]
    pub fn ns(self) -> u64 {
        let secs = u64::try_from(self.secs).unwrap_or(0);
        secs.saturating_mul(1_000_000_000).saturating_add(u64::from(self.nanos))
    }

    /// RFC 3339 in UTC with whole milliseconds.
    #[must_use]
    pub fn text(self) -> String {
        let text = text(self);
        let text = std::str::from_utf8(&text[1..24]).expect("digits and marks are ASCII");
        format!("{text}Z")
    }
}

/// Reads a timestamp; `None` when it is not a time.
///
/// RFC 3339, section 5.6, and what producers write beside it: a blank for the `T`, an offset
/// without its colon, no zone. A leap second is the first instant of the next minute, as in POSIX
/// time. An offset may lead out of the years that have a text; then it is the nearest time in them,
/// so that all destinations are told the same.
pub(super) fn parse(text: &[u8]) -> Option<Stamp> {
    let head: &[u8; 19] = text.first_chunk()?;
    let digits = |i: usize| {
        let (tens, ones) = (head[i].wrapping_sub(b'0'), head[i + 1].wrapping_sub(b'0'));
        // Out of range for every part when one of the two is no digit.
        if tens > 9 || ones > 9 { 255 } else { u32::from(tens * 10 + ones) }
    };
    let marks = head[4] == b'-' && head[7] == b'-' && head[13] == b':' && head[16] == b':';
    let (century, years) = (digits(0), digits(2));
    let (month, day) = (digits(5), digits(8));
    let (hour, minute, second) = (digits(11), digits(14), digits(17));
    let year = century * 100 + years;
    let ranged = century < 100 && years < 100 && hour < 24 && minute < 60 && second <= 60;
    if !marks || !ranged || day == 0 || day > month_days(year, month) {
        return None;
    }
    let mut canonical = second < 60;
    match head[10] {
        b'T' => {}
        b't' | b' ' => canonical = false,
        _ => return None,
    }
    let (nanos, digits_seen) = fraction(&text[19..])?;
    canonical &= digits_seen <= 9;
    let zone_at = if digits_seen == 0 { 19 } else { 20 + digits_seen };
    let (zone, offset) = zone(&text[zone_at..])?;
    let secs = days(year, month, day) * DAY + i64::from(hour * 3600 + minute * 60 + second)
        - i64::from(offset);
    let form = match zone {
        Zone::Utc if canonical => Form::Canonical,
        Zone::Utc | Zone::Offset => Form::Other,
        Zone::Absent => Form::NoZone,
    };
    let secs = secs.clamp(YEAR_0, YEAR_10000 - 1);
    // A leap second keeps its fraction: it must not sort before the second that it extends.
    Some(Stamp { time: Time { secs, nanos }, form })
}

/// Appends the instant as a JSON string: RFC 3339 in UTC with the shortest of 0, 3, 6 or 9 fraction
/// digits that is exact.
pub fn write(time: Time, out: &mut Vec<u8>) {
    let text = text(time);
    match time.nanos {
        0 => out.extend_from_slice(&text[..20]),
        n if n.is_multiple_of(1_000_000) => out.extend_from_slice(&text[..24]),
        n if n.is_multiple_of(1_000) => out.extend_from_slice(&text[..27]),
        _ => out.extend_from_slice(&text[..30]),
    }
    out.extend_from_slice(b"Z\"");
}

/// Appends the instant as a JSON string with exactly three fraction digits, the rest cut off.
#[inline]
pub fn write_millis(time: Time, out: &mut Vec<u8>) {
    let text = text(time);
    let mut short = [0; 26];
    short[..24].copy_from_slice(&text[..24]);
    short[24..].copy_from_slice(b"Z\"");
    out.extend_from_slice(&short);
}

/// The instant with nine fraction digits, after a quote and before the zone.
#[inline(always)]
fn text(time: Time) -> [u8; 30] {
    let Civil { year, month, day, second } = time.civil();
    let mut text = *b"\"0000-00-00T00:00:00.000000000";
    let mut put = |at: usize, value: u32| {
        text[at] = b'0' + (value / 10) as u8;
        text[at + 1] = b'0' + (value % 10) as u8;
    };
    put(1, year / 100);
    put(3, year % 100);
    put(6, month);
    put(9, day);
    put(12, second / 3600);
    put(15, second / 60 % 60);
    put(18, second % 60);
    let (millis, micros, nanos) =
        (time.nanos / 1_000_000, time.nanos / 1_000 % 1_000, time.nanos % 1_000);
    for (at, part) in [(21, millis), (24, micros), (27, nanos)] {
        text[at] = b'0' + (part / 100) as u8;
        text[at + 1] = b'0' + (part / 10 % 10) as u8;
        text[at + 2] = b'0' + (part % 10) as u8;
    }
    text
}

/// The fraction after the seconds: nanoseconds (further digits cut off), and how many digits.
fn fraction(rest: &[u8]) -> Option<(u32, usize)> {
    if rest.first() != Some(&b'.') {
        return Some((0, 0));
    }
    let digits = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let mut nanos = 0;
    for i in 0..9 {
        nanos = nanos * 10 + if i < digits { u32::from(rest[1 + i] - b'0') } else { 0 };
    }
    Some((nanos, digits))
}

/// What follows the time of day.
enum Zone {
    Utc,
    Offset,
    Absent,
}

/// The zone at the end of a timestamp, and its offset in seconds.
fn zone(rest: &[u8]) -> Option<(Zone, i32)> {
    let (sign, hours, minutes) = match *rest {
        [b'Z'] => return Some((Zone::Utc, 0)),
        [] => return Some((Zone::Absent, 0)),
        [b'z'] => return Some((Zone::Offset, 0)),
        [sign, a, b, b':', c, d] | [sign, a, b, c, d] => (sign, [a, b], [c, d]),
        _ => return None,
    };
    let number = |pair: [u8; 2]| {
        let digit = |byte: u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
        Some(digit(pair[0])? * 10 + digit(pair[1])?)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    match sign {
        b'+' => Some((Zone::Offset, hours * 3600 + minutes * 60)),
        b'-' => Some((Zone::Offset, -(hours * 3600 + minutes * 60))),
        _ => None,
    }
}

/// Days of a month; 0 for a month that does not exist.
fn month_days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        1..=12 => 31,
        _ => 0,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year, and in eras of 400
/// years, which all have 146,097 days.
fn days(year: u32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = i64::from((153 * ((month + 9) % 12) + 2) / 5 + day - 1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date of a day since 1970-01-01: year, month, day; the inverse of [`days`].
fn date(days: i64) -> (u32, u32, u32) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097) as u32);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + i64::from(year_of_era) + i64::from(month <= 2);
    (year as u32, month, day)
}

/// 0000-01-01T00:00:00Z.
const YEAR_0: i64 = -62_167_219_200;
/// 10000-01-01T00:00:00Z.
const YEAR_10000: i64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(i64, u32, Form)>) {
        let stamp = parse(text.as_bytes());
        let seen = stamp.map(|stamp| (stamp.time.secs, stamp.time.nanos, stamp.form));
        assert_eq!(seen, expected, "{text}");
    }

    #[test]
    fn times_are_read_in_every_spelling() {
        use Form::{Canonical, NoZone, Other};
        for (text, secs, nanos, form) in [
            ("1970-01-01T00:00:00Z", 0, 0, Canonical),
            ("2026-02-06T09:00:07.987654321Z", 1_770_368_407, 987_654_321, Canonical),
            ("2026-02-06T09:00:03.120Z", 1_770_368_403, 120_000_000, Canonical),
            ("2026-02-06T09:00:03.1Z", 1_770_368_403, 100_000_000, Canonical),
            ("2026-02-06T09:00:03.1234567899Z", 1_770_368_403, 123_456_789, Other),
            ("2026-02-06T10:00:45+01:00", 1_770_368_445, 0, Other),
            ("2026-02-06T10:00:45+0100", 1_770_368_445, 0, Other),
            ("2026-02-06T03:30:45-05:30", 1_770_368_445, 0, Other),
            ("2026-02-06T09:00:45+00:00", 1_770_368_445, 0, Other),
            ("2026-02-06t09:00:45z", 1_770_368_445, 0, Other),
            ("2026-02-06 09:00:45Z", 1_770_368_445, 0, Other),
            ("2026-02-06T09:00:45", 1_770_368_445, 0, NoZone),
            ("2016-12-31T23:59:60Z", 1_483_228_800, 0, Other),
            ("2024-02-29T00:00:00Z", 1_709_164_800, 0, Canonical),
            ("0000-01-01T00:00:00Z", YEAR_0, 0, Canonical),
            ("9999-12-31T23:59:59Z", YEAR_10000 - 1, 0, Canonical),
            ("0000-01-01T00:00:00+23:59", YEAR_0, 0, Other),
            ("9999-12-31T23:59:59-23:59", YEAR_10000 - 1, 0, Other),
            ("9999-12-31T23:59:60Z", YEAR_10000 - 1, 0, Other),
        ] {
            check(text, Some((secs, nanos, form)));
        }
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-02-06",
            "2026-02-06T12:00",
            "2026-13-06T12:00:00Z",
            "2026-00-06T12:00:00Z",
            "2026-02-30T12:00:00Z",
            "2025-02-29T12:00:00Z",
            "2026-02-06T24:00:00Z",
            "2026-02-06T12:60:00Z",
            "2026-02-06T12:00:61Z",
            "2026-02-06T12:00:00.Z",
            "2026-02-06T12:00:00+1",
            "2026-02-06T12:00:00+24:00",
            "2026-02-06T12:00:00*01:00",
            "2026-02-06T12:00:00Zx",
            "2026-02-06_12:00:00Z",
            "20a6-02-06T12:00:00Z",
            "1770368403",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn each_day_of_four_centuries_is_written_as_it_is_read() {
        for day in days(1900, 1, 1)..days(2300, 1, 1) {
            let time = Time { secs: day * DAY + 45_296, nanos: 120_000_000 };
            let mut text = Vec::new();
            write(time, &mut text);
            let stamp = parse(&text[1..text.len() - 1]).expect("what is written is a time");
            assert_eq!((stamp.time, stamp.form), (time, Form::Canonical));
        }
    }

    #[test]
    fn a_year_without_a_text_becomes_the_nearest_one() {
        for (secs, expected) in
            [(i64::MIN, "\"0000-01-01T00:00:00Z\""), (i64::MAX, "\"9999-12-31T23:59:59Z\"")]
        {
            let mut text = Vec::new();
            write(Time { secs, nanos: 0 }, &mut text);
            assert_eq!(String::from_utf8_lossy(&text), expected);
        }
    }

    #[test]
    fn fractions_are_the_shortest_exact_group() {
        for (nanos, expected) in [
            (0, "\"1970-01-01T00:00:00Z\""),
            (120_000_000, "\"1970-01-01T00:00:00.120Z\""),
            (1_000, "\"1970-01-01T00:00:00.000001Z\""),
            (1, "\"1970-01-01T00:00:00.000000001Z\""),
        ] {
            let mut text = Vec::new();
            write(Time { secs: 0, nanos }, &mut text);
            assert_eq!(String::from_utf8_lossy(&text), expected);
        }
    }
}
