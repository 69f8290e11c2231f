//! `loadgen fake`.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use loadgen::account::Book;
use loadgen::fake::{
    self, Auth, Datadog, Elastic, Options, Rules, Script, Splunk, SumoLogic, Vendor, syslog,
};
use loadgen::say;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Play a vendor until SIGTERM or SIGINT, then write the account.
///
/// One line of JSON on standard output says where the fake listens, once it does.
///
/// Fault scripts: rules separated by `;` or newlines, `#` starts a comment. A rule is any of the
/// conditions
///   from TIME, to TIME     since the script was set (250us, 5ms, 2s, 3m)
///   requests A..B          by number since the script was set
///   every N                each N-th of those
///   chance P               this likely, seeded
///   on PART                requests whose path contains this: on _bulk, on ack
/// and then one action:
///   latency A[..B]         answer after a time, uniform between A and B
///   latency exp MEAN       or exponential
///   status N               answer with a status, without applying the request
///   auth                   the same as status 401
///   code N                 answer with a code of Splunk's table; 24 and 25 apply the request
///   throttle TIME [date]   429 with Retry-After in seconds, or as a date
///   items STATUS SHARE     single items fail
///   reset before|after     reset the connection, before or after applying
///   refuse                 reset connections as they come
///   lost                   apply, then close without an answer
///   hang [TIME]            read and answer nothing
///   mute [TIME]            apply, answer nothing, leave the connection open
///   slow-read N            read so many bytes a second
///   max-body N             413 above so many bytes
///   forget                 answer as accepted, store nothing, never acknowledge
///   swallow                the same without a look at the body: a fake that costs nothing
///   restart                acknowledgement ids begin again, connections are reset
///   ack-delay TIME         acknowledge only after a time
///   ack-lost SHARE         never acknowledge this share of requests
///
/// Control while it runs: GET /_account, POST /_account (writes the file too), POST /_script (a
/// script as the body), POST /_latency (forget the histograms), POST /_certificate (body `same` or
/// `foreign`: new connections see another certificate).
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Fake {
    /// Whom to play
    vendor: Kind,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to listen for control only: in plaintext, free of faults
    #[arg(long, value_name = "ADDR")]
    control: Option<SocketAddr>,
    /// Speak TLS with a certificate made on the spot
    #[arg(long)]
    tls: bool,
    /// Where to write the certificate to trust, as PEM
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// Offer HTTP/2: by ALPN with --tls, by prior knowledge without
    #[arg(long)]
    h2: bool,
    /// Faults: a file, or the script itself
    #[arg(long, value_name = "FILE|SCRIPT", default_value = "")]
    script: String,
    /// Seed of the faults
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Where to write the account
    #[arg(long, value_name = "FILE")]
    account: Option<PathBuf>,
    /// Judge only every N-th request in full, read the others for ids only
    #[arg(long, value_name = "N", default_value_t = 1)]
    judge_every: u64,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Go before others that want the same core, as a machine of its own would
    #[arg(long)]
    realtime: bool,
    /// Who may come in: elastic takes `id:key` of an API key
    #[arg(long, value_name = "ID:KEY", conflicts_with = "basic")]
    api_key: Option<String>,
    /// Who may come in: `user:password` of HTTP Basic
    #[arg(long, value_name = "USER:PASSWORD")]
    basic: Option<String>,
    /// Who may come in: token of splunk or slack, key of datadog, end of a sumo-logic URL; else any
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Splunk: the token has indexer acknowledgement enabled
    #[arg(long)]
    acks: bool,
    /// Splunk: the token may write to this index only; repeatable
    #[arg(long = "index", value_name = "NAME")]
    indexes: Vec<String>,
    /// Syslog: how messages come
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    transport: Transport,
    /// End also when standard input ends, so that no fake outlives who started it
    #[arg(long)]
    until_eof: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Datadog's log intake, metrics API and key check
    Datadog,
    /// Elasticsearch's bulk API
    Elastic,
    /// Opsgenie's Alert API: the key of --token, or any
    Opsgenie,
    /// An OpenTelemetry collector's OTLP/HTTP receiver
    Otlp,
    /// PagerDuty's Events API: the integration key of --token, or any
    Pagerduty,
    /// An object store: bucket `events`, key `fake`, secret of --token or `fake`
    S3,
    /// A workspace of Slack: webhooks /services/T/B/KEY, and the API below /api with --token
    Slack,
    /// Splunk's HTTP Event Collector
    Splunk,
    /// Sumo Logic's HTTP sources
    SumoLogic,
    /// A syslog receiver: no faults, no control
    Syslog,
    /// Workflows of Microsoft Teams: /workflows/NAME with the signature of the documentation
    Teams,
    /// Any endpoint that takes JSON
    Webhook,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Transport {
    /// Datagrams
    Udp,
    /// A stream of counted messages; with --tls over TLS
    Tcp,
    /// A stream of lines
    Lines,
}

impl Fake {
    pub(crate) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        if self.realtime {
            loadgen::realtime::raise();
        }
        let name = match self.vendor {
            Kind::Syslog => return self.receive(),
            Kind::Datadog => "datadog",
            Kind::Elastic => "elastic",
            Kind::Opsgenie => "opsgenie",
            Kind::Otlp => "otlp",
            Kind::Pagerduty => "pagerduty",
            Kind::S3 => "s3",
            Kind::Slack => "slack",
            Kind::Splunk => "splunk",
            Kind::SumoLogic => "sumo-logic",
            Kind::Teams => "teams",
            Kind::Webhook => "webhook",
        };
        let book = Arc::new(Book::new(name));
        let vendor = match self.vendor {
            Kind::Datadog => Vendor::Datadog(Datadog::new(Arc::clone(&book), self.token.clone())),
            Kind::Elastic => Vendor::Elastic(Elastic::new(Arc::clone(&book), self.auth())),
            Kind::Opsgenie => {
                Vendor::Opsgenie(fake::Opsgenie::new(Arc::clone(&book), self.token.clone()))
            }
            Kind::Otlp => Vendor::Otlp(fake::Otlp::new(Arc::clone(&book))),
            Kind::Pagerduty => {
                let keys = self.token.iter().cloned().collect();
                Vendor::PagerDuty(fake::PagerDuty::new(Arc::clone(&book), keys))
            }
            Kind::S3 => {
                let account = fake::Account {
                    bucket: "events".to_owned(),
                    region: "us-east-1".to_owned(),
                    key_id: "fake".to_owned(),
                    secret: self.token.clone().unwrap_or_else(|| "fake".to_owned()),
                    token: None,
                };
                Vendor::S3(fake::S3::new(Arc::clone(&book), account))
            }
            Kind::Slack => Vendor::Slack(fake::Slack::new(Arc::clone(&book), self.token.clone())),
            Kind::Splunk => {
                let rules = Rules {
                    token: self.token.clone(),
                    acks: self.acks,
                    indexes: self.indexes.clone(),
                };
                Vendor::Splunk(Splunk::new(Arc::clone(&book), rules))
            }
            Kind::SumoLogic => {
                Vendor::SumoLogic(SumoLogic::new(Arc::clone(&book), self.token.clone()))
            }
            Kind::Syslog => unreachable!("it was started above"),
            Kind::Teams => {
                Vendor::Teams(fake::Teams::new(Arc::clone(&book), fake::TeamsManner::default()))
            }
            Kind::Webhook => {
                let manners = fake::Manners { bearer: self.token.clone(), ..Default::default() };
                Vendor::Webhook(fake::Webhook::new(Arc::clone(&book), manners))
            }
        };
        let options = Options {
            listen: self.listen,
            control: self.control,
            tls: self.tls,
            h2: self.h2,
            threads: self.threads,
            script: Script::parse(&text_of(&self.script)?)?,
            seed: self.seed,
            judge_every: self.judge_every,
            account: self.account.clone(),
        };
        let fake = fake::Fake::start(vendor, book, options)?;
        if let (Some(path), Some(pem)) = (&self.ca, fake.authority_pem()) {
            std::fs::write(path, pem).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        ready(name, fake.addr(), fake.control())?;
        wait(self.until_eof)?;
        fake.write_account()?;
        fake.stop();
        Ok(ExitCode::SUCCESS)
    }

    /// Plays the receiver of syslog.
    fn receive(&self) -> Result<ExitCode, Box<dyn Error>> {
        let book = Arc::new(Book::new("syslog"));
        let transport = match (self.transport, self.tls) {
            (Transport::Udp, _) => syslog::Transport::Udp,
            (Transport::Lines, _) => syslog::Transport::Lines,
            (Transport::Tcp, false) => syslog::Transport::Counted,
            (Transport::Tcp, true) => syslog::Transport::Tls,
        };
        let fake = syslog::Syslog::start(book, self.listen, transport, self.judge_every)?;
        if let (Some(path), Some(pem)) = (&self.ca, fake.authority_pem()) {
            std::fs::write(path, pem).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        ready("syslog", fake.addr(), None)?;
        wait(self.until_eof)?;
        fake.settle();
        if let Some(path) = &self.account {
            fake::write_account(path, &fake.report())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn auth(&self) -> Auth {
        match (&self.api_key, &self.basic) {
            (Some(pair), _) => Auth::ApiKey { pair: pair.clone() },
            (None, Some(pair)) => Auth::Basic { pair: pair.clone() },
            (None, None) => Auth::Anybody,
        }
    }
}

/// Says where the fake listens.
fn ready(name: &str, listen: SocketAddr, control: Option<SocketAddr>) -> std::io::Result<()> {
    let (listen, control) = (listen.to_string(), control.map(|addr| addr.to_string()));
    say(format_args!(
        "{}",
        serde_json::json!({"vendor": name, "listen": listen, "control": control})
    ));
    std::io::stdout().flush()
}

/// A script is a file where one of that name exists, else it is the script itself.
fn text_of(script: &str) -> Result<String, String> {
    if Path::new(script).is_file() {
        std::fs::read_to_string(script).map_err(|error| format!("{script}: {error}"))
    } else {
        Ok(script.to_owned())
    }
}

fn wait(until_eof: bool) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (ended, eof) = oneshot::channel::<()>();
        if until_eof {
            // Standard input blocks, so a thread reads it; it ends with the process at the latest.
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                drop(ended);
            });
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = eof, if until_eof => {}
        }
        Ok(())
    })
}
