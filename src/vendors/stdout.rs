//! The standard output: one document a line, for pipes, files and the embedded default.

use crate::deliver::{
    Call, CallBody, Encoding, Framing, Limits, Order, Prefix, Purpose, Responses, Shape, Vendor,
    When, Wire,
};
use crate::transform::Format;

/// Lines on the standard output.
pub static STDOUT: Vendor = Vendor {
    name: "stdout",
    about: "The standard output: one document a line, in the log's order",
    formats: &[Format::Ecs, Format::Native, Format::Cef, Format::Ocsf, Format::Text],
    takes_default_format: true,
    shapes: &[(When::Always, LINES)],
    // Room for the largest event (`pipeline.max_event_bytes`) in any format.
    limits: Limits { events: 10_000, body_bytes: 8 << 20, event_bytes: 8 << 20 },
    encodings: &[Encoding::Identity],
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
    wire: Wire::Lines,
    ..Vendor::BASE
};

const LINES: Shape = Shape {
    framing: Framing {
        head: "",
        prefix: Prefix::None,
        between: "",
        after: "\n",
        tail: "",
        content_type: "application/x-ndjson",
    },
    ..Shape::BASE
};
