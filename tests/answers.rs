//! Answers of destinations and what they mean: `tests/answers/*.txt`, one file per vendor.

use std::fmt::Write as _;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use shrike::deliver::{
    AckId, Cause, DETAIL_BYTES_MAX, Documents, Fate, ItemFate, OptionValue, Options, Pace, Purpose,
    Reason, Response, Scope, Secret, Vendor, Verdict, Wire, judge,
};
use shrike::transform::Format;
use shrike::vendors;

/// One case of a file.
struct Case {
    name: String,
    purpose: Purpose,
    events: usize,
    body_bytes: usize,
    acks: Vec<AckId>,
    options: Options,
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    expected: String,
}

#[test]
fn every_answer_has_its_meaning() {
    for vendor in answering() {
        check(vendor);
    }
}

#[test]
fn every_status_code_of_the_tables_has_a_case() {
    let splunk = cases(vendors::find("splunk").expect("it is in the catalogue"));
    let codes: Vec<_> =
        (0..=28).filter(|code| splunk.iter().all(|case| !has_code(&case.body, *code))).collect();
    assert!(codes.is_empty(), "codes of the collector without a case: {codes:?}");
    let elastic = cases(vendors::find("elastic").expect("it is in the catalogue"));
    let statuses = [200, 400, 401, 403, 413, 429, 502, 503, 504];
    let missing: Vec<_> =
        statuses.iter().filter(|status| elastic.iter().all(|c| c.status != **status)).collect();
    assert!(missing.is_empty(), "statuses of a bulk answer without a case: {missing:?}");
}

