//! Indexer acknowledgement: ids per channel from 0, forgotten once reported true.

use std::collections::HashMap;
use std::time::Instant;

/// Every channel of a server process.
#[derive(Debug, Default)]
pub(super) struct Acks {
    channels: HashMap<String, Channel>,
}

/// One channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    next: u64,
    pending: HashMap<u64, Pending>,
}

#[derive(Debug)]
struct Pending {
    /// When it becomes true; never when there is none.
    ready: Option<Instant>,
    /// When the events of the request were due.
    due: Vec<u64>,
}

impl Acks {
    /// Issues the next id of a channel.
    pub(super) fn issue(&mut self, channel: &str, ready: Option<Instant>, due: Vec<u64>) -> u64 {
        let channel = match self.channels.get_mut(channel) {
            Some(channel) => channel,
            None => self.channels.entry(channel.to_owned()).or_default(),
        };
        let id = channel.next;
        channel.next += 1;
        channel.pending.insert(id, Pending { ready, due });
        id
    }

    /// A channel that has been used.
    pub(super) fn channel(&mut self, name: &str) -> Option<&mut Channel> {
        self.channels.get_mut(name)
    }
}

impl Channel {
    /// Reports an id: the due times of its events when it is done, and then never again.
    pub(super) fn take(&mut self, id: u64, now: Instant) -> Option<Vec<u64>> {
        let is_done = self.pending.get(&id)?.ready.is_some_and(|ready| ready <= now);
        if is_done { self.pending.remove(&id).map(|pending| pending.due) } else { None }
    }
}
