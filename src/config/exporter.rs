//! From one exporter's values to its settings.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderName;

use super::credentials;
use super::expand::Names;
use super::filtering::{self, FILTER};
use super::mistake::nearest;
use super::paths::{Named, Wants};
use super::privacy::{self, PRIVACY_OWN};
use super::read::read;
use super::routes::{self, Routed, Routes};
use super::shared::SHARED;
use super::text::{Body, Node};
use super::value::{Value, Values, join};
use super::{At, Exporter, Key, Kind, Mistake, Mistakes, Wrong};
use crate::deliver::{
    BatchSettings, BreakerSettings, ConnectionSettings, DeadLetterSettings, Effect, Encoding,
    FileSettings, From, Hidden, Http2, OnLag, Opt, OptionValue, Options, Problem, Proxy,
    RateSettings, Reach, RetrySettings, Secret, Settings, TlsSettings, TlsVersion, Vendor, Wire,
};
use crate::event::Severity;
use crate::transform::{Format, Name};

/// What every exporter is read against.
pub(super) struct Setting<'a> {
    pub(super) vendors: &'a [&'static Vendor],
    pub(super) names: &'a Names<'a>,
    pub(super) default_format: Option<Format>,
    /// Where a new exporter starts when it does not say.
    pub(super) from: From,
    pub(super) state_dir: &'a std::path::Path,
    /// What stands where privacy removed something.
    pub(super) replacement: &'a str,
}

/// An exporter that was read.
pub(super) struct Read {
    /// None where it is switched off.
    pub(super) exporter: Option<Box<Exporter>>,
    /// What an operator should know.
    pub(super) notes: Vec<String>,
    /// What was read under another name.
    pub(super) conversions: Vec<String>,
    /// The paths that it names.
    pub(super) paths: Vec<Named>,
    /// How often its credentials are to be read again, where it says so.
    pub(super) credentials_interval: Option<Duration>,
}

/// The keys that an exporter to this destination takes: the destination's own first, since they
/// win over shared ones of the same name.
#[must_use]
pub fn keys_of(vendor: &'static Vendor) -> Vec<Key> {
    let own = vendor.options.iter().map(Key::of);
    let mut keys: Vec<Key> = own.collect();
    let shared = SHARED.iter().chain(credentials::OF_EXPORTER).chain(FILTER).chain(PRIVACY_OWN);
    for mut key in shared.copied().chain(routes::keys(vendor)) {
        if let Some((_, text)) = vendor.usual.iter().find(|(path, _)| *path == key.path) {
            key.default = super::Default::Is(text);
        }
        if keys.iter().all(|own| own.path != key.path) {
            keys.push(key);
        }
    }
    keys
}

/// Reads one exporter.
pub(super) fn exporter(
    name: &str,
    at: &At,
    node: &Node,
    setting: &Setting<'_>,
    mistakes: &mut Mistakes,
) -> Option<Read> {
    let place = join("exporters", name);
    if !is_name(name) {
        mistakes.add(Mistake::new(at.clone(), place, wrong_name()));
        return None;
    }
    let Some(vendor) = vendor_of(name, node, setting) else {
        unknown(name, at, node, setting, mistakes);
        return None;
    };
    let table = keys_of(vendor);
    let before = mistakes.count();
    let mut values = read(node, &place, &table, setting.names, mistakes);
    values.at = at.clone();
    let mut build = Build {
        vendor,
        headers: "headers",
        values: &values,
        lent: Options::default(),
        setting,
        mistakes,
        before,
        notes: Vec::new(),
    };
    let exporter = build.exporter(name, &table);
    debug_assert_eq!(values.unasked(&table), Vec::<&str>::new(), "keys without effect");
    let notes = build.notes;
    let paths = paths(&exporter.settings, &values);
    let exporter = values.is_on("enabled").then(|| Box::new(exporter));
    Some(Read {
        credentials_interval: values.span("credentials.refresh_interval"),
        exporter,
        notes,
        conversions: values.conversions(),
        paths,
    })
}

