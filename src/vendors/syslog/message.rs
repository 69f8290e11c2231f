//! Messages: RFC 5424, section 6; the older form by RFC 3164, section 4.

use crate::deliver::{Derived, Options, Problem};
use crate::event::{Event as E, EventType, FieldId as F};
use crate::transform::Source::{
    Also, Constant, Derived as Made, Doc, Event, OneOf, OneOption, Option, Pattern,
};
use crate::transform::write::{rfc3164, rfc3339_micros, severity, value};
use crate::transform::{
    Choices, Clean, Empty, Encoder, Field, Format, Layout, Schema, Syntax, TEXT as BARE, row,
};

/// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG`.
pub(super) static NEW: Schema = message(None);

/// The same with a byte order mark before the document.
pub(super) static MARKED: Schema = message(Some(&MARK));

const fn message(next: std::option::Option<&'static Schema>) -> Schema {
    Schema {
        name: "syslog",
        syntax: &SLOTS,
        layout: Layout::Table(HEADER),
        required: &["pri", "timestamp", "msg"],
        next,
        ..Schema::BASE
    }
}

static MARK: Schema = Schema {
    name: "byte order mark",
    syntax: &BARE,
    layout: Layout::Template("\u{feff}{document}"),
    ..Schema::BASE
};

/// `<PRI>Mmm dd hh:mm:ss host tag[pid]: msg`, in UTC.
pub(super) static OLD: Schema = Schema {
    name: "syslog of old",
    syntax: &Syntax { between: "", ..SLOTS },
    layout: Layout::Table(&[
        row("pri", OneOption(&[F::Severity], severity, PRIORITIES_OLD)),
        row("timestamp", Made(&[F::Timestamp], rfc3164)),
        row("space", Constant("\" \"")),
        row("hostname", Pattern("syslog.hostname", &HOST)),
        row("gap", Constant("\" \"")),
        row("tag", Pattern("syslog.app_name", &TAG)),
        row("open", Constant("\"[\"")),
        row("procid", Pattern("syslog.procid", &OLD_PROCESS)),
        row("close", Constant("\"]: \"")),
        row("msg", Doc),
    ]),
    required: &["pri", "timestamp", "msg"],
    ..Schema::BASE
};

/// `[guard] BLOCKED: reason`.
pub(super) static TEXT: Schema = Schema {
    name: "syslog text",
    syntax: &Syntax { between: "", escape: escape_control, ..SLOTS },
    layout: Layout::Table(&[
        row("open", Constant("\"[\"")),
        row("guard", Event(F::Guard, value)),
        row("close", Constant("\"] \"")),
        row("verb", OneOf(&[F::Allowed], verb, &["BLOCKED: ", "WARNED: ", "ALLOWED: "])),
        row("reason", Event(F::Reason, value)),
    ]),
    ..Schema::BASE
};

/// An empty message.
pub(super) static NOTHING: Schema =
    Schema { name: "nothing", syntax: &BARE, layout: Layout::Template(""), ..Schema::BASE };

/// Slots between blanks; what stands in them is clean already.
const SLOTS: Syntax = Syntax {
    name: "syslog header",
    open: "",
    close: "",
    between: " ",
    key: ("", ""),
    names: false,
    is_key: |_| true,
    keys: "a slot",
    text: ("", ""),
    nests: false,
    verbatim: false,
    counts_bytes: false,
    escape: |byte| (byte < 0x20 || byte == 0x7f).then_some(" "),
};

/// RFC 5424, 6.3.3: only quotation mark, backslash and closing bracket are escaped. Control
/// characters become blanks, since a line break would end a message framed by one.
static PARAMETERS: Syntax = Syntax {
    name: "structured data",
    close: "]",
    key: ("", "="),
    names: true,
    text: ("\"", "\""),
    counts_bytes: true,
    escape: |byte| match byte {
        b'"' => Some("\\\""),
        b'\\' => Some("\\\\"),
        b']' => Some("\\]"),
        0..0x20 | 0x7f => Some(" "),
        _ => None,
    },
    ..SLOTS
};

const HEADER: &[Field] = &[
    row("pri", OneOption(&[F::Severity], severity, PRIORITIES)),
    row("timestamp", Made(&[F::Timestamp], rfc3339_micros)),
    row("hostname", Pattern("syslog.hostname", &HOST)),
    row("app_name", Pattern("syslog.app_name", &APPLICATION)),
    row("procid", Pattern("syslog.procid", &PROCESS)),
    row("msgid", Pattern("syslog.msgid", &KIND)),
    row("sd", Also(&ELEMENTS)),
    row("parameters", Also(&DATA)),
    row("msg", Doc),
];

/// What stands before the parameters: elements about the message, and the name of our own.
static ELEMENTS: Schema = Schema {
    name: "elements",
    syntax: &Syntax { between: "", ..SLOTS },
    layout: Layout::Table(&[
        row("quality", Option("syslog.quality")),
        row("meta", Made(&[], sequence)),
        row("name", Option("syslog.sd")),
    ]),
    ..Schema::BASE
};

