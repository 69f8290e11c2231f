//! Texts with `{placeholders}`: templates, and options such as an index name.

use super::name::Name;

/// A piece of a parsed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text as it is.
    Text(String),
    /// A value of the event.
    Value(Name),
    /// The next schema of the chain.
    Document,
    /// The next schema of the chain, as text in a string.
    DocumentText,
    /// The event's time.
    Date(Vec<DatePart>),
    /// A group begins, which is left out where it has values and all of them are absent.
    Group,
}

/// A piece of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DatePart {
    /// Four digits.
    Year,
    /// Two digits, 01 to 12.
    Month,
    /// Two digits, 01 to 31.
    Day,
    /// Two digits, 00 to 23.
    Hour,
    /// A month or day below what the date is rounded to.
    One,
    /// An hour below what the date is rounded to.
    Zero,
    /// A separator.
    Text(char),
}

/// Why a text does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternError {
    /// The byte where it stops, from 0.
    pub(super) at: usize,
    /// What is wrong, and what was expected.
    pub(super) problem: String,
}

/// Stands before each group of a pattern. Operators cannot write it: options have no control
/// characters.
pub const GROUP: char = '\u{1f}';

/// Checks that a text has placeholders of these names only.
///
/// # Errors
/// What is wrong, with the nearest name.
pub fn check_names(text: &str, known: &[&str]) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        rest = &rest[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            rest = &rest[2..];
            continue;
        }
        let name = rest.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let Some((name, behind)) = name else {
            return Err("has a brace without its partner; write `{{` for a brace".to_owned());
        };
        if !known.contains(&name) {
            let hint = match super::nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected one of {}", known.join(", ")),
            };
            return Err(format!("has no `{name}`; {hint}"));
        }
        rest = behind;
    }
    Ok(())
}

/// Parses a text; `texts` are the names that stand for a text known at start-up.
pub(super) fn parse(text: &str, texts: &[(String, String)]) -> Result<Vec<Piece>, PatternError> {
    let mut pieces = Vec::new();
    for (at, group) in text.split(GROUP).enumerate() {
        if at > 0 {
            pieces.push(Piece::Group);
        }
        parse_group(group, texts, &mut pieces)?;
    }
    Ok(pieces)
}

fn parse_group(
    text: &str,
    texts: &[(String, String)],
    pieces: &mut Vec<Piece>,
) -> Result<(), PatternError> {
    let mut at = 0;
    // Elasticsearch writes date math between angle brackets, `<name-{now/d}>`.
    let (text, base) = match text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) {
        Some(inner) if inner.contains("{now") => (inner, 1),
        _ => (text, 0),
    };
    while let Some(step) = text[at..].find(['{', '}']) {
        let brace = at + step;
        push_text(pieces, &text[at..brace]);
        let rest = &text[brace..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            push_text(pieces, &rest[..1]);
            at = brace + 2;
            continue;
        }
        let error = |problem: String| PatternError { at: base + brace, problem };
        let end = closing(rest).ok_or_else(|| {
            error("a brace without its partner; write `{{` or `}}` for a brace".to_owned())
        })?;
        match placeholder(&rest[1..end], texts).map_err(error)? {
            Piece::Text(text) => push_text(pieces, &text),
            piece => pieces.push(piece),
        }
        at = brace + end + 1;
    }
    push_text(pieces, &text[at..]);
    Ok(())
}

/// Adds text, joined with text before it.
fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// Where the brace that opens the text is closed; date math nests one deeper.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at),
            b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

fn placeholder(name: &str, texts: &[(String, String)]) -> Result<Piece, String> {
    if let Some((_, text)) = texts.iter().find(|(known, _)| known == name) {
        return Ok(Piece::Text(text.clone()));
    }
    match name {
        "document" => return Ok(Piece::Document),
        "document_text" => return Ok(Piece::DocumentText),
        "date" => return strftime("%Y.%m.%d").map(Piece::Date),
        _ => {}
    }
    if let Some(format) = name.strip_prefix("date:") {
        return strftime(format).map(Piece::Date);
    }
    if let Some(math) = name.strip_prefix("now") {
        return date_math(math).map(Piece::Date);
    }
    if let Some(name) = Name::parse(name) {
        return Ok(Piece::Value(name));
    }
    let mut known: Vec<&str> = vec!["date", "now/d"];
    known.extend(texts.iter().map(|(name, _)| name.as_str()));
    Name::known().for_each(|name| known.push(name));
    Err(match super::nearest(name, known.into_iter()) {
        Some(near) => format!("unknown name `{name}`, did you mean `{near}`?"),
        None => format!("unknown name `{name}`, expected a field such as `tenant_id`"),
    })
}