/// The paths that an exporter names, and what has to be there.
pub(super) fn paths(settings: &Settings, values: &Values) -> Vec<Named> {
    let Settings { tls, dead_letters, .. } = settings;
    let file = FileSettings::of(&settings.options, true);
    let is_file = settings.vendor.wire == Wire::File;
    [
        ("tls.ca_cert_path", tls.ca_cert_path.as_deref(), Wants::Certificates),
        ("tls.client_cert_path", tls.client_cert_path.as_deref(), Wants::Certificates),
        ("tls.client_key_path", tls.client_key_path.as_deref(), Wants::PrivateKey),
        (
            "dlq.path",
            dead_letters.is_enabled.then_some(dead_letters.dir.as_path()),
            Wants::Directory,
        ),
        ("path", is_file.then_some(file.path.as_path()), Wants::Written),
    ]
    .into_iter()
    .filter_map(|(key, path, wants)| Some(values.named(key, path?, wants)))
    .collect()
}

/// The destination: by `type`, else by the longest known type that the name starts with.
fn vendor_of(name: &str, node: &Node, setting: &Setting<'_>) -> Option<&'static Vendor> {
    let fitting = setting.vendors.iter().copied().flat_map(|vendor| {
        let fits = |spelling: &&str| fits(spelling, name, node);
        spellings(vendor).filter(fits).map(move |spelling| (spelling.len(), vendor))
    });
    fitting.max_by_key(|&(length, _)| length).map(|(_, vendor)| vendor)
}

/// An exporter to a destination that is not here.
fn unknown(name: &str, at: &At, node: &Node, setting: &Setting<'_>, mistakes: &mut Mistakes) {
    let (at, place) = match node.below("type") {
        Some(node) => (node.at.clone(), format!("exporters.{name}.type")),
        None => (at.clone(), format!("exporters.{name}")),
    };
    let all = setting.vendors.iter().copied().flat_map(spellings);
    let nearest = nearest(word(node, "type").unwrap_or(name), all);
    let known = setting.vendors.iter().map(|vendor| vendor.name.to_owned()).collect();
    mistakes.add(Mistake::new(at, place, Wrong::Type { nearest, known }));
}

/// Whether an exporter is of a type: by its own word, else by its name.
fn fits(spelling: &str, name: &str, node: &Node) -> bool {
    match word(node, "type") {
        Some(word) => word == spelling,
        None => match name.strip_prefix(spelling) {
            Some(rest) => rest.is_empty() || rest.starts_with(['_', '-']),
            None => false,
        },
    }
}

fn spellings(vendor: &'static Vendor) -> impl Iterator<Item = &'static str> {
    std::iter::once(vendor.name).chain(vendor.aliases.iter().copied())
}

/// The single value of a key.
fn word<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match node.below(key).map(|node| &node.body) {
        Some(Body::Scalar(scalar)) => Some(scalar.text.as_str()),
        _ => None,
    }
}

/// One exporter under construction.
pub(super) struct Build<'a, 'm> {
    pub(super) vendor: &'static Vendor,
    /// The key of further request headers.
    pub(super) headers: &'static str,
    pub(super) values: &'a Values,
    /// Options of another exporter that it has as well.
    pub(super) lent: Options,
    pub(super) setting: &'a Setting<'a>,
    pub(super) mistakes: &'m mut Mistakes,
    /// Mistakes before this exporter was read.
    pub(super) before: usize,
    pub(super) notes: Vec<String>,
}

impl Build<'_, '_> {
    pub(super) fn exporter(&mut self, name: &str, table: &[Key]) -> Exporter {
        let values = self.values;
        let options = self.options(table);
        let _type_is_known = values.value("type");
        // Asked before, when references were replaced.
        for key in credentials::OF_EXPORTER {
            let _asked = values.value(key.path);
        }
        let (encoding, encoding_level) = self.encoding();
        let settings = Settings {
            name: name.to_owned(),
            vendor: self.vendor,
            format: self.format(&options),
            batch: self.batch(),
            concurrency: values.number("concurrency"),
            lanes: values.number("lanes"),
            latency_target: values.span("latency_target_ms").unwrap_or_default(),
            retry: self.retry(),
            breaker: self.breaker(),
            rate: self.rate(),
            encoding,
            encoding_level,
            tls: self.tls(name),
            connection: self.connection(),
            headers: self.headers(),
            lag_bytes_max: values.int("lag_max_bytes"),
            on_lag: match values.text("on_lag").as_deref() {
                Some("block") => OnLag::Block,
                _ => OnLag::Skip,
            },
            from: self.from(),
            dead_letters: self.dead_letters(name),
            health_interval: values.span("health_interval_ms").unwrap_or_default(),
            alert_after: values.span("alert_after_ms").unwrap_or_default(),
            options,
        };
        let routes = Routes {
            vendor: self.vendor,
            values,
            options: &settings.options,
            format: settings.format,
        };
        let routes = routes.read(table, self.setting.names, self.mistakes);
        let filter = filtering::rules(values, FILTER, &mut self.notes, self.mistakes);
        // After another mistake the destination would complain about what is only misspelled.
        let is_whole = self.mistakes.count() == self.before && values.broken.is_empty();
        if values.is_on("enabled") && is_whole {
            self.vendor_rules(&settings, &routes);
        }
        if values.is_on("enabled") && self.mistakes.count() == self.before {
            let notes = (self.vendor.notes)(&settings.options);
            self.notes.extend(notes.into_iter().map(|note| format!("exporter {name}: {note}")));
        }
        // What the destination finds wrong is told once.
        let hidden = match self.mistakes.count() == self.before && values.broken.is_empty() {
            true => (self.vendor.hides)(&settings.options),
            false => Hidden::default(),
        };
        let privacy = privacy::narrower(values, hidden, self.setting.replacement, self.mistakes);
        let routes = routes.into_iter().map(|routed| routed.route).collect();
        Exporter { settings, filter, privacy, routes, hook: None }
    }

    fn options(&mut self, table: &[Key]) -> Options {
        let mut options = std::mem::take(&mut self.lent);
        for opt in self.vendor.options {
            let Some(value) = self.values.value(opt.key) else { continue };
            if let Some(value) = option_value(value) {
                options.set(opt.key, value);
            }
        }
        let inside = self.secrets_inside();
        if !inside.is_empty() {
            options.set(INSIDE, OptionValue::Secrets(inside));
        }
        let allow_http = self.values.is_on("allow_http");
        let is_url = |key: &&Key| matches!(key.kind, Kind::Url | Kind::Urls | Kind::SecretUrl);
        for key in table.iter().filter(is_url) {
            let mut urls = options.list(key.path).into_iter().chain(options.url(key.path));
            if !allow_http && urls.any(is_plain_and_far) {
                self.rule(key.path, FAR.to_owned());
            }
        }
        options
    }

    /// Secrets that stand in headers, objects and texts: destinations may show what they were sent.
    fn secrets_inside(&self) -> Vec<Secret> {
        let headers = self.values.secrets(self.headers).into_iter().map(|(_, secret)| secret);
        let objects = self.vendor.options.iter().flat_map(|opt| match self.values.value(opt.key) {
            Some(Value::Object(_, secrets)) => secrets.clone(),
            _ => Vec::new(),
        });
        headers.chain(objects).chain(self.values.all_inside().cloned()).collect()
    }

    /// What the destination itself finds wrong.
    fn vendor_rules(&mut self, settings: &Settings, routes: &[Routed]) {
        let options = &settings.options;
        if let Some((key, when)) = self.vendor.certificate
            && when.holds(options, settings.format)
            && settings.tls.client_cert_path.is_none()
        {
            self.rule(key, "needs `tls.client_cert_path` and `tls.client_key_path`".to_owned());
        }
        for effect in self.vendor.effects {
            if !effect.when.holds(options, settings.format) {
                self.without_effect(effect);
            }
        }
        if let Ok(endpoints) = (self.vendor.endpoints)(options) {
            self.names_certificate(&endpoints, &settings.tls);
        }
        let base = problems(self.vendor, options);
        for routed in routes {
            let mut options = options.clone();
            for (key, value) in &routed.route.options {
                options.set(key, value.clone());
            }
            let own = problems(self.vendor, &options).into_iter();
            let own = own.filter(|problem| !base.contains(problem));
            let far = routed.route.options.iter().filter(|(key, value)| self.is_far(key, value));
            let far = far.map(|(key, _)| Problem { key: (*key).to_owned(), problem: FAR.into() });
            let wrong: Vec<Problem> = far.chain(own).collect();
            wrong.into_iter().for_each(|problem| self.mistakes.add(routed.mistake(problem)));
        }
        for problem in base {
            self.values.mistake(&problem.key, Wrong::Rule(problem.problem), self.mistakes);
        }
    }

    /// Refuses what is written and does nothing; `false` asks for nothing.
    fn without_effect(&mut self, effect: &Effect) {
        for &key in effect.of {
            let asks = !matches!(self.values.value(key), Some(Value::Bool(false)));
            if asks && self.values.is_written(key) {
                let text =
                    format!("has no effect unless {}; leave it out, or see to that", effect.unless);
                self.rule(key, text);
            }
        }
    }

    /// Whether a value of this key is a URL that sends in the clear to another host, which nobody
    /// permits.
    fn is_far(&self, key: &str, value: &OptionValue) -> bool {
        let is_url = |opt: &&Opt| {
            use crate::deliver::Kind::{SecretUrl, Url, Urls};
            opt.key == key && matches!(opt.kind, Url | Urls | SecretUrl)
        };
        let url = match value {
            OptionValue::Text(url) => url.as_str(),
            OptionValue::Secret(url) => url.expose(),
            _ => return false,
        };
        let is_permitted = self.values.is_on("allow_http");
        !is_permitted && self.vendor.options.iter().any(|opt| is_url(&opt)) && is_plain_and_far(url)
    }

    /// Whether it is known which name the certificate behind a bare address carries.
    fn names_certificate(&mut self, endpoints: &[http::Uri], tls: &TlsSettings) {
        let is_known =
            tls.server_name.is_some() || tls.fingerprint.is_some() || tls.insecure_skip_verify;
        let is_bare = |uri: &&http::Uri| {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            uri.scheme_str() == Some("tls") && host.parse::<IpAddr>().is_ok()
        };
        if let Some(bare) = endpoints.iter().find(is_bare).filter(|_| !is_known) {
            let host = bare.host().unwrap_or_default();
            let wrong = format!(
                "{host} is an address; expected the name in its certificate, or a tls.fingerprint"
            );
            self.rule("tls.server_name", wrong);
        }
    }

    fn format(&mut self, options: &Options) -> Format {
        let values = self.values;
        let formats = self.vendor.formats;
        let own = formats.first().copied().unwrap_or(Format::Native);
        let word = values.text("format");
        let named = Format::ALL.iter().copied().find(|it| Some(it.word()) == word.as_deref());
        // A destination's own words for `format` may say something else than the document.
        let wanted = match named {
            Some(format) => Some(format),
            None => (self.vendor.format)(options).or_else(|| {
                let default = self.setting.default_format;
                default.filter(|it| self.vendor.takes_default_format && formats.contains(it))
            }),
        };
        match wanted {
            Some(format) if !formats.contains(&format) => {
                let words: Vec<&str> = formats.iter().map(|format| format.word()).collect();
                self.rule(
                    "format",
                    format!(
                        "{} takes {}, not {}",
                        self.vendor.name,
                        super::key::one_of(&words),
                        format.word()
                    ),
                );
                own
            }
            Some(format) => format,
            None => own,
        }
    }

    fn batch(&mut self) -> BatchSettings {
        let values = self.values;
        let limits = self.vendor.limits;
        let events_max = values.number("batch.size").unwrap_or(limits.events);
        let bytes_max = values
            .number("batch.max_bytes")
            .unwrap_or(self.vendor.body_bytes.unwrap_or(BODY_BYTES));
        let bytes_max = match values.is_written("batch.max_bytes") {
            true => bytes_max,
            false => bytes_max.min(limits.body_bytes),
        };
        if events_max > limits.events {
            let limit = limits.events;
            self.rule("batch.size", format!("{} takes at most {limit} events", self.vendor.name));
        }
        if bytes_max > limits.body_bytes {
            let limit = super::key::size(u64::from(limits.body_bytes));
            self.rule("batch.max_bytes", format!("{} takes at most {limit}", self.vendor.name));
        }
        let target = values.span("latency_target_ms").unwrap_or_default();
        let usual = self.vendor.linger.unwrap_or((target / 10).min(LINGER_MAX));
        let linger = values.span("batch.linger_ms").unwrap_or(usual);
        BatchSettings {
            events_max,
            bytes_max,
            linger,
            interval: values.span("batch.flush_interval_ms"),
            flush_on: self.severity("batch.flush_on_severity"),
        }
    }

    fn retry(&mut self) -> RetrySettings {
        let values = self.values;
        // There is one way so far; the row refuses any other.
        let _full = values.value("retry.jitter");
        let initial_backoff = values.span("retry.initial_backoff_ms").unwrap_or_default();
        let backoff_max = values.span("retry.max_backoff_ms").unwrap_or_default();
        if initial_backoff > backoff_max {
            self.rule(
                "retry.initial_backoff_ms",
                "the first wait is longer than `retry.max_backoff_ms`".to_owned(),
            );
        }
        RetrySettings {
            retries_max: values.number("retry.max_retries").unwrap_or(0),
            initial_backoff,
            backoff_max,
            backoff_percent: values.number("retry.backoff_multiplier").unwrap_or(200),
            retry_after_max: values.span("retry.max_retry_after_ms").unwrap_or_default(),
            budget_percent: values.number("retry.budget_percent").unwrap_or(0),
            age_max: values.span("retry.max_age"),
        }
    }

    fn breaker(&self) -> BreakerSettings {
        let failures = self.values.number("circuit_breaker.failure_threshold").unwrap_or(0);
        let is_enabled = self.values.is_on("circuit_breaker.enabled");
        BreakerSettings {
            failures: if is_enabled { failures } else { 0 },
            open: self.values.span("circuit_breaker.open_ms").unwrap_or_default(),
        }
    }

    fn rate(&mut self) -> RateSettings {
        let values = self.values;
        let per_second: Option<u32> = values.number("rate_limit.requests_per_second");
        let per_second_min = values.number("rate_limit.min_rps").unwrap_or(1);
        let burst: Option<u32> = values.number("rate_limit.burst_size");
        if burst.is_some() && per_second.is_none() {
            self.rule(
                "rate_limit.burst_size",
                "has no effect without `rate_limit.requests_per_second`".to_owned(),
            );
        }
        if per_second.is_some_and(|most| most < per_second_min) {
            self.rule(
                "rate_limit.min_rps",
                "is more than `rate_limit.requests_per_second`".to_owned(),
            );
        }
        RateSettings {
            per_second,
            burst: burst.unwrap_or(per_second.unwrap_or(u32::MAX / 2).saturating_mul(2)),
            adaptive: values.is_on("rate_limit.adaptive"),
            per_second_min,
        }
    }

    fn encoding(&mut self) -> (Encoding, u32) {
        let values = self.values;
        let own = self.vendor.encodings.first().copied().unwrap_or(Encoding::Identity);
        let (key, word) = match values.value("compression") {
            Some(Value::Text(word)) => ("compression", Some(word.clone())),
            Some(Value::Bool(false)) => ("compression", Some("none".to_owned())),
            _ => ("compression.algorithm", values.text("compression.algorithm")),
        };
        let _asked = values.value("compression.algorithm");
        let mut encoding = match word.as_deref() {
            Some("none") => Encoding::Identity,
            Some("gzip") => Encoding::Gzip,
            Some("zstd") => Encoding::Zstd,
            Some("deflate") => Encoding::Deflate,
            _ => own,
        };
        if !values.is_on("compression.enabled") {
            encoding = Encoding::Identity;
        }
        let is_taken = encoding == Encoding::Identity || self.vendor.encodings.contains(&encoding);
        if !is_taken {
            let encodings = self.vendor.encodings.iter().map(|encoding| word_of(*encoding));
            let words: Vec<&str> = encodings.filter(|word| *word != "none").collect();
            let words: Vec<&str> = words.into_iter().chain(["none"]).collect();
            let words = super::key::one_of(&words);
            self.rule(key, format!("{} takes {words}", self.vendor.name));
        }
        let level = values.number("compression.level").unwrap_or(1);
        if level > 9 && encoding != Encoding::Zstd {
            self.rule("compression.level", "expected a level from 1 to 9".to_owned());
        }
        (encoding, level)
    }

    fn tls(&mut self, name: &str) -> TlsSettings {
        let values = self.values;
        let path = |key| values.path(key).map(|path| self.setting.state_dir.join(path));
        let tls = TlsSettings {
            insecure_skip_verify: values.is_on("tls.insecure_skip_verify"),
            ca_cert_path: path("tls.ca_cert_path"),
            client_cert_path: path("tls.client_cert_path"),
            client_key_path: path("tls.client_key_path"),
            server_name: values.text("tls.server_name"),
            fingerprint: self.fingerprint(),
            min_version: match values.text("tls.min_version").as_deref() {
                Some("1.3") => TlsVersion::V1_3,
                _ => TlsVersion::V1_2,
            },
        };
        match (&tls.client_cert_path, &tls.client_key_path) {
            (Some(_), None) => {
                self.rule("tls.client_cert_path", "needs `tls.client_key_path` too".to_owned());
            }
            (None, Some(_)) => {
                self.rule("tls.client_key_path", "needs `tls.client_cert_path` too".to_owned());
            }
            _ => {}
        }
        if tls.insecure_skip_verify && tls.fingerprint.is_none() {
            self.notes.push(format!(
                "exporter {name} accepts any certificate (tls.insecure_skip_verify): anybody on \
                 the way can read and change what it sends"
            ));
        }
        tls
    }

    fn fingerprint(&mut self) -> Option<[u8; 32]> {
        let text = self.values.text("tls.fingerprint")?;
        let digest = fingerprint(&text);
        if digest.is_none() {
            self.rule(
                "tls.fingerprint",
                "expected SHA-256 of a certificate, 64 hexadecimal digits, as `openssl x509 \
                 -noout -fingerprint -sha256 -in CERT.pem` prints it"
                    .to_owned(),
            );
        }
        digest
    }

    fn connection(&self) -> ConnectionSettings {
        let values = self.values;
        let span = |key| values.span(key).unwrap_or_default();
        ConnectionSettings {
            connect_timeout: span("connection.connect_timeout_ms"),
            timeout: values.span("timeout_ms").unwrap_or(self.vendor.timeout),
            keep_alive: span("connection.keep_alive_ms"),
            connections_max: values.number("connection.max_connections").unwrap_or(1),
            age_max: span("connection.max_age_ms"),
            reach: match values.is_on("connection.allow_private_addresses") {
                true => Reach::Anywhere,
                false => Reach::Public,
            },
            http2: match values.text("connection.http2").as_deref() {
                Some("h2c") => Http2::H2c,
                Some("off") => Http2::Off,
                _ => Http2::Auto,
            },
            proxy: match values.value("proxy") {
                Some(Value::Secret(url)) => Proxy::Url(url.clone()),
                Some(Value::Text(word)) if word == "env" => Proxy::Env,
                _ => Proxy::None,
            },
        }
    }

    fn headers(&mut self) -> Vec<(String, crate::deliver::Secret)> {
        let headers = self.values.secrets(self.headers);
        if !headers.is_empty() && self.vendor.wire != Wire::Http {
            self.rule(self.headers, format!("{} sends no requests with headers", self.vendor.name));
        }
        for (name, value) in &headers {
            if let Some(wrong) = wrong_header(name, value) {
                self.rule(self.headers, wrong);
            }
        }
        headers
    }

    fn from(&self) -> From {
        match self.values.value("from") {
            Some(Value::Text(word)) if word == "earliest" => From::Earliest,
            Some(Value::Text(_)) => From::Latest,
            Some(Value::Int(nanoseconds)) => From::Time(*nanoseconds),
            _ => self.setting.from,
        }
    }

    fn dead_letters(&self, name: &str) -> DeadLetterSettings {
        let values = self.values;
        let state_dir = self.setting.state_dir;
        let dir = match values.path("dlq.path") {
            None => state_dir.join("dlq").join(name),
            // The planning documents write one file of lines; here it is a directory of segments.
            Some(path) if path.extension().is_some_and(|it| it == "jsonl") => {
                path.with_extension("")
            }
            Some(path) => path,
        };
        DeadLetterSettings {
            is_enabled: values.is_on("dlq.enabled"),
            // A path that names the state directory already is whole.
            dir: if dir.starts_with(state_dir) { dir } else { state_dir.join(dir) },
            bytes_max: values.int("dlq.max_bytes").unwrap_or(0),
            age_max: values.span("dlq.max_age_days").unwrap_or_default(),
            auto_replay: values.is_on("dlq.auto_replay"),
        }
    }

    fn severity(&self, key: &'static str) -> Option<Severity> {
        Severity::parse(self.values.text(key)?.as_bytes())
    }

    fn rule(&mut self, key: &str, text: String) {
        self.values.mistake(key, Wrong::Rule(text), self.mistakes);
    }
}

/// What a destination finds wrong with options, each thing once.
pub(super) fn problems(vendor: &'static Vendor, options: &Options) -> Vec<Problem> {
    let found = [
        (vendor.endpoints)(options).err(),
        (vendor.auth)(options).err(),
        (vendor.headers)(options).err(),
        (vendor.sign)(options).err(),
        (vendor.derive)(options).err(),
    ];
    let mut problems: Vec<Problem> = Vec::new();
    for problem in found.into_iter().flatten() {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

/// The first name of a field in braces, as templates have it.
fn placeholder(text: &str) -> Option<&str> {
    let inside = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    inside.map(|(name, _)| name.trim()).find(|name| Name::parse(name).is_some())
}

/// A fingerprint as people write it: digits, perhaps with colons, perhaps behind the digest's name.
pub(super) fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let text = text.trim().to_ascii_lowercase().replace(':', "");
    let digits = ["sha256 fingerprint=", "sha-256", "sha256"];
    let digits = digits.iter().find_map(|name| text.strip_prefix(name)).unwrap_or(&text);
    let mut digest = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(digest)
}

/// A value as a vendor sees it.
pub(super) fn option_value(value: &Value) -> Option<OptionValue> {
    match value {
        Value::Text(text) => Some(OptionValue::Text(text.clone())),
        Value::Secret(secret) => Some(OptionValue::Secret(secret.clone())),
        Value::Object(object, _) => Some(OptionValue::Object(object.clone())),
        Value::Bool(yes) => Some(OptionValue::Bool(*yes)),
        Value::Int(number) => Some(OptionValue::Int(*number)),
        Value::List(texts) => Some(OptionValue::List(texts.clone())),
        Value::Maps(maps) => Some(OptionValue::Maps(maps.clone())),
        _ => None,
    }
}

fn word_of(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Identity => "none",
        Encoding::Gzip => "gzip",
        Encoding::Deflate => "deflate",
        Encoding::Zstd => "zstd",
    }
}

/// Whether a URL sends in the clear to another host.
pub(super) fn is_plain_and_far(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let is_name_near = host == "localhost" || host.ends_with(".localhost");
    let is_near = is_name_near || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.scheme_str() == Some("http") && !is_near
}

/// What is wrong with a further request header.
pub(super) fn wrong_header(name: &str, value: &Secret) -> Option<String> {
    let is_ours = OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name));
    if is_ours {
        return Some(format!("{name} follows from the request and is not settable"));
    }
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Some(format!("`{}` is no name of a header", name.escape_debug()));
    }
    if http::HeaderValue::from_str(value.expose()).is_err() {
        return Some(format!("the value of {name} has characters that no header may have"));
    }
    placeholder(value.expose()).map(|place| {
        format!(
            "the value of {name} may not depend on events, and `{place}` would be sent as it is; \
             requests of one destination have the same headers"
        )
    })
}

/// What is wrong with a name that is none.
pub(super) fn wrong_name() -> Wrong {
    Wrong::Rule(format!(
        "expected a name of at most {NAME_BYTES_MAX} lower-case letters, digits, `_` and `-`"
    ))
}

/// Whether a text can name an exporter: it becomes a metric label and a file name.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(fits)
}

/// Under this name, which no key has, are the secrets of headers and objects.
const INSIDE: &str = "secrets inside";
/// Headers that follow from the URL and the body (RFC 9112, 3.2 and 6).
const OWN_HEADERS: &[&str] = &["host", "content-length", "transfer-encoding"];
/// What is wrong with URLs that anybody on the way could read.
const FAR: &str = "plain http to another host carries events and credentials readably; use https, \
                   or set `allow_http: true`";
/// Bytes of an exporter's name.
const NAME_BYTES_MAX: usize = 64;
/// The longest derived linger (`design.md` 3).
const LINGER_MAX: Duration = Duration::from_millis(10);
/// Bytes of a body where nothing is written: what is rendered is still in the core's own cache when
/// it is compressed or sent. 5 MB bodies cost a third more CPU and twice the memory
/// (`docs/decisions/bodies.md`).
const BODY_BYTES: u32 = 1_000_000;
