//! `threat_intel`: which feeds are read, and what a match does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::expand::Names;
use super::exporter::{fingerprint, is_plain_and_far, wrong_header};
use super::key::key;
use super::mistake::nearest;
use super::paths::{Named, Wants};
use super::read::read;
use super::shared::SHARED;
use super::text::{Body, Node};
use super::value::{Value, Values};
use super::{Default, Key, Kind, Mistake, Mistakes, Wrong};
use crate::deliver::{Proxy, Secret, TlsSettings, TlsVersion};
use crate::event::{Severity, Time};
use crate::intel::{
    ActionSpec, Allowed, CacheSpec, EscalateSpec, FeedSpec, IntelMode, IntelSpec, Refused,
    ServerSpec, TaxiiAuth, TaxiiVersion, Tlp,
};
use Default::{Is, Unset};

/// The keys at the top of a file; `feed.` ones are of each server too.
pub(super) const INTEL: &[Key] = &[
    key(
        "threat_intel.enabled",
        Kind::Bool,
        Is("false"),
        "Reads indicators from `servers`, marks events that match them, and answers guards.",
    )
    .also(&["threat_intel.taxii.enabled"]),
    key("threat_intel.servers", Kind::Servers, Is("[]"), "Where indicators come from, over TAXII.")
        .also(&["threat_intel.taxii.servers"]),
    key(
        "threat_intel.feed.interval_minutes",
        Kind::Span(1_000, 7 * 86_400_000),
        Is("60"),
        "From one poll of a feed to the next, give or take a tenth.",
    )
    .also(&["threat_intel.taxii.feed.interval_minutes"]),
    key(
        "threat_intel.feed.page_size",
        Kind::Int(1, 10_000),
        Is("100"),
        "Objects that one answer is asked to have at most.",
    )
    .also(&["threat_intel.taxii.feed.page_size"]),
    key(
        "threat_intel.feed.include_types",
        Kind::List,
        Is("[indicator]"),
        "Kinds of STIX objects that are asked for; an empty list asks for all. Who and what is behind \
         an indicator is known only with `relationship` and the kinds that it leads to.",
    )
    .also(&["threat_intel.taxii.feed.include_types"]),
    key(
        "threat_intel.feed.min_confidence",
        Kind::Int(0, 100),
        Unset("none"),
        "Indicators that are less sure are not used.",
    )
    .also(&["threat_intel.taxii.feed.min_confidence"]),
    key(
        "threat_intel.feed.added_after",
        Kind::Text(64),
        Unset("none"),
        "Objects that the server had before are not read, such as `2026-01-31T12:00:00Z`.",
    )
    .also(&["threat_intel.taxii.feed.added_after"]),
    key(
        "threat_intel.feed.cache_ttl_hours",
        Kind::Span(1_000, 365 * 86_400_000),
        Is("24"),
        "How long an indicator is used after its feed last told it; never longer than it says itself.",
    )
    .also(&["threat_intel.taxii.feed.cache_ttl_hours"]),
    key(
        "threat_intel.feed.full_sync_hours",
        Kind::Span(1_000, 365 * 86_400_000),
        Unset("half of cache_ttl_hours"),
        "How often at least everything is read again, and not only what is new: what is not told \
         again expires. With `interval_minutes` and a tenth of it, it is less than \
         `cache_ttl_hours`.",
    )
    .also(&["threat_intel.taxii.feed.full_sync_hours"]),
    key(
        "threat_intel.feed.default_confidence",
        Kind::Int(0, 100),
        Is("50"),
        "How sure an indicator is that does not say it.",
    )
    .also(&["threat_intel.taxii.feed.default_confidence"]),
    key(
        "threat_intel.feed.max_pages",
        Kind::Int(1, 1_000_000),
        Is("1000"),
        "Pages of one poll at most.",
    )
    .also(&["threat_intel.taxii.feed.max_pages"]),
    key(
        "threat_intel.feed.max_response_bytes",
        Kind::Size(64 << 10, 1 << 30),
        Is("64MiB"),
        "Bytes of one answer at most.",
    )
    .also(&["threat_intel.taxii.feed.max_response_bytes"]),
    key(
        "threat_intel.cache.persistent",
        Kind::Bool,
        Is("false"),
        "Keeps indicators over a restart, and where each feed was read to.",
    )
    .also(&["threat_intel.taxii.cache.persistent"]),
    key(
        "threat_intel.cache.path",
        Kind::Path,
        Unset("required for persistent"),
        "The file that they are kept in.",
    )
    .also(&["threat_intel.taxii.cache.path"]),
    key(
        "threat_intel.cache.max_size",
        Kind::Int(1, 10_000_000),
        Is("100000"),
        "Values of indicators at most; where there are more, expired ones go first, then the least \
         sure, then the oldest.",
    )
    .also(&["threat_intel.taxii.cache.max_size"]),
    key(
        "threat_intel.actions.block_egress",
        Kind::Bool,
        Is("true"),
        "Has guards block domains, addresses and URLs that match.",
    )
    .also(&["threat_intel.taxii.actions.block_egress"]),
    key(
        "threat_intel.actions.block_paths",
        Kind::Bool,
        Is("false"),
        "Has guards block files that match by hash, name or directory.",
    )
    .also(&["threat_intel.taxii.actions.block_paths"]),
    key(
        "threat_intel.actions.enrich_events",
        Kind::Bool,
        Is("true"),
        "Says of events what matched them.",
    )
    .also(&["threat_intel.taxii.actions.enrich_events"]),
    key(
        "threat_intel.actions.mode",
        Kind::Choice(&["block", "alert_only"]),
        Is("block"),
        "`alert_only` tells guards of matches and has them block nothing.",
    )
    .also(&["threat_intel.taxii.actions.mode"]),
    key(
        "threat_intel.never_block",
        Kind::List,
        Is("[]"),
        "What no indicator applies to: domains with all below them (`*.example.com`: only what is \
         below), addresses, prefixes such as `10.0.0.0/8`, and URLs, which stand for their hosts.",
    ),
    key(
        "threat_intel.url_host_blocking",
        Kind::Bool,
        Is("false"),
        "Whether the indicator of a URL is one of its host too, which others may use as well.",
    ),
    key(
        "threat_intel.export_tlp",
        Kind::List,
        Is("[clear, green, amber]"),
        "Markings (`clear`, `green`, `amber`, `amber+strict`, `red`) with which an indicator's texts \
         may be copied into events and answers.",
    ),
    key(
        "threat_intel.escalate.min_confidence",
        Kind::Int(0, 100),
        Unset("none"),
        "From which confidence on a match makes an event more severe.",
    ),
    key(
        "threat_intel.escalate.to_severity",
        Kind::Severity,
        Unset("none"),
        "How severe such an event is at least.",
    ),
];