/// A date format with `%Y`, `%m`, `%d` and `%H`.
fn strftime(format: &str) -> Result<Vec<DatePart>, String> {
    let mut parts = Vec::new();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        parts.push(match char {
            '%' => match chars.next() {
                Some('Y') => DatePart::Year,
                Some('m') => DatePart::Month,
                Some('d') => DatePart::Day,
                Some('H') => DatePart::Hour,
                _ => return Err(format!("date `{format}` takes %Y, %m, %d and %H")),
            },
            char => DatePart::Text(char),
        });
    }
    Ok(parts)
}

/// What stands after `now` in Elasticsearch's date math: rounding, and a format in braces.
///
/// The date is the event's, not the sender's, so that an event sent twice has one index. Offsets
/// (`-1d`) and other time zones would move events to another day and are refused.
fn date_math(math: &str) -> Result<Vec<DatePart>, String> {
    let problem = || {
        format!("date math `now{math}` takes /y, /M, /d or /H and a format such as {{yyyy.MM.dd}}")
    };
    let (rounding, format) = match math.split_once('{') {
        Some((rounding, format)) => (rounding, format.strip_suffix('}').ok_or_else(problem)?),
        None => (math, "yyyy.MM.dd"),
    };
    let format = format.split_once('|').map_or(Ok(format), |(format, zone)| match zone {
        "UTC" | "Z" | "+00:00" => Ok(format),
        _ => Err(problem()),
    })?;
    let finest = match rounding {
        "" | "/H" | "/h" => 4,
        "/d" => 3,
        "/M" => 2,
        "/y" => 1,
        _ => return Err(problem()),
    };
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some(char) = rest.chars().next() {
        let (part, len) = match rest {
            _ if rest.starts_with("yyyy") || rest.starts_with("uuuu") => (DatePart::Year, 4),
            _ if rest.starts_with("MM") => (at_least(2, finest, DatePart::Month), 2),
            _ if rest.starts_with("dd") => (at_least(3, finest, DatePart::Day), 2),
            _ if rest.starts_with("HH") => (at_least(4, finest, DatePart::Hour), 2),
            _ if char.is_ascii_alphabetic() => return Err(problem()),
            _ => (DatePart::Text(char), char.len_utf8()),
        };
        parts.push(part);
        rest = &rest[len..];
    }
    Ok(parts)
}

/// The part, or where the rounding is coarser than its level, the first of its kind.
fn at_least(level: u8, finest: u8, part: DatePart) -> DatePart {
    match part {
        part if level <= finest => part,
        DatePart::Hour => DatePart::Zero,
        _ => DatePart::One,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    #[test]
    fn placeholders_stand_between_texts() {
        let texts = [("index".to_owned(), "main".to_owned())];
        let pieces = parse("{{a}} {index}-{tenant_id}.", &texts).expect("the text is valid");
        let tenant = Name::parse("tenant_id").expect("a short name");
        assert_eq!(pieces, [text("{a} main-"), Piece::Value(tenant), text(".")]);
    }

    #[test]
    fn dates_take_formats_and_date_math() {
        use DatePart::{Day, Hour, Month, One, Text, Year};
        let cases = [
            ("{date}", vec![Year, Text('.'), Month, Text('.'), Day]),
            ("{date:%Y-%m}", vec![Year, Text('-'), Month]),
            ("<{now/d}>", vec![Year, Text('.'), Month, Text('.'), Day]),
            ("<{now/M}>", vec![Year, Text('.'), Month, Text('.'), One]),
            ("<{now/d{yyyy-MM-dd|UTC}}>", vec![Year, Text('-'), Month, Text('-'), Day]),
            ("<{now/H{yyyyMMddHH}}>", vec![Year, Month, Day, Hour]),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, &[]), Ok(vec![Piece::Date(expected)]), "{text}");
        }
    }

    #[test]
    fn mistakes_say_where_and_what() {
        let cases = [
            ("a{tenant", 1, "a brace without its partner"),
            ("a}b", 1, "a brace without its partner"),
            ("x-{tenant_di}", 2, "did you mean `tenant_id`?"),
            ("<x-{now-1d/d}>", 3, "date math"),
            ("<x-{now/d{yyyy|+02:00}}>", 3, "date math"),
            ("{date:%Q}", 0, "takes %Y"),
        ];
        for (text, at, problem) in cases {
            let error = parse(text, &[]).expect_err(text);
            assert_eq!(error.at, at, "{text}");
            assert!(error.problem.contains(problem), "{text}: {}", error.problem);
        }
    }
}
