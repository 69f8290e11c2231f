//! The configuration that shrike is given, by `spec/config.md`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::bench::{Bench, ScenarioError};
use super::fakes::{FakeProcess, TOKEN, Vendor};

/// What a configuration says beyond the defaults.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    /// What comes in.
    pub(super) input: Input,
    /// Worker threads; that of the settings when absent.
    pub(super) workers: Option<u32>,
    /// ECS lines on standard output as well.
    pub(super) stdout: bool,
    /// Native lines to a file as well.
    pub(super) file: bool,
}

/// Where events come from.
#[derive(Clone, Debug, Default)]
pub(super) enum Input {
    /// Nothing: the log is written already.
    #[default]
    None,
    /// Lines on standard input.
    Stdin,
    /// A file that grows.
    File(PathBuf),
    /// Requests to this address.
    Http(SocketAddr),
    /// Lines over this socket.
    Unix(PathBuf),
}

/// One destination.
pub(super) struct Exporter<'a> {
    pub(super) fake: &'a FakeProcess,
    pub(super) gzip: bool,
    /// Wait for more events before sending; the default when absent.
    pub(super) linger_ms: Option<u32>,
}

impl<'a> Exporter<'a> {
    /// A destination without compression, everything else as shipped.
    pub(super) const fn plain(fake: &'a FakeProcess) -> Self {
        Self { fake, gzip: false, linger_ms: None }
    }

    /// The same with gzip.
    pub(super) const fn gzip(fake: &'a FakeProcess) -> Self {
        Self { fake, gzip: true, linger_ms: None }
    }
}

/// Writes `shrike.yaml` of a run.
pub(super) fn write(
    bench: &Bench,
    config: &Config,
    exporters: &[Exporter<'_>],
) -> Result<PathBuf, ScenarioError> {
    let quote = |path: PathBuf| serde_json::Value::from(path.display().to_string()).to_string();
    let mut text = String::from("version: \"1.0.0\"\n");
    let state = quote(bench.path("state"));
    let workers = config.workers.unwrap_or(bench.settings.workers);
    let _ = write!(text, "global: {{state_dir: {state}}}\npipeline: {{workers: {workers}}}\n");
    let _ = writeln!(text, "log: {{dir: {}}}", quote(bench.path("log")));
    match &config.input {
        Input::None => {}
        Input::Stdin => text.push_str("inputs: [{type: stdin}]\n"),
        Input::File(path) => {
            let _ = writeln!(text, "inputs: [{{type: file, path: {}}}]", quote(path.clone()));
        }
        Input::Http(address) => {
            let _ = writeln!(text, "inputs: [{{type: http, listen: \"{address}\"}}]");
        }
        Input::Unix(path) => {
            let _ = writeln!(text, "inputs: [{{type: unix, path: {}}}]", quote(path.clone()));
        }
    }
    if exporters.is_empty() && !config.stdout && !config.file {
        text.push_str("exporters: {}\n");
        return bench.write("shrike.yaml", &text);
    }
    text.push_str("exporters:\n");
    if config.stdout {
        text.push_str("  stdout: {type: stdout, format: ecs, from: earliest}\n");
    }
    if config.file {
        let path = quote(bench.path("events.ndjson"));
        let _ = writeln!(text, "  file: {{type: file, path: {path}, from: earliest}}");
    }
    for exporter in exporters {
        let FakeProcess { name, vendor, addr, ca, acks, .. } = exporter.fake;
        let scheme = if ca.is_some() { "https" } else { "http" };
        let _ = write!(text, "  {name}:\n    from: earliest\n    compression: ");
        text.push_str(if exporter.gzip { "{algorithm: gzip, level: 1}\n" } else { "none\n" });
        let _ = match vendor {
            Vendor::Elastic => write!(
                text,
                "    type: elastic\n    nodes: [\"{scheme}://{addr}\"]\n    auth: {{type: none}}\n"
            ),
            Vendor::Datadog => write!(
                text,
                "    type: datadog\n    api_key: \"{TOKEN}\"\n    endpoint: \"{scheme}://{addr}\"\n    \
                 metrics_endpoint: \"{scheme}://{addr}\"\n    metrics: {{flush_interval_secs: 1}}\n"
            ),
            Vendor::SumoLogic => write!(
                text,
                "    type: sumo_logic\n    http_source_url: \
                 \"{scheme}://{addr}/receiver/v1/http/{TOKEN}\"\n"
            ),
            Vendor::Syslog => {
                let transport = if ca.is_some() { "tls" } else { "tcp" };
                write!(
                    text,
                    "    type: syslog\n    address: \"{addr}\"\n    transport: {transport}\n"
                )
            }
            Vendor::Otlp => {
                write!(text, "    type: otlp\n    endpoint: \"{scheme}://{addr}\"\n")
            }
            Vendor::OtlpJson => write!(
                text,
                "    type: otlp\n    endpoint: \"{scheme}://{addr}\"\n    protocol: http/json\n"
            ),
            Vendor::S3 => write!(
                text,
                "    type: s3\n    endpoint: \"{scheme}://{addr}\"\n    bucket: events\n    \
                 access_key_id: fake\n    secret_access_key: \"{TOKEN}\"\n    \
                 payload_signing: never\n"
            ),
            Vendor::Webhook => write!(
                text,
                "    type: webhook\n    url: \"{scheme}://{addr}/events\"\n    mode: ndjson\n    \
                 auth: {{token: \"{TOKEN}\"}}\n"
            ),
            Vendor::Splunk => write!(
                text,
                "    type: splunk\n    hec_url: \"{scheme}://{addr}\"\n    hec_token: \
                 \"{TOKEN}\"\n    use_ack: {acks}\n"
            ),
        };
        if let Some(ca) = ca {
            let _ = writeln!(text, "    tls: {{ca_cert_path: {}}}", quote(ca.clone()));
        }
        if let Some(linger) = exporter.linger_ms {
            let _ = writeln!(text, "    batch: {{linger_ms: {linger}}}");
        }
    }
    bench.write("shrike.yaml", &text)
}
