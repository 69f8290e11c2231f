//! What guards are told: which of their values match, and what to do.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::Deserialize;

use super::current::Intel;
use super::marks::write_match;
use super::pattern::SignKind;
use super::snapshot::Match;
use super::spec::{ActionSpec, IntelMode};
use crate::event::{Time, quote};

/// Answers guards from what is known; it never waits, and lets through what it cannot know.
#[derive(Debug)]
pub struct Guard {
    intel: Arc<Intel>,
    /// None while threat intelligence is switched off.
    actions: ArcSwapOption<ActionSpec>,
}

/// What a guard should do about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardVerdict {
    /// Block it.
    Block,
    /// Let it through and tell somebody.
    Alert,
    /// Nothing is known of it.
    None,
}

impl GuardVerdict {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Alert => "alert",
            Self::None => "none",
        }
    }
}

/// What guards ask: `{"items": [{"type": .., "value": ..}]}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Questions {
    items: Vec<Question>,
}

/// A value that a guard asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

impl Guard {
    /// Answers nobody until [`Guard::set`] says what a match does.
    #[must_use]
    pub fn new(intel: Arc<Intel>) -> Self {
        Self { intel, actions: ArcSwapOption::empty() }
    }

    /// What a match does from now on; nothing where threat intelligence is switched off.
    pub fn set(&self, actions: Option<ActionSpec>) {
        self.actions.store(actions.map(Arc::new));
    }

    /// Answers the body of a request; none while threat intelligence is switched off.
    ///
    /// # Errors
    /// When the body asks nothing that can be answered; says what was expected.
    pub fn answer(&self, body: &[u8], now: Time) -> Option<Result<Vec<u8>, String>> {
        let actions = **self.actions.load().as_ref()?;
        Some(self.answers(body, actions, now))
    }

    fn answers(&self, body: &[u8], actions: ActionSpec, now: Time) -> Result<Vec<u8>, String> {
        let asked: Questions = serde_json::from_slice(body)
            .map_err(|error| format!("expected {{\"items\": [{{type, value}}]}}: {error}"))?;
        if asked.items.len() > ITEMS_MAX {
            let found = asked.items.len();
            return Err(format!("items: expected at most {ITEMS_MAX}, found {found}"));
        }
        let snapshot = self.intel.read();
        let is_stale = self.intel.is_stale();
        let mut out = b"{\"items\":[".to_vec();
        for (n, Question { kind: word, value }) in asked.items.iter().enumerate() {
            let Some(kind) = SignKind::parse(word) else {
                let kinds = SignKind::ALL.map(SignKind::word).join(", ");
                let word = word.escape_debug();
                return Err(format!("items[{n}].type: expected one of {kinds}, found `{word}`"));
            };
            if value.len() > VALUE_BYTES_MAX {
                let found = value.len();
                return Err(format!(
                    "items[{n}].value: expected at most {VALUE_BYTES_MAX} bytes, found {found}"
                ));
            }
            if n > 0 {
                out.push(b',');
            }
            let found = self.intel.check(&snapshot, kind, value, now);
            let verdict = verdict(kind, &found, actions);
            out.extend_from_slice(b"{\"matches\":[");
            for (n, found) in found.into_iter().take(MATCHES_MAX).enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(found, value, &mut out);
            }
            let rest = format!("],\"verdict\":\"{}\",\"stale\":{is_stale}}}", verdict.word());
            out.extend_from_slice(rest.as_bytes());
        }
        out.extend_from_slice(b"]}\n");
        Ok(out)
    }
}

/// What to do about a value of which this is known.
#[must_use]
pub fn verdict(kind: SignKind, found: &[&Match], actions: ActionSpec) -> GuardVerdict {
    let blocks = match kind {
        SignKind::Domain | SignKind::Ip | SignKind::Url => actions.block_egress,
        SignKind::FileHash | SignKind::FileName | SignKind::Path => actions.block_paths,
    };
    match (found, actions.mode) {
        ([], _) => GuardVerdict::None,
        (_, IntelMode::Block) if blocks => GuardVerdict::Block,
        _ => GuardVerdict::Alert,
    }
}

/// Appends a match as JSON; the guard's own value where the feed's must not be told.
fn write(found: &Match, asked: &str, out: &mut Vec<u8>) {
    let about = &*found.about;
    let own = Some(asked).filter(|_| !about.may_export);
    write_match(found, own, None, out);
    if about.may_export && !about.labels.is_empty() {
        out.extend_from_slice(b",\"labels\":");
        array(&about.labels, out, |label, out| quote(label.as_bytes(), out));
    }
    if about.may_export && !about.phases.is_empty() {
        out.extend_from_slice(b",\"kill_chain\":");
        array(&about.phases, out, |(framework, phase), out| {
            out.extend_from_slice(b"{\"framework\":");
            quote(framework.as_bytes(), out);
            out.extend_from_slice(b",\"phase\":");
            quote(phase.as_bytes(), out);
            out.push(b'}');
        });
    }
    out.push(b'}');
}

