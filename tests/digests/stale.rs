//! Events that are too old to be told of one by one.

use std::thread;
use std::time::Duration;

use crate::place::{Chat, Place, digest, event};

#[test]
fn old_events_are_told_of_together_and_count_as_filtered() {
    for chat in [Chat::slack(""), Chat::teams("")] {
        let (kind, url) = (chat.fake.report().vendor, chat.url("usual"));
        let place = Place::new(&format!(
            "  chat: {{type: {kind}, webhook_url: '{url}', max_age: 2s, from: earliest}}\n"
        ));
        let old: Vec<_> = (0..400).map(|n| event(n, "leak", "critical")).collect();
        place.append(&old);
        thread::park_timeout(Duration::from_millis(2_500));
        let running = place.start();
        place.append(&[event(400, "leak", "high")]);
        let exporter = place.wait_for_all_of("chat", 401);
        assert_eq!(chat.told("usual"), (1, 400), "{:?}", chat.digests("usual"));
        assert_eq!(chat.digests("usual").len(), 1);
        assert_eq!((&exporter["delivered"], &exporter["filtered"]), (&1.into(), &400.into()));
        assert_eq!(exporter["digests"]["stale"], 400);
        let body = chat.bodies("usual").into_iter().find(|body| digest(body).is_some());
        let body = body.expect("there is one");
        assert!(body.contains("critical") && body.contains("leak x 400"), "{body}");
        place.stop(running);
        chat.assert_in_order();
    }
}
