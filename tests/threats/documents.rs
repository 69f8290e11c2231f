//! How each destination is told of a match.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use shrike::config::{Config, Flags, Host, Lookup, System, Text};
use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions, Time};
use shrike::intel::{About, Intel, Listed, Marks, Rules, SignKind, Snapshot, Technique};
use shrike::pipeline::Render;
use shrike::vendors;

use crate::marks::listed;
use crate::opening::event;

/// A second after the event.
const NOW: i64 = 1_770_379_201;

/// One exporter of each kind and format that tells of matches in a way of its own.
const EXPORTERS: &str = "
exporters:
  file_native: {type: file, path: /x/a, format: native}
  file_ecs: {type: file, path: /x/b, format: ecs}
  file_ocsf: {type: file, path: /x/c, format: ocsf}
  file_cef: {type: file, path: /x/d, format: cef}
  splunk: {hec_url: 'https://splunk.example', hec_token: some-token-of-ours, host: edge-7}
  elastic: {base_url: 'https://elastic.example', auth: {api_key: 'some-id:some-key'}}
  datadog:
    api_key: 0123456789abcdef0123456789abcdef
    site: datadoghq.com
    logs: {hostname: edge-7}
  sumo_logic: {http_source_url: 'https://sumo.example/receiver/v1/http/some-token'}
  pagerduty:
    routing_key: 0123456789abcdef0123456789abcdef
    filter: {min_severity: info, only_denied: false}
  slack:
    webhook_url: 'https://hooks.slack.com/services/T0/B0/some-token'
    filter: {min_severity: info, only_denied: false}
  teams:
    webhook_url: 'https://teams.example/some-token'
    filter: {min_severity: info, only_denied: false}
  webhook: {url: 'https://webhook.example'}
global: {state_dir: /x}
enrichment: {host: false, product_version: false}
";

fn options() -> OpeningOptions {
    let known = About {
        id: "indicator--26ffb872-1dd9-446e-b6f5-d58527e5b5d2".to_owned(),
        name: Some("C2 of Winter".to_owned()),
        phases: vec![("mitre-attack".into(), "command-and-control".into())],
        techniques: vec![Technique { id: "T1071.001".into(), name: "Web Protocols".into() }],
        actor: Some("Bear".to_owned()),
        campaign: Some("Winter".to_owned()),
        malware: Some("Worm".to_owned()),
        valid_until: Some(Time { secs: 4_102_444_800, nanos: 0 }),
        may_export: true,
        ..About::default()
    };
    let bad = Listed { about: Arc::new(known), ..listed(SignKind::Domain, "evil.example", 85) };
    let other = listed(SignKind::FileHash, &"ab".repeat(32), 40);
    let intel = Arc::new(Intel::default());
    intel.swap(Snapshot::new([bad, other], &Rules::default()));
    OpeningOptions { insight: Some(Arc::new(Marks::new(intel, None))), ..OpeningOptions::default() }
}

#[test]
fn every_destination_is_told_of_a_match() {
    let text = Text::File { name: "shrike.yaml".to_owned(), text: EXPORTERS.to_owned().into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let mut event = event("a.evil.example");
    event["metadata"] = json!({"sha256": "ab".repeat(32)});
    let record = event.to_string();
    let opening = Opening::new(&options());
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    let frame = Frame::default();
    opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("it is an event");
    let event = Event::new(&opened, frame, record.as_bytes(), &arena);
    let mut found = String::new();
    for exporter in &config.exporters {
        let spec = config.exporter_spec(exporter, &Host::default());
        let mut render = Render::new(&spec).unwrap_or_else(|error| panic!("{error}"));
        let mut body = Vec::new();
        assert!(render.event(&event, NOW, &mut body), "{}", exporter.settings.name);
        render.end(NOW, &mut body);
        let body = String::from_utf8(body).expect("documents are UTF-8");
        let _ = writeln!(found, "# {}\n{}", exporter.settings.name, body.trim_end());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/threats/documents.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
        std::fs::write(&path, &found).expect("the file can be written");
    }
    let expected = std::fs::read_to_string(&path).expect("UPDATE_GOLDEN=1 makes it");
    assert_eq!(found, expected);
}

/// Every variable is set.
struct Set;

impl Lookup for Set {
    fn variable(&self, name: &str) -> Option<String> {
        Some(name.to_lowercase())
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        Ok(path.display().to_string())
    }

    fn hostname(&self) -> String {
        "edge-7".to_owned()
    }
}

#[test]
fn samples_of_the_guide_are_right() {
    let guide = include_str!("../../docs/threat-intel.md");
    let samples = guide.split("```yaml\n").skip(1).map(|rest| rest.split("```").next());
    let samples: Vec<&str> = samples.map(|sample| sample.expect("it ends")).collect();
    assert_eq!(samples.len(), 5, "one whole, and one for each kind of server");
    for sample in samples {
        let text = match sample.starts_with("threat_intel:") {
            true => sample.to_owned(),
            false => format!("threat_intel:\n  enabled: true\n  servers:\n{sample}"),
        };
        let text = Text::File { name: "guide".to_owned(), text: text.into() };
        let config = Config::load(&text, &Flags::default(), vendors::ALL, &Set);
        let config = config.unwrap_or_else(|error| panic!("{error}\n{sample}"));
        assert_eq!(config.intel.expect("it is on").servers.len(), 1);
    }
}
