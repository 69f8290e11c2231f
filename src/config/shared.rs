//! The table of keys that every exporter shares.

use super::key::{ENCODINGS, FORMATS, key};
use super::{Default, Key, Kind};
use Default::{Is, Unset};

/// Keys that every exporter shares.
pub const SHARED: &[Key] = &[
    key(
        "type",
        Kind::Text(64),
        Unset("from the name"),
        "Kind of destination; else the longest known type with which the exporter's name \
         starts, followed by `_` or `-`.",
    ),
    key(
        "enabled",
        Kind::Bool,
        Is("true"),
        "false keeps the exporter configured and stopped; it does not hold the log back.",
    ),
    key(
        "format",
        Kind::Choice(FORMATS),
        Unset("the destination's own"),
        "Format of the documents.",
    ),
    key("allow_http", Kind::Bool, Is("false"), "Permits plain http to hosts other than this one."),
    key(
        "latency_target_ms",
        Kind::Span(1, 3_600_000),
        Is("500"),
        "Time from append to attempt that 99 of 100 events keep; batch keys that are not \
         written follow from it.",
    ),
    key(
        "batch.size",
        Kind::Int(1, 1_000_000),
        Unset("the destination's limit"),
        "Events in a request at most.",
    )
    .also(&["batch_size", "runtime.batch_size", "bulk.flush_threshold"]),
    key(
        "batch.max_bytes",
        Kind::Size(1 << 10, 1 << 30),
        Unset("1 MB, or the destination's limit where that is less"),
        "Bytes of a request's body at most, before compression.",
    ),
    key(
        "batch.linger_ms",
        Kind::Span(0, 3_600_000),
        Unset("a tenth of latency_target_ms, at most 10"),
        "How long a batch waits for more events once it could be sent.",
    ),
    key(
        "batch.flush_interval_ms",
        Kind::Span(1, 3_600_000),
        Unset("none"),
        "Closes a batch after this long in any case.",
    )
    .also(&[
        "flush_interval_ms",
        "runtime.flush_interval_ms",
        "batch_timeout",
        "bulk.flush_interval_ms",
    ]),
    key(
        "batch.flush_on_severity",
        Kind::Severity,
        Is("critical"),
        "An event at least this severe does not linger.",
    ),
    key(
        "concurrency",
        Kind::IntOrAuto(1, 1024),
        Unset("two per worker; one where order matters"),
        "Requests in flight.",
    )
    .also(&["bulk.concurrency"]),
    key(
        "lanes",
        Kind::IntOrAuto(1, 1024),
        Unset("the least of workers, concurrency and connections"),
        "Workers that serve the exporter at once.",
    ),
    key(
        "from",
        Kind::Start,
        Unset("latest; earliest where an input has an end"),
        "Where a new exporter starts in the log.",
    ),
    key(
        "lag_max_bytes",
        Kind::Size(1 << 20, 1 << 50),
        Unset("log.max_bytes"),
        "How far the exporter may fall behind before `on_lag` acts.",
    ),
    key(
        "on_lag",
        Kind::Choice(&["skip", "block"]),
        Is("skip"),
        "`skip` gives up its oldest events, counted; `block` makes inputs wait.",
    ),
    key(
        "dlq.enabled",
        Kind::Bool,
        Is("true"),
        "Keeps events that are given up, for `shrike dlq`; false only counts them.",
    ),
    key(
        "dlq.path",
        Kind::Path,
        Unset("dlq/NAME in the state directory"),
        "Directory of these dead letters; an ending `.jsonl` is left out.",
    ),
    key(
        "dlq.max_bytes",
        Kind::Size(8 << 20, 1 << 40),
        Is("50MiB"),
        "Their bound; the oldest go first, counted.",
    ),
    key(
        "dlq.max_age_days",
        Kind::Span(1_000, 3650 * 86_400_000),
        Is("30"),
        "How long they are kept.",
    ),
    key(
        "dlq.auto_replay",
        Kind::Bool,
        Is("false"),
        "Sends those that may succeed again once the destination is well, at most at a tenth of \
         the exporter's rate, or one a second where that is more, and three times each.",
    ),
    key(
        "retry.max_retries",
        Kind::Int(0, 1000),
        Is("3"),
        "Attempts after the first while the destination accepts others; outages spend none.",
    )
    .also(&["retry_max_attempts", "bulk.max_retries", "runtime.retry.max_retries"]),
    key(
        "retry.initial_backoff_ms",
        Kind::Span(1, 3_600_000),
        Is("1000"),
        "The first wait, before full jitter.",
    )
    .also(&["retry_initial_delay", "runtime.retry.initial_backoff_ms"]),
    key("retry.max_backoff_ms", Kind::Span(1, 86_400_000), Is("30000"), "The longest wait.")
        .also(&["runtime.retry.max_backoff_ms"]),
    key(
        "retry.backoff_multiplier",
        Kind::Hundredths(100, 10_000),
        Is("2.0"),
        "Each wait is this many times the one before.",
    )
    .also(&["runtime.retry.backoff_multiplier"]),
    key(
        "retry.max_retry_after_ms",
        Kind::Span(0, 86_400_000),
        Is("300000"),
        "The longest `Retry-After` that is honoured.",
    ),
    key(
        "retry.jitter",
        Kind::Choice(&["full"]),
        Is("full"),
        "How waits differ: each is drawn between nothing and its bound, so that many senders do not \
         come back at once.",
    ),
    key(
        "retry.budget_percent",
        Kind::Int(0, 100),
        Is("20"),
        "Retries as a share of first attempts, in percent.",
    ),
    key(
        "retry.max_age",
        Kind::SpanOrNone(1),
        Is("none"),
        "How long after the first request with it an event may be held before it becomes a dead \
         letter, with what the last request met.",
    ),
    key(
        "circuit_breaker.enabled",
        Kind::Bool,
        Is("true"),
        "Whether failures in a row stop the attempts for a while.",
    ),
    key("circuit_breaker.failure_threshold", Kind::Int(1, 1000), Is("5"), "How many."),
    key("circuit_breaker.open_ms", Kind::Span(1, 86_400_000), Is("30000"), "For how long."),
    key(
        "rate_limit.requests_per_second",
        Kind::Int(1, 1_000_000),
        Unset("none"),
        "Requests a second at most.",
    )
    .also(&["runtime.rate_limit.requests_per_second"]),
    key(
        "rate_limit.burst_size",
        Kind::Int(1, 1_000_000),
        Unset("twice requests_per_second"),
        "Requests at once after a quiet time; fewer while `adaptive` keeps the rate low.",
    )
    .also(&["runtime.rate_limit.burst_size"]),
    key(
        "rate_limit.adaptive",
        Kind::Bool,
        Is("true"),
        "Halves the rate when the destination throttles, once a second at most, and raises it again; \
         without `requests_per_second` that which was reached.",
    )
    .also(&["runtime.rate_limit.adaptive"]),
    key(
        "rate_limit.min_rps",
        Kind::Int(1, 1_000_000),
        Is("1"),
        "The lowest rate that this reaches, in requests a second.",
    )
    .also(&["runtime.rate_limit.min_rps"]),
    key(
        "compression",
        Kind::Compression,
        Unset("the destination's own"),
        "Content encoding of request bodies; true is the destination's own, false is none.",
    ),
    key(
        "compression.algorithm",
        Kind::Choice(ENCODINGS),
        Unset("the destination's own"),
        "The same, where a level is given too.",
    ),
    key("compression.enabled", Kind::Bool, Is("true"), "false is no encoding."),
    key(
        "compression.level",
        Kind::Int(1, 22),
        Is("1"),
        "Its level: 1 to 9 for gzip and deflate, 1 to 22 for zstd; above 12 each batch that is \
         being filled takes tens of megabytes.",
    ),
    key(
        "tls.insecure_skip_verify",
        Kind::Bool,
        Is("false"),
        "Accepts any certificate, or the one of `tls.fingerprint`; without that it is warned about \
         at start.",
    )
    .also(&["!tls.reject_unauthorized"]),
    key(
        "tls.ca_cert_path",
        Kind::Path,
        Unset("the system's authorities"),
        "PEM file of the authorities to trust.",
    )
    .also(&["tls.ca"]),
    key("tls.client_cert_path", Kind::Path, Unset("none"), "PEM file of our certificate chain.")
        .also(&["tls.cert"]),
    key("tls.client_key_path", Kind::Path, Unset("none"), "PEM file of its key.")
        .also(&["tls.key"]),
    key(
        "tls.server_name",
        Kind::Text(253),
        Unset("the URL's host"),
        "Name to verify in the destination's certificate.",
    ),
    key(
        "tls.fingerprint",
        Kind::Text(127),
        Unset("none"),
        "SHA-256 of the one certificate that is accepted, whoever signed it; with \
         `tls.ca_cert_path` authority and name must be right too, unless \
         `tls.insecure_skip_verify` is on.",
    ),
    key("tls.min_version", Kind::Choice(&["1.2", "1.3"]), Is("1.2"), "Oldest TLS version."),
    key(
        "timeout_ms",
        Kind::Span(1, 3_600_000),
        Unset("30000"),
        "How long a request may take, or writing a batch where nothing answers.",
    )
    .also(&["connection.timeout_ms", "connection.write_timeout_ms"]),
    key(
        "connection.connect_timeout_ms",
        Kind::Span(1, 3_600_000),
        Is("5000"),
        "How long making a connection may take, TLS included.",
    ),
    key(
        "connection.keep_alive_ms",
        Kind::Span(0, 86_400_000),
        Is("60000"),
        "How long an idle connection is kept.",
    ),
    key(
        "connection.max_connections",
        Kind::Int(1, 4096),
        Is("10"),
        "Connections per endpoint, over all lanes.",
    ),
    key(
        "connection.max_age_ms",
        Kind::Span(0, 86_400_000),
        Is("300000"),
        "How long a connection is used before a new one is made, its name resolved anew.",
    ),
    key(
        "connection.http2",
        Kind::Choice(&["auto", "h2c", "off"]),
        Is("auto"),
        "HTTP/2 where TLS negotiates it, without TLS, or never.",
    ),
    key(
        "connection.allow_private_addresses",
        Kind::Bool,
        Is("true"),
        "Whether a name may lead to this host, a private network or a cloud's metadata; with false \
         only to addresses of the public Internet.",
    )
    .also(&["allow_private_addresses"]),
    key(
        "proxy",
        Kind::Proxy,
        Is("none"),
        "Way through a proxy; `env` is HTTPS_PROXY, HTTP_PROXY and NO_PROXY.",
    ),
    key(
        "headers",
        Kind::Secrets,
        Is("{}"),
        "Further request headers; their values are kept secret.",
    ),
    key(
        "health_interval_ms",
        Kind::Span(10, 86_400_000),
        Is("30000"),
        "How often the destination is asked how it is.",
    ),
    key(
        "alert_after_ms",
        Kind::Span(1, 86_400_000),
        Is("300000"),
        "How long nothing may arrive although it is tried before that is logged as an error.",
    ),
];

/// The key of an exporter's own rules, for destinations that can route.
pub const ROUTING: Key = key(
    "routing",
    Kind::Routes,
    Is("[]"),
    "Rules of a `condition` and the keys that a matching event overrides; the first \
         match holds.",
);

/// The same where there are maps beside the rules.
pub(super) const RULES: Key = key(
    "routing.rules",
    Kind::Routes,
    Is("[]"),
    "Rules of a `condition` and the keys that a matching event overrides, for events that no map \
         is for; the first match holds.",
)
.also(&["routing"]);
