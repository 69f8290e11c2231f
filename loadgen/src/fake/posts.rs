//! What people see of a chat: the messages that were posted, and which of them a reply may go to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The messages of a chat, as it goes on; the last 10,000 of them.
#[derive(Clone, Debug, Default)]
pub struct Posts(Arc<Mutex<Inner>>);

/// A message that was posted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Post {
    /// Where.
    pub channel: String,
    /// What it is named by, different for each.
    pub ts: String,
    /// The message that it answers to.
    pub thread_ts: Option<String>,
    /// Whether a reply is shown in the channel too.
    pub is_broadcast: bool,
    /// The request's body.
    pub body: String,
    /// Whether somebody has deleted it.
    pub is_deleted: bool,
}

#[derive(Debug, Default)]
struct Inner {
    all: VecDeque<Post>,
    count: u64,
    closed: BTreeMap<String, &'static str>,
}

impl Posts {
    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Post> {
        self.lock().all.iter().cloned().collect()
    }

    /// Deletes a message: what answers to it is refused from now on.
    pub fn delete(&self, ts: &str) {
        self.lock().all.iter_mut().filter(|post| post.ts == ts).for_each(|it| it.is_deleted = true);
    }

    /// What a channel answers from now on, instead of taking messages; nothing lets it take them.
    pub fn close(&self, channel: &str, code: Option<&'static str>) {
        let mut inner = self.lock();
        inner.closed.remove(channel);
        inner.closed.extend(code.map(|code| (channel.to_owned(), code)));
    }

    /// What a channel answers that takes no messages.
    pub(super) fn closed(&self, channel: &str) -> Option<&'static str> {
        self.lock().closed.get(channel).copied()
    }

    /// Posts a message and names it.
    pub(super) fn post(&self, post: Post) -> String {
        let mut inner = self.lock();
        inner.count += 1;
        // Seconds and a number within them, as a text: "1503435956.000247".
        let ts = format!("{}.{:06}", 1_770_000_000 + inner.count / 1_000, inner.count % 1_000);
        inner.all.push_back(Post { ts: ts.clone(), ..post });
        if inner.all.len() > POSTS_MAX {
            inner.all.pop_front();
        }
        ts
    }

    /// The message of this name.
    pub(super) fn find(&self, ts: &str) -> Option<Post> {
        self.lock().all.iter().find(|post| post.ts == ts).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const POSTS_MAX: usize = 10_000;
