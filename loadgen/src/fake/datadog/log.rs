//! Logs, judged one by one.

use super::Datadog;
use crate::clock;
use crate::fake::ids::{self, Taken};
use crate::fake::json::Node;
use crate::fake::{Fault, Reply, Visit};

impl Datadog {
    /// "Send your logs to your Datadog platform over HTTP": an array of objects, answered 202.
    pub(super) fn logs(&self, visit: &Visit<'_>) -> Reply {
        if !self.is_json(visit) {
            return Self::refuse(415);
        }
        let mut taken = Taken::default();
        if visit.plan.fault == Some(Fault::Forget) {
            return Reply::json(202, "{}");
        }
        let skimmed = (!visit.strict).then(|| ids::skim(&self.book, visit.body)).flatten();
        if let Some(ids) = skimmed {
            ids.into_iter().for_each(|id| taken.store(&self.book, id));
        } else if let Err(problem) = self.judge(visit.body, &mut taken) {
            self.book.note_problem(&problem, visit.body);
            return Self::refuse(400);
        }
        taken.note(&self.book);
        Reply { accepted: taken.due, ..Reply::json(202, "{}") }
    }

    fn judge(&self, body: &[u8], taken: &mut Taken) -> Result<(), String> {
        let texts: Vec<&serde_json::value::RawValue> = serde_json::from_slice(body)
            .map_err(|error| format!("the body is no array of logs: {error}"))?;
        if texts.len() > LOGS_MAX {
            return Err(format!("more than {LOGS_MAX} logs in an array"));
        }
        let logs: Vec<Node> = texts
            .iter()
            .map(|text| Node::parse(text.get().as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("a log is no JSON: {error}"))?;
        if logs.iter().any(|log| !matches!(log, Node::Object(_))) {
            return Err("a log is no object".to_owned());
        }
        for (log, text) in logs.iter().zip(texts) {
            let text = text.get().as_bytes();
            for problem in problems(log, text) {
                self.book.note_problem(&problem, text);
            }
            let id = log.member("event_id").and_then(Node::text).unwrap_or_default();
            taken.store_text(&self.book, text, "logs", id);
        }
        Ok(())
    }
}

/// What Datadog takes and then treats otherwise than the sender meant.
fn problems(log: &Node, text: &[u8]) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > LOG_BYTES_MAX {
        problems.push("a log above 1 MB is truncated".to_owned());
    }
    for key in RESERVED {
        match log.member(key) {
            Some(Node::Text(text)) if !text.is_empty() => {}
            other => problems.push(format!("{key} is {:?}, no text", other.map(Node::token))),
        }
    }
    for key in ["host", "source", "trace_id", "date", "level", "severity"] {
        if log.member(key).is_some() {
            problems
                .push(format!("{key} is reserved or read as the status: it says something else"));
        }
    }
    let tags = log.member("ddtags").and_then(Node::text).unwrap_or_default();
    let tags: Vec<&str> = tags.split(',').filter(|tag| !tag.is_empty()).collect();
    if tags.len() > TAGS_MAX {
        problems.push("more than 100 tags".to_owned());
    }
    if let Some(tag) = tags.iter().find(|tag| !is_tag(tag)) {
        problems
            .push(format!("{tag:?} is changed: tags have few characters and begin with a letter"));
    }
    let time = log.member("timestamp").and_then(Node::text).and_then(secs);
    let now = i64::try_from(clock::now_ns() / clock::NS_PER_SECOND).unwrap_or(i64::MAX);
    match time {
        None => problems.push("timestamp is no date that is recognised".to_owned()),
        Some(time) => {
            let is_late = now - time > OLDEST_SECS + SLACK_SECS;
            if is_late && !tags.contains(&"late:true") {
                problems.push("a log older than 18 h is not marked late".to_owned());
            }
            if time - now > NEWEST_SECS + SLACK_SECS && !tags.contains(&"ahead:true") {
                problems.push("a log more than 2 h ahead is not marked".to_owned());
            }
        }
    }
    problems
}

/// Whole seconds of an RFC 3339 text.
fn secs(text: &str) -> Option<i64> {
    i64::try_from(clock::parse(text.as_bytes())? / i128::from(clock::NS_PER_SECOND)).ok()
}

/// "Tags must start with a letter; alphanumerics, underscores, minuses, colons, periods, slashes;
/// other characters are converted to underscores; up to 200 characters; converted to lowercase."
fn is_tag(tag: &str) -> bool {
    let fits = |c: char| c.is_lowercase() || c.is_ascii_digit() || "_-:./".contains(c);
    tag.starts_with(char::is_alphabetic) && tag.chars().all(fits) && tag.chars().count() <= 200
}

/// "message, ddsource, ddtags, hostname, service": the fields of a log item, and its status.
const RESERVED: &[&str] = &["message", "ddsource", "ddtags", "hostname", "service", "status"];
/// "Maximum array size if sending multiple logs in an array: 1000 entries."
const LOGS_MAX: usize = 1_000;
/// "Maximum size for a single log: 1MB"; larger ones are accepted and truncated.
const LOG_BYTES_MAX: usize = 1_000_000;
/// "A log event should not have more than 100 tags."
const TAGS_MAX: usize = 100;
/// "Logs events can be submitted up to 18 hours in the past and two hours in the future."
const OLDEST_SECS: i64 = 18 * 3_600;
const NEWEST_SECS: i64 = 2 * 3_600;
/// A log may have waited a little between its rendering and this look.
const SLACK_SECS: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn log(change: impl Fn(&mut serde_json::Value)) -> Vec<String> {
        let mut log = serde_json::json!({
            "timestamp": "2999-01-01T00:00:00.000Z", "message": "m", "ddsource": "s",
            "ddtags": "env:prod,ahead:true", "hostname": "h", "service": "s", "status": "info",
        });
        change(&mut log);
        let text = log.to_string();
        problems(&Node::parse(text.as_bytes()).expect("JSON"), text.as_bytes())
    }

    #[test]
    fn a_log_is_judged_by_what_datadog_makes_of_it() {
        assert_eq!(log(|_| {}), [""; 0]);
        let cases: &[(&str, serde_json::Value, &str)] = &[
            ("message", serde_json::json!(7), "message"),
            ("status", serde_json::Value::Null, "status"),
            ("host", serde_json::json!("h"), "host is reserved"),
            ("ddtags", serde_json::json!("Env:prod,ahead:true"), "is changed"),
            ("ddtags", serde_json::json!("1env,ahead:true"), "is changed"),
            ("ddtags", serde_json::json!("env:prod"), "2 h ahead"),
            ("timestamp", serde_json::json!("2020-01-01T00:00:00Z"), "marked late"),
            ("timestamp", serde_json::json!("soon"), "no date"),
        ];
        for (key, value, problem) in cases {
            let found = log(|log| log[*key] = value.clone());
            assert!(found.iter().any(|one| one.contains(problem)), "{key}: {found:?}");
        }
    }
}
