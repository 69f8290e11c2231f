//! The wall clock, and instants written as RFC 3339.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970 on this host's wall clock.
///
/// Producer and fake vendor read the same clock, so their difference is an age.
#[must_use]
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes instants; keeps the text of the last second, since most neighbours share it.
#[derive(Clone, Debug, Default)]
pub struct Rfc3339 {
    second: Option<u64>,
    text: [u8; 19],
}

impl Rfc3339 {
    /// Writes `YYYY-MM-DDTHH:MM:SS[.fraction]Z` over the whole of `out`.
    ///
    /// The length of `out` decides the fraction: 20 bytes have none, 24, 27 and 30 have 3, 6, 9
    /// digits. Digits below are cut, never rounded.
    pub fn write(&mut self, ns: u64, out: &mut [u8]) {
        let second = ns / NS_PER_SECOND;
        if self.second != Some(second) {
            self.text = civil(second);
            self.second = Some(second);
        }
        let last = out.len() - 1;
        out[..19].copy_from_slice(&self.text);
        out[last] = b'Z';
        if last > 19 {
            out[19] = b'.';
            let digits = last - 20;
            let mut rest = (ns % NS_PER_SECOND) / 10u64.pow(9 - digits as u32);
            for place in out[20..last].iter_mut().rev() {
                *place = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }

    /// The instant with nine digits, as text.
    #[must_use]
    pub fn text(ns: u64) -> String {
        let mut text = [0; 30];
        Self::default().write(ns, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Reads an RFC 3339 instant in UTC or with an offset; nanoseconds since 1970.
///
/// The grammar is that of RFC 3339, 5.6; a leap second counts as the second after it.
#[must_use]
pub fn parse(text: &[u8]) -> Option<i128> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.iter().try_fold(0i64, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let shaped = marks.iter().all(|&(at, mark)| text.get(at) == Some(&mark))
        && matches!(text.get(10), Some(b'T' | b't' | b' '));
    if !shaped {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let plausible = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !plausible {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0i64;
    if text.get(at) == Some(&b'.') {
        let digits = text[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        nanos = number(at + 1, at + 1 + digits)? * 10i64.pow(9 - u32::try_from(digits).ok()?);
        at += 1 + digits;
    }
    let offset = zone(&text[at..])?;
    let days = days_from_civil(year, month, day);
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// A second since 1970 as an HTTP date (RFC 9110, 5.6.7).
#[must_use]
pub fn http_date(second: u64) -> String {
    let text = civil(second);
    let text = String::from_utf8_lossy(&text);
    let month: usize = text[5..7].parse().unwrap_or(1);
    let weekday = DAYS[(second / 86_400 % 7) as usize];
    let (day, year, time) = (&text[8..10], &text[..4], &text[11..]);
    format!("{weekday}, {day} {} {year} {time} GMT", MONTHS[month - 1])
}

/// The zone's offset in seconds.
fn zone(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) =>
        {
            let two = |a: u8, b: u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let seconds = two(*h1, *h2) * 3_600 + two(*m1, *m2) * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

/// Days in a month of the Gregorian calendar.
fn days_in(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date (Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `YYYY-MM-DDTHH:MM:SS` of a second since 1970 (the inverse, same source).
fn civil(second: u64) -> [u8; 19] {
    let days = second / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let rest = second % 86_400;
    let mut text = *b"0000-00-00T00:00:00";
    let parts = [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, rest / 3_600),
        (14, 2, rest / 60 % 60),
        (17, 2, rest % 60),
    ];
    for (at, width, mut value) in parts {
        for place in text[at..at + width].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    text
}

/// 1970-01-01 was a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Nanoseconds in a second.
pub const NS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for ns in [
            0u64,
            951_782_400_000_000_000,
            1_709_164_800_999_999_999,
            1_795_191_846_123_456_789,
            4_102_444_799_000_000_001,
        ] {
            assert_eq!(parse(Rfc3339::text(ns).as_bytes()), Some(i128::from(ns)));
        }
        assert_eq!(Rfc3339::text(951_782_400_000_000_000), "2000-02-29T00:00:00.000000000Z");
    }

    #[test]
    fn an_http_date_has_its_fixed_form() {
        // The example of RFC 9110, 5.6.7.
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2026-02-06",
            "2026-02-30T00:00:00Z",
            "2026-02-06T09:00:00",
            "2026-02-06T24:00:00Z",
            "2026-02-06T09:00:00.Z",
            "2026-02-06T09:00:00.1234567890Z",
            "2026-02-06T09:00:00+0100",
            "2026/02/06T09:00:00Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"1970-01-01T01:00:00.5+01:00"), Some(500_000_000));
    }
}
