//! Files on this machine: one document a line, rotating, compressed where asked for.

use std::path::Path;

use crate::deliver::{
    Call, CallBody, Derived, Encoding, Framing, Kind, Limits, Opt, Options, Order, Problem,
    Purpose, Responses, Shape, Vendor, When, Wire,
};
use crate::transform::Format;

/// A local file.
pub static FILE: Vendor = Vendor {
    name: "file",
    about: "A file on this machine: one document a line, rotating by size and time",
    options: OPTIONS,
    formats: Format::ALL,
    shapes: &[(When::Always, LINES)],
    derive,
    // Room for the largest event (`pipeline.max_event_bytes`) in any format.
    limits: Limits { events: 10_000, body_bytes: 8 << 20, event_bytes: 8 << 20 },
    // Each body is a whole member or frame, and a file of several is read as one.
    encodings: &[Encoding::Identity, Encoding::Zstd, Encoding::Gzip],
    calls: &[Call {
        purpose: Purpose::Send,
        when: When::Always,
        method: "POST",
        path: "/",
        query: &[],
        headers: &[],
        body: CallBody::Batch,
        responses: Responses::USUAL,
    }],
    order: Order::Strict,
    wire: Wire::File,
    ..Vendor::BASE
};

const LINES: Shape = Shape {
    framing: Framing { after: "\n", content_type: "application/x-ndjson", ..Shape::BASE.framing },
    ..Shape::BASE
};

fn derive(options: &Options) -> Result<Derived, Problem> {
    let path = options.text("path").unwrap_or_default();
    let path = Path::new(&path);
    if path.is_absolute() && path.file_name().is_some() {
        return Ok(Derived::NONE);
    }
    let problem = "expected the absolute path of a file".to_owned();
    Err(Problem { key: "path".to_owned(), problem })
}

const OPTIONS: &[Opt] = &[
    Opt {
        key: "path",
        aliases: &[],
        kind: Kind::Text(4096),
        default: None,
        about: "The file that grows, such as /var/log/shrike/events.ndjson; its directory exists.",
    },
    Opt {
        key: "rotate.bytes",
        aliases: &[],
        kind: Kind::Int(0, 1 << 50),
        default: Some("268435456"),
        about: "Bytes at which a file ends and gets a name with its time; 0 for no limit.",
    },
    Opt {
        key: "rotate.interval_secs",
        aliases: &[],
        kind: Kind::Int(0, 366 * 86_400),
        default: Some("86400"),
        about: "Seconds of one file, in windows since 1970 UTC: 86400 ends files at midnight; 0 for no limit.",
    },
    Opt {
        key: "rotate.keep",
        aliases: &[],
        kind: Kind::Int(0, 100_000),
        default: Some("0"),
        about: "Ended files that are kept, older ones are removed; 0 keeps all.",
    },
];
