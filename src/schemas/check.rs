//! What must hold of every document, asked of a sample of them while they are sent.
//!
//! These questions are about our own tables: a document that fails one is a bug of ours, or of a
//! mapping that takes away what a schema needs.

use serde::de::IgnoredAny;

use crate::transform::json;

/// A whole JSON object with a text at each of these paths.
fn has_texts(document: &[u8], paths: &[&[&[u8]]]) -> bool {
    if serde_json::from_slice::<IgnoredAny>(document).is_err() {
        return false;
    }
    paths.iter().all(|path| {
        let text = find(document, path).and_then(json::string);
        text.is_some_and(|text| !text.is_empty())
    })
}

fn find<'a>(document: &'a [u8], path: &[&[u8]]) -> Option<&'a [u8]> {
    path.iter().try_fold(document, |object, name| json::member(object, name))
}

/// The canonical event: its id and its time.
pub(super) fn native(document: &[u8]) -> bool {
    has_texts(document, &[&[b"event_id"], &[b"timestamp"]])
}

/// ECS: what Elasticsearch and the schema need of every document.
pub(super) fn ecs(document: &[u8]) -> bool {
    let lists: [&[&[u8]]; 2] = [&[b"event", b"category"], &[b"event", b"type"]];
    has_texts(document, &[&[b"@timestamp"], &[b"ecs", b"version"], &[b"event", b"id"]])
        && lists.iter().all(|path| {
            find(document, path).is_none_or(|list| json::elements(list).next().is_some())
        })
}

/// OCSF: the numbers that every event has, and the arithmetic between them.
pub(super) fn ocsf(document: &[u8]) -> bool {
    let number = |name: &[u8]| -> Option<i64> {
        std::str::from_utf8(json::member(document, name)?).ok()?.parse().ok()
    };
    let numbers = || {
        let (class, activity) = (number(b"class_uid")?, number(b"activity_id")?);
        let adds_up = number(b"type_uid")? == class * 100 + activity
            && number(b"category_uid")? == class / 1000
            && matches!(number(b"severity_id")?, 0..=6 | 99);
        number(b"time").map(|_| adds_up)
    };
    let texts: [&[&[u8]]; 2] = [&[b"metadata", b"version"], &[b"metadata", b"product", b"name"]];
    has_texts(document, &texts) && numbers() == Some(true)
}

/// CEF: seven slots, a severity, and pairs of which the first has a key.
pub(super) fn cef(document: &[u8]) -> bool {
    let Some(mut rest) = document.strip_prefix(b"CEF:0|") else { return false };
    for slot in 1..=6 {
        let mut at = 0;
        loop {
            match rest.get(at) {
                Some(b'\\') => at += 2,
                Some(b'|') => break,
                Some(_) => at += 1,
                None => return false,
            }
        }
        let is_severity = matches!(&rest[..at], [b'0'..=b'9'] | b"10");
        if at == 0 || (slot == 6 && !is_severity) {
            return false;
        }
        rest = &rest[at + 1..];
    }
    let key = rest.split(|&byte| byte == b'=').next().unwrap_or_default();
    let is_key = !key.is_empty() && key.iter().all(u8::is_ascii_alphanumeric);
    is_key && rest.len() > key.len() && !document.contains(&b'\n')
}

/// A sentence: one line that ends with the ids.
pub(super) fn text(document: &[u8]) -> bool {
    let ids = memchr::memmem::find(document, b" | event_id=").is_some();
    ids && !document.starts_with(b" ") && !document.contains(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case<'t> = (fn(&[u8]) -> bool, &'t str);

    #[test]
    fn documents_that_lack_something_are_found() {
        let good: [Case<'_>; 4] = [
            (native, r#"{"event_id":"a","timestamp":"t"}"#),
            (ecs, r#"{"@timestamp":"t","ecs":{"version":"8"},"event":{"id":"a","type":["x"]}}"#),
            (
                ocsf,
                r#"{"time":-1,"class_uid":4001,"activity_id":5,"type_uid":400105,"category_uid":4,"severity_id":1,"metadata":{"version":"1.8.0","product":{"name":"x"}}}"#,
            ),
            (cef, r"CEF:0|v|p\|x|1|c|n|10|rt=1 a=b\=c"),
        ];
        for (holds, document) in good {
            assert!(holds(document.as_bytes()), "{document}");
            // Whatever is cut off, something is missing.
            let least = document.find("rt=").map_or(0, |at| at + 3);
            for end in 0..document.len() {
                let is_whole = least > 0 && end >= least;
                assert_eq!(holds(&document.as_bytes()[..end]), is_whole, "{}", &document[..end]);
            }
        }
        let wrong_sum = good[2].1.replace("400105", "400106");
        let bad: [Case<'_>; 5] = [
            (native, r#"{"event_id":"","timestamp":"t"}"#),
            (ecs, r#"{"@timestamp":"t","ecs":{"version":"8"},"event":{"id":"a","type":[]}}"#),
            (ocsf, &wrong_sum),
            (cef, "CEF:0|v|p|1|c|n|high|rt=1"),
            (cef, "CEF:0|v|p|1|c|n|1|"),
        ];
        for (holds, document) in bad {
            assert!(!holds(document.as_bytes()), "{document}");
        }
    }
}