/// The keys of a server that are not of its feed and its TLS.
const OWN: &[Key] = &[
    key(
        "name",
        Kind::Text(64),
        Unset("the host of url"),
        "What events, metrics and `shrike status` call it.",
    ),
    key(
        "url",
        Kind::Url,
        Unset("required"),
        "Where the server is, such as `https://taxii.example.com`; discovery is asked below it.",
    ),
    key(
        "api_root",
        Kind::Text(2048),
        Unset("the one that discovery names"),
        "The API root: a path such as `/api1/`, or a URL on the same host.",
    ),
    key("collection_id", Kind::Text(256), Unset("required"), "The collection to read."),
    key(
        "version",
        Kind::Choice(&["2.0", "2.1"]),
        Is("2.1"),
        "The version of TAXII that it speaks.",
    ),
    key(
        "auth.type",
        Kind::Choice(&["none", "basic", "api_key", "certificate"]),
        Is("none"),
        "How we say who we are: not at all, by name and password, by a key in a header, or by a \
         certificate.",
    ),
    key(
        "auth.username",
        Kind::Secret,
        Unset("required for basic"),
        "The name; some servers take a key here and no password.",
    ),
    key("auth.password", Kind::Secret, Unset("an empty one"), "The password."),
    key("auth.api_key", Kind::Secret, Unset("required for api_key"), "The key."),
    key(
        "auth.header_name",
        Kind::Text(256),
        Is("Authorization"),
        "The header that carries the key.",
    ),
    key(
        "auth.prefix",
        Kind::Text(64),
        Unset("`Bearer` in Authorization, else none"),
        "The word before the key; an empty text is none.",
    ),
    key(
        "auth.cert_path",
        Kind::Path,
        Unset("required for certificate"),
        "PEM file of our certificate chain.",
    ),
    key("auth.key_path", Kind::Path, Unset("required for certificate"), "PEM file of its key."),
    key(
        "headers",
        Kind::Secrets,
        Is("{}"),
        "Further request headers; their values are kept secret.",
    ),
    key(
        "requests_per_minute",
        Kind::Int(1, 60_000),
        Is("30"),
        "Requests to the server a minute at most.",
    ),
    key("timeout_ms", Kind::Span(1, 3_600_000), Is("60000"), "How long a request may take."),
    key("allow_http", Kind::Bool, Is("false"), "Permits a plain http address beyond this host."),
];

