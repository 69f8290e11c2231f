//! Fakes in processes of their own, so that their costs are not shrike's.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use super::bench::{Bench, ScenarioError};
use crate::account::Report;

/// How a fake is to be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Role<'a> {
    /// Name of the account and of the exporter.
    pub(super) name: &'a str,
    pub(super) vendor: Vendor,
    pub(super) tls: bool,
    /// Indexer acknowledgement.
    pub(super) acks: bool,
    pub(super) script: &'a str,
    /// It waits for no core that shrike is busy on, as if it had a machine of its own.
    pub(super) is_remote: bool,
}

/// Whom a fake plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Vendor {
    #[default]
    Elastic,
    Datadog,
    Otlp,
    /// The same, told to send the other encoding.
    OtlpJson,
    S3,
    Splunk,
    SumoLogic,
    Syslog,
    Webhook,
}

impl Vendor {
    /// What the command line calls it.
    const fn word(self) -> &'static str {
        match self {
            Self::Datadog => "datadog",
            Self::Elastic => "elastic",
            Self::Otlp | Self::OtlpJson => "otlp",
            Self::S3 => "s3",
            Self::Splunk => "splunk",
            Self::SumoLogic => "sumo-logic",
            Self::Syslog => "syslog",
            Self::Webhook => "webhook",
        }
    }
}

/// A running fake.
pub(super) struct FakeProcess {
    pub(super) name: String,
    pub(super) vendor: Vendor,
    pub(super) addr: SocketAddr,
    control: SocketAddr,
    pub(super) acks: bool,
    /// The certificate to trust.
    pub(super) ca: Option<PathBuf>,
    child: Child,
    /// Its end ends the fake.
    stdin: Option<ChildStdin>,
    account: PathBuf,
}

impl FakeProcess {
    pub(super) fn start(bench: &Bench, role: Role<'_>) -> Result<Self, ScenarioError> {
        let account = bench.path(&format!("{}.account.json", role.name));
        let ca = bench.path(&format!("{}.ca.pem", role.name));
        let mut command = Command::new(&bench.settings.loadgen);
        command.arg("fake").arg(role.vendor.word());
        command.args(["--control", "127.0.0.1:0"]);
        command.arg("--until-eof").arg("--account").arg(&account);
        command.args(["--judge-every", &bench.settings.judge_every.to_string()]);
        command.args(["--seed", &bench.settings.seed.to_string(), "--script", role.script]);
        if role.tls {
            command.arg("--tls").arg("--ca").arg(&ca);
        }
        if role.is_remote {
            command.arg("--realtime");
        }
        if role.acks {
            command.arg("--acks");
        }
        if role.vendor != Vendor::Elastic {
            command.args(["--token", TOKEN]);
        }
        let what = || format!("start the fake {}", role.name);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(ScenarioError::io(what()))?;
        let stdin = child.stdin.take();
        let out = child.stdout.take().expect("standard output is a pipe");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).map_err(ScenarioError::io(what()))?;
        let ready: serde_json::Value = serde_json::from_str(&line).map_err(|error| {
            ScenarioError::Unreadable { what: what(), why: format!("{error}: {line:?}") }
        })?;
        let field = |name: &str| {
            let addr = ready[name].as_str().and_then(|text| text.parse().ok());
            addr.ok_or_else(|| ScenarioError::Unreadable { what: what(), why: line.clone() })
        };
        let addr = field("listen")?;
        // A receiver of syslog speaks no HTTP, so nothing can be asked of it while it runs.
        let control = if role.vendor == Vendor::Syslog { addr } else { field("control")? };
        let ca = role.tls.then_some(ca);
        let (name, vendor, acks) = (role.name.to_owned(), role.vendor, role.acks);
        Ok(Self { name, vendor, addr, control, acks, ca, child, stdin, account })
    }

    /// Plays another script from now on.
    pub(super) fn play(&self, script: &str) -> Result<(), ScenarioError> {
        self.control("POST", "/_script", script).map(|_| ())
    }

    /// Shows new connections another certificate: `same` or `foreign` authority.
    pub(super) fn show(&self, certificate: &str) -> Result<(), ScenarioError> {
        self.control("POST", "/_certificate", certificate).map(|_| ())
    }

    /// Forgets the histograms.
    pub(super) fn clear_latency(&self) -> Result<(), ScenarioError> {
        self.control("POST", "/_latency", "").map(|_| ())
    }

    /// The account as it stands.
    pub(super) fn report(&self) -> Result<Report, ScenarioError> {
        let text = self.control("GET", "/_account", "")?;
        self.parse(&text)
    }

    /// Ends the fake and reads its account.
    pub(super) fn finish(mut self) -> Result<Report, ScenarioError> {
        drop(self.stdin.take());
        let what = format!("end the fake {}", self.name);
        self.child.wait().map_err(ScenarioError::io(what))?;
        let what = format!("read {}", self.account.display());
        let text = std::fs::read_to_string(&self.account).map_err(ScenarioError::io(what))?;
        self.parse(&text)
    }

    fn parse(&self, text: &str) -> Result<Report, ScenarioError> {
        serde_json::from_str(text).map_err(|error| ScenarioError::Unreadable {
            what: format!("the account of {}", self.name),
            why: error.to_string(),
        })
    }

    /// One request of ours to the fake.
    fn control(&self, method: &str, path: &str, body: &str) -> Result<String, ScenarioError> {
        request(self.control, method, path, body)
            .map_err(ScenarioError::io(format!("ask the fake {} for {path}", self.name)))
    }
}

impl Drop for FakeProcess {
    fn drop(&mut self) {
        if self.stdin.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn request(addr: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: fake\r\nConnection: close\r\nContent-Length: \
         {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(format!("{head}: {body}")));
    }
    Ok(body.to_owned())
}

/// The token of every fake that takes one.
pub(super) const TOKEN: &str = "00000000-1111-4222-8333-444444444444";
