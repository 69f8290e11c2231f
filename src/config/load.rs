//! From a file and flags to a configuration.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::admin;
use super::credentials;
use super::expand::{Lookup, Names, Provider, expand};
use super::exporter::{Read, Setting, exporter};
use super::filtering;
use super::flags::{Flag, Flags};
use super::forms::{self, Converted};
use super::hooks::{Others, hook};
use super::inputs::inputs;
use super::intel;
use super::paths::{Named, Wants};
use super::prepared::prepared_otherwise;
use super::privacy;
use super::read::read;
use super::room::rooms;
use super::table::{TOP, top};
use super::text::{self, Body, Node, Source, TEXT_BYTES_MAX};
use super::value::{Value, Values};
use super::{
    Config, Enrichment, Error, Global, Input, LogFormat, LogLevel, Mistake, Mistakes,
    PipelineSettings, SchemaSettings, Shown, Wrong,
};
use crate::deliver::{From, Vendor};
use crate::event::FieldId;
use crate::intake::ServerTls;
use crate::log::{IoChoice, LogOptions, STRIPE_BYTES};
use crate::pipeline::ReceiptOptions;
use crate::transform::{FilterRules, Format};

/// Where a configuration comes from.
#[derive(Clone, Debug)]
pub enum Text {
    /// A file's content and its name.
    File {
        /// The name, for errors.
        name: String,
        /// The content.
        text: zeroize::Zeroizing<String>,
    },
    /// The embedded default: standard input to standard output, log below the working directory.
    Embedded,
}

impl Text {
    /// Reads the file that was given, else the usual one where it exists, else the embedded text.
    ///
    /// # Errors
    /// When the file cannot be read; a file that was given and is missing is an error.
    pub fn open(given: Option<&Path>) -> Result<Self, Error> {
        let path = given.unwrap_or(Path::new(USUAL_PATH));
        match read_file(path) {
            Ok(text) => Ok(Self::File { name: path.display().to_string(), text: text.into() }),
            Err(error) if given.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::Embedded)
            }
            Err(source) => Err(Error::Unreadable { path: path.to_owned(), source }),
        }
    }

    /// Whether it has neither keys nor braces: it is being written at this moment, or is not the
    /// one that was meant. To run without any would end every input and exporter.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let Self::File { text, .. } = self else { return false };
        let text = text.trim_start_matches('\u{feff}');
        let mut lines = text.lines().map(str::trim);
        lines.all(|line| line.is_empty() || line.starts_with('#') || matches!(line, "---" | "..."))
    }

    /// The name for errors and people.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::File { name, .. } => name,
            Self::Embedded => "embedded default",
        }
    }
}

/// Reads a file up to one byte more than a configuration may have.
fn read_file(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let bound = u64::try_from(TEXT_BYTES_MAX).expect("the bound is small") + 1;
    std::fs::File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        std::io::Error::other(format!("line {line} is no UTF-8, as which it must be saved"))
    })
}