/// Which keys of `auth` belong to which of its types.
const BELONGS: &[(&str, &str)] = &[
    ("auth.username", "basic"),
    ("auth.password", "basic"),
    ("auth.api_key", "api_key"),
    ("auth.header_name", "api_key"),
    ("auth.prefix", "api_key"),
    ("auth.cert_path", "certificate"),
    ("auth.key_path", "certificate"),
];

/// The keys of one of `threat_intel.servers`.
#[must_use]
pub fn server_keys() -> Vec<Key> {
    let is_alike = |key: &&Key| {
        let is_tls = key.path.starts_with("tls.") && !key.path.starts_with("tls.client_");
        is_tls || key.path == "proxy"
    };
    let alike = SHARED.iter().filter(is_alike);
    // The other spellings are of documents about exporters.
    let alike = alike.map(|key| Key { aliases: &[], ..*key });
    let feed = INTEL.iter().filter_map(|key| {
        let path = key.path.strip_prefix("threat_intel.")?;
        let is_of_feed = path.starts_with("feed.");
        is_of_feed.then_some(Key { path, aliases: &[], default: Unset("that of all"), ..*key })
    });
    OWN.iter().copied().chain(alike).chain(feed).collect()
}

/// What is read of a file beside the values of [`INTEL`].
pub(super) struct Setting<'a, 'n> {
    pub(super) names: &'a Names<'n>,
    pub(super) state_dir: &'a Path,
    pub(super) notes: &'a mut Vec<String>,
    pub(super) paths: &'a mut Vec<Named>,
}

