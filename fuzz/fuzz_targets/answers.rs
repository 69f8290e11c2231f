//! Any answer gives a verdict, and one that tells items apart tells of every event.

#![no_main]

use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use shrike::deliver::{
    AckId, DETAIL_BYTES_MAX, Documents, Fate, OptionValue, Options, Pace, RETRY_AFTER_MAX, Response,
    Secret, judge,
};
use shrike::vendors;

const SECRET: &str = "s3cret-t0ken";

fuzz_target!(|input: (u16, u8, u16, &str, &str, &[u8])| {
    let (status, events, body_kib, retry_after, date, body) = input;
    let mut options = Options::default();
    options.set("use_ack", OptionValue::Bool(events % 2 == 0));
    options.set("index.ilm_policy", OptionValue::Text("policy".to_owned()));
    options.set("index.name", OptionValue::Text("sec".to_owned()));
    options.set("token", OptionValue::Secret(Secret::new(SECRET.to_owned())));
    let mut headers = HeaderMap::new();
    for (name, text) in [(RETRY_AFTER, retry_after), (DATE, date)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    if events % 3 == 0 {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    }
    let acks: Vec<AckId> = (0..u64::from(events)).map(AckId).collect();
    let response = Response {
        status,
        headers: &headers,
        body,
        events: usize::from(events),
        body_bytes: usize::from(body_kib) * 1024,
        documents: Documents::NONE,
        acks: &acks,
        options: &options,
    };
    for vendor in vendors::ALL {
        for call in vendor.calls {
            let verdict = judge(call, &response);
            match &verdict.fate {
                Fate::Items(items) => assert_eq!(items.len(), response.events),
                Fate::Confirmed(ids) => assert!(ids.iter().all(|id| acks.contains(id))),
                _ => {}
            }
            assert!(verdict.reason.detail.len() <= DETAIL_BYTES_MAX);
            assert!(!verdict.reason.detail.contains(SECRET));
            if let Pace::Pause(Some(wait)) = verdict.pace {
                assert!(wait <= RETRY_AFTER_MAX);
            }
        }
        for step in vendor.setup {
            let _ = (step.need)(&response);
        }
    }
});