impl Config {
    /// Reads a text and flags, with these destinations.
    ///
    /// # Errors
    /// All mistakes at once, each with its place.
    pub fn load(
        text: &Text,
        flags: &Flags,
        vendors: &[&'static Vendor],
        lookup: &dyn Lookup,
    ) -> Result<Self, Error> {
        let (config, mistakes) = Self::resolve(text, flags, vendors, lookup)?;
        if !mistakes.is_empty() {
            return Err(mistakes.into_error());
        }
        Ok(config)
    }

    /// The same with what is wrong in it; keys that are wrong have their defaults.
    pub(super) fn resolve(
        text: &Text,
        flags: &Flags,
        vendors: &[&'static Vendor],
        lookup: &dyn Lookup,
    ) -> Result<(Self, Mistakes), Error> {
        let mut mistakes = Mistakes::default();
        let (mut root, Converted { notes, switches }) = tree(text, flags, vendors, &mut mistakes)?;
        let state_dir = state_dir(&mut root, lookup, &mut mistakes);
        let shown = RefCell::default();
        let mut names = Names {
            lookup,
            state_dir: Some(&state_dir),
            provider: Provider::Env,
            mount: PathBuf::new(),
            vault: Err(String::new()),
            shown: &shown,
        };
        credentials::expand_all(&mut root, &mut names, &mut mistakes);
        forms::switch(&mut root, switches, &names, &mut mistakes);
        let table = top();
        let values = read(&root, "", &table, &names, &mut mistakes);
        let mut config =
            Resolve { values: &values, mistakes: &mut mistakes }.config(vendors, &names);
        debug_assert_eq!(values.unasked(&table), Vec::<&str>::new(), "keys without effect");
        config.shown = shown.take();
        config.conversions.splice(0..0, notes);
        text.name().clone_into(&mut config.origin);
        if mistakes.is_empty() {
            rooms(&config, &root, &mut mistakes);
        }
        Ok((config, mistakes))
    }

    /// The state directory alone: the rest may be wrong, and what it refers to is not read.
    ///
    /// # Errors
    /// When the text cannot be read so far.
    pub fn state_dir(
        text: &Text,
        flags: &Flags,
        vendors: &[&'static Vendor],
        lookup: &dyn Lookup,
    ) -> Result<PathBuf, Error> {
        let (mut root, _) = tree(text, flags, vendors, &mut Mistakes::default())?;
        let mut mistakes = Mistakes::default();
        let state_dir = state_dir(&mut root, lookup, &mut mistakes);
        match mistakes.is_empty() {
            true => Ok(PathBuf::from(state_dir)),
            false => Err(mistakes.into_error()),
        }
    }
}

/// The tree of a text and its flags in the usual form, and what was in another.
fn tree(
    text: &Text,
    flags: &Flags,
    vendors: &[&'static Vendor],
    mistakes: &mut Mistakes,
) -> Result<(Node, Converted), Error> {
    let source = Source::File(Arc::from(text.name()));
    let mut root = match text {
        Text::File { text, .. } => text::parse(text, &source, mistakes),
        Text::Embedded => text::parse(EMBEDDED, &source, mistakes),
    };
    let is_embedded = matches!(text, Text::Embedded);
    let names_exporters = flags.list.iter().any(Flag::names_exporter);
    if is_embedded && names_exporters {
        remove(&mut root, "exporters");
    }
    // Nothing below makes sense of a text that is no YAML.
    if mistakes.iter().any(Mistake::is_of_text) {
        return Err(std::mem::take(mistakes).into_error());
    }
    let conversions = forms::convert(&mut root, vendors, mistakes);
    flags.apply(&mut root, vendors, mistakes);
    if flags.list.is_empty() && text.is_blank() {
        let wrong = "holds no configuration; expected keys such as `inputs:`, or `{}` for none";
        mistakes.add(Mistake::new(root.at.clone(), "", Wrong::Rule(wrong.to_owned())));
        return Err(std::mem::take(mistakes).into_error());
    }
    if mistakes.iter().any(Mistake::is_of_text) {
        return Err(std::mem::take(mistakes).into_error());
    }
    Ok((root, conversions))
}

/// The text of `global.state_dir`, expanded, before anything can refer to it.
fn state_dir(root: &mut Node, lookup: &dyn Lookup, mistakes: &mut Mistakes) -> String {
    const PATH: &str = "global.state_dir";
    let fallback = TOP.iter().find(|key| key.path == PATH).map(|key| key.default);
    let fallback = match fallback {
        Some(super::Default::Is(text)) => text.to_owned(),
        _ => String::new(),
    };
    let Some(node) = below_mut(root, PATH) else { return fallback };
    let shown = RefCell::default();
    let names = Names {
        lookup,
        state_dir: None,
        provider: Provider::Env,
        mount: PathBuf::new(),
        vault: Err("`global.state_dir` is read before any Vault".to_owned()),
        shown: &shown,
    };
    expand(node, &mut PATH.to_owned(), &names, mistakes);
    match &node.body {
        Body::Scalar(scalar) => scalar.text.to_string(),
        _ => fallback,
    }
}

fn below_mut<'a>(node: &'a mut Node, path: &str) -> Option<&'a mut Node> {
    path.split('.').try_fold(node, |node, step| match &mut node.body {
        Body::Map(entries) => {
            entries.iter_mut().find(|entry| entry.key == step).map(|entry| &mut entry.node)
        }
        _ => None,
    })
}

fn remove(root: &mut Node, key: &str) {
    if let Body::Map(entries) = &mut root.body {
        entries.retain(|entry| entry.key != key);
    }
}

/// A configuration under construction.
struct Resolve<'a, 'm> {
    values: &'a Values,
    mistakes: &'m mut Mistakes,
}

impl Resolve<'_, '_> {
    fn config(&mut self, vendors: &[&'static Vendor], names: &Names<'_>) -> Config {
        let values = self.values;
        self.version();
        self.chain();
        let global = self.global();
        let schema = self.schema();
        let mut paths = Vec::new();
        let inputs = self.inputs(names, &mut paths);
        // A first run over inputs that end would otherwise start after their events.
        let is_finite = inputs.iter().any(Input::is_finite);
        let setting = Setting {
            vendors,
            names,
            default_format: schema.default_format,
            from: if is_finite { From::Earliest } else { From::Latest },
            state_dir: &global.state_dir,
            replacement: &values.text("privacy.redaction_replacement").unwrap_or_default(),
        };
        let receipts = ReceiptOptions {
            path: self.path("audit.path", &global.state_dir),
            bytes_max: values.int("audit.max_bytes").unwrap_or(0),
        };
        let mut config = Config {
            origin: String::new(),
            privacy: None,
            enrichment: Enrichment {
                host: values.is_on("enrichment.host"),
                product_version: values.is_on("enrichment.product_version"),
                mitre: match values.value("enrichment.mitre") {
                    Some(Value::Mitre(rows)) => rows.clone(),
                    _ => Vec::new(),
                },
            },
            pipeline: self.pipeline(&global.state_dir),
            in_flight_bytes: values.int("memory.in_flight_bytes").unwrap_or(0),
            log: self.log(&global.state_dir),
            receipts: values.is_on("audit.enabled").then_some(receipts),
            admin: admin::admin(values, names, &global.state_dir, self.mistakes),
            inputs,
            filtering: FilterRules::default(),
            intel: None,
            routing: Vec::new(),
            routing_default: Vec::new(),
            exporters: Vec::new(),
            disabled: Vec::new(),
            credentials_interval: self.credentials_interval(),
            shown: Shown::default(),
            notes: Vec::new(),
            conversions: values.conversions(),
            paths,
            global: global.clone(),
            schema,
        };
        config.privacy = privacy::privacy(values, names, &mut config.notes, self.mistakes);
        self.intel(names, &mut config);
        config.filtering =
            filtering::rules(values, filtering::FILTERING, &mut config.notes, self.mistakes);
        self.paths(&mut config);
        self.exporters(&setting, &mut config);
        self.hooks(&setting, &mut config);
        self.unmapped(&mut config);
        self.routing(names, &mut config);
        self.listens(&config);
        config
    }

    /// Tells of exporters whose documents mappings do not change.
    fn unmapped(&self, config: &mut Config) {
        let stays =
            |it: &&super::Exporter| matches!(it.settings.format, Format::Native | Format::Text);
        let names = config.exporters.iter().filter(stays).map(|it| it.settings.name.as_str());
        let names: Vec<&str> = names.collect();
        if !config.schema.field_mappings.is_empty() && !names.is_empty() {
            let place = self.values.place_of("schema.field_mappings");
            config.notes.push(format!(
                "{place} has no effect on documents of format native or text: exporters {}",
                names.join(", ")
            ));
        }
    }

    /// No two may listen at one address.
    fn listens(&mut self, config: &Config) {
        let Some(admin) = &config.admin else { return };
        let other = config.inputs.iter().find_map(|input| match input {
            Input::Http { listen, .. } if share_a_port(*listen, admin.listen) => Some(listen),
            _ => None,
        });
        if let Some(other) = other {
            let wrong = format!("an input of type http listens there already, at {other}");
            self.rule("admin.listen", wrong);
        }
    }

    /// Notes the paths at the top of a file.
    fn paths(&mut self, config: &mut Config) {
        let Config { global, log, pipeline, receipts, admin, paths, .. } = config;
        let mut note = |key, path: &Path, wants| paths.push(self.values.named(key, path, wants));
        note("global.state_dir", &global.state_dir, Wants::State);
        note("log.dir", &log.dir, Wants::Directory);
        note("pipeline.quarantine.path", &pipeline.quarantine_dir, Wants::Directory);
        if let Some(receipts) = receipts {
            note("audit.path", &receipts.path, Wants::Own);
        }
        if let Some(ServerTls { cert_path, key_path }) =
            admin.as_ref().and_then(|admin| admin.tls.as_ref())
        {
            note("admin.tls.cert_path", cert_path, Wants::Certificates);
            note("admin.tls.key_path", key_path, Wants::PrivateKey);
        }
    }

    fn intel(&mut self, names: &Names<'_>, config: &mut Config) {
        let Config { global, notes, paths, .. } = config;
        let setting = intel::Setting { names, state_dir: &global.state_dir, notes, paths };
        config.intel = intel::intel(self.values, setting, self.mistakes);
    }

    fn chain(&mut self) {
        if !self.values.is_on("audit.hash_chain") {
            let wrong = "receipts are always chained; `audit.enabled: false` writes none";
            self.rule("audit.hash_chain", wrong.to_owned());
        }
    }

    /// The providers were asked before, when references were replaced.
    fn credentials_interval(&mut self) -> Duration {
        credentials::rules(self.values, self.mistakes);
        for key in credentials::KEYS {
            let _asked = self.values.value(key.path);
        }
        self.values.span("credentials.refresh_interval").unwrap_or_default()
    }

    fn version(&mut self) {
        let version = self.values.text("version").unwrap_or_default();
        if version.split('.').next() != Some("1") {
            let wrong = format!("version {version} is not understood; expected 1.x");
            self.rule("version", wrong);
        }
    }

    fn global(&self) -> Global {
        let values = self.values;
        let mut labels = values.texts("global.labels");
        for (name, text) in values.texts("enrichment.tags") {
            if labels.iter().all(|(known, _)| *known != name) {
                labels.push((name, text));
            }
        }
        let level = match values.text("global.log.level").as_deref() {
            Some("error") => LogLevel::Error,
            Some("warn") => LogLevel::Warn,
            Some("debug") => LogLevel::Debug,
            Some("trace") => LogLevel::Trace,
            _ => LogLevel::Info,
        };
        let is_debugging = values.is_on("global.debug");
        Global {
            environment: values.text("global.environment"),
            tenant_id: values.text("global.tenant_id"),
            labels,
            log_level: if is_debugging { level.max(LogLevel::Debug) } else { level },
            log_format: match values.text("global.log.format").as_deref() {
                Some("json") => Some(LogFormat::Json),
                Some("text") => Some(LogFormat::Text),
                _ => None,
            },
            watches_config: values.is_on("global.watch_config"),
            state_dir: values.path("global.state_dir").unwrap_or_default(),
            shutdown_timeout: values.span("global.shutdown_timeout_ms").unwrap_or_default(),
        }
    }

    fn schema(&self) -> SchemaSettings {
        let values = self.values;
        let word = values.text("schema.default_format");
        let format = Format::ALL.iter().copied().find(|f| Some(f.word()) == word.as_deref());
        let mappings = values.texts("schema.field_mappings").into_iter();
        SchemaSettings {
            default_format: format,
            include_raw: values.is_on("schema.include_raw"),
            indicators_all: values.text("schema.indicators").as_deref() == Some("all"),
            field_mappings: mappings
                .filter_map(|(from, to)| FieldId::parse(&from).map(|field| (field, to)))
                .collect(),
            ecs_version: values.text("schema.ecs.version").unwrap_or_default(),
            checked_every: match values.text("schema.validate").as_deref() {
                Some("all") => 1,
                Some("off") => 0,
                _ => 100,
            },
            ocsf_version: values.text("schema.ocsf.version").unwrap_or_default(),
        }
    }

    fn pipeline(&self, state_dir: &Path) -> PipelineSettings {
        let values = self.values;
        PipelineSettings {
            event_bytes_max: values.int("pipeline.max_event_bytes").unwrap_or(0),
            dedup_window: values.number("pipeline.dedup_window").unwrap_or(0),
            quarantine_dir: self.path("pipeline.quarantine.path", state_dir),
            quarantine_bytes_max: values.int("pipeline.quarantine.max_bytes").unwrap_or(0),
            workers: values.number("pipeline.workers").filter(|&workers: &usize| workers > 0),
        }
    }

    fn log(&mut self, state_dir: &Path) -> LogOptions {
        let values = self.values;
        let segment_bytes = values.int("log.segment_bytes").unwrap_or(0);
        if !segment_bytes.is_multiple_of(STRIPE_BYTES) {
            self.rule("log.segment_bytes", "expected a multiple of 1MiB".to_owned());
        }
        let bytes_max = values.int("log.max_bytes").unwrap_or(0);
        let mut keep_bytes = values.int("log.keep.bytes").unwrap_or(0);
        if keep_bytes > bytes_max && values.is_written("log.keep.bytes") {
            self.rule("log.keep.bytes", "is more than `log.max_bytes`".to_owned());
        }
        keep_bytes = keep_bytes.min(bytes_max);
        if segment_bytes.saturating_mul(2) > bytes_max {
            let wrong = "holds fewer than two segments; raise it or lower `log.segment_bytes`";
            self.rule("log.max_bytes", wrong.to_owned());
        }
        let event_bytes_max = values.int("pipeline.max_event_bytes").unwrap_or(0);
        if event_bytes_max + STRIPE_BYTES > segment_bytes {
            let key = match values.is_written("pipeline.max_event_bytes") {
                true => "pipeline.max_event_bytes",
                false => "log.segment_bytes",
            };
            let wrong = "a segment must hold an event of `pipeline.max_event_bytes` and 1MiB more";
            self.rule(key, wrong.to_owned());
        }
        LogOptions {
            dir: self.path("log.dir", state_dir),
            segment_bytes,
            sync_interval: values.span("log.sync_ms").unwrap_or_default(),
            sync_bytes: values.int("log.sync_bytes").unwrap_or(0),
            keep_bytes,
            keep_age: values.span("log.keep.age").unwrap_or_default(),
            bytes_max,
            io: match values.text("log.io").as_deref() {
                Some("io_uring") => IoChoice::IoUring,
                Some("syscalls") => IoChoice::Syscalls,
                _ => IoChoice::Auto,
            },
            is_realtime: values.is_on("log.realtime"),
            ..LogOptions::default()
        }
    }

    /// A path; relative ones lie below the state directory, unless they already name it.
    fn path(&self, key: &'static str, state_dir: &Path) -> PathBuf {
        let path = self.values.path(key).unwrap_or_default();
        match path.starts_with(state_dir) {
            true => path,
            false => state_dir.join(path),
        }
    }

    fn inputs(&mut self, names: &Names<'_>, paths: &mut Vec<Named>) -> Vec<Input> {
        let Some(Body::List(nodes)) = self.values.node("inputs").map(|node| &node.body) else {
            return Vec::new();
        };
        inputs(nodes, names, paths, self.mistakes)
    }

    fn exporters(&mut self, setting: &Setting<'_>, config: &mut Config) {
        let Some(node) = self.values.node("exporters") else { return };
        let Body::Map(entries) = &node.body else {
            // Only a flag can still bring one; lists in files were named by their types.
            let wrong = Wrong::Kind {
                expected: "a map from names to exporters".to_owned(),
                found: "a list; write each entry under a name of its own".to_owned(),
            };
            self.mistakes.add(Mistake::new(node.at.clone(), "exporters", wrong));
            return;
        };
        let mut stores: Vec<(PathBuf, String)> = Vec::new();
        for entry in entries {
            let read = exporter(&entry.key, &entry.at, &entry.node, setting, self.mistakes);
            let Some(Read { exporter, notes, conversions, paths, credentials_interval }) = read
            else {
                continue;
            };
            config.conversions.extend(conversions);
            if let (Some(interval), true) = (credentials_interval, exporter.is_some()) {
                config.credentials_interval = config.credentials_interval.min(interval);
            }
            match exporter {
                Some(exporter) => {
                    let dir = exporter.settings.dead_letters.dir.clone();
                    if let Some((_, other)) = stores.iter().find(|(taken, _)| *taken == dir) {
                        let wrong = format!("is the store of exporter `{other}` already");
                        let place = format!("exporters.{}.dlq.path", entry.key);
                        self.mistakes.add(Mistake::new(
                            entry.at.clone(),
                            place,
                            Wrong::Rule(wrong),
                        ));
                    }
                    stores.push((dir, entry.key.clone()));
                    for path in &paths {
                        if let Some(other) = config.paths.iter().find(|it| it.is_file_of(path)) {
                            self.mistakes.add(path.taken_by(other));
                        }
                    }
                    config.exporters.push(*exporter);
                    config.notes.extend(notes);
                    config.paths.extend(paths);
                }
                None => config.disabled.push(entry.key.clone()),
            }
        }
        config.exporters.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        let at = |name: &str| {
            let entry = entries.iter().find(|entry| entry.key == name);
            entry.map_or(&node.at, |entry| &entry.at).clone()
        };
        prepared_otherwise(&config.exporters, at, self.mistakes);
    }

    fn hooks(&mut self, setting: &Setting<'_>, config: &mut Config) {
        let Some(Body::List(nodes)) = self.values.node("response_hooks").map(|node| &node.body)
        else {
            return;
        };
        let names = self.exporter_names();
        let mut taken = names.clone();
        for (number, node) in nodes.iter().enumerate() {
            let others =
                Others { exporters: &config.exporters, disabled: &config.disabled, names: &names };
            let (name, read) = hook(number, node, &others, setting, self.mistakes);
            let place = |key| format!("response_hooks[{number}].{key}");
            if !name.is_empty() && taken.contains(&name) {
                let wrong = Wrong::Rule("is the name of another hook or exporter".to_owned());
                let at = node.below("name").map_or(&node.at, |node| &node.at);
                self.mistakes.add(Mistake::new(at.clone(), place("name"), wrong));
                continue;
            }
            let Read { exporter, notes, conversions, paths, .. } = read;
            config.conversions.extend(conversions);
            match exporter {
                Some(hook) => {
                    let is_shared = |it: &&super::Exporter| {
                        it.settings.dead_letters.dir == hook.settings.dead_letters.dir
                    };
                    if let Some(other) = config.exporters.iter().find(is_shared) {
                        let other = &other.settings.name;
                        let wrong = Wrong::Rule(format!("is the store of `{other}` already"));
                        let at = node.at.clone();
                        self.mistakes.add(Mistake::new(at, place("dlq.path"), wrong));
                    }
                    config.exporters.push(*hook);
                    config.notes.extend(notes);
                    config.paths.extend(paths);
                }
                None => config.disabled.push(name.clone()),
            }
            taken.push(name);
        }
        config.exporters.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
    }

    /// Also of those that could not be read: a second mistake about the same name helps nobody.
    fn exporter_names(&self) -> Vec<String> {
        match self.values.node("exporters").map(|node| &node.body) {
            Some(Body::Map(entries)) => entries.iter().map(|entry| entry.key.clone()).collect(),
            _ => Vec::new(),
        }
    }

    fn routing(&mut self, names: &Names<'_>, config: &mut Config) {
        let known = self.exporter_names();
        config.routing = filtering::routing(self.values, &known, names, self.mistakes);
        config.routing_default =
            filtering::exporter_names(self.values, "routing.default", &known, self.mistakes);
    }

    fn rule(&mut self, key: &str, text: String) {
        self.values.mistake(key, Wrong::Rule(text), self.mistakes);
    }
}

/// Whether nobody can listen at one address beside the other: one that stands for all of a host
/// takes the port of each, and that of IPv6 those of IPv4 as well.
fn share_a_port(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |all: SocketAddr, one: SocketAddr| {
        all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4())
    };
    let is_same_place = a.ip() == b.ip() || covers(a, b) || covers(b, a);
    is_same_place && a.port() == b.port() && a.port() != 0
}

/// The file that is read when none is given.
pub const USUAL_PATH: &str = "/etc/shrike/shrike.yaml";

/// The configuration where there is no file.
pub const EMBEDDED: &str = "\
global:
  state_dir: ./shrike-data
inputs:
  - type: stdin
exporters:
  stdout: {}
";
