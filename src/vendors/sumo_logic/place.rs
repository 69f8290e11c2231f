//! Where lines go: the source, and the category and fields of each request.
//!
//! "Metadata headers apply to the WHOLE request: events with different category, host or fields must
//! go in different requests."

use http::Uri;

use crate::deliver::{Options, Problem, problem};
use crate::transform::{Clean, GROUP, Layout, Schema, Source, row};

/// The headers of a request that follow from its events.
pub(super) static HEADS: Schema = Schema {
    name: "sumo logic headers",
    syntax: &crate::transform::HEADS,
    layout: Layout::Table(&[
        row("x-sumo-category", Source::Pattern("category", &CATEGORY)),
        row("x-sumo-fields", Source::Pattern("fields", &FIELDS)),
    ]),
    ..Schema::BASE
};

/// "Category segments: [A-Za-z0-9_.-], others -> _, total <= 1024; no `..`, no `/`."
static CATEGORY: Clean = Clean {
    each: |c| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-' => c,
        _ => '_',
    },
    bytes_max: 1024,
    not_twice: ".",
    ..Clean::BASE
};

/// "Values: comma and = -> _; <= 255 characters."
static FIELDS: Clean = Clean {
    each: |c| match c {
        ',' | '=' => '_',
        // Other characters have no place in a header.
        ' '..='~' => c,
        _ => '_',
    },
    not_first: ",",
    bytes_max: 4096,
    value_max: 255,
    ..Clean::BASE
};

/// The source.
pub(super) fn source(options: &Options) -> Result<Vec<Uri>, Problem> {
    let key = "http_source_url";
    let url = options.url(key).ok_or_else(|| problem(key, "is required"))?;
    // The URL is a secret, so that mistakes in it are told without it.
    let uri: Uri = url.parse().map_err(|_| problem(key, "is no URL"))?;
    if uri.host().is_none() {
        return Err(problem(key, "needs a host"));
    }
    if uri.query().is_some() {
        return Err(problem(key, "has a query, which sources ignore: take it away"));
    }
    Ok(vec![uri])
}

/// The category with places for what follows from the event; what is absent leaves its slash out.
pub(super) fn category(options: &Options) -> String {
    let mut category = braced(&options.text("source_category").unwrap_or_default());
    if options.is_on("partitioning.enabled") {
        for (key, name) in PARTS {
            if options.is_on(key) {
                category.push(GROUP);
                category += &format!("/{{{name}}}");
            }
        }
    }
    category
}

/// The metadata fields with places for their values.
pub(super) fn fields(options: &Options) -> Result<String, Problem> {
    let key = "metadata_fields";
    let names = options.list(key);
    if names.len() > FIELDS_MAX {
        return Err(problem(key, "has more than 30 fields"));
    }
    let mut fields = String::new();
    for name in names {
        if !VALUES.contains(&name) {
            let known = VALUES.join(", ");
            return Err(problem(key, format!("knows no {name:?}; it takes {known}")));
        }
        fields.push(GROUP);
        fields += &format!(",{name}={{{name}}}");
    }
    if options.is_on("cloud_siem.forward") {
        fields.push(GROUP);
        fields += ",_siemForward=true";
    }
    Ok(fields)
}

/// Text in which braces are braces.
fn braced(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// Options that add a part to the category, in this order, and where it comes from.
const PARTS: [(&str, &str); 3] = [
    ("partitioning.by_tenant", "tenant_id"),
    ("partitioning.by_severity", "severity"),
    ("partitioning.by_guard", "guard"),
];

/// Values of few kinds: each distinct set of them is a request of its own.
const VALUES: &[&str] = &["environment", "tenant_id", "severity", "guard", "event_type", "outcome"];

/// "At most 30 fields."
const FIELDS_MAX: usize = 30;
