//! One canonical event, rendered from the vocabulary.

use super::words::{
    AGENTS, COMMANDS, ENVIRONMENTS, FILL, HOSTS, KINDS, Kind, LABELS, METADATA, OTHER_CATEGORIES,
    PATHS, REASONS, RESOURCES, TENANTS, THREATS, TOOLS, USERS,
};
use crate::id;
use crate::seed::Random;

/// What an event is to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Position in the table of kinds.
    pub(super) kind: usize,
    /// Position in the table of resources.
    pub(super) resource: usize,
    /// Bytes to reach; an event that is larger without any filling stays so.
    pub(super) bytes: usize,
    /// Only what is required, in the shortest words.
    pub(super) bare: bool,
}

impl Shape {
    /// A shape by the weights of the kinds.
    pub(super) fn draw(random: &mut Random, bytes: usize) -> Self {
        let total: u64 = KINDS.iter().map(|kind| kind.weight).sum();
        let mut at = random.below(total);
        let mut kind = 0;
        while at >= KINDS[kind].weight {
            at -= KINDS[kind].weight;
            kind += 1;
        }
        let likely = match KINDS[kind].event_type {
            "egress_blocked" => Some(1),
            "forbidden_path" | "patch_rejected" => Some(0),
            "session_start" | "session_end" => Some(4),
            _ => None,
        };
        let any = random.below(RESOURCES.len() as u64) as usize;
        let resource = likely.filter(|_| random.chance(0.95)).unwrap_or(any);
        Self { kind, resource, bytes, bare: false }
    }

    /// The shape number `at` of those that together show every type with every resource.
    pub(super) fn nth(at: usize, bytes: usize) -> Self {
        let (kind, resource) = (at % KINDS.len(), at / KINDS.len() % RESOURCES.len());
        Self { kind, resource, bytes, bare: false }
    }
}

/// How many shapes show every type with every resource.
pub(super) const SHAPES: usize = KINDS.len() * RESOURCES.len();

/// Where the parts that differ from event to event stand, from the start of the event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// The id's first character.
    pub(super) id: usize,
    /// The time's first character.
    pub(super) time: usize,
    /// Characters of the time: 20, 24, 27 or 30.
    pub(super) time_len: usize,
}

/// Appends one event without a newline.
pub(super) fn render(shape: Shape, random: &mut Random, out: &mut Vec<u8>) -> Places {
    let hostile = random.chance(HOSTILE);
    let mut event = Writer { start: out.len(), out, random, hostile };
    let kind = &KINDS[shape.kind];
    let (resource, implied, actions) = RESOURCES[shape.resource];
    let category = match kind.event_type {
        "session_start" | "session_end" => "session",
        _ if event.random.chance(0.04) => event.random.pick(OTHER_CATEGORIES),
        _ => implied,
    };
    event.raw("{\"schema_version\":\"1.0.0\",\"event_id\":\"");
    let id = event.len();
    event.space(id::LEN);
    event.raw("\",\"event_type\":\"").raw(kind.event_type);
    event.raw("\",\"event_category\":\"").raw(category).raw("\",\"timestamp\":\"");
    let time = event.len();
    // The shortest group of digits that is exact is what the Rust producer writes (inputs.md 1).
    let time_len = if shape.bare { 20 } else { *event.random.pick(&[20, 24, 27, 30, 30, 30]) };
    event.space(time_len);
    event.raw("\"");
    if shape.bare {
        event.bare(kind, resource);
    } else {
        event.full(kind, resource, actions, shape.bytes);
    }
    Places { id, time, time_len }
}

struct Writer<'a> {
    start: usize,
    out: &'a mut Vec<u8>,
    random: &'a mut Random,
    /// Whether this event takes words with escapes and other scripts as often as any.
    hostile: bool,
}

