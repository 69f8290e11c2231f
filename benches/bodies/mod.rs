//! Bulk bodies like those that go to Elasticsearch: an action line and an ECS document per event.
//!
//! What compressors live on is modelled after real streams: keys and constants repeat, ids and
//! hashes do not, hosts, users and paths come from a few hundred with a few in front, times go up.

use std::fmt::Write as _;

/// One event's action line and document, without line feeds.
pub struct Bulk {
    /// The action line.
    pub action: String,
    /// The document, about 1.5 kB.
    pub document: String,
}

/// So many events of a seeded stream.
pub fn bulks(seed: u64, events: usize) -> Vec<Bulk> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..events).map(|n| bulk(&mut rng, n as u64)).collect()
}

/// The same as one body.
pub fn body(seed: u64, bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes + 4096);
    let mut rng = fastrand::Rng::with_seed(seed);
    for n in 0.. {
        if body.len() >= bytes {
            break;
        }
        let Bulk { action, document } = bulk(&mut rng, n);
        body.extend_from_slice(action.as_bytes());
        body.push(b'\n');
        body.extend_from_slice(document.as_bytes());
        body.push(b'\n');
    }
    body
}

fn bulk(rng: &mut fastrand::Rng, n: u64) -> Bulk {
    let id = uuid(rng);
    let session = uuid(&mut fastrand::Rng::with_seed(few(rng, 400)));
    let (kind, categories, types) = EVENTS[rng.usize(..EVENTS.len())];
    let agent = few(rng, 60);
    let user = few(rng, 300);
    let denied = rng.u8(..4) == 0;
    let path = format!(
        "/srv/{}/{}/{}-{}.{}",
        WORDS[few(rng, 12) as usize % WORDS.len()],
        WORDS[rng.usize(..WORDS.len())],
        WORDS[rng.usize(..WORDS.len())],
        few(rng, 5000),
        ["rs", "toml", "json", "py", "env", "key"][rng.usize(..6)],
    );
    let millis = 1_770_000_000_000 + n * 3 + rng.u64(..3);
    let (secs, ms) = (millis / 1000 % 60, millis % 1000);
    let minute = millis / 60_000 % 60;
    let time = format!("2026-02-06T09:{minute:02}:{secs:02}.{ms:03}{:06}Z", rng.u32(..1_000_000));
    let reason = format!(
        "{} {} by rule {} after {} matches in {}",
        if denied { "access denied:" } else { "permitted:" },
        WORDS[rng.usize(..WORDS.len())],
        few(rng, 90),
        rng.u32(..40),
        path,
    );
    let severity = [1, 1, 1, 2, 3, 4, 5][rng.usize(..7)];
    let mut action = String::with_capacity(128);
    write!(
        action,
        r#"{{"create":{{"_index":"clawdstrike-security-2026.02.06","_id":"{id}"}}}}"#
    )
    .expect("writing into memory");
    let document = format!(
        concat!(
            r#"{{"@timestamp":"{time}","ecs":{{"version":"8.17.0"}},"message":"{reason}","#,
            r#""event":{{"id":"{id}","kind":"event","category":[{categories}],"type":[{types}],"#,
            r#""action":"{action}","outcome":"{outcome}","code":"{kind}","severity":{severity},"#,
            r#""risk_score":{risk},"module":"clawdstrike","dataset":"clawdstrike.security","#,
            r#""created":"{time}","reason":"{reason}"}},"#,
            r#""rule":{{"name":"{kind}_{rule}","ruleset":"default"}},"#,
            r#""agent":{{"id":"coder-{agent:03}","name":"hushd","version":"0.1.{patch}","#,
            r#""type":"clawdstrike"}},"session":{{"id":"{session}"}},"#,
            r#""user":{{"id":"user-{user}@example.com"}},"related":{{"user":["user-{user}@example.com"],"#,
            r#""hosts":["build-{host:02}.internal.example.com"]}},"#,
            r#""organization":{{"id":"acme-{org}"}},"service":{{"environment":"production"}},"#,
            r#""host":{{"name":"build-{host:02}.internal.example.com","id":"{machine:032x}"}},"#,
            r#""file":{{"path":"{path}","extension":"rs","directory":"/srv/app"}},"#,
            r#""labels":{{"team":"security","region":"eu-west-{region}"}},"tags":["team:security"],"#,
            r#""trace":{{"id":"{trace:032x}"}},"span":{{"id":"{span:016x}"}},"#,
            r#""clawdstrike":{{"schema_version":"1.0.0","guard":"{kind}","allowed":{allowed},"#,
            r#""session_id":"{session}","environment":"production","#,
            r#""policy_hash":"0x486e2cc1fb5b3773411c82fb1d00b2081139d4ed6dfeb598793eb0d689d6258c","#,
            r#""metadata":{{"duration_us":{took},"bytes":{bytes},"request":"{request:016x}","#,
            r#""command_line":"cargo build --release --target-dir /tmp/{request:08x}"}}}}}}"#
        ),
        action = WORDS[rng.usize(..WORDS.len())],
        outcome = if denied { "failure" } else { "success" },
        risk = [0, 21, 47, 73, 99][severity - 1],
        rule = few(rng, 90),
        patch = agent % 4,
        host = few(rng, 80),
        org = few(rng, 20),
        machine = u128::from(few(rng, 80)) * 0x9E37_79B9_7F4A_7C15_F39C_0C9E,
        region = 1 + agent % 3,
        trace = rng.u128(..),
        span = rng.u64(..),
        allowed = !denied,
        took = rng.u32(10..2_000_000),
        bytes = rng.u32(..10_000_000),
        request = rng.u64(..),
    );
    Bulk { action, document }
}

/// A number below `most`, small ones far more often.
fn few(rng: &mut fastrand::Rng, most: u64) -> u64 {
    let share = rng.f64();
    (share * share * share * most as f64) as u64
}

fn uuid(rng: &mut fastrand::Rng) -> String {
    let bits = rng.u128(..);
    format!(
        "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
        bits as u32,
        (bits >> 32) as u16,
        (bits >> 48) as u16 & 0xFFF,
        (bits >> 64) as u16,
        bits >> 80
    )
}

const EVENTS: [(&str, &str, &str); 5] = [
    ("policy_allow", r#""intrusion_detection""#, r#""allowed""#),
    ("forbidden_path", r#""file","intrusion_detection""#, r#""access","denied""#),
    ("egress_blocked", r#""network""#, r#""denied""#),
    ("secret_detected", r#""intrusion_detection","threat""#, r#""denied","indicator""#),
    ("session_start", r#""session""#, r#""start""#),
];

const WORDS: [&str; 24] = [
    "app", "config", "billing", "frontend", "gateway", "ledger", "secrets", "pipeline", "worker",
    "session", "file_access", "network_connect", "exec", "read", "write", "delete", "archive",
    "tokens", "deploy", "rotate", "migrate", "snapshot", "inventory", "payments",
];
