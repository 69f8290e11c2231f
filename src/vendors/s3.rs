//! Object storage that speaks Amazon S3's API: objects of lines, partitioned by time.
//!
//! Written from the Amazon S3 API Reference (PutObject, Error responses, Virtual hosting of
//! buckets); the stores of others take the same.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::Uri;

use crate::deliver::{
    Call, CallBody, Cause, Derived, Encoding, Fate, Framing, Kind, Limits, Opt, Options, Pace,
    Problem, Purpose, Resend, Response, Responses, Scope, Secret, Shape, Signature, Vendor,
    Verdict, When, opt, problem, quote,
};
use crate::transform::{Clean, Format, HEADS, Layout, PATH, PATH_NAME, Schema, Source, row};

/// Object storage.
pub static S3: Vendor = Vendor {
    name: "s3",
    aliases: &["aws_s3"],
    about: "Object storage with Amazon S3's API: objects of lines, by time and tenant",
    options: OPTIONS,
    formats: &[Format::Ocsf, Format::Native, Format::Ecs, Format::Cef, Format::Text],
    shapes: &[
        (
            When::Plain,
            Shape { framing: Framing { content_type: "text/plain", ..LINES.framing }, ..LINES },
        ),
        (When::Always, LINES),
    ],
    endpoints,
    sign,
    derive,
    limits: Limits { events: 100_000, body_bytes: 64 << 20, event_bytes: 8 << 20 },
    // Each object is billed and each reader opens it, so that few large ones are better.
    body_bytes: Some(16 << 20),
    linger: Some(Duration::from_secs(60)),
    encodings: &[Encoding::Zstd, Encoding::Gzip, Encoding::Identity],
    calls: &[
        Call { path: "{digest}.cef{suffix}", when: When::Format(Format::Cef), ..PUT },
        Call { path: "{digest}.txt{suffix}", when: When::Plain, ..PUT },
        PUT,
        LIST,
    ],
    // Each look is billed like an object.
    health_interval_min: Duration::from_secs(300),
    // The same bytes have the same key: an object that is sent again takes the place of itself.
    resend: Resend::Idempotent,
    // "200 OK" is the whole answer; errors have a body.
    success_in_body: When::NEVER,
    ..Vendor::BASE
};

const LINES: Shape = Shape {
    heads: Some(&PREFIX),
    framing: Framing { after: "\n", content_type: "application/x-ndjson", ..Shape::BASE.framing },
    ..Shape::BASE
};

/// What stands before the object's own name in its key.
static PREFIX: Schema = Schema {
    name: "object prefix",
    syntax: &HEADS,
    layout: Layout::Table(&[row(PATH_NAME, Source::Also(&KEY))]),
    required: &[PATH_NAME],
    ..Schema::BASE
};

static KEY: Schema = Schema {
    name: "object key",
    syntax: &PATH,
    layout: Layout::Table(&[row("prefix", Source::Pattern("s3.prefix", &SEGMENT))]),
    required: &["prefix"],
    ..Schema::BASE
};

/// Values are parts of one segment: they neither open a folder nor lead out of one.
static SEGMENT: Clean = Clean {
    each: |char| if char == '/' || char == '\\' || char.is_control() { '_' } else { char },
    absent: "-",
    // "The name of a key is at most 1,024 bytes"; the digest and the ending take 80 of them.
    bytes_max: 900,
    value_max: 100,
    value_not_first: ".",
    ..Clean::BASE
};

const PUT: Call = Call {
    purpose: Purpose::Send,
    when: When::Always,
    method: "PUT",
    path: "{digest}.ndjson{suffix}",
    query: &[],
    headers: &[],
    body: CallBody::Batch,
    responses: Responses { rows: ROWS, read: Some(read) },
};

/// Whether bucket, region and key are right, told without writing anything: ListObjectsV2 of
/// nothing.
///
/// It does not end a hold, for which the next object is the better question.
const LIST: Call = Call {
    purpose: Purpose::Health,
    method: "GET",
    path: "",
    query: &[("list-type", "2"), ("max-keys", "0")],
    body: CallBody::Empty,
    responses: Responses { rows: ROWS, read: Some(read_list) },
    ..PUT
};

