//! The whole way to real destinations: whether they take events, and how many they then have.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};
use shrike::config::{Config, Flags, Lookup, System, Text};
use shrike::deliver::{
    ConnectionSettings, Http2, HttpTransport, Proxy, Reach, Request, Settings, TlsSettings,
    Transport as _, TransportLimits,
};
use shrike::vendors;

use super::bench::{Bench, ScenarioError};
use super::cost::{DRAIN_LIMIT, prefill};
use super::process::Process;
use super::table::{Row, Target};

/// Where Splunk is searched: its management port, and who may.
#[derive(Clone, Debug)]
pub struct SplunkSearch {
    /// Such as `https://localhost:8089`.
    pub url: String,
    /// `user:password`.
    pub user: String,
}

/// Sends events through every exporter of a configuration, and counts them where they are kept.
///
/// What a destination keeps can be asked of Elasticsearch, and of Splunk where its management port
/// is given. Of the others it is known that they took every event: shrike ends with 0 only then.
pub fn live(
    bench: &Bench,
    config: &Path,
    search: Option<&SplunkSearch>,
) -> Result<Vec<Row>, ScenarioError> {
    let exporters = exporters(config, &System)?;
    let mut given = vec![
        format!("global.state_dir={}", bench.path("state").display()),
        format!("log.dir={}", bench.path("log").display()),
        "inputs=[]".to_owned(),
    ];
    given.extend(exporters.iter().map(|it| format!("exporters.{}.from=earliest", it.name)));
    let sets: Vec<&str> = given.iter().flat_map(|set| ["--set", set]).collect();
    check(bench, config, &sets)?;
    prefill(bench)?;
    let begin = Instant::now();
    let process =
        Process::shrike(bench, config, &[&["--drain"], &sets[..]].concat(), Stdio::null())?;
    process.finish(DRAIN_LIMIT)?;
    let took = begin.elapsed().as_secs_f64();
    let (events, ids) = (bench.settings.events, ids(bench)?);
    let mut rows = vec![Row::note("events taken by all, in", took, "s")];
    for exporter in &exporters {
        let name = &exporter.name;
        let found = match (exporter.vendor.name, search) {
            ("elastic", _) => Some(until(events, || in_elastic(exporter, &ids))?),
            ("splunk", Some(search)) => Some(until(events, || in_splunk(search, &ids))?),
            _ => None,
        };
        rows.push(match found {
            Some(found) => Row::aim(
                format!("{name}: distinct events found"),
                found as f64,
                "events",
                Target::Exactly(events as f64),
            ),
            None => Row::note(format!("{name}: accepted, not looked for"), events as f64, "events"),
        });
    }
    Ok(rows)
}

/// The exporters of a configuration that shrike reads too.
fn exporters(path: &Path, lookup: &dyn Lookup) -> Result<Vec<Settings>, ScenarioError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(ScenarioError::io(format!("read {name}")))?;
    let text = Text::File { name: name.clone(), text: text.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, lookup)
        .map_err(|error| unreadable(&name, &error.to_string()))?;
    Ok(config.exporters.into_iter().map(|exporter| exporter.settings).collect())
}