/// Threat intelligence where it is switched on.
pub(super) fn intel(
    values: &Values,
    setting: Setting<'_, '_>,
    mistakes: &mut Mistakes,
) -> Option<Arc<IntelSpec>> {
    let Setting { names, state_dir, notes, paths } = setting;
    let is_on = values.is_on("threat_intel.enabled");
    let below = |path: PathBuf| match path.starts_with(state_dir) {
        true => path,
        false => state_dir.join(path),
    };
    let of_all = feed(values, "threat_intel.", &FeedSpec::default(), mistakes);
    let mut build =
        Servers { names, state_dir, of_all: &of_all, notes: Vec::new(), paths: Vec::new() };
    let servers = build.servers(values, mistakes);
    let Servers { notes: of_servers, paths: of_their, .. } = build;
    let is_persistent = values.is_on("threat_intel.cache.persistent");
    let path = values.path("threat_intel.cache.path").map(below).filter(|_| is_persistent);
    let is_pathless = path.is_none() && !values.broken.contains("threat_intel.cache.path");
    if is_on && is_persistent && is_pathless {
        let wrong = "needs `threat_intel.cache.path`, such as `${state_dir}/threat-intel.cache`";
        rule(values, "threat_intel.cache.persistent", wrong, mistakes);
    }
    if is_on && !values.is_written("threat_intel.servers") {
        let wrong = "needs `threat_intel.servers`; no feed is read without";
        rule(values, "threat_intel.enabled", wrong, mistakes);
    } else if is_on && servers.is_empty() && is_empty(values) {
        rule(values, "threat_intel.servers", "expected at least one server", mistakes);
    }
    let spec = IntelSpec {
        cache: CacheSpec {
            path,
            size_max: values.number("threat_intel.cache.max_size").unwrap_or_default(),
        },
        actions: ActionSpec {
            block_egress: values.is_on("threat_intel.actions.block_egress"),
            block_paths: values.is_on("threat_intel.actions.block_paths"),
            enrich_events: values.is_on("threat_intel.actions.enrich_events"),
            mode: match values.text("threat_intel.actions.mode").as_deref() {
                Some("alert_only") => IntelMode::AlertOnly,
                _ => IntelMode::Block,
            },
        },
        never_block: never_block(values, mistakes),
        url_host_blocking: values.is_on("threat_intel.url_host_blocking"),
        export_tlp: export_tlp(values, mistakes),
        escalate: escalate(values, mistakes),
        servers,
    };
    if !is_on {
        return None;
    }
    notes.extend(of_servers);
    paths.extend(of_their);
    if let Some(path) = &spec.cache.path {
        paths.push(values.named("threat_intel.cache.path", path, Wants::Own));
    }
    Some(Arc::new(spec))
}

/// Whether the list of servers is written and holds nothing.
fn is_empty(values: &Values) -> bool {
    const KEY: &str = "threat_intel.servers";
    let list = values.node(KEY).map(|node| &node.body);
    let is_read = !values.broken.contains(KEY);
    matches!(list, Some(Body::List(nodes)) if is_read && nodes.is_empty())
}

fn never_block(values: &Values, mistakes: &mut Mistakes) -> Vec<Allowed> {
    const KEY: &str = "threat_intel.never_block";
    let parse = |text: &String| match Allowed::parse(text) {
        Ok(allowed) => Some(allowed),
        Err(refused) => {
            let what = match refused {
                Refused::EveryAddress => "is every address, so that nothing would be blocked",
                _ => "is no domain, address, prefix such as 10.0.0.0/8, or URL",
            };
            rule(values, KEY, &format!("`{}` {what}", text.escape_debug()), mistakes);
            None
        }
    };
    list(values, KEY).iter().filter_map(parse).collect()
}

fn export_tlp(values: &Values, mistakes: &mut Mistakes) -> Vec<Tlp> {
    const KEY: &str = "threat_intel.export_tlp";
    let parse = |text: &String| match Tlp::parse(text) {
        Some(tlp) => Some(tlp),
        None => {
            let text = text.escape_debug();
            let wrong = format!("`{text}`: expected clear, green, amber, amber+strict or red");
            rule(values, KEY, &wrong, mistakes);
            None
        }
    };
    list(values, KEY).iter().filter_map(parse).collect()
}

fn escalate(values: &Values, mistakes: &mut Mistakes) -> Option<EscalateSpec> {
    const FROM: &str = "threat_intel.escalate.min_confidence";
    const TO: &str = "threat_intel.escalate.to_severity";
    let confidence_min = values.number(FROM);
    let word = values.text(TO);
    let severity = word.and_then(|word| Severity::parse(word.as_bytes()));
    match (confidence_min, severity) {
        (Some(confidence_min), Some(to_severity)) => {
            Some(EscalateSpec { confidence_min, to_severity })
        }
        (Some(_), None) if !values.is_written(TO) => {
            rule(values, FROM, "needs `threat_intel.escalate.to_severity` beside it", mistakes);
            None
        }
        (None, Some(_)) if !values.is_written(FROM) => {
            rule(values, TO, "needs `threat_intel.escalate.min_confidence` beside it", mistakes);
            None
        }
        _ => None,
    }
}

