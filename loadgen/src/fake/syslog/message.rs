//! The grammar of a message: RFC 5424, section 6.

/// What the grammar says against a message; nothing when it is one.
pub(super) fn fault(message: &[u8]) -> Option<String> {
    judge(message).err().map(|what| format!("no message of RFC 5424: {what}"))
}

fn judge(message: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "not UTF-8")?;
    let rest = text.strip_prefix('<').ok_or("no PRI")?;
    let (priority, rest) = rest.split_once('>').ok_or("no PRI")?;
    let is_number = priority.len() <= 3 && (priority == "0" || !priority.starts_with('0'));
    let is_known = priority.parse::<u8>().is_ok_and(|priority| priority <= 191);
    if !is_number || !is_known {
        return Err("PRIVAL is no number from 0 to 191");
    }
    let rest = rest.strip_prefix("1 ").ok_or("VERSION is not 1")?;
    let (stamp, mut rest) = rest.split_once(' ').ok_or("the header ends early")?;
    timestamp(stamp)?;
    for (what, most) in [
        ("HOSTNAME is no word of 1 to 255 printable characters", 255),
        ("APP-NAME is no word of 1 to 48 printable characters", 48),
        ("PROCID is no word of 1 to 128 printable characters", 128),
        ("MSGID is no word of 1 to 32 printable characters", 32),
    ] {
        let (word, after) = rest.split_once(' ').ok_or("the header ends early")?;
        rest = after;
        let is_printed = word.bytes().all(|byte| (33..=126).contains(&byte));
        if word.is_empty() || word.len() > most || !is_printed {
            return Err(what);
        }
    }
    match data(rest)? {
        "" => Ok(()),
        rest if rest.starts_with(' ') => Ok(()),
        _ => Err("no blank before MSG"),
    }
}

/// `-`, or `2003-10-11T22:14:15.003Z` with at most six digits of a fraction.
fn timestamp(word: &str) -> Result<(), &'static str> {
    if word == "-" {
        return Ok(());
    }
    let shape = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
    };
    let (whole, rest) = word.split_at_checked(19).ok_or("TIMESTAMP is too short")?;
    if shape(whole) != "0000-00-00T00:00:00" {
        return Err("TIMESTAMP is no RFC 3339 with upper case");
    }
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest.split_at(digits)
        }
        None => ("0", rest),
    };
    match fraction.len() {
        1..=6 if zone == "Z" || matches!(shape(zone).as_str(), "+00:00" | "-00:00") => Ok(()),
        1..=6 => Err("TIMESTAMP has no zone"),
        _ => Err("TIMESTAMP has more than six digits of a fraction"),
    }
}

/// What follows the structured data.
fn data(text: &str) -> Result<&str, &'static str> {
    if let Some(rest) = text.strip_prefix('-') {
        return Ok(rest);
    }
    let mut rest = text;
    if !rest.starts_with('[') {
        return Err("no STRUCTURED-DATA");
    }
    while let Some(inside) = rest.strip_prefix('[') {
        let end = inside.find([' ', ']']).ok_or("an SD-ELEMENT stays open")?;
        let (name, mut after) = inside.split_at(end);
        sd_name(name)?;
        while let Some(parameter) = after.strip_prefix(' ') {
            let (name, value) = parameter.split_once("=\"").ok_or("an SD-PARAM has no value")?;
            sd_name(name)?;
            after = value_end(value)?;
        }
        rest = after.strip_prefix(']').ok_or("an SD-ELEMENT stays open")?;
    }
    Ok(rest)
}

fn sd_name(name: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| (33..=126).contains(&byte) && !b"=]\"".contains(&byte);
    match name.len() {
        1..=32 if name.bytes().all(fits) => Ok(()),
        _ => Err("an SD-NAME is none"),
    }
}

/// What follows a value's closing quotation mark.
fn value_end(value: &str) -> Result<&str, &'static str> {
    let mut chars = value.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok(&value[at + 1..]),
            ']' => return Err("a bracket in a PARAM-VALUE is not escaped"),
            // "A backslash not followed by one of the three is a regular backslash"; ours never is.
            '\\' if !matches!(chars.next(), Some((_, '"' | '\\' | ']'))) => {
                return Err("a PARAM-VALUE has an escape that there is not");
            }
            _ => {}
        }
    }
    Err("a PARAM-VALUE stays open")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_standard_are_taken_and_others_are_not() {
        let good = [
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root'",
            "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time",
            "<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [a@32473 iut=\"3\"][b@32473 c=\"d\"]",
            "<0>1 - - - - - -",
            r#"<1>1 - - - - - [a@1 b="c\]\"\\d"] x"#,
        ];
        for text in good {
            assert_eq!(fault(text.as_bytes()), None, "{text}");
        }
        let bad = [
            "",
            "<192>1 - - - - - -",
            "<01>1 - - - - - -",
            "<1>2 - - - - - -",
            "<1>1 2003-10-11t22:14:15.003Z - - - - -",
            "<1>1 2003-10-11T22:14:15.0030003Z - - - - -",
            "<1>1 -  - - - -",
            "<1>1 - - - - -",
            "<1>1 - - - - - [a b=\"c]\"]",
            "<1>1 - - - - - [a b=\"\\n\"]",
            "<1>1 - - - - - [a b=\"c\"",
            "<1>1 - - - - - -x",
        ];
        for text in bad {
            assert!(fault(text.as_bytes()).is_some(), "{text}");
        }
    }
}