/// Statuses without a code of the store's.
const ROWS: &[(RangeInclusive<u16>, Verdict)] = &[
    (400..=400, CONFIG),
    (404..=405, CONFIG),
    (409..=409, AGAIN),
    (411..=412, CONFIG),
    (501..=501, CONFIG),
];

/// "Error responses: List of error codes", those of PutObject.
const CODES: &[(&str, Verdict)] = &[
    ("EntityTooLarge", Verdict::new(Fate::Split, "too_large")),
    ("RequestTimeout", Verdict::new(Fate::Retry, "timeout")),
    ("IncompleteBody", AGAIN),
    ("BadDigest", AGAIN),
    ("XAmzContentSHA256Mismatch", AGAIN),
    ("OperationAborted", AGAIN),
    ("InternalError", AGAIN),
    ("SlowDown", BUSY),
    ("ServiceUnavailable", BUSY),
    ("TooManyRequests", BUSY),
    ("AccessDenied", AUTH),
    ("AllAccessDisabled", AUTH),
    ("AccountProblem", AUTH),
    ("ExpiredToken", AUTH),
    ("InvalidToken", AUTH),
    ("InvalidAccessKeyId", AUTH),
    ("InvalidSecurity", AUTH),
    ("NotSignedUp", AUTH),
    ("SignatureDoesNotMatch", AUTH),
    // The clock of this machine is wrong.
    ("RequestTimeTooSkewed", AUTH),
    ("RequestExpired", AUTH),
];

const CONFIG: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config");
const AUTH: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Auth, scope: Scope::Exporter }, "auth");
const AGAIN: Verdict = Verdict::new(Fate::Retry, "unavailable");
const BUSY: Verdict = Verdict::new(Fate::Retry, "throttled").at(Pace::Pause(None));

/// Reads the answer to an object. Nothing that a store says of one is a fault of its events.
fn read(response: &Response<'_>) -> Option<Verdict> {
    let code = element(response.body, "Code")?;
    let known = CODES.iter().find(|(known, _)| *known == code);
    let mut verdict = match known {
        Some((_, verdict)) => verdict.clone(),
        None if (400..500).contains(&response.status) => match response.status {
            401 | 403 => AUTH,
            413 => Verdict::new(Fate::Split, "too_large"),
            408 | 409 | 429 => return None,
            _ => CONFIG,
        },
        None => return None,
    };
    let message = element(response.body, "Message").unwrap_or_default();
    verdict.reason.detail = quote(format!("{code}: {message}").as_bytes(), response.options);
    Some(verdict)
}

/// Reads the answer to a look. A key that may only write is refused after its signature was found
/// right: whether it may write the first object shows.
fn read_list(response: &Response<'_>) -> Option<Verdict> {
    match (response.status, element(response.body, "Code")) {
        // A store that takes objects and lists none.
        (405 | 501, _) | (_, Some("AccessDenied")) => {
            Some(Verdict::new(Fate::Delivered, "accepted"))
        }
        _ => read(response),
    }
}

/// The text of the first element of this name.
fn element<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(text, _)| text.trim())
}

/// The bucket's own place: a host of its name, or a path below the store's.
fn endpoints(options: &Options) -> Result<Vec<Uri>, Problem> {
    let bucket = options.text("bucket").unwrap_or_default();
    if !is_bucket(&bucket) {
        let problem =
            "expected 3 to 63 lower-case letters, digits, hyphens and dots, and no address";
        return Err(self::problem("bucket", problem));
    }
    let region = options.text("region").unwrap_or_default();
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(problem("region", "expected a name such as eu-central-1"));
    }
    let written = options.url("endpoint").filter(|url| !url.is_empty());
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let store = written.map_or_else(|| format!("https://s3.{region}.{domain}"), str::to_owned);
    let store: Uri = store.parse().map_err(|_| problem("endpoint", "is no URL"))?;
    let (Some(scheme), Some(authority)) = (store.scheme_str(), store.authority()) else {
        return Err(problem("endpoint", "needs a scheme and a host"));
    };
    if store.path() != "/" || store.query().is_some() {
        return Err(problem("endpoint", "is a host alone; the bucket has a key of its own"));
    }
    let is_by_path = match options.text("addressing").as_deref() {
        Some("path") => true,
        Some("virtual") if bucket.contains('.') && scheme == "https" => {
            let problem = "no certificate is good for a bucket with dots; use path";
            return Err(self::problem("addressing", problem));
        }
        Some("virtual") => false,
        // Stores of others seldom have a host for each bucket.
        _ => written.is_some() || bucket.contains('.'),
    };
    let url = match is_by_path {
        true => format!("{scheme}://{authority}/{bucket}"),
        false => format!("{scheme}://{bucket}.{authority}"),
    };
    Ok(vec![url.parse().map_err(|_| problem("endpoint", "has no place for the bucket"))?])
}