/// What a destination says is kept with every event that it refuses.
#[test]
fn no_answer_is_quoted_beyond_its_bound() {
    let body = "\u{fffd}".repeat(4_000);
    for vendor in answering() {
        let case = &cases(vendor)[0];
        for status in 200..600 {
            for call in vendor.calls {
                let response = Response { status, body: body.as_bytes(), ..case.response() };
                let detail = judge(call, &response).reason.detail;
                assert!(detail.len() <= DETAIL_BYTES_MAX, "{}, {status}: {detail}", vendor.name);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_answer_gives_a_verdict_for_every_event(
        at in any::<prop::sample::Index>(),
        events in 0_usize..40,
        status in 100_u16..700,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        for vendor in answering() {
            let all = cases(vendor);
            let case = at.get(&all);
            let mut body = case.body.clone();
            for (place, byte) in &edits {
                if !body.is_empty() {
                    let place = place.index(body.len());
                    body[place] = *byte;
                }
            }
            if !edits.is_empty() && !body.is_empty() {
                body.truncate(cut.index(body.len()) + 1);
            }
            let call = vendor.call(case.purpose, &case.options, Format::Native);
            let call = call.expect("cases name calls that exist");
            for status in [status, case.status] {
                let response = Response { status, events, body: &body, ..case.response() };
                let verdict = judge(call, &response);
                if let Fate::Items(items) = &verdict.fate {
                    prop_assert_eq!(items.len(), events);
                }
                prop_assert!(verdict.reason.detail.len() <= 1024);
                prop_assert!(!verdict.reason.class.is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_give_a_verdict(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for vendor in answering() {
            for case in cases(vendor) {
                let call = vendor.call(case.purpose, &case.options, Format::Native);
                let call = call.expect("cases name calls that exist");
                let verdict = judge(call, &Response { body: &body, ..case.response() });
                prop_assert!(!matches!(verdict.fate, Fate::Pending(_) | Fate::Confirmed(_)));
            }
        }
    }
}

/// Compares every case of a vendor; `UPDATE_GOLDEN=1` writes the verdicts for review.
fn check(vendor: &'static Vendor) {
    let text = std::fs::read_to_string(path(vendor)).expect("every vendor has a file of answers");
    let mut written = text.clone();
    let mut wrong = String::new();
    for case in cases(vendor) {
        let call = vendor.call(case.purpose, &case.options, Format::Native);
        let call = call.unwrap_or_else(|| panic!("{}: no such call", case.name));
        let found = spell(&judge(call, &case.response()));
        if found != case.expected {
            let _ =
                writeln!(wrong, "{}\n  expected {}\n  found    {found}", case.name, case.expected);
            let block = written.find(&format!("## {}\n", case.name)).expect("it was read there");
            let line = block + written[block..].find("\n=").expect("every case has one") + 1;
            let end = line + written[line..].find('\n').unwrap_or(written.len() - line);
            written.replace_range(line..end, &format!("= {found}"));
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path(vendor), written).expect("the file can be written");
    } else {
        assert!(wrong.is_empty(), "{}:\n{wrong}", vendor.name);
    }
}

/// The vendors that answer requests.
fn answering() -> impl Iterator<Item = &'static Vendor> {
    vendors::ALL.iter().copied().filter(|vendor| vendor.wire == Wire::Http)
}

fn path(vendor: &Vendor) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/answers");
    folder.join(format!("{}.txt", vendor.name))
}

fn cases(vendor: &'static Vendor) -> Vec<Case> {
    let text = std::fs::read_to_string(path(vendor)).expect("every vendor has a file of answers");
    text.split("\n## ").skip(1).map(Case::parse).collect()
}

fn has_code(body: &[u8], code: u32) -> bool {
    let body = String::from_utf8_lossy(body);
    body.contains(&format!("\"code\":{code},")) || body.contains(&format!("\"code\":{code}}}"))
}

impl Case {
    fn parse(block: &str) -> Self {
        let mut lines = block.lines();
        let mut case = Self {
            name: lines.next().expect("a block begins with its name").to_owned(),
            purpose: Purpose::Send,
            events: 0,
            body_bytes: 1000,
            acks: Vec::new(),
            options: Options::default(),
            status: 0,
            headers: HeaderMap::new(),
            body: Vec::new(),
            expected: String::new(),
        };
        // A secret that a destination may echo must never be seen again.
        case.options.set("secret", OptionValue::Secret(Secret::new("bm90OmFrZXk=".to_owned())));
        for line in lines {
            match line.split_at_checked(2) {
                Some(("> ", call)) => case.request(call),
                Some(("< ", head)) => case.head(head),
                Some(("= ", verdict)) => verdict.clone_into(&mut case.expected),
                Some(("% ", digits)) => {
                    let byte = |it| u8::from_str_radix(it, 16).expect("two digits each");
                    case.body.extend(digits.split(' ').map(byte));
                }
                _ if line == "=" || line.is_empty() => {}
                _ => {
                    case.body.extend_from_slice(line.as_bytes());
                    case.body.push(b'\n');
                }
            }
        }
        case
    }

    fn request(&mut self, call: &str) {
        let mut words = call.split(' ');
        self.purpose = match words.next() {
            Some("send") => Purpose::Send,
            Some("poll") => Purpose::Poll,
            Some("probe") => Purpose::Probe,
            Some("health") => Purpose::Health,
            Some("hello") => Purpose::Hello,
            Some("resolve") => Purpose::Resolve,
            Some("acknowledge") => Purpose::Acknowledge,
            Some("verify") => Purpose::Verify,
            Some("change") => Purpose::Change,
            Some("metrics") => Purpose::Metrics,
            Some("latencies") => Purpose::Latencies,
            other => panic!("{}: no call {other:?}", self.name),
        };
        for word in words {
            let (key, value) = word.split_once('=').expect("options are key=value");
            let number = || value.parse().expect("a number");
            match (key, value) {
                ("events", _) => self.events = number(),
                ("bytes", _) => self.body_bytes = number(),
                ("acks", ids) => {
                    let ids = ids.split(',').map(|id| AckId(id.parse().expect("a number")));
                    self.acks = ids.collect();
                }
                ("verify_requests", "true") => {
                    self.options.set("verify_requests", OptionValue::Bool(true));
                }
                ("change_events", "true") => {
                    self.options.set("change_events", OptionValue::Bool(true));
                }
                ("use_ack", "true") => self.options.set("use_ack", OptionValue::Bool(true)),
                ("success_status" | "retry_status" | "permanent_status", _) => {
                    let key = ["success_status", "retry_status", "permanent_status"]
                        .into_iter()
                        .find(|known| *known == key)
                        .expect("matched just now");
                    let statuses = value.split(',').map(str::to_owned).collect();
                    self.options.set(key, OptionValue::List(statuses));
                }
                ("partial_path", path) => {
                    self.options.set("partial_path", OptionValue::Text(path.to_owned()));
                }
                ("path_template", path) => {
                    self.options.set("path_template", OptionValue::Text(path.to_owned()));
                }
                ("health.url", url) => {
                    self.options.set("health.url", OptionValue::Text(url.to_owned()));
                }
                ("health.status", status) => {
                    let status = status.parse().expect("a number");
                    self.options.set("health.status", OptionValue::Int(status));
                }
                ("bot_token", token) => {
                    self.options.set("bot_token", OptionValue::Secret(Secret::new(token.into())));
                }
                ("mode", mode) => self.options.set("mode", OptionValue::Text(mode.to_owned())),
                ("health.mode", mode) => {
                    self.options.set("health.mode", OptionValue::Text(mode.to_owned()));
                }
                ("metrics.distributions", "true") => {
                    self.options.set("metrics.distributions", OptionValue::Bool(true));
                }
                ("metrics.enabled", "true") => {
                    self.options.set("metrics.enabled", OptionValue::Bool(true));
                }
                other => panic!("{}: no option {other:?}", self.name),
            }
        }
    }

    fn head(&mut self, head: &str) {
        let Some((name, value)) = head.split_once(": ") else {
            self.status = head.parse().expect("a status");
            return;
        };
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header");
        self.headers.insert(name, HeaderValue::from_str(value).expect("a value"));
    }

    fn response(&self) -> Response<'_> {
        Response {
            status: self.status,
            headers: &self.headers,
            body: &self.body,
            events: self.events,
            body_bytes: self.body_bytes,
            documents: Documents::NONE,
            acks: &self.acks,
            options: &self.options,
        }
    }
}

/// A verdict on one line.
fn spell(verdict: &Verdict) -> String {
    let fate = match &verdict.fate {
        Fate::Delivered => "delivered".to_owned(),
        Fate::Pending(id) => format!("pending {}", id.0),
        Fate::Requested(request) => format!("requested {request}"),
        Fate::Items(items) => format!("items {}", spell_items(items)),
        Fate::Confirmed(ids) => {
            format!("confirmed {:?}", ids.iter().map(|id| id.0).collect::<Vec<_>>())
        }
        Fate::Retry => "retry".to_owned(),
        Fate::Split => "split".to_owned(),
        Fate::Bisect => "bisect".to_owned(),
        Fate::Reshape(level) => format!("reshape {level:?}"),
        Fate::Orphan => "orphan".to_owned(),
        Fate::Hold { cause, scope } => {
            format!("hold {} {}", cause_word(*cause), scope_word(*scope))
        }
        Fate::Reject => "reject".to_owned(),
        Fate::Without(option) => format!("without {option}"),
        Fate::Rechannel => "rechannel".to_owned(),
    };
    let pace = match verdict.pace {
        Pace::Keep => "keep".to_owned(),
        Pace::Ease => "ease".to_owned(),
        Pace::Pause(None) => "pause".to_owned(),
        Pace::Pause(Some(wait)) => format!("pause {} s", wait.as_secs()),
    };
    format!("{fate} / {pace} / {}", spell_reason(&verdict.reason))
}

fn spell_items(items: &[ItemFate]) -> String {
    let mut spelled: Vec<(String, usize)> = Vec::new();
    for item in items {
        let word = match item {
            ItemFate::Delivered => "delivered".to_owned(),
            ItemFate::Duplicate => "duplicate".to_owned(),
            ItemFate::Degraded => "degraded".to_owned(),
            ItemFate::Retry(why) => format!("retry({})", spell_reason(why)),
            ItemFate::Reject(why) => format!("reject({})", spell_reason(why)),
            ItemFate::Hold(cause, why) => {
                format!("hold {}({})", cause_word(*cause), spell_reason(why))
            }
        };
        match spelled.last_mut() {
            Some((last, count)) if *last == word => *count += 1,
            _ => spelled.push((word, 1)),
        }
    }
    let words = spelled.into_iter().map(|(word, count)| match count {
        1 => word,
        _ => format!("{count}*{word}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn spell_reason(reason: &Reason) -> String {
    let mut spelled = format!("{} {}", reason.class, reason.status);
    if let Some(code) = reason.code {
        let _ = write!(spelled, " code {code}");
    }
    if !reason.detail.is_empty() {
        let _ = write!(spelled, ": {}", reason.detail);
    }
    spelled
}

fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Auth => "auth",
        Cause::Config => "config",
        Cause::Outage => "outage",
    }
}

fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Exporter => "exporter",
        Scope::Route => "route",
        Scope::Endpoint => "endpoint",
    }
}