/// How a feed is read: what is written, over what holds for all.
fn feed(values: &Values, at: &str, of_all: &FeedSpec, mistakes: &mut Mistakes) -> FeedSpec {
    let keys = INTEL.iter().map(|key| key.path);
    let key = |name: &str| -> &'static str {
        let is_it = |path: &&str| path.strip_prefix("threat_intel.feed.") == Some(name);
        let path = keys.clone().find(is_it).expect("it is in the table");
        if at.is_empty() { &path["threat_intel.".len()..] } else { path }
    };
    let int = |name| values.int(key(name));
    let cache_ttl = values.span(key("cache_ttl_hours")).unwrap_or(of_all.cache_ttl);
    let full_sync = values.span(key("full_sync_hours"));
    let usual_sync = match cache_ttl == of_all.cache_ttl {
        true => of_all.full_sync,
        false => cache_ttl / 2,
    };
    let full_sync = full_sync.unwrap_or(usual_sync);
    let interval = values.span(key("interval_minutes")).unwrap_or(of_all.interval);
    let written = ["full_sync_hours", "cache_ttl_hours", "interval_minutes"].map(key);
    let written = written.into_iter().find(|key| values.is_written(key));
    if let Some(key) = written
        && full_sync + interval + interval / 10 >= cache_ttl
    {
        let hours = |span: Duration| span.as_secs_f64() / 3600.0;
        let wrong = format!(
            "expected `full_sync_hours` ({:.3}) and an `interval_minutes` with a tenth more ({:.3} h) to \
             be less than `cache_ttl_hours` ({:.3}) together: what is not told again by then expires",
            hours(full_sync),
            hours(interval + interval / 10),
            hours(cache_ttl)
        );
        rule(values, key, &wrong, mistakes);
    }
    let own_types = match values.value(key("include_types")) {
        Some(Value::List(types)) => Some(types.clone()),
        _ => None,
    };
    let unknown = |word: &&String| !TYPES.contains(&word.as_str());
    for word in own_types.iter().flatten().filter(unknown) {
        let word = word.escape_debug().to_string();
        let hint = match nearest(&word, TYPES.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", TYPES.join(", ")),
        };
        let wrong = format!("`{word}` is no kind of object that is used; {hint}");
        rule(values, key("include_types"), &wrong, mistakes);
    }
    let added_after = values.text(key("added_after")).and_then(|text| {
        let time = Time::parse(text.as_bytes());
        if time.is_none() {
            let wrong = "expected a time such as 2026-01-31T12:00:00Z";
            rule(values, key("added_after"), wrong, mistakes);
        }
        time
    });
    let number = |name, of_all| int(name).and_then(|it| it.try_into().ok()).unwrap_or(of_all);
    let percent = |name| int(name).and_then(|it| u8::try_from(it).ok());
    FeedSpec {
        interval,
        page_size: number("page_size", of_all.page_size),
        include_types: own_types.unwrap_or_else(|| of_all.include_types.clone()),
        confidence_min: percent("min_confidence").or(of_all.confidence_min),
        added_after: added_after.or(of_all.added_after),
        cache_ttl,
        full_sync,
        confidence_default: percent("default_confidence").unwrap_or(of_all.confidence_default),
        pages_max: number("max_pages", of_all.pages_max),
        response_bytes_max: match int("max_response_bytes") {
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            None => of_all.response_bytes_max,
        },
    }
}

/// The servers under construction.
struct Servers<'a, 'n> {
    names: &'a Names<'n>,
    state_dir: &'a Path,
    of_all: &'a FeedSpec,
    notes: Vec<String>,
    paths: Vec<Named>,
}

