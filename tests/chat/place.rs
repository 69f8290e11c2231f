//! A workspace of Slack and a team of Teams, and the binary that posts to them.

use std::ops::Deref;
use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Fake, Posts, Slack, TEAMS_QUERY, Teams, TeamsManner, Vendor};

use crate::binary::{self, Clock, Running, quiet, wait_until};
use crate::fake::{assert_in_order, started};

/// A place, and what it sends to.
pub(crate) struct Place {
    place: binary::Place,
    pub(crate) clock: Clock,
    pub(crate) slack: (Fake, Posts, Arc<Book>),
    pub(crate) teams: (Fake, Posts, Arc<Book>),
}

/// As fast as the fakes take it: people are not asked here.
const FAST: &str = "rate_limit: {per_minute: 6000, burst: 1000}";

impl Deref for Place {
    type Target = binary::Place;

    fn deref(&self) -> &Self::Target {
        &self.place
    }
}

impl Place {
    /// A bot of Slack with these keys, where the workspace does what a script says.
    pub(crate) fn bot(keys: &str, script: &str) -> Self {
        let place = Self::new(script);
        place.configure_bot(keys);
        place
    }

    /// Writes the configuration of a bot with these keys.
    pub(crate) fn configure_bot(&self, keys: &str) {
        self.configure(&quiet(&format!(
            "  slack: {{from: earliest, bot_token: xoxb-s3cret, channel: C1, api_base: 'http://{}/api', {FAST}, \
             {keys}}}\n",
            self.slack.0.addr(),
        )));
    }

    /// Webhooks of both with the same keys.
    pub(crate) fn webhooks(keys: &str) -> Self {
        let place = Self::new("");
        place.configure(&quiet(&format!(
            "  slack: {{from: earliest, webhook_url: 'http://{}/services/T/B/usual', {FAST}, {keys}}}\n  \
             teams: {{from: earliest, webhook_url: 'http://{}/workflows/usual?{TEAMS_QUERY}', {FAST}, {keys}}}\n",
            place.slack.0.addr(),
            place.teams.0.addr(),
        )));
        place
    }

    fn new(script: &str) -> Self {
        let (slack_book, teams_book) = (Arc::new(Book::new("slack")), Arc::new(Book::new("teams")));
        let slack = Slack::new(Arc::clone(&slack_book), Some("xoxb-s3cret".to_owned()));
        let teams = Teams::new(Arc::clone(&teams_book), TeamsManner::default());
        let (messages, cards) = (slack.posts(), teams.posts());
        let (place, clock) = binary::Place::new("").timed();
        Self {
            place,
            clock,
            slack: (started(Vendor::Slack(slack), &slack_book, script), messages, slack_book),
            teams: (started(Vendor::Teams(teams), &teams_book, ""), cards, teams_book),
        }
    }

    /// Waits until nothing waits any more.
    #[track_caller]
    pub(crate) fn settle(&self) {
        wait_until("all is settled", || self.exporters().iter().all(|it| it["pending"] == 0));
    }

    /// Stops it in order, where the books of both are in order too.
    #[track_caller]
    pub(crate) fn stop(&self, running: Running) {
        running.stop();
        assert_in_order(&self.slack.2);
        assert_in_order(&self.teams.2);
    }
}