/// "Bucket naming rules": general purpose buckets.
fn is_bucket(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (3..=63).contains(&name.len())
        && name.bytes().all(fits)
        && !name.contains("..")
        // "Must not be formatted as an IP address."
        && name.parse::<std::net::Ipv4Addr>().is_err()
}

fn sign(options: &Options) -> Result<Option<Signature>, Problem> {
    let key_id = options.text("access_key_id").unwrap_or_default();
    if !key_id.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b',') || key_id.is_empty()
    {
        return Err(problem("access_key_id", "is required, without blanks, slashes and commas"));
    }
    let secret = |key| options.secret(key).filter(|it| !it.expose().trim().is_empty()).cloned();
    let trimmed = |secret: Secret| Secret::new(secret.expose().trim().to_owned());
    let key = "secret_access_key";
    Ok(Some(Signature::V4 {
        key_id,
        secret: trimmed(secret(key).ok_or_else(|| problem(key, "is required"))?),
        session: secret("session_token").map(trimmed),
        region: options.text("region").unwrap_or_default(),
        service: "s3".to_owned(),
        signs_body: match options.text("payload_signing").as_deref() {
            Some("always") => true,
            Some("never") => false,
            // TLS says already that nobody changed it.
            _ => endpoints(options)?.iter().any(|url| url.scheme_str() == Some("http")),
        },
    }))
}

/// The prefix of keys, from the bucket's root.
fn derive(options: &Options) -> Result<Derived, Problem> {
    let prefix = options.text("key_prefix").unwrap_or_default();
    if prefix.starts_with('/') || prefix.contains("//") {
        return Err(problem("key_prefix", "has an empty folder name"));
    }
    if prefix.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(problem("key_prefix", "has a folder that is none, `.` or `..`"));
    }
    Ok(Derived { texts: vec![("s3.prefix", format!("/{prefix}"))], ..Derived::NONE })
}

const OPTIONS: &[Opt] = &[
    opt("bucket", Kind::Text(63), None, "Bucket that takes the objects."),
    opt("region", Kind::Text(64), Some("us-east-1"), "Region of the bucket; signatures name it."),
    Opt {
        aliases: &["endpoint_url"],
        ..opt("endpoint", Kind::Url, None, "Store that is not Amazon's, such as http://minio:9000.")
    },
    opt(
        "addressing",
        Kind::Choice(&["virtual", "path"]),
        None,
        "Whether the bucket is a part of the host or of the path; path with an endpoint of its own.",
    ),
    opt("access_key_id", Kind::Text(128), None, "Key that signs requests."),
    opt("secret_access_key", Kind::Secret, None, "Its secret."),
    opt("session_token", Kind::Secret, None, "Token of a temporary key."),
    opt(
        "payload_signing",
        Kind::Choice(&["auto", "always", "never"]),
        Some("auto"),
        "Whether signatures cover the whole body or its CRC32C alone; auto: the whole body over plain HTTP.",
    ),
    opt(
        "key_prefix",
        Kind::Text(512),
        Some("'events/dt={date:%Y-%m-%d}/hour={date:%H}/'"),
        "What keys begin with; may have placeholders such as {tenant_id} and the event's {date:%Y}.",
    ),
];