/// Asks every destination whether it would take events.
fn check(bench: &Bench, config: &Path, sets: &[&str]) -> Result<(), ScenarioError> {
    let mut command = Command::new(&bench.settings.shrike);
    command.args(["check", "--connect", "--config"]).arg(config).args(sets);
    let output = command.output().map_err(ScenarioError::io("start shrike check"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Err(ScenarioError::Ended { what: "shrike check".to_owned(), status: output.status, said })
}

/// The ids of the events that were sent, as the log has them.
fn ids(bench: &Bench) -> Result<Vec<String>, ScenarioError> {
    let mut command = Command::new(&bench.settings.shrike);
    command.args(["log", "cat", "--log"]).arg(bench.path("log"));
    let output = command.output().map_err(ScenarioError::io("read the log"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let id = |line: &str| {
        let event: Option<Value> = serde_json::from_str(line).ok();
        event.as_ref().and_then(|event| event["event_id"].as_str()).map(str::to_owned)
    };
    let ids: Option<Vec<String>> = text.lines().map(id).collect();
    let said = || unreadable("the log", &String::from_utf8_lossy(&output.stderr));
    ids.filter(|ids| ids.len() as u64 == bench.settings.events).ok_or_else(said)
}

/// Looks again until everything is there, or nothing new came for a while.
fn until(
    events: u64,
    mut look: impl FnMut() -> Result<u64, ScenarioError>,
) -> Result<u64, ScenarioError> {
    let deadline = Instant::now() + FOUND_WAIT;
    loop {
        let found = look()?;
        if found >= events || Instant::now() > deadline {
            return Ok(found);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// How many of these documents an Elasticsearch has, whatever index they went to.
fn in_elastic(exporter: &Settings, ids: &[String]) -> Result<u64, ScenarioError> {
    let ask = Asking::as_configured(exporter)?;
    let name = exporter.options.text("index.name").unwrap_or_default();
    let fixed = name.trim_start_matches('<').split('{').next().unwrap_or_default();
    ask.ask(Method::POST, &format!("/{fixed}*/_refresh"), "", "")?;
    let mut found = 0;
    for ids in ids.chunks(IDS_MAX) {
        let query = json!({"query": {"ids": {"values": ids}}}).to_string();
        let path = format!("/{fixed}*/_count");
        let answer = ask.ask(Method::POST, &path, "application/json", &query)?;
        let count = serde_json::from_str::<Value>(&answer).ok().and_then(|it| it["count"].as_u64());
        found += count.ok_or_else(|| unreadable("what Elasticsearch counted", &answer))?;
    }
    Ok(found)
}

/// How many distinct events of this run Splunk finds in the last hour.
fn in_splunk(search: &SplunkSearch, ids: &[String]) -> Result<u64, ScenarioError> {
    let ask = Asking::splunk(search)?;
    let query = "search index=* earliest=-1h latest=+1h | rex field=_raw \
                 \"(?<id>[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})\" \
                 | stats count by id";
    let form = format!("output_mode=json&search={}", shrike::deliver::percent_encoded(query));
    let path = "/services/search/jobs/export";
    let answer = ask.ask(Method::POST, path, "application/x-www-form-urlencoded", &form)?;
    let wanted: HashSet<&str> = ids.iter().map(String::as_str).collect();
    Ok(searched(&answer).iter().filter(|id| wanted.contains(id.as_str())).count() as u64)
}

/// The ids in the results of a search, one object a line; previews are not the result.
fn searched(answer: &str) -> HashSet<String> {
    let rows = answer.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let rows = rows.filter(|row| row["preview"] != true);
    rows.filter_map(|row| row["result"]["id"].as_str().map(str::to_owned)).collect()
}

/// Somebody to ask over HTTP, on the terms of an exporter.
struct Asking {
    url: Uri,
    tls: TlsSettings,
    headers: HeaderMap,
}

impl Asking {
    /// The exporter's first endpoint, with its credentials.
    fn as_configured(exporter: &Settings) -> Result<Self, ScenarioError> {
        let wrong =
            |problem: shrike::deliver::Problem| unreadable(&exporter.name, &problem.problem);
        let urls = (exporter.vendor.endpoints)(&exporter.options).map_err(wrong)?;
        let url = urls.into_iter().next();
        let mut headers = HeaderMap::new();
        for (name, secret) in (exporter.vendor.auth)(&exporter.options).map_err(wrong)? {
            headers.insert(HeaderName::from_static(name), value(secret.expose())?);
        }
        let url = url.ok_or_else(|| unreadable(&exporter.name, "it has no endpoint"))?;
        Ok(Self { url, tls: exporter.tls.clone(), headers })
    }

    /// A management port; its certificate is its own, made when it was installed.
    fn splunk(search: &SplunkSearch) -> Result<Self, ScenarioError> {
        let url = search.url.parse().map_err(|_| unreadable("--splunk-search", "it is no URL"))?;
        let credentials = format!("Basic {}", STANDARD.encode(&search.user));
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value(&credentials)?)]);
        Ok(Self {
            url,
            tls: TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() },
            headers,
        })
    }

    /// One request; the answer's body where the status is a success.
    fn ask(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: &str,
    ) -> Result<String, ScenarioError> {
        let what = format!("the answer to {path}");
        let connection = ConnectionSettings {
            connect_timeout: ANSWER_WAIT,
            timeout: ANSWER_WAIT,
            keep_alive: ANSWER_WAIT,
            connections_max: 1,
            age_max: ANSWER_WAIT,
            reach: Reach::Anywhere,
            http2: Http2::Off,
            proxy: Proxy::None,
        };
        let mut headers = self.headers.clone();
        if !media.is_empty() {
            headers.insert(CONTENT_TYPE, value(media)?);
        }
        let request = Request {
            endpoint: 0,
            group: 0,
            method,
            path: path.to_owned(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
            timeout: ANSWER_WAIT,
            needs_body: true,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ScenarioError::io("start a runtime"))?;
        let limits = TransportLimits::new(1);
        let answer = tokio::task::LocalSet::new().block_on(&runtime, async {
            let urls = std::slice::from_ref(&self.url);
            let transport = HttpTransport::new(urls, &self.tls, &connection, limits)
                .map_err(|error| unreadable(&what, &error.to_string()))?;
            transport.send(request).await.map_err(|error| unreadable(&what, &error.to_string()))
        })?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        match answer.status {
            200..=299 => Ok(body),
            status => Err(unreadable(&what, &format!("status {status}: {body}"))),
        }
    }
}

fn value(text: &str) -> Result<HeaderValue, ScenarioError> {
    HeaderValue::from_str(text).map_err(|_| unreadable("credentials", "no header can carry them"))
}

fn unreadable(what: &str, why: &str) -> ScenarioError {
    ScenarioError::Unreadable { what: what.to_owned(), why: why.to_owned() }
}

/// Ids in one question.
const IDS_MAX: usize = 10_000;
/// How long one question may take: a search reads an hour of events.
const ANSWER_WAIT: Duration = Duration::from_secs(120);
/// How long indexers may take until searches see what they have acknowledged.
const FOUND_WAIT: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::account::Book;
    use crate::fake::{Auth, Elastic, Fake, Options, Vendor};
    use crate::id::EventId;

    #[test]
    fn documents_are_counted_wherever_they_went() {
        let book = Arc::new(Book::new("elastic"));
        let vendor = Vendor::Elastic(Elastic::new(Arc::clone(&book), Auth::Anybody));
        let options = Options::playing("").expect("nothing");
        let fake = Fake::start(vendor, book, options).expect("a free port");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("live.yaml");
        let text = format!(
            "exporters: {{elastic: {{nodes: 'http://{}', auth: {{type: none}}, index: \
             {{name: 'sec-{{tenant_id}}'}}}}}}",
            fake.addr()
        );
        std::fs::write(&path, text).expect("it is ours");
        let settings = exporters(&path, &System).expect("it loads").remove(0);
        let ids = [1, 2, 3].map(|sequence| EventId { sequence, scheduled_ns: 0, run: 7 }.text());
        let ask = Asking::as_configured(&settings).expect("it has an endpoint");
        for (index, id) in [("sec-acme-2026.01.01", &ids[0]), ("sec-b-2026.01.02", &ids[1])] {
            let body = format!(
                "{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"{id}\"}}}}\n\
                 {{\"@timestamp\":\"2026-01-01T00:00:00Z\"}}\n"
            );
            let answer = ask.ask(Method::POST, "/_bulk", "application/x-ndjson", &body);
            assert!(answer.as_ref().is_ok_and(|it| it.contains("\"errors\":false")), "{answer:?}");
        }
        assert_eq!(in_elastic(&settings, &ids).expect("it counts"), 2);
        let refused = ask.ask(Method::GET, "/_nothing", "", "").expect_err("no such place");
        assert!(refused.to_string().contains("status 4"), "{refused}");
        fake.stop();
    }

    /// Every variable is set, as the instructions demand it.
    struct Exported;

    impl Lookup for Exported {
        fn variable(&self, name: &str) -> Option<String> {
            Some(format!("the {name}"))
        }

        fn file(&self, _: &Path) -> std::io::Result<String> {
            Err(std::io::ErrorKind::NotFound.into())
        }

        fn hostname(&self) -> String {
            "host".to_owned()
        }
    }

    #[test]
    fn the_configurations_beside_fit_what_the_compose_file_starts() {
        let live = Path::new(env!("CARGO_MANIFEST_DIR")).join("live");
        let compose = std::fs::read_to_string(live.join("compose.yaml")).expect("it is there");
        for (file, names) in [
            ("shrike.yaml", vec!["elastic", "splunk"]),
            ("open.yaml", vec!["otlp", "s3", "syslog_ng", "syslog_rsyslog"]),
        ] {
            let found = exporters(&live.join(file), &Exported).expect(file);
            let mut named: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
            named.sort_unstable();
            assert_eq!(named, names, "{file}");
            for exporter in found.iter().filter(|_| file == "shrike.yaml") {
                let urls = (exporter.vendor.endpoints)(&exporter.options).expect("they are right");
                let port = urls[0].port_u16().expect("it is written");
                assert!(compose.contains(&format!("\"127.0.0.1:{port}:{port}\"")), "{compose}");
            }
        }
        for variable in ["ELASTIC_PASSWORD", "SPLUNK_PASSWORD", "SPLUNK_HEC_TOKEN"] {
            assert!(compose.contains(&format!("${{{variable}:?")), "{variable} has to be set");
        }
    }

    #[test]
    fn results_of_a_search_are_told_from_its_previews() {
        let answer = "{\"preview\":true,\"result\":{\"id\":\"a\",\"count\":\"1\"}}\n\
                      {\"preview\":false,\"offset\":0,\"result\":{\"id\":\"b\",\"count\":\"2\"}}\n\
                      {\"preview\":false,\"lastrow\":true,\"result\":{\"id\":\"c\"}}\n";
        assert_eq!(searched(answer), HashSet::from(["b".to_owned(), "c".to_owned()]));
        assert!(searched("{\"preview\":false,\"lastrow\":true}\n").is_empty());
    }
}