impl Servers<'_, '_> {
    fn servers(&mut self, values: &Values, mistakes: &mut Mistakes) -> Vec<ServerSpec> {
        const KEY: &str = "threat_intel.servers";
        let Some(Body::List(nodes)) = values.node(KEY).map(|node| &node.body) else {
            return Vec::new();
        };
        if nodes.len() > SERVERS_MAX {
            let wrong = Wrong::TooLarge { what: "servers", max: SERVERS_MAX };
            values.mistake(KEY, wrong, mistakes);
            return Vec::new();
        }
        let mut found: Vec<ServerSpec> = Vec::with_capacity(nodes.len());
        for (n, node) in nodes.iter().enumerate() {
            let place = format!("{KEY}[{n}]");
            let table = server_keys();
            let row = read(node, &place, &table, self.names, mistakes);
            let server = self.server(&row, node, mistakes);
            debug_assert_eq!(row.unasked(&table), Vec::<&str>::new(), "keys without effect");
            let Some(server) = server else { continue };
            if found.iter().any(|other| other.name == server.name) {
                let wrong = format!(
                    "`{}` is the name of another server already; give each a `name`",
                    server.name.escape_debug()
                );
                rule(&row, "name", &wrong, mistakes);
            } else if let Some(other) = found.iter().find(|other| other.key() == server.key()) {
                let other = other.name.escape_debug();
                let wrong = format!("server `{other}` reads this collection already");
                rule(&row, "collection_id", &wrong, mistakes);
            }
            found.push(server);
        }
        found
    }

    fn server(&mut self, row: &Values, node: &Node, mistakes: &mut Mistakes) -> Option<ServerSpec> {
        for key in ["url", "collection_id"].into_iter().filter(|key| !row.is_written(key)) {
            let wrong = Wrong::Rule(format!("a server needs `{key}`"));
            mistakes.add(Mistake::new(node.at.clone(), row.place.as_str(), wrong));
        }
        let (allows_http, text) = (row.is_on("allow_http"), row.text("url"));
        if !allows_http && text.as_deref().is_some_and(is_plain_and_far) {
            let wrong = "plain http to another host carries credentials readably and anybody on the \
                         way can change what is told; use https, or set `allow_http: true`";
            rule(row, "url", wrong, mistakes);
        }
        let url: Option<http::Uri> = text.and_then(|text| text.parse().ok());
        let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
        let name: Arc<str> = row.text("name").unwrap_or_else(|| host.to_owned()).into();
        let (auth, certificate) = self.auth(row, mistakes);
        let tls = self.tls(row, &name, certificate, mistakes);
        let headers = row.secrets("headers");
        for (header, value) in &headers {
            if let Some(wrong) = wrong_header(header, value) {
                rule(row, "headers", &wrong, mistakes);
            }
        }
        let spec = ServerSpec {
            api_root: row.text("api_root"),
            collection_id: row.text("collection_id").unwrap_or_default(),
            version: match row.text("version").as_deref() {
                Some("2.0") => TaxiiVersion::V2_0,
                _ => TaxiiVersion::V2_1,
            },
            auth,
            headers,
            tls,
            proxy: match row.value("proxy") {
                Some(Value::Secret(url)) => Proxy::Url(url.clone()),
                Some(Value::Text(word)) if word == "env" => Proxy::Env,
                _ => Proxy::None,
            },
            requests_per_minute: row.number("requests_per_minute").unwrap_or(1),
            timeout: row.span("timeout_ms").unwrap_or_default(),
            feed: feed(row, "", self.of_all, mistakes),
            url: url.clone().unwrap_or_default(),
            name,
        };
        url.map(|_| spec)
    }

