//! Bulk bodies like those that go to Elasticsearch: an action line and an ECS document per event.
//!
//! What compressors live on is modelled after real streams: keys and constants repeat, ids and
//! hashes do not, hosts, users and paths come from a few hundred with a few in front, times go up.

/// One event's action line and document, without line feeds.
pub(crate) struct Bulk {
    /// The action line.
    pub(crate) action: String,
    /// The document, about 1.5 kB.
    pub(crate) document: String,
}

/// So many events of a seeded stream.
pub(crate) fn bulks(seed: u64, events: usize) -> Vec<Bulk> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..events).map(|n| bulk(&mut rng, n as u64)).collect()
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
    let action =
        format!(r#"{{"create":{{"_index":"clawdstrike-security-2026.02.06","_id":"{id}"}}}}"#);
    let verb = WORDS[rng.usize(..WORDS.len())];
    let outcome = if denied { "failure" } else { "success" };
    let risk = [0, 21, 47, 73, 99][severity - 1];
    let rule = few(rng, 90);
    let patch = agent % 4;
    let host = few(rng, 80);
    let org = few(rng, 20);
    let machine = u128::from(few(rng, 80)) * 0x9E37_79B9_7F4A_7C15_F39C_0C9E;
    let region = 1 + agent % 3;
    let trace = rng.u128(..);
    let span = rng.u64(..);
    let allowed = !denied;
    let took = rng.u32(10..2_000_000);
    let bytes = rng.u32(..10_000_000);
    let request = rng.u64(..);
    let document = [
        format!(r#"{{"@timestamp":"{time}","ecs":{{"version":"8.17.0"}},"message":"{reason}","#),
        format!(r#""event":{{"id":"{id}","kind":"event","category":[{categories}],"type":[{types}],"#),
        format!(r#""action":"{verb}","outcome":"{outcome}","code":"{kind}","severity":{severity},"#),
        format!(r#""risk_score":{risk},"module":"clawdstrike","dataset":"clawdstrike.security","#),
        format!(r#""created":"{time}","reason":"{reason}"}},"#),
        format!(r#""rule":{{"name":"{kind}_{rule}","ruleset":"default"}},"#),
        format!(r#""agent":{{"id":"coder-{agent:03}","name":"hushd","version":"0.1.{patch}","#),
        format!(r#""type":"clawdstrike"}},"session":{{"id":"{session}"}},"#),
        format!(r#""user":{{"id":"user-{user}@example.com"}},"related":{{"user":["user-{user}@example.com"],"#),
        format!(r#""hosts":["build-{host:02}.internal.example.com"]}},"#),
        format!(r#""organization":{{"id":"acme-{org}"}},"service":{{"environment":"production"}},"#),
        format!(r#""host":{{"name":"build-{host:02}.internal.example.com","id":"{machine:032x}"}},"#),
        format!(r#""file":{{"path":"{path}","extension":"rs","directory":"/srv/app"}},"#),
        format!(r#""labels":{{"team":"security","region":"eu-west-{region}"}},"tags":["team:security"],"#),
        format!(r#""trace":{{"id":"{trace:032x}"}},"span":{{"id":"{span:016x}"}},"#),
        format!(r#""clawdstrike":{{"schema_version":"1.0.0","guard":"{kind}","allowed":{allowed},"#),
        format!(r#""session_id":"{session}","environment":"production","#),
        format!(r#""policy_hash":"{POLICY}","#),
        format!(r#""metadata":{{"duration_us":{took},"bytes":{bytes},"request":"{request:016x}","#),
        format!(r#""command_line":"cargo build --release --target-dir /tmp/{request:08x}"}}}}}}"#),
    ]
    .concat();
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

const POLICY: &str = "0x486e2cc1fb5b3773411c82fb1d00b2081139d4ed6dfeb598793eb0d689d6258c";

const EVENTS: [(&str, &str, &str); 5] = [
    ("policy_allow", r#""intrusion_detection""#, r#""allowed""#),
    ("forbidden_path", r#""file","intrusion_detection""#, r#""access","denied""#),
    ("egress_blocked", r#""network""#, r#""denied""#),
    ("secret_detected", r#""intrusion_detection","threat""#, r#""denied","indicator""#),
    ("session_start", r#""session""#, r#""start""#),
];

const WORDS: [&str; 24] = [
    "app",
    "config",
    "billing",
    "frontend",
    "gateway",
    "ledger",
    "secrets",
    "pipeline",
    "worker",
    "session",
    "file_access",
    "network_connect",
    "exec",
    "read",
    "write",
    "delete",
    "archive",
    "tokens",
    "deploy",
    "rotate",
    "migrate",
    "snapshot",
    "inventory",
    "payments",
];