/// RFC 5424, 7.3.1: "sequenceId: 1 when the originator starts, up to 2147483647, then 1 again."
///
/// Events are numbered where `meta` is on; what is rendered again or beside the log is not.
fn sequence(encoder: &mut Encoder<'_>, event: &E<'_>) -> bool {
    if event.frame.number > 0 {
        encoder.literal(b"[meta sequenceId=\"");
        encoder.number(u64::from(event.frame.number));
        encoder.literal(b"\"]");
    }
    event.frame.number > 0
}

/// The parameters behind the name of the structured data, and the bracket that ends it.
static DATA: Schema = Schema {
    name: "structured data",
    syntax: &PARAMETERS,
    layout: Layout::Table(&[
        // Made of no field, so that one is there whatever an exporter may not show.
        row(
            "eventId",
            Made(&[], |encoder, event| {
                encoder.text(event.text(F::EventId));
                true
            }),
        ),
        row("eventType", Event(F::EventType, value)).max(PARAMETER_MAX),
        row("category", Event(F::EventCategory, value)).max(PARAMETER_MAX),
        row("severity", Event(F::Severity, value)).max(PARAMETER_MAX),
        row("guard", Event(F::Guard, value)).max(PARAMETER_MAX),
        row("outcome", Event(F::Outcome, value)).max(PARAMETER_MAX),
        row("allowed", Event(F::Allowed, value)),
        row("action", Event(F::Action, value)).max(PARAMETER_MAX),
        row("session", Event(F::SessionId, value)).max(PARAMETER_MAX),
        row("user", Event(F::SessionUserId, value)).max(PARAMETER_MAX),
        row("tenant", Event(F::SessionTenantId, value)).max(PARAMETER_MAX),
        row("env", Event(F::SessionEnvironment, value)).max(PARAMETER_MAX),
        row("resourceType", Event(F::ResourceType, value)).max(PARAMETER_MAX),
        row("resource", Event(F::ResourceName, value)).max(PARAMETER_MAX),
        row("host", Event(F::ResourceHost, value)).max(PARAMETER_MAX),
        row("port", Event(F::ResourcePort, value)),
        row("tactic", Event(F::Tactic, value)).max(PARAMETER_MAX),
        row("technique", Event(F::Technique, value)).max(PARAMETER_MAX),
        row("ruleset", Event(F::Ruleset, value)).max(PARAMETER_MAX),
        row("policyHash", Event(F::PolicyHash, value)).max(PARAMETER_MAX),
    ]),
    empty: Empty::Drop,
    ..Schema::BASE
};

/// `syslog.md`: "Values cut to 255 bytes."
const PARAMETER_MAX: u16 = 255;

/// RFC 5424, 6: PRINTUSASCII is 33 to 126.
const fn clean(bytes_max: u16) -> Clean {
    Clean {
        each: |char| if char.is_ascii_graphic() { char } else { '_' },
        absent: "-",
        bytes_max,
        ..Clean::BASE
    }
}

static HOST: Clean = clean(255);
static APPLICATION: Clean = clean(48);
static PROCESS: Clean = clean(128);
static KIND: Clean = clean(32);
/// RFC 3164, 4.1.3: a tag has at most 32 alphanumeric characters.
static TAG: Clean = Clean {
    each: |char| if char.is_ascii_alphanumeric() || "-_.".contains(char) { char } else { '_' },
    ..clean(32)
};

/// Between brackets: receivers look for the one that closes.
static OLD_PROCESS: Clean = Clean {
    each: |char| if char.is_ascii_graphic() && !"[]:".contains(char) { char } else { '_' },
    ..clean(128)
};

/// Texts of the priority and the version, by severity.
const PRIORITIES: &[&str] = &["pri.info", "pri.low", "pri.medium", "pri.high", "pri.critical"];
const PRIORITIES_OLD: &[&str] = &["old.info", "old.low", "old.medium", "old.high", "old.critical"];

fn verb(event: &E<'_>, _: Choices) -> usize {
    match (event.opened.allowed, event.opened.event_type) {
        (false, _) => 0,
        (true, EventType::GuardWarn) => 1,
        (true, _) => 2,
    }
}

/// `syslog.md`, bad input: control characters but the tab show their code.
fn escape_control(byte: u8) -> std::option::Option<&'static str> {
    const CODES: [&str; 32] = [
        "\\x00", "\\x01", "\\x02", "\\x03", "\\x04", "\\x05", "\\x06", "\\x07", "\\x08", "\t",
        "\\x0A", "\\x0B", "\\x0C", "\\x0D", "\\x0E", "\\x0F", "\\x10", "\\x11", "\\x12", "\\x13",
        "\\x14", "\\x15", "\\x16", "\\x17", "\\x18", "\\x19", "\\x1A", "\\x1B", "\\x1C", "\\x1D",
        "\\x1E", "\\x1F",
    ];
    match byte {
        b'\t' => None,
        0x7f => Some("\\x7F"),
        _ => CODES.get(usize::from(byte)).copied(),
    }
}

