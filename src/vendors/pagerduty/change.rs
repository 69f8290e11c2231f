//! Change events: what a reload changed, for whoever looks at an incident.

use serde_json::{Value, json};

use crate::deliver::{ConfigChange, Derived, Options, Secret};

/// `{routing_key, payload{summary, source, timestamp, custom_details}, links}`.
pub(super) fn write(
    change: &ConfigChange,
    options: &Options,
    derived: &Derived,
    out: &mut Vec<u8>,
) {
    let ConfigChange { time, host, actor, changes } = change;
    let key = options.secret("routing_key").map_or("", Secret::expose).trim();
    let lines = changes.len();
    let what = if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
    let summary = format!("Configuration of shrike changed on {host}: {what}, by {actor}");
    let told: Vec<&str> = changes.iter().take(LINES_MAX).map(|it| cut(it, LINE_MAX)).collect();
    let mut details = json!({ "actor": actor, "changes": told });
    if lines > LINES_MAX {
        details["not_shown"] = (lines - LINES_MAX).into();
    }
    let mut event = json!({
        "routing_key": key,
        "payload": {
            "summary": cut(&summary, SUMMARY_MAX),
            "source": host,
            "timestamp": time.text(),
            "custom_details": details,
        },
    });
    let links = derived.texts.iter().find(|(name, _)| *name == "links.json");
    let links = links.and_then(|(_, links)| serde_json::from_str(&format!("[{links}]")).ok());
    if let Some(links @ Value::Array(_)) = links {
        event["links"] = links;
    }
    out.extend_from_slice(event.to_string().as_bytes());
}

/// The first characters of a text.
fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// "Summary 1024."
const SUMMARY_MAX: usize = 1024;
/// Lines of a change, each of so many characters: together they stay below "body 512 KB", however
/// they are escaped.
const LINES_MAX: usize = 100;
const LINE_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{OptionValue, Options};
    use crate::event::Time;

    fn written(changes: Vec<String>, texts: Vec<(&'static str, String)>) -> (usize, Value) {
        let (host, actor) = ("edge-7".to_owned(), "token deploy, 10.0.0.1:4711".to_owned());
        let time = Time { secs: 1_770_000_000, nanos: 120_000_000 };
        let change = ConfigChange { time, host, actor, changes };
        let mut options = Options::default();
        options.set("routing_key", OptionValue::Secret(Secret::new("k".repeat(32))));
        let mut body = Vec::new();
        write(&change, &options, &Derived { texts, ..Derived::NONE }, &mut body);
        (body.len(), serde_json::from_slice(&body).expect("it is JSON"))
    }

    #[test]
    fn a_change_says_what_where_when_and_by_whom() {
        let links = "{\"href\":\"https://wiki.example\",\"text\":\"a\"}".to_owned();
        let lines = vec!["exporters.s.token: *** -> ***".to_owned()];
        let (_, event) = written(lines, vec![("links.json", links)]);
        let expected = json!({
            "routing_key": "k".repeat(32),
            "payload": {
                "summary": "Configuration of shrike changed on edge-7: 1 line, by token deploy, 10.0.0.1:4711",
                "source": "edge-7",
                "timestamp": "2026-02-02T02:40:00.120Z",
                "custom_details": {
                    "actor": "token deploy, 10.0.0.1:4711",
                    "changes": ["exporters.s.token: *** -> ***"],
                },
            },
            "links": [{"href": "https://wiki.example", "text": "a"}],
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn the_longest_change_fits() {
        for text in ["\u{1}", "\"", "\u{1f600}"] {
            let (bytes, event) = written(vec![text.repeat(10_000); 1_000], Vec::new());
            assert!(bytes < 512_000, "{bytes} bytes of {text:?}");
            let details = &event["payload"]["custom_details"];
            assert_eq!((&details["not_shown"], event.get("links")), (&json!(900), None));
        }
    }
}
