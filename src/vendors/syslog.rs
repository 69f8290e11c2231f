//! Syslog: RFC 5424 and the older form, over UDP, TCP, TLS and a local socket.

mod message;
mod place;

use std::time::Duration;

use crate::deliver::{
    Call, CallBody, Choice, Effect, Encoding, Framing, HOSTNAME, Kind, Limits, Opt, Options,
    Prefix, Purpose, Responses, Shape, Vendor, When, Wire,
};
use crate::transform::{Format, Schema};

/// Syslog (`syslog.md`).
pub static SYSLOG: Vendor = Vendor {
    name: "syslog",
    about: "Syslog collectors: RFC 5424 over UDP, TCP, TLS or a local socket",
    options: OPTIONS,
    formats: &[Format::Native, Format::Ecs, Format::Cef, Format::Ocsf],
    takes_default_format: true,
    format: message::format,
    shapes: &[
        (When::All(&[OLD, TEXT, LINES]), shape(&message::OLD, Some(&message::TEXT), FRAMED_BY_LF)),
        (When::All(&[OLD, TEXT]), shape(&message::OLD, Some(&message::TEXT), COUNTED)),
        (When::All(&[OLD, LINES]), shape(&message::OLD, None, FRAMED_BY_LF)),
        (OLD, shape(&message::OLD, None, COUNTED)),
        (
            When::All(&[TEXT, MARKED, LINES]),
            shape(&message::MARKED, Some(&message::TEXT), FRAMED_BY_LF),
        ),
        (When::All(&[TEXT, MARKED]), shape(&message::MARKED, Some(&message::TEXT), COUNTED)),
        (When::All(&[TEXT, LINES]), shape(&message::NEW, Some(&message::TEXT), FRAMED_BY_LF)),
        (TEXT, shape(&message::NEW, Some(&message::TEXT), COUNTED)),
        (When::All(&[NOTHING, LINES]), shape(&message::NEW, Some(&message::NOTHING), FRAMED_BY_LF)),
        (NOTHING, shape(&message::NEW, Some(&message::NOTHING), COUNTED)),
        (When::All(&[MARKED, LINES]), shape(&message::MARKED, None, FRAMED_BY_LF)),
        (MARKED, shape(&message::MARKED, None, COUNTED)),
        (LINES, shape(&message::NEW, None, FRAMED_BY_LF)),
        (When::Always, shape(&message::NEW, None, COUNTED)),
    ],
    endpoints: place::receivers,
    // The others are there for when the first is not.
    choice: Choice::First,
    derive: message::derive,
    effects: &[
        Effect { of: &["msgid", "structured_data"], when: NEW, unless: "protocol is rfc5424" },
        Effect {
            of: &["enterprise_id"],
            when: When::All(&[NEW, When::Set("structured_data")]),
            unless: "there is structured data, which names it",
        },
        Effect {
            of: &["utf8_bom"],
            when: When::All(&[NEW, SAYING]),
            unless: "protocol is rfc5424 and the message says something",
        },
    ],
    limits: Limits { events: 1_000, body_bytes: 1_000_000, event_bytes: STREAM_BYTES },
    narrow,
    encodings: &[Encoding::Identity],
    calls: &[
        SEND,
        // A connection that can be made is all that can be asked for.
        Call { purpose: Purpose::Probe, body: CallBody::Empty, ..SEND },
    ],
    // Nothing answers: a receiver that takes no more bytes for so long is as good as dead.
    timeout: Duration::from_secs(10),
    wire: Wire::Socket,
    // Numbers of messages show what got lost, so they follow each other.
    ordered_by: &["meta"],
    ..Vendor::BASE
};

const OLD: When = When::Any(&[When::Is("protocol", "rfc3164"), When::Is("format", "rfc3164")]);
/// RFC 5424; the older form is asked for by one key or the other, which may not contradict it.
const NEW: When = When::All(&[
    When::Any(&[When::Unset("protocol"), When::Is("protocol", "rfc5424")]),
    When::Any(&[
        When::Unset("format"),
        When::Is("format", "rfc5424"),
        When::Is("format", "native"),
        When::Is("format", "ecs"),
        When::Is("format", "cef"),
        When::Is("format", "ocsf"),
    ]),
]);
const TEXT: When = When::Is("payload", "text");
const SAYING: When = When::Any(&[
    When::Unset("payload"),
    When::Is("payload", "json"),
    When::Is("payload", "ecs"),
    When::Is("payload", "ocsf"),
    When::Is("payload", "cef"),
    TEXT,
]);
const NOTHING: When = When::Is("payload", "none");
const MARKED: When = When::Set("utf8_bom");
const LINES: When = When::All(&[
    When::Is("framing", "newline"),
    When::Any(&[When::Is("transport", "tcp"), When::Is("transport", "unix")]),
]);

/// RFC 6587, 3.4.1; datagrams are cut out of a body by their counts.
const COUNTED: Framing = Framing {
    head: "",
    prefix: Prefix::OctetCount,
    between: "",
    after: "",
    tail: "",
    content_type: "text/plain",
};

/// RFC 6587, 3.4.2; no document has a line break of its own.
const FRAMED_BY_LF: Framing = Framing { prefix: Prefix::None, after: "\n", ..COUNTED };