/// The format that `payload` names.
pub(super) fn format(options: &Options) -> std::option::Option<Format> {
    match options.text("payload")?.as_str() {
        "ecs" => Some(Format::Ecs),
        "ocsf" => Some(Format::Ocsf),
        "cef" => Some(Format::Cef),
        _ => Some(Format::Native),
    }
}

/// Two keys say the same thing, so that they may not say two things.
fn refuse_contradictions(options: &Options) -> Result<(), Problem> {
    let Some(format) = options.text("format") else { return Ok(()) };
    let is_protocol = matches!(format.as_str(), "rfc5424" | "rfc3164");
    let key = if is_protocol { "protocol" } else { "payload" };
    let same = if format == "native" { "json" } else { format.as_str() };
    match options.text(key) {
        Some(word) if word != same => {
            let problem = format!("says something else than format: {format}; keep one of the two");
            Err(Problem { key: key.to_owned(), problem })
        }
        _ => Ok(()),
    }
}

/// Priorities by severity, the slots of the header, the name of the structured data.
pub(super) fn derive(options: &Options) -> Result<Derived, Problem> {
    refuse_contradictions(options)?;
    let written = options.text("facility").unwrap_or_else(|| "authpriv".to_owned());
    let facility = facility(&written).ok_or_else(|| Problem {
        key: "facility".to_owned(),
        problem: format!("`{written}` is none; expected a number from 0 to 23 or one of {NAMES}"),
    })?;
    let mut texts = Vec::new();
    let usual = [6, 5, 4, 3, 2];
    let words = ["info", "low", "medium", "high", "critical"];
    for (at, usual) in usual.into_iter().enumerate() {
        let key = format!("severity_mapping.{}", words[at]);
        let priority = facility * 8 + options.number(&key).unwrap_or(usual);
        texts.push((PRIORITIES[at], format!("<{priority}>1")));
        texts.push((PRIORITIES_OLD[at], format!("<{priority}>")));
    }
    for (key, name, usual) in [
        ("hostname", "syslog.hostname", "-"),
        ("app_name", "syslog.app_name", "clawdstrike"),
        ("procid", "syslog.procid", "{agent.id}"),
        ("msgid", "syslog.msgid", "{event_type}"),
    ] {
        let text = options.text(key).filter(|text| !text.is_empty());
        let text = text.unwrap_or_else(|| usual.to_owned());
        if !text.chars().all(|char| char.is_ascii_graphic()) {
            let problem = "expected printable ASCII without blanks".to_owned();
            return Err(Problem { key: key.to_owned(), problem });
        }
        texts.push((name, text));
    }
    let says = |key: &str| options.text(key).as_deref() == Some("rfc3164");
    let is_old = says("protocol") || says("format");
    let has_meta = options.is_on("meta");
    if options.value("is_synced").is_some() && !has_meta {
        let problem = "is said in what `meta: true` adds".to_owned();
        return Err(Problem { key: "is_synced".to_owned(), problem });
    }
    if has_meta && is_old {
        let problem = "is structured data, which rfc3164 has none of".to_owned();
        return Err(Problem { key: "meta".to_owned(), problem });
    }
    if has_meta {
        // Times are UTC. Whether clocks are synchronised only the operator knows: times are those
        // of producers, which may be on other machines.
        let synced = match options.value("is_synced") {
            None => "",
            Some(_) if options.is_on("is_synced") => " isSynced=\"1\"",
            Some(_) => " isSynced=\"0\"",
        };
        texts.push(("syslog.quality", format!("[timeQuality tzKnown=\"1\"{synced}]")));
    }
    let has_data = options.value("structured_data").is_none() || options.is_on("structured_data");
    if has_data && !is_old {
        let number = options.number("enterprise_id").unwrap_or(32_473);
        texts.push(("syslog.sd", format!("[shrike@{number}")));
        return Ok(Derived { texts, ..Derived::NONE });
    }
    if !has_meta {
        texts.push(("syslog.sd", "-".to_owned()));
    }
    if options.text("payload").as_deref() == Some("none") {
        let problem = "`none` without structured data leaves nothing to say".to_owned();
        return Err(Problem { key: "payload".to_owned(), problem });
    }
    let omit = if is_old { Vec::new() } else { vec!["parameters"] };
    Ok(Derived { texts, omit, ..Derived::NONE })
}

fn facility(text: &str) -> std::option::Option<u64> {
    match text.parse::<u64>() {
        Ok(number) => (number <= 23).then_some(number),
        Err(_) => {
            let at = NAMES.split(", ").position(|name| name == text)?;
            u64::try_from(at).ok()
        }
    }
}

/// RFC 5424, table 1, by the names of syslog(3) and its siblings, from 0.
const NAMES: &str = "kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, \
                     ntp, audit, alert, clock, local0, local1, local2, local3, local4, local5, \
                     local6, local7";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_names_and_numbers() {
        let cases =
            [("kern", Some(0)), ("authpriv", Some(10)), ("local7", Some(23)), ("23", Some(23))];
        for (text, expected) in cases.into_iter().chain([("24", None), ("auth_priv", None)]) {
            assert_eq!(facility(text), expected, "{text}");
        }
    }
}