fn array<T>(items: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

/// Values of one request at most: it is answered between two others.
const ITEMS_MAX: usize = 1000;
/// Bytes of a value at most: what HTTP servers take as a URL.
const VALUE_BYTES_MAX: usize = 8 << 10;
/// Matches that are told of one value at most.
const MATCHES_MAX: usize = super::marks::MATCHES_MAX;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{About, Allowed, Listed, Rules, Sign, Snapshot};
    use super::*;

    const NOW: Time = Time { secs: 1, nanos: 0 };

    fn guard(actions: ActionSpec) -> Guard {
        let listed = |kind, value: &str, may_export| Listed {
            sign: Sign { kind, value: value.to_owned() },
            source: "feed".into(),
            confidence: 80,
            is_benign: false,
            until: Time { secs: 2, nanos: 0 },
            about: Arc::new(About {
                id: format!("indicator--{value}"),
                name: Some("a name".to_owned()),
                labels: vec!["malicious-activity".to_owned()],
                phases: vec![("mitre-attack".to_owned(), "impact".to_owned())],
                may_export,
                ..About::default()
            }),
        };
        let intel = Arc::new(Intel::default());
        let never_block = vec![Allowed::parse("ours.example").expect("a domain")];
        let rules = Rules { never_block, url_host_blocking: false };
        let all = [
            listed(SignKind::Domain, "evil.example", true),
            listed(SignKind::Domain, "ours.example", true),
            listed(SignKind::Ip, "192.0.2.0/24", false),
            listed(SignKind::FileName, "evil.sh", true),
        ];
        intel.swap(Snapshot::new(all, &rules));
        let guard = Guard::new(intel);
        guard.set(Some(actions));
        guard
    }

    fn ask(guard: &Guard, items: &Value) -> Vec<Value> {
        let body = json!({ "items": items }).to_string();
        let answer = guard.answer(body.as_bytes(), NOW).expect("it is on").expect("a question");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        answer["items"].as_array().expect("a list").clone()
    }

    fn verdicts(actions: ActionSpec) -> Vec<String> {
        let items = json!([
            {"type": "domain", "value": "a.EVIL.example."},
            {"type": "domain", "value": "fine.example"},
            {"type": "domain", "value": "ours.example"},
            {"type": "ip", "value": "::ffff:192.0.2.7"},
            {"type": "url", "value": "https://evil.example/x"},
            {"type": "path", "value": "/tmp/evil.sh"},
        ]);
        let answers = ask(&guard(actions), &items);
        answers.iter().map(|it| it["verdict"].as_str().expect("a word").to_owned()).collect()
    }

    #[test]
    fn a_verdict_follows_from_what_matches_and_what_a_match_does() {
        let usual = ActionSpec::default();
        assert_eq!(verdicts(usual), ["block", "none", "none", "block", "block", "alert"]);
        let paths = ActionSpec { block_egress: false, block_paths: true, ..usual };
        assert_eq!(verdicts(paths), ["alert", "none", "none", "alert", "alert", "block"]);
        let alert = ActionSpec { mode: IntelMode::AlertOnly, block_paths: true, ..usual };
        assert_eq!(verdicts(alert), ["alert", "none", "none", "alert", "alert", "alert"]);
    }

    #[test]
    fn a_guard_is_told_what_matched() {
        let items = json!([
            {"type": "domain", "value": "x.evil.example"}, {"type": "ip", "value": "192.0.2.9"}
        ]);
        let answers = ask(&guard(ActionSpec::default()), &items);
        let expected = json!({
            "matches": [{
                "type": "domain", "value": "evil.example", "source": "feed", "confidence": 80,
                "id": "indicator--evil.example", "name": "a name",
                "labels": ["malicious-activity"],
                "kill_chain": [{"framework": "mitre-attack", "phase": "impact"}],
            }],
            "verdict": "block", "stale": false,
        });
        assert_eq!(answers[0], expected);
        let red = json!({
            "type": "ip", "value": "192.0.2.9", "source": "feed", "confidence": 80,
            "id": "indicator--192.0.2.0/24",
        });
        assert_eq!(answers[1]["matches"], json!([red]), "its text may not leave");
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        let guard = guard(ActionSpec::default());
        let refusal = |body: &str| {
            guard.answer(body.as_bytes(), NOW).expect("it is on").expect_err("no question")
        };
        assert!(refusal("[]").starts_with("expected {\"items\": [{type, value}]}: "));
        assert!(refusal(r#"{"items": [{"type": "ip"}]}"#).contains("missing field `value`"));
        assert_eq!(
            refusal(r#"{"items": [{"type": "host", "value": "a"}]}"#),
            "items[0].type: expected one of domain, ip, url, file_hash, file_name, path, found `host`"
        );
        let many = vec![json!({"type": "ip", "value": "a"}); ITEMS_MAX + 1];
        let many = refusal(&json!({ "items": many }).to_string());
        assert_eq!(many, "items: expected at most 1000, found 1001");
        let long = json!([{"type": "url", "value": "a".repeat(VALUE_BYTES_MAX + 1)}]);
        let long = refusal(&json!({ "items": long }).to_string());
        assert_eq!(long, "items[0].value: expected at most 8192 bytes, found 8193");
        assert_eq!(ask(&guard, &json!([])), Vec::<Value>::new());
    }

    #[test]
    fn who_has_no_feeds_answers_nobody() {
        let guard = guard(ActionSpec::default());
        guard.set(None);
        assert!(guard.answer(b"{\"items\":[]}", NOW).is_none());
    }
}