const fn shape(
    envelope: &'static Schema,
    document: Option<&'static Schema>,
    framing: Framing,
) -> Shape {
    Shape { envelope: Some(envelope), document, framing, ..Shape::BASE }
}

const SEND: Call = Call {
    purpose: Purpose::Send,
    when: When::Always,
    method: "POST",
    path: "/",
    query: &[],
    headers: &[],
    body: CallBody::Batch,
    responses: Responses::USUAL,
};

/// What one message may have: receivers differ, and cut what is longer.
fn narrow(options: &Options, limits: Limits) -> Limits {
    let (events, usual) = match options.text("transport").as_deref() {
        // RFC 5426, 3.2: receivers must take 480 bytes and should take 2048. Fewer datagrams a
        // batch: their queue at the receiver is short, and each batch is paced.
        Some("udp") => (256, 2048),
        // What a local receiver reads at once.
        Some("unix") => (256, 8192),
        _ => (limits.events, limits.event_bytes),
    };
    let wanted = options.number("max_message_bytes").and_then(|bytes| u32::try_from(bytes).ok());
    Limits { events, event_bytes: wanted.unwrap_or(usual).min(limits.event_bytes), ..limits }
}

/// Bytes of a message over a stream.
const STREAM_BYTES: u32 = 65_536;

const OPTIONS: &[Opt] = &[
    Opt {
        key: "address",
        aliases: &["addresses"],
        kind: Kind::List,
        default: None,
        about: "Receivers, host:port or the path of a local socket; those after the first stand in for it.",
    },
    Opt {
        key: "transport",
        aliases: &[],
        kind: Kind::Choice(&["tcp", "tls", "udp", "unix"]),
        default: Some("tcp"),
        about: "How messages travel: ports are 601, 6514 and 514 where none is written.",
    },
    Opt {
        key: "framing",
        aliases: &[],
        kind: Kind::Choice(&["octet_counting", "newline"]),
        default: Some("octet_counting"),
        about: "What separates messages over tcp; newline over unix means a stream, else it has datagrams; tls always counts octets.",
    },
    Opt {
        key: "protocol",
        aliases: &[],
        kind: Kind::Choice(&["rfc5424", "rfc3164"]),
        default: None,
        about: "Form of the message, rfc5424 where none is written; rfc3164 is for old receivers and has no structured data.",
    },
    Opt {
        key: "format",
        aliases: &[],
        kind: Kind::Choice(&["native", "ecs", "cef", "ocsf", "rfc5424", "rfc3164"]),
        default: None,
        about: "The document, as payload says it too, or rfc5424 or rfc3164, as protocol does; what is written twice is the same.",
    },
    Opt {
        key: "payload",
        aliases: &[],
        kind: Kind::Choice(&["json", "ecs", "ocsf", "cef", "text", "none"]),
        default: None,
        about: "What the message says: a document of the format (json is native), a line of text, or nothing beside structured data.",
    },
    Opt {
        key: "facility",
        aliases: &[],
        kind: Kind::Text(16),
        default: Some("authpriv"),
        about: "Facility, by name or from 0 to 23.",
    },
    Opt {
        key: "hostname",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some(HOSTNAME),
        about: "Host that messages name; the machine's name where none is written.",
    },
    Opt {
        key: "app_name",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some("clawdstrike"),
        about: "Application, may have placeholders such as {agent.name}.",
    },
    Opt {
        key: "procid",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some("'{agent.id}'"),
        about: "Process, may have placeholders.",
    },
    Opt {
        key: "msgid",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some("'{event_type}'"),
        about: "Kind of message, may have placeholders.",
    },
    Opt {
        key: "structured_data",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("true"),
        about: "Whether messages carry the main fields as structured data.",
    },
    Opt {
        key: "meta",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether messages are numbered (sequenceId) and say what their times are (timeQuality); they go one batch after the other then.",
    },
    Opt {
        key: "is_synced",
        aliases: &[],
        kind: Kind::Bool,
        default: None,
        about: "Whether the clocks of this host and of its producers are synchronised, as timeQuality says it with meta; left out where it is not written.",
    },
    Opt {
        key: "enterprise_id",
        aliases: &[],
        kind: Kind::Int(1, 4_294_967_295),
        default: Some("32473"),
        about: "Private enterprise number in the name of the structured data; 32473 is the one of documentation.",
    },
    Opt {
        key: "utf8_bom",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether a byte order mark stands before documents; readers of JSON and CEF fail on it.",
    },
    Opt {
        key: "max_message_bytes",
        aliases: &[],
        kind: Kind::Int(480, STREAM_BYTES as u64),
        default: None,
        about: "Bytes of one message; 2048 over udp, 8192 over unix, else 65536; larger ones are shrunk.",
    },
    severity("severity_mapping.info", "6"),
    severity("severity_mapping.low", "5"),
    severity("severity_mapping.medium", "4"),
    severity("severity_mapping.high", "3"),
    severity("severity_mapping.critical", "2"),
];

const fn severity(key: &'static str, default: &'static str) -> Opt {
    Opt {
        key,
        aliases: &[],
        kind: Kind::Int(0, 7),
        default: Some(default),
        about: "Severity of messages for events of this severity.",
    }
}
