//! Chats that are told to, and what they were told.

use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Fake, Posts, Slack, TEAMS_QUERY, Teams, TeamsManner, Vendor};
use serde_json::{Value, json};

use crate::binary::{Place, wait_until};
use crate::fake::{self, started};

/// A chat that was told to.
pub(crate) struct Chat {
    pub(crate) fake: Fake,
    pub(crate) posts: Posts,
    book: Arc<Book>,
}

impl Chat {
    pub(crate) fn slack(script: &str) -> Self {
        let book = Arc::new(Book::new("slack"));
        let slack = Slack::new(Arc::clone(&book), None);
        let posts = slack.posts();
        Self { fake: started(Vendor::Slack(slack), &book, script), posts, book }
    }

    pub(crate) fn teams(script: &str) -> Self {
        let book = Arc::new(Book::new("teams"));
        let teams = Teams::new(Arc::clone(&book), TeamsManner::default());
        let posts = teams.posts();
        Self { fake: started(Vendor::Teams(teams), &book, script), posts, book }
    }

    /// The webhook of a channel.
    pub(crate) fn url(&self, channel: &str) -> String {
        let addr = self.fake.addr();
        match self.fake.report().vendor.as_str() {
            "slack" => format!("http://{addr}/services/T/B/{channel}"),
            _ => format!("http://{addr}/workflows/{channel}?{TEAMS_QUERY}"),
        }
    }

    /// The bodies that a channel got.
    pub(crate) fn bodies(&self, channel: &str) -> Vec<String> {
        let of = self.posts.all().into_iter().filter(|post| post.channel == channel);
        of.map(|post| post.body).collect()
    }

    /// The numbers of events that the digests of a channel told of, in order.
    pub(crate) fn digests(&self, channel: &str) -> Vec<u64> {
        self.bodies(channel).iter().filter_map(|body| digest(body).map(|(of, _)| of)).collect()
    }

    /// How many events a channel was told of: one by one, and in digests.
    pub(crate) fn told(&self, channel: &str) -> (u64, u64) {
        let bodies = self.bodies(channel);
        let digests = self.digests(channel);
        ((bodies.len() - digests.len()) as u64, digests.iter().sum())
    }

    /// Nothing that was posted is wrong.
    #[track_caller]
    pub(crate) fn assert_in_order(&self) {
        fake::assert_in_order(&self.book);
    }
}

/// How many events a message tells of, and of how many it says so guard by guard.
pub(crate) fn digest(body: &str) -> Option<(u64, u64)> {
    let words = [" more: ", " old events, not told of one by one: "];
    // The reason alone: the notification is cut.
    let (at, word) = words.iter().find_map(|word| Some((body.rfind(word)?, word)))?;
    let before = &body[..at];
    let from = before.rfind(|it: char| !it.is_ascii_digit()).map_or(0, |at| at + 1);
    let rest = &body[at + word.len()..];
    let guards = &rest[..rest.find("; highest severity").expect("it says that")];
    let counts = guards.split(", ").map(|part| {
        let count = part.rsplit(" x ").next().expect("a part");
        let count = count.strip_suffix(" of other guards").unwrap_or(count);
        count.parse::<u64>().unwrap_or_else(|_| panic!("a count: {part}"))
    });
    Some((before[from..].parse().expect("a number"), counts.sum()))
}

/// Waits until an exporter has nothing left to do; what it says then.
#[track_caller]
pub(crate) fn settled(place: &Place, name: &str, events: u64) -> Value {
    let fates = ["delivered", "dead_lettered", "filtered", "skipped", "invalid"];
    wait_until("all is settled", || {
        let exporter = place.exporter(name);
        let settled: u64 = fates.iter().filter_map(|fate| exporter[fate].as_u64()).sum();
        exporter["pending"] == 0 && settled >= events
    });
    place.exporter(name)
}

/// An event of its own second, session and file.
pub(crate) fn event(number: u32, guard: &str, severity: &str) -> Value {
    let mut event = crate::event::event(number, guard, &format!("s-{number}"), severity);
    let time = format!("2026-02-06T09:{:02}:{:02}.12Z", number / 60 % 60, number % 60);
    event["timestamp"] = json!(time);
    event["resource"]["path"] = json!(format!("/srv/{number}/.env"));
    event
}