    /// What a request shows, and the certificate that a connection shows.
    fn auth(
        &mut self,
        row: &Values,
        mistakes: &mut Mistakes,
    ) -> (TaxiiAuth, Option<(PathBuf, PathBuf)>) {
        let secret = |key| match row.value(key) {
            Some(Value::Secret(secret)) => Some(secret.clone()),
            _ => None,
        };
        let path = |key| row.path(key).map(|path| self.state_dir.join(path));
        let (username, password) = (secret("auth.username"), secret("auth.password"));
        let (api_key, header) = (secret("auth.api_key"), row.text("auth.header_name"));
        let (cert, key) = (path("auth.cert_path"), path("auth.key_path"));
        let (word, prefix) = (row.text("auth.type"), row.text("auth.prefix"));
        let Some(word) = word else { return (TaxiiAuth::None, None) };
        for &(key, of) in BELONGS {
            let is_of_another = word != of && !row.broken.contains("auth.type");
            if row.is_written(key) && is_of_another {
                rule(row, key, &format!("belongs to `auth.type: {of}`"), mistakes);
            }
        }
        let mut needs = |key: &'static str, is_there: bool| {
            if !is_there && !row.is_written(key) {
                rule(row, "auth.type", &format!("`{word}` needs `{key}`"), mistakes);
            }
        };
        match word.as_str() {
            "basic" => {
                needs("auth.username", username.is_some());
                let password = password.unwrap_or_else(|| Secret::new(String::new()));
                let auth = username.map(|username| TaxiiAuth::Basic { username, password });
                (auth.unwrap_or_default(), None)
            }
            "api_key" => {
                needs("auth.api_key", api_key.is_some());
                let name = header.unwrap_or_default();
                let is_usual = name.eq_ignore_ascii_case("authorization");
                let prefix = prefix.unwrap_or_else(|| match is_usual {
                    true => "Bearer".to_owned(),
                    false => String::new(),
                });
                let value = api_key.map(|key| match prefix.is_empty() {
                    true => key,
                    false => Secret::new(format!("{prefix} {}", key.expose())),
                });
                let Some(value) = value else { return (TaxiiAuth::None, None) };
                if let Some(wrong) = wrong_header(&name, &value) {
                    rule(row, "auth.header_name", &wrong, mistakes);
                }
                (TaxiiAuth::Header { name, value }, None)
            }
            "certificate" => {
                needs("auth.cert_path", cert.is_some());
                needs("auth.key_path", key.is_some());
                if let (Some(cert), Some(key)) = (&cert, &key) {
                    self.paths.push(row.named("auth.cert_path", cert, Wants::Certificates));
                    self.paths.push(row.named("auth.key_path", key, Wants::PrivateKey));
                }
                (TaxiiAuth::None, cert.zip(key))
            }
            _ => (TaxiiAuth::None, None),
        }
    }

    fn tls(
        &mut self,
        row: &Values,
        name: &str,
        certificate: Option<(PathBuf, PathBuf)>,
        mistakes: &mut Mistakes,
    ) -> TlsSettings {
        let ca_cert_path = row.path("tls.ca_cert_path").map(|path| self.state_dir.join(path));
        if let Some(path) = &ca_cert_path {
            self.paths.push(row.named("tls.ca_cert_path", path, Wants::Certificates));
        }
        let text = row.text("tls.fingerprint");
        let digest = text.as_deref().and_then(fingerprint);
        if text.is_some() && digest.is_none() {
            let wrong = "expected SHA-256 of a certificate, 64 hexadecimal digits";
            rule(row, "tls.fingerprint", wrong, mistakes);
        }
        let insecure_skip_verify = row.is_on("tls.insecure_skip_verify");
        if insecure_skip_verify {
            self.notes.push(format!(
                "threat_intel: server {name} may show any certificate (tls.insecure_skip_verify): \
                 anybody on the way can tell us what to block"
            ));
        }
        let (client_cert_path, client_key_path) = certificate.unzip();
        TlsSettings {
            insecure_skip_verify,
            ca_cert_path,
            client_cert_path,
            client_key_path,
            server_name: row.text("tls.server_name"),
            fingerprint: digest,
            min_version: match row.text("tls.min_version").as_deref() {
                Some("1.3") => TlsVersion::V1_3,
                _ => TlsVersion::V1_2,
            },
        }
    }
}

fn list(values: &Values, key: &'static str) -> Vec<String> {
    match values.value(key) {
        Some(Value::List(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

fn rule(values: &Values, key: &'static str, wrong: &str, mistakes: &mut Mistakes) {
    values.mistake(key, Wrong::Rule(wrong.to_owned()), mistakes);
}

/// Kinds of objects that are read (`threat-intel.md`, STIX parsing).
const TYPES: &[&str] = &[
    "attack-pattern",
    "campaign",
    "indicator",
    "infrastructure",
    "intrusion-set",
    "malware",
    "marking-definition",
    "relationship",
    "threat-actor",
];
/// Each is polled by itself.
const SERVERS_MAX: usize = 64;