impl Writer<'_> {
    fn len(&self) -> usize {
        self.out.len() - self.start
    }

    fn raw(&mut self, text: &str) -> &mut Self {
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    fn space(&mut self, bytes: usize) {
        self.out.resize(self.out.len() + bytes, b'0');
    }

    /// One of the words.
    fn pick(&mut self, words: &[&'static str]) -> &mut Self {
        let word = self.word(words);
        self.raw(word)
    }

    /// One of the words; in most events a plain one, where a few tries find one.
    fn word(&mut self, words: &[&'static str]) -> &'static str {
        let mut word = *self.random.pick::<&'static str>(words);
        for _ in 0..TRIES {
            if self.hostile || is_plain(word) {
                break;
            }
            word = *self.random.pick::<&'static str>(words);
        }
        word
    }

    /// A string member, after a comma.
    fn member(&mut self, key: &str, words: &[&'static str]) -> &mut Self {
        self.raw(",\"").raw(key).raw("\":\"").pick(words).raw("\"")
    }

    fn hex(&mut self, digits: usize) -> &mut Self {
        for _ in 0..digits {
            let digit = b"0123456789abcdef"[self.random.below(16) as usize];
            self.out.push(digit);
        }
        self
    }

    /// The required keys and nothing else: the smallest event there is.
    fn bare(&mut self, kind: &Kind, resource: &str) {
        let allowed = if kind.allowed { "true" } else { "false" };
        let outcome = if kind.allowed { "success" } else { "failure" };
        self.raw(",\"agent\":{\"id\":\"a\",\"name\":\"a\",\"version\":\"1\",\"type\":\"velar\"}");
        self.raw(",\"session\":{\"id\":\"s\"},\"outcome\":\"").raw(outcome);
        self.raw("\",\"action\":\"x\",\"decision\":{\"allowed\":").raw(allowed);
        self.raw(",\"guard\":\"g\",\"severity\":\"").raw(kind.severities[0]);
        self.raw("\",\"reason\":\"\"},\"resource\":{\"type\":\"").raw(resource);
        self.raw("\",\"name\":\"r\"}}");
    }

    fn full(&mut self, kind: &Kind, resource: &str, actions: &[&'static str], bytes: usize) {
        self.agent_and_session();
        let outcome = match kind.allowed {
            _ if self.random.chance(0.01) => "unknown",
            true => "success",
            false => "failure",
        };
        self.raw(",\"outcome\":\"").raw(outcome).raw("\"");
        self.member("action", actions);
        let place = self.place(resource);
        self.threat(resource, kind.allowed, place);
        self.decision(kind);
        self.resource(resource, place);
        self.metadata(resource, place, bytes);
        self.labels();
        self.raw("}");
    }

    fn agent_and_session(&mut self) {
        let (id, name, version, product) = *self.random.pick(AGENTS);
        self.raw(",\"agent\":{\"id\":\"").raw(id).raw("\",\"name\":\"").raw(name);
        self.raw("\",\"version\":\"").raw(version).raw("\",\"type\":\"").raw(product);
        self.raw("\"},\"session\":{\"id\":\"");
        self.hex(8).raw("-").hex(4).raw("-4").hex(3).raw("-a").hex(3).raw("-").hex(12).raw("\"");
        if self.random.chance(0.5) {
            self.member("user_id", USERS);
        }
        if self.random.chance(0.8) {
            self.member("tenant_id", TENANTS);
            self.member("environment", ENVIRONMENTS);
        }
        self.raw("}");
    }

    /// What the resource is called: a path, a host, a command line or a tool.
    fn place(&mut self, resource: &str) -> &'static str {
        let words: &[&'static str] = match resource {
            "file" => PATHS,
            "network" => HOSTS,
            "process" => COMMANDS,
            "tool" => TOOLS,
            _ => &["policy", "session", "default-ruleset"],
        };
        self.word(words)
    }

    fn threat(&mut self, resource: &str, allowed: bool, place: &str) {
        self.raw(",\"threat\":{");
        let indicator = match resource {
            "file" => Some("file_path"),
            "network" => Some("domain"),
            _ => None,
        };
        if let Some(indicator) = indicator {
            self.raw("\"indicator\":{\"type\":\"").raw(indicator);
            self.raw("\",\"value\":\"").raw(place).raw("\"}");
        }
        if !allowed && self.random.chance(0.6) {
            let (tactic, technique) = *self.random.pick(THREATS);
            self.raw(if indicator.is_some() { "," } else { "" });
            self.raw("\"tactic\":\"").raw(tactic).raw("\",\"technique\":\"").raw(technique);
            self.raw("\"");
        }
        self.raw("}");
    }

    fn decision(&mut self, kind: &Kind) {
        self.raw(",\"decision\":{\"allowed\":").raw(if kind.allowed { "true" } else { "false" });
        self.member("guard", kind.guards);
        self.member("severity", kind.severities);
        self.member("reason", REASONS);
        if self.random.chance(0.7) {
            self.raw(",\"policy_hash\":\"0x").hex(64).raw("\"");
        }
        if self.random.chance(0.7) {
            self.member("ruleset", &["default", "strict", "pci \\u2013 eu"]);
        }
        self.raw("}");
    }

    fn resource(&mut self, resource: &str, place: &str) {
        self.raw(",\"resource\":{\"type\":\"").raw(resource);
        self.raw("\",\"name\":\"").raw(place).raw("\"");
        match resource {
            "file" => {
                self.raw(",\"path\":\"").raw(place).raw("\"");
            }
            "network" => {
                self.raw(",\"host\":\"").raw(place).raw("\"");
                if self.random.chance(0.8) {
                    let any = 1 + self.random.below(65_535);
                    let port = *self.random.pick(&[443, 443, 443, 80, 8443, 1, 65_535, any]);
                    self.raw(&format!(",\"port\":{port}"));
                }
            }
            _ => {}
        }
        self.raw("}");
    }

    fn metadata(&mut self, resource: &str, place: &str, bytes: usize) {
        self.raw(",\"metadata\":{\"source\":\"hushd\"");
        if resource == "process" {
            self.raw(",\"command_line\":\"").raw(place).raw("\"");
        }
        if self.random.chance(0.3) {
            self.raw(",\"trace_id\":\"").hex(32).raw("\",\"span_id\":\"").hex(16).raw("\"");
        }
        if self.random.chance(0.3) {
            self.raw(",\"policy_hash\":\"").hex(64).raw("\"");
        }
        let from = self.random.below(METADATA.len() as u64) as usize;
        for step in 0..self.random.below(4) as usize {
            let (key, value) = METADATA[(from + step) % METADATA.len()];
            self.raw(",\"").raw(key).raw("\":").raw(value);
        }
        self.fill(bytes);
        self.raw("}");
    }

    /// Words until the event has its size; what follows takes about `AFTER` more bytes.
    fn fill(&mut self, bytes: usize) {
        const AFTER: usize = 64;
        if self.len() + AFTER + 16 >= bytes {
            return;
        }
        self.raw(",\"detail\":\"");
        let mut open_bytes = 0;
        while self.len() + AFTER < bytes {
            // Long texts are split into members, as producers do with chunks and headers.
            if open_bytes > 2_000 {
                self.raw("\",\"detail_").hex(6).raw("\":\"");
                open_bytes = 0;
            }
            let before = self.len();
            if self.random.chance(0.1) {
                self.hex(12);
            } else {
                self.pick(FILL);
            }
            self.raw(" ");
            open_bytes += self.len() - before;
        }
        self.raw("\"");
    }

    fn labels(&mut self) {
        self.raw(",\"labels\":{");
        let from = self.random.below(LABELS.len() as u64) as usize;
        for step in 0..self.random.below(4) as usize {
            let (key, value) = LABELS[(from + step) % LABELS.len()];
            let may_stand = self.hostile || (is_plain(key) && is_plain(value));
            if !may_stand {
                break;
            }
            self.raw(if step > 0 { ",\"" } else { "\"" });
            self.raw(key).raw("\":\"").raw(value).raw("\"");
        }
        self.raw("}");
    }
}

/// Whether a word is ASCII without escapes.
fn is_plain(word: &str) -> bool {
    word.is_ascii() && !word.contains('\\')
}

/// Events with escapes and other scripts throughout: as many as in hand-made samples of real
/// producers, which write UTF-8 and escape only what JSON asks for.
const HOSTILE: f64 = 0.1;
/// Tries to find a plain word; a list without one still gives its words.
const TRIES: u32 = 8;
