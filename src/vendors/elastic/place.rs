//! Where documents go: nodes, Cloud IDs, and the names of indices.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::Uri;

use crate::deliver::{Options, Problem, problem};
use crate::transform::Clean;

/// The nodes: as written, or as the Cloud ID says.
pub(super) fn nodes(options: &Options) -> Result<Vec<Uri>, Problem> {
    let nodes = options.list("nodes");
    match options.text("cloud_id") {
        Some(_) if !nodes.is_empty() => {
            Err(problem("cloud_id", "excludes nodes: keep one of the two"))
        }
        Some(id) => Ok(vec![cloud(&id)?]),
        None if nodes.is_empty() => Ok(vec![Uri::from_static(NODE)]),
        None => nodes.into_iter().map(node).collect(),
    }
}

fn node(text: &str) -> Result<Uri, Problem> {
    let uri: Uri =
        text.parse().map_err(|_| problem("nodes", "needs URLs like https://host:9200"))?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || uri.host().is_none() {
        return Err(problem("nodes", "needs absolute URLs like https://host:9200"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(problem("nodes", "must not carry credentials: set auth.username and password"));
    }
    if uri.query().is_some() {
        return Err(problem("nodes", "must not carry a query"));
    }
    Ok(uri)
}

/// The Elasticsearch endpoint of a Cloud ID.
///
/// `label:base64(host[:port]$es_uuid[:port]$kibana_uuid)`; the label may contain colons, and may be
/// missing.
fn cloud(id: &str) -> Result<Uri, Problem> {
    let wrong = |what: &str| problem("cloud_id", format!("{what}; copy it from the deployment"));
    let coded = id.rsplit_once(':').map_or(id, |(_, coded)| coded).trim();
    let bytes = BASE64.decode(coded).map_err(|_| wrong("is not base64 after the last colon"))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("does not decode to text"))?;
    let mut parts = text.split('$');
    let (Some(host), Some(cluster)) = (parts.next(), parts.next()) else {
        return Err(wrong("has fewer than two parts"));
    };
    let (host, shared_port) = with_port(host);
    let (cluster, own_port) = with_port(cluster);
    if host.is_empty() || cluster.is_empty() {
        return Err(wrong("has an empty part"));
    }
    let port = own_port.or(shared_port).unwrap_or("443");
    let port: u16 = port.parse().map_err(|_| wrong("has a port that is none"))?;
    let url = format!("https://{cluster}.{host}:{port}");
    url.parse().map_err(|_| wrong("does not name a host"))
}

fn with_port(part: &str) -> (&str, Option<&str>) {
    match part.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (part, None),
    }
}

/// How indices are named and rolled over (`index.mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// An index per day of the event's time.
    Daily,
    /// A write alias over indices that roll over.
    Alias,
    /// A data stream.
    DataStream,
}

impl Mode {
    pub(super) fn of(options: &Options) -> Self {
        match options.text("index.mode").as_deref() {
            Some("alias") => Self::Alias,
            Some("data_stream") => Self::DataStream,
            _ => Self::Daily,
        }
    }
}

/// The names that follow from `index.name` and `index.mode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// What each document is written to: a pattern over the event.
    pub(super) target: String,
    /// The name without placeholders, for what is prepared once.
    pub(super) base: String,
    /// The pattern that catches every index of it.
    pub(super) catches: String,
}

/// Reads `index.name` for its mode.
pub(super) fn names(options: &Options) -> Result<Names, Problem> {
    let name = options.text("index.name").unwrap_or_else(|| INDEX.to_owned());
    let wrong = |what: &str| problem("index.name", what);
    let inner = name.strip_prefix('<').and_then(|name| name.strip_suffix('>')).unwrap_or(&name);
    let fixed = without_placeholders(inner).ok_or_else(|| wrong("has a brace without partner"))?;
    let literal: String = fixed.concat();
    if let Some(bad) = literal.chars().find(|&c| clean(c) != c) {
        return Err(wrong(&format!(
            "must not contain {bad:?}: index names are lower case, without blanks and without \
             \\ / * ? \" < > | , # :"
        )));
    }
    if literal.starts_with(NOT_FIRST) || fixed[0].is_empty() {
        return Err(wrong("must begin with a fixed text that is none of - _ + and no placeholder"));
    }
    // "Cannot be . or .." (Create index API); with a date behind them they name nothing either.
    if literal.chars().all(|c| c == '.') {
        return Err(wrong("must have more than dots"));
    }
    let mode = Mode::of(options);
    let varies = fixed.len() > 1;
    if varies && mode == Mode::Alias {
        return Err(wrong("must not have placeholders with index.mode alias: one alias, one name"));
    }
    let is_dated = inner.contains("{now") || inner.contains("{date");
    let (target, caught) = match mode {
        Mode::Daily if !is_dated => (format!("{inner}-{{date}}"), format!("{}-*", fixed.join("*"))),
        Mode::Alias => (name.clone(), format!("{}-*", fixed.join("*"))),
        _ => (name.clone(), fixed.join("*")),
    };
    let base = fixed.iter().map(|piece| piece.trim_matches(SEPARATORS)).collect::<Vec<_>>();
    let base = base.into_iter().filter(|piece| !piece.is_empty()).collect::<Vec<_>>().join("-");
    if target.len() > NAME_BYTES_MAX || base.len() + SUFFIX_BYTES > NAME_BYTES_MAX {
        return Err(wrong("is too long: an index name has at most 255 bytes, date included"));
    }
    Ok(Names { target, base, catches: caught })
}

/// What values are cleaned of in an index name, and how long it may be.
///
/// "Cannot start with -, _, +; cannot be longer than 255 bytes" (Create index API). The name begins
/// with a fixed text, see [`names`].
pub(super) static CLEAN: Clean =
    Clean { each: clean, not_first: "-_+", absent: "default", bytes_max: 255, ..Clean::BASE };

/// What a character of a value becomes in an index name.
///
/// "Lowercase only; cannot include \\, /, *, ?, \", <, >, |, space, comma, #, colon" (Create index
/// API, path parameters).
pub(super) fn clean(c: char) -> char {
    match c {
        '\\' | '/' | '*' | '?' | '"' | '<' | '>' | '|' | ',' | '#' | ':' => '-',
        c if c.is_whitespace() || c.is_control() => '-',
        c => c.to_lowercase().next().unwrap_or(c),
    }
}

/// The texts between placeholders; one more than there are placeholders.
fn without_placeholders(name: &str) -> Option<Vec<&str>> {
    let mut fixed = Vec::new();
    let mut rest = name;
    while let Some(open) = rest.find('{') {
        fixed.push(&rest[..open]);
        let mut depth = 0_usize;
        let close = rest[open..].find(|c| {
            depth = if c == '{' { depth + 1 } else { depth - usize::from(c == '}') };
            depth == 0
        })?;
        rest = &rest[open + close + 1..];
    }
    fixed.push(rest);
    fixed.iter().all(|piece| !piece.contains('}')).then_some(fixed)
}

/// Where an Elasticsearch of one's own listens.
pub(super) const NODE: &str = "http://localhost:9200";

/// The name where none is written.
pub(super) const INDEX: &str = "clawdstrike-security";

/// What an index name does not begin with.
pub(super) const NOT_FIRST: [char; 3] = ['-', '_', '+'];

/// Bytes of an index name at most.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Room for `-template` or `-000001` behind the name.
const SUFFIX_BYTES: usize = 9;

const SEPARATORS: [char; 3] = ['-', '_', '.'];

/// Cloud IDs are copied by hand: padding that got lost does no harm.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
