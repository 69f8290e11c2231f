//! `threat_intel`: what its keys come to, and what is wrong with them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shrike::deliver::Proxy;
use shrike::event::{Severity, Time};
use shrike::intel::{
    ActionSpec, CacheSpec, EscalateSpec, IntelMode, IntelSpec, ServerSpec, TaxiiAuth, TaxiiVersion,
    Tlp,
};

use crate::world::{load, refusal};

fn spec(text: &str) -> Arc<IntelSpec> {
    let config = load(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    config.intel.expect("it is switched on")
}

/// The only server with these further keys.
fn server(keys: &str) -> ServerSpec {
    let text = format!(
        "threat_intel: {{enabled: true, servers: [{{url: 'https://taxii.example/x', \
         collection_id: c1, {keys}}}]}}"
    );
    spec(&text).servers[0].clone()
}

#[test]
fn what_is_not_written_is_as_documented() {
    let text = "threat_intel: {enabled: true, servers: [{url: 'https://taxii.example', \
                collection_id: c1}]}";
    let found = spec(text);
    let IntelSpec { servers, cache, actions, export_tlp, .. } = &*found;
    assert_eq!(*cache, CacheSpec { path: None, size_max: 100_000 });
    assert_eq!(*actions, ActionSpec::default());
    assert!(found.never_block.is_empty() && !found.url_host_blocking && found.escalate.is_none());
    assert_eq!(*export_tlp, [Tlp::Clear, Tlp::Green, Tlp::Amber]);
    let expected = ServerSpec {
        name: "taxii.example".into(),
        url: "https://taxii.example".parse().expect("a URL"),
        collection_id: "c1".to_owned(),
        ..ServerSpec::default()
    };
    assert_eq!(*servers, [expected]);
}

#[test]
fn every_key_is_taken() {
    let text = "
threat_intel:
  enabled: true
  servers:
    - name: first
      url: https://taxii.example
      api_root: /api1/
      collection_id: c1
      version: 2.0
      requests_per_minute: 7
      timeout_ms: 1000
      proxy: env
      headers: {x-tenant: s3cr3t}
      tls: {ca_cert_path: ca.pem, server_name: other.example, min_version: 1.3}
      feed: {interval_minutes: 5, cache_ttl_hours: 8, min_confidence: 70, include_types: []}
    - {url: 'http://127.0.0.1:7', collection_id: c2}
  feed:
    interval_minutes: 15
    page_size: 1000
    include_types: [indicator, relationship, threat-actor]
    min_confidence: 30
    added_after: 2026-01-31T12:00:00.5Z
    cache_ttl_hours: 48
    full_sync_hours: 6
    default_confidence: 10
    max_pages: 3
    max_response_bytes: 1MiB
  cache: {persistent: true, path: intel.cache, max_size: 5}
  actions: {block_egress: false, block_paths: true, enrich_events: false, mode: alert_only}
  never_block: [corp.example, 10.0.0.0/8, 'https://siem.example:8088']
  url_host_blocking: true
  export_tlp: [clear, red]
  escalate: {min_confidence: 90, to_severity: high}
";
    let IntelSpec { servers, cache, actions, never_block, escalate, export_tlp, .. } = &*spec(text);
    let path = cache.path.as_deref();
    assert_eq!((path, cache.size_max), (Some(Path::new("/var/lib/shrike/intel.cache")), 5));
    let expected = ActionSpec {
        block_egress: false,
        block_paths: true,
        enrich_events: false,
        mode: IntelMode::AlertOnly,
    };
    assert_eq!((*actions, never_block.len()), (expected, 3));
    assert_eq!(*export_tlp, [Tlp::Clear, Tlp::Red]);
    let expected = EscalateSpec { confidence_min: 90, to_severity: Severity::High };
    assert_eq!(*escalate, Some(expected));
    let [first, second] = servers.as_slice() else { panic!("not two") };
    assert_eq!((&*first.name, &*second.name), ("first", "127.0.0.1"));
    assert_eq!((first.version, first.requests_per_minute), (TaxiiVersion::V2_0, 7));
    assert_eq!((first.timeout, &first.proxy), (Duration::from_secs(1), &Proxy::Env));
    assert_eq!(first.headers[0].0, "x-tenant");
    assert_eq!(first.tls.ca_cert_path.as_deref(), Some(Path::new("/var/lib/shrike/ca.pem")));
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let (own, of_all) = (&first.feed, &second.feed);
    assert_eq!((own.interval, of_all.interval), (hours(1) / 12, hours(1) / 4));
    assert_eq!((own.cache_ttl, own.full_sync), (hours(8), hours(4)));
    assert_eq!((of_all.cache_ttl, of_all.full_sync), (hours(48), hours(6)));
    assert_eq!((own.confidence_min, of_all.confidence_min), (Some(70), Some(30)));
    assert!(own.include_types.is_empty());
    assert_eq!(of_all.include_types, ["indicator", "relationship", "threat-actor"]);
    let since = Time { secs: 1_769_860_800, nanos: 500_000_000 };
    assert_eq!((own.added_after, own.page_size), (Some(since), 1000));
    assert_eq!((own.pages_max, own.response_bytes_max, own.confidence_default), (3, 1 << 20, 10));
}

#[test]
fn each_way_to_say_who_we_are_is_taken() {
    let header = |keys: &str| match server(keys).auth {
        TaxiiAuth::Header { name, value } => (name, value.expose().to_owned()),
        other => panic!("{other:?}"),
    };
    let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let key = "auth: {type: api_key, api_key: s3cr3t";
    assert_eq!(header(&format!("{key}}}")), of("Authorization", "Bearer s3cr3t"));
    assert_eq!(header(&format!("{key}, prefix: ''}}")), of("Authorization", "s3cr3t"));
    assert_eq!(header(&format!("{key}, prefix: Token}}")), of("Authorization", "Token s3cr3t"));
    assert_eq!(header(&format!("{key}, header_name: X-Api-Key}}")), of("X-Api-Key", "s3cr3t"));
    let TaxiiAuth::Basic { username, password } =
        server("auth: {type: basic, username: s3cr3t}").auth
    else {
        panic!("not basic")
    };
    assert_eq!((username.expose(), password.expose()), ("s3cr3t", ""));
    let found = server("auth: {type: certificate, cert_path: /a.pem, key_path: b.pem}");
    assert_eq!(found.auth, TaxiiAuth::None);
    assert_eq!(found.tls.client_cert_path.as_deref(), Some(Path::new("/a.pem")));
    assert_eq!(found.tls.client_key_path.as_deref(), Some(Path::new("/var/lib/shrike/b.pem")));
}

#[test]
fn other_documents_nest_it_below_taxii() {
    let text = "threat_intel: {taxii: {enabled: true, servers: [{url: 'https://a.example', collection_id: c}], \
                feed: {interval_minutes: 15}, cache: {persistent: true, path: /c}, actions: {mode: alert_only}}}";
    let spec = spec(text);
    assert_eq!(spec.servers[0].feed.interval, Duration::from_secs(900));
    assert_eq!(spec.cache.path.as_deref(), Some(Path::new("/c")));
    assert_eq!(spec.actions.mode, IntelMode::AlertOnly);
}

/// What is switched off is read, so that a wrong value shows, and does nothing.
#[test]
fn what_is_off_may_be_described() {
    let text = "threat_intel: {enabled: false, servers: [{url: 'https://a.example', collection_id: c}], \
                cache: {persistent: true}}";
    let config = load(text).expect("it is right");
    assert!(config.intel.is_none() && config.notes.is_empty());
    assert!(load("threat_intel: {taxii: {enabled: false}}").expect("it is right").intel.is_none());
}

#[test]
fn secrets_of_a_server_are_never_shown() {
    let config = load(
        "threat_intel: {enabled: true, servers: [{url: 'https://a.example', collection_id: c, \
         auth: {type: basic, username: s3cr3t, password: s3cr3t}, headers: {a: s3cr3t}, \
         proxy: 'http://u:s3cr3t@b.example'}, {name: b, url: 'https://a.example', \
         collection_id: d, auth: {type: api_key, api_key: s3cr3t}}]}",
    )
    .expect("it is right");
    assert!(config.shown.yaml().contains("collection_id: \"c\""));
    assert!(!config.shown.yaml().contains("s3cr3t"));
    assert!(!format!("{config:?}").contains("s3cr3t"));
}

#[test]
fn what_cannot_be_is_refused() {
    let one = "url: 'https://a.example', collection_id: c";
    let with =
        |keys: &str| format!("threat_intel: {{enabled: true, servers: [{{{one}}}], {keys}}}");
    let server = |keys: &str| format!("threat_intel: {{enabled: true, servers: [{{{keys}}}]}}");
    let auth = |keys: &str| server(&format!("{one}, auth: {{{keys}}}"));
    let far = "plain http to another host carries credentials readably and anybody on the way can change \
               what is told; use https, or set `allow_http: true`";
    let rows: Vec<(String, String)> = [
        (
            "threat_intel: {enabled: true}".to_owned(),
            "1:16: threat_intel.enabled: needs `threat_intel.servers`; no feed is read without",
        ),
        (
            "threat_intel: {enabled: true, servers: []}".to_owned(),
            "1:31: threat_intel.servers: expected at least one server",
        ),
        (
            "threat_intel: {enabled: true, servers: {}}".to_owned(),
            "1:40: threat_intel.servers: expected a list of TAXII servers, found a map",
        ),
        (
            with("cache: {persistent: true}"),
            "1:96: threat_intel.cache.persistent: needs `threat_intel.cache.path`, such as \
             `${state_dir}/threat-intel.cache`",
        ),
        (
            with("never_block: ['0.0.0.0/0']"),
            "1:88: threat_intel.never_block: `0.0.0.0/0` is every address, so that nothing would be \
             blocked",
        ),
        (
            with("never_block: ['a b']"),
            "1:88: threat_intel.never_block: `a b` is no domain, address, prefix such as 10.0.0.0/8, or \
             URL",
        ),
        (
            with("export_tlp: [blue]"),
            "1:88: threat_intel.export_tlp: `blue`: expected clear, green, amber, amber+strict or red",
        ),
        (
            with("escalate: {min_confidence: 90}"),
            "1:99: threat_intel.escalate.min_confidence: needs `threat_intel.escalate.to_severity` \
             beside it",
        ),
        (
            with("feed: {cache_ttl_hours: 4, full_sync_hours: 4}"),
            "1:115: threat_intel.feed.full_sync_hours: expected `full_sync_hours` (4.000) and an \
             `interval_minutes` with a tenth more (1.100 h) to be less than `cache_ttl_hours` \
             (4.000) together: what is not told again by then expires",
        ),
        (
            // 12 hours of `full_sync_hours` are the default.
            with("feed: {interval_minutes: 720}"),
            "1:95: threat_intel.feed.interval_minutes: expected `full_sync_hours` (12.000) and an \
             `interval_minutes` with a tenth more (13.200 h) to be less than `cache_ttl_hours` \
             (24.000) together: what is not told again by then expires",
        ),
        (
            server("url: 'https://a.example', collection_id: c, feed: {cache_ttl_hours: 2}"),
            "1:93: threat_intel.servers[0].feed.cache_ttl_hours: expected `full_sync_hours` (1.000) and \
             an `interval_minutes` with a tenth more (1.100 h) to be less than `cache_ttl_hours` \
             (2.000) together: what is not told again by then expires",
        ),
        (
            with("feed: {include_types: [indicators]}"),
            "1:95: threat_intel.feed.include_types: `indicators` is no kind of object that is used; did \
             you mean `indicator`?",
        ),
        (
            with("feed: {added_after: yesterday}"),
            "1:95: threat_intel.feed.added_after: expected a time such as 2026-01-31T12:00:00Z",
        ),
        (
            server("collection_id: c"),
            "1:41: threat_intel.servers[0]: a server needs `url`",
        ),
        (
            server("url: 'https://a.example'"),
            "1:41: threat_intel.servers[0]: a server needs `collection_id`",
        ),
        (
            server("url: 'http://a.example', collection_id: c"),
            &format!("1:42: threat_intel.servers[0].url: {far}"),
        ),
        (
            server(&format!("{one}, version: 1.1")),
            "1:95: threat_intel.servers[0].version: expected 2.0 or 2.1, found `1.1`; did you mean `2.1`?",
        ),
        (
            server(&format!("{one}}}, {{{one}")),
            "1:87: threat_intel.servers[1].name: `a.example` is the name of another server already; give \
             each a `name`",
        ),
        (
            server(&format!("{one}}}, {{name: b, {one}")),
            "1:123: threat_intel.servers[1].collection_id: server `a.example` reads this collection \
             already",
        ),
        (
            auth("type: kerberos"),
            "1:99: threat_intel.servers[0].auth.type: expected none, basic, api_key or certificate, found \
             `kerberos`",
        ),
        (
            auth("type: basic"),
            "1:93: threat_intel.servers[0].auth.type: `basic` needs `auth.username`",
        ),
        (
            auth("type: certificate, cert_path: /a"),
            "1:93: threat_intel.servers[0].auth.type: `certificate` needs `auth.key_path`",
        ),
        (
            auth("api_key: s3cr3t"),
            "1:93: threat_intel.servers[0].auth.api_key: belongs to `auth.type: api_key`",
        ),
        (
            auth("type: api_key, api_key: a, header_name: 'a b'"),
            "1:120: threat_intel.servers[0].auth.header_name: `a b` is no name of a header",
        ),
        (
            server(&format!("{one}, headers: {{host: a}}")),
            "1:86: threat_intel.servers[0].headers: host follows from the request and is not settable",
        ),
        (
            server(&format!("{one}, feed: {{min_confidense: 1}}")),
            "1:93: threat_intel.servers[0].feed.min_confidense: unknown key; did you mean \
             `min_confidence`?",
        ),
    ]
    .map(|(text, wrong)| (text, wrong.to_owned()))
    .into();
    let other = rows.iter().filter(|(text, wrong)| refusal(text) != *wrong);
    let other: Vec<String> =
        other.map(|(text, wrong)| format!("{text}\n-{wrong}\n+{}", refusal(text))).collect();
    assert!(other.is_empty(), "{}", other.join("\n"));
}
