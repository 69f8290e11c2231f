//! What feeds told, as long as it holds.
//!
//! Each feed has its own objects: the newest version of an id counts, and what a feed takes back is
//! taken back for that feed alone. An object holds for the feed's TTL after the feed last told it,
//! an indicator never beyond its `valid_until`; so the whole feed has to be read again before the
//! TTL is over. Who and what is behind an indicator is found along its feed's relationships when a
//! snapshot is made, since objects come in any order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behind::{Behind, about};
use super::lookup::Key;
use super::page::Told;
use super::pattern::Sign;
use super::snapshot::{About, Listed};
use super::spec::FeedSpec;
use super::stamp;
use super::stix::{Entity, Indicator, Link, Object, Tlp, Unused};
use crate::event::Time;

/// What feeds told; the caller tells the time.
#[derive(Debug, Default)]
pub struct Cache {
    /// Values that are kept at most.
    size_max: usize,
    export_tlp: Vec<Tlp>,
    /// By [`FeedTerms::key`].
    pub(super) feeds: BTreeMap<String, Feed>,
    /// How many pages were applied: what came with the last one is not evicted for another.
    turn: u64,
    /// When it was last listed.
    listed: Time,
}

/// How long and from when on what a feed tells is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedTerms {
    /// What tells the feed from others: server, API root and collection.
    pub key: String,
    /// Its name.
    pub name: Arc<str>,
    /// How long an object holds after the feed last told it.
    pub ttl: Duration,
    /// Indicators that are less sure are not used.
    pub confidence_min: Option<u8>,
    /// How sure an indicator is that does not say it.
    pub confidence_default: u8,
}

impl Default for FeedTerms {
    fn default() -> Self {
        let FeedSpec { cache_ttl, confidence_min, confidence_default, .. } = FeedSpec::default();
        let (key, name, ttl) = (String::new(), Arc::from(""), cache_ttl);
        Self { key, name, ttl, confidence_min, confidence_default }
    }
}

/// What is kept of a feed.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) terms: FeedTerms,
    pub(super) progress: Progress,
    pub(super) indicators: HashMap<String, Kept>,
    pub(super) behind: HashMap<String, Seen>,
}

/// How far a feed is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Up to when it is read whole, by the server's clock; the next poll asks for what was added
    /// after it.
    #[serde(with = "stamp::option")]
    pub cursor: Option<Time>,
    /// When the last reading of the whole feed began that came to its end.
    #[serde(with = "stamp::option")]
    pub synced: Option<Time>,
    /// When a reading of the whole feed began that has not come to its end.
    #[serde(with = "stamp::option")]
    pub sync_begun: Option<Time>,
    /// What was asked for, as `FeedSpec::asked` has it: what the feed had before is not
    /// there where that is another by now.
    pub asked: u64,
    /// When it was last read to its end, as far as that is written down.
    #[serde(default, with = "stamp::option")]
    pub read: Option<Time>,
}

/// An indicator that is kept; one without values only says that older versions are outdated.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(with = "stamp")]
    pub(super) modified: Time,
    /// When the feed last told it.
    #[serde(with = "stamp")]
    pub(super) confirmed: Time,
    pub(super) signs: Vec<Sign>,
    pub(super) confidence: Option<u8>,
    pub(super) is_benign: bool,
    pub(super) markings: Vec<String>,
    #[serde(with = "stamp::option")]
    pub(super) valid_from: Option<Time>,
    /// What it says of itself; snapshots share it.
    #[serde(with = "super::behind::shared")]
    pub(super) own: Arc<About>,
    /// The same with what its feed links with it, where that is anything.
    #[serde(skip)]
    pub(super) linked: Option<Arc<About>>,
    /// What it counts as of `max_size`: [`Kept::weigh`].
    #[serde(skip)]
    weight: usize,
    /// With which page it came first.
    #[serde(skip)]
    turn: u64,
}

/// An object that is behind indicators.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    #[serde(with = "stamp")]
    pub(super) confirmed: Time,
    pub(super) object: Backing,
}

/// What is behind indicators.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Backing {
    Entity(Entity),
    Link(Link),
    Marking(Option<Tlp>),
    /// Older versions are outdated, and this one says nothing that is used.
    Gone(#[serde(with = "stamp")] Time),
}

/// What applying a page came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Objects or values that are not used, by one of [`super::SKIP_REASONS`].
    pub skipped: BTreeMap<&'static str, u64>,
    /// Indicators that went because the cache was full, and were over.
    pub evicted_expired: u64,
    /// Indicators that went because the cache was full, and still held.
    pub evicted_full: u64,
}

impl Applied {
    fn skip(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }
}

impl Cache {
    /// An empty cache without feeds.
    #[must_use]
    pub fn new(size_max: usize, export_tlp: &[Tlp]) -> Self {
        Self { size_max, export_tlp: export_tlp.to_vec(), ..Self::default() }
    }

    /// Goes on with other bounds; what is too much goes with the next page.
    pub fn set_bounds(&mut self, size_max: usize, export_tlp: &[Tlp]) {
        self.size_max = size_max;
        self.export_tlp = export_tlp.to_vec();
    }

    /// Has these feeds: what is kept of one that stays is kept, what others told is forgotten.
    pub fn set_feeds(&mut self, feeds: &[FeedTerms]) {
        let mut known = std::mem::take(&mut self.feeds);
        for terms in feeds {
            let mut feed = known.remove(&terms.key).unwrap_or_else(|| Feed::new(terms.clone()));
            feed.terms = terms.clone();
            self.feeds.insert(terms.key.clone(), feed);
        }
    }

    /// Keys and names of the feeds.
    pub(super) fn names(&self) -> impl Iterator<Item = (String, Arc<str>)> {
        self.feeds.iter().map(|(key, feed)| (key.clone(), Arc::clone(&feed.terms.name)))
    }

    /// How far a feed is read.
    #[must_use]
    pub fn progress(&self, key: &str) -> Progress {
        self.feeds.get(key).map(|feed| feed.progress).unwrap_or_default()
    }

    /// Says how far a feed is read: once all that came was applied.
    pub fn set_progress(&mut self, key: &str, progress: Progress) {
        if let Some(feed) = self.feeds.get_mut(key) {
            feed.progress = progress;
        }
    }

    /// How many indicators a feed gave that are kept.
    #[must_use]
    pub fn indicators(&self, key: &str) -> usize {
        let kept = self.feeds.get(key).map(|feed| &feed.indicators);
        kept.map_or(0, |kept| kept.values().filter(|it| !it.signs.is_empty()).count())
    }

    /// Takes a page of a feed; of one that it does not have, nothing.
    pub fn apply(&mut self, key: &str, told: Told, now: Time) -> Applied {
        let mut applied = Applied::default();
        self.turn += 1;
        let Some(feed) = self.feeds.get_mut(key) else { return applied };
        for (reason, count) in told.skipped {
            *applied.skipped.entry(reason.word()).or_default() += count;
        }
        for object in told.objects {
            match object {
                Object::Indicator(it) => feed.take(*it, self.turn, now, &mut applied),
                Object::Unused(it) => feed.outdate(it, self.turn, now, &mut applied),
                Object::Entity(it) => {
                    feed.back(it.id.clone(), Backing::Entity(it), now, &mut applied);
                }
                Object::Link(it) => {
                    feed.back(it.id.clone(), Backing::Link(it), now, &mut applied);
                }
                Object::Marking(id, tlp) => {
                    feed.back(id, Backing::Marking(tlp), now, &mut applied);
                }
            }
        }
        self.shrink(now, &mut applied);
        self.shrink_behind(now);
        applied
    }

    /// Forgets what is over; says whether a snapshot made now differs from the last one.
    pub fn expire(&mut self, now: Time) -> bool {
        let mut is_changed = false;
        for feed in self.feeds.values_mut() {
            let (terms, before) = (&feed.terms, feed.indicators.len());
            feed.indicators.retain(|_, kept| kept.until(terms) > now);
            feed.behind.retain(|_, seen| after(seen.confirmed, terms.ttl) > now);
            is_changed |= feed.indicators.len() < before;
            let begins =
                |kept: &Kept| kept.valid_from.is_some_and(|it| it > self.listed && it <= now);
            is_changed |= feed.indicators.values().any(begins);
        }
        is_changed
    }

    /// All that holds now, for a snapshot.
    pub fn listed(&mut self, now: Time) -> Vec<Listed> {
        self.listed = now;
        let mut all = Vec::new();
        for feed in self.feeds.values_mut() {
            let behind = Behind::new(&feed.behind, &self.export_tlp);
            for kept in feed.indicators.values_mut() {
                let confidence = kept.sureness(&feed.terms);
                let is_sure = feed.terms.confidence_min.is_none_or(|min| confidence >= min);
                let has_begun = kept.valid_from.is_none_or(|from| from <= now);
                let until = kept.until(&feed.terms);
                if kept.signs.is_empty() || !is_sure || !has_begun || until <= now {
                    continue;
                }
                let about = about(kept, &behind);
                all.extend(kept.signs.iter().map(|sign| Listed {
                    sign: sign.clone(),
                    source: Arc::clone(&feed.terms.name),
                    confidence,
                    is_benign: kept.is_benign,
                    until,
                    about: Arc::clone(&about),
                }));
            }
        }
        all
    }

    /// Makes room: what is over goes first, then what is least sure, then what was told longest
    /// ago; what came with this page goes last.
    fn shrink(&mut self, now: Time, applied: &mut Applied) {
        let mut over = self.size().saturating_sub(self.size_max);
        if over == 0 {
            return;
        }
        for feed in self.feeds.values_mut() {
            let terms = &feed.terms;
            feed.indicators.retain(|_, kept| {
                let is_over = kept.until(terms) <= now;
                if is_over {
                    over = over.saturating_sub(kept.weight);
                    applied.evicted_expired += u64::from(!kept.signs.is_empty());
                }
                !is_over
            });
        }
        if over == 0 {
            return;
        }
        let mut candidates = Vec::new();
        for (key, feed) in &self.feeds {
            candidates.extend(feed.indicators.iter().map(|(id, kept)| {
                let is_new = kept.turn == self.turn;
                let is_blank = kept.signs.is_empty();
                let sureness = if is_blank { 0 } else { kept.sureness(&feed.terms) };
                let rank = (is_new, !is_blank, sureness, kept.confirmed, kept.modified);
                (rank, id.as_str(), key.as_str(), kept.weight)
            }));
        }
        // Each weighs at least 1, so no more than that many have to go.
        if over < candidates.len() {
            candidates.select_nth_unstable(over);
            candidates.truncate(over);
        }
        candidates.sort_unstable();
        let mut going = Vec::new();
        for (_, id, key, weight) in candidates {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(weight);
            going.push((key.to_owned(), id.to_owned()));
        }
        for (key, id) in going {
            let kept = self.feeds.get_mut(&key).and_then(|feed| feed.indicators.remove(&id));
            applied.evicted_full += u64::from(kept.is_some_and(|kept| !kept.signs.is_empty()));
        }
    }

    /// Makes room for what is behind indicators, of which there may be as many: what is over goes
    /// first, then what was told longest ago; some at a time, since that costs a look at all.
    fn shrink_behind(&mut self, now: Time) {
        let size = |feeds: &BTreeMap<String, Feed>| -> usize {
            let all = feeds.values().flat_map(|feed| feed.behind.values());
            all.map(|seen| seen.object.weight()).sum()
        };
        if size(&self.feeds) <= self.size_max {
            return;
        }
        for feed in self.feeds.values_mut() {
            let ttl = feed.terms.ttl;
            feed.behind.retain(|_, seen| after(seen.confirmed, ttl) > now);
        }
        let over = size(&self.feeds).saturating_sub(self.size_max / 10 * 9);
        let mut all: Vec<(Time, String, String)> = Vec::new();
        for (key, feed) in &self.feeds {
            all.extend(feed.behind.iter().map(|(id, it)| (it.confirmed, id.clone(), key.clone())));
        }
        all.sort_unstable();
        for (_, id, key) in all.into_iter().take(over) {
            self.feeds.get_mut(&key).map(|feed| feed.behind.remove(&id));
        }
    }

    /// What is kept, as `max_size` counts it.
    fn size(&self) -> usize {
        let kept = self.feeds.values().flat_map(|feed| feed.indicators.values());
        kept.map(|kept| kept.weight).sum()
    }
}

impl Feed {
    pub(super) fn new(terms: FeedTerms) -> Self {
        let (progress, indicators, behind) = Default::default();
        Self { terms, progress, indicators, behind }
    }

    /// Takes a version of an indicator, unless a newer one is known.
    fn take(&mut self, new: Indicator, turn: u64, now: Time, applied: &mut Applied) {
        let known = self.indicators.get(&new.id);
        if known.is_some_and(|known| known.modified > new.modified) {
            return applied.skip(OUTDATED);
        }
        let is_benign = new.is_benign();
        let own = About {
            id: new.id.clone(),
            name: new.name,
            labels: new.types,
            phases: new.phases,
            valid_until: new.valid_until,
            ..About::default()
        };
        let mut kept = Kept {
            modified: new.modified,
            confirmed: now,
            signs: new.signs.signs,
            confidence: new.confidence,
            is_benign,
            markings: new.markings,
            valid_from: new.valid_from,
            own: Arc::new(own),
            linked: None,
            weight: 1,
            turn: known.map_or(turn, |known| known.turn),
        };
        let sureness = kept.sureness(&self.terms);
        let is_unsure = self.terms.confidence_min.is_some_and(|min| sureness < min);
        let is_over = new.valid_until.is_some_and(|until| until <= now);
        if new.is_revoked || is_unsure || is_over {
            match (new.is_revoked, is_unsure) {
                (true, _) => {}
                (false, true) => applied.skip(UNSURE),
                (false, false) => applied.skip(OVER),
            }
            kept.blank();
        }
        kept.signs.retain(|sign| match Key::new(sign) {
            Ok(_) => true,
            Err(reason) => {
                applied.skip(reason.word());
                false
            }
        });
        match kept.signs.is_empty() {
            true => kept.blank(),
            false => kept.weigh(),
        }
        self.indicators.insert(new.id, kept);
    }

    /// Takes a version that says nothing that is used: no older one holds any more.
    fn outdate(&mut self, new: Unused, turn: u64, now: Time, applied: &mut Applied) {
        if let Some(reason) = new.reason {
            applied.skip(reason.word());
        }
        let is_revoked = new.reason.is_none();
        if let Some(known) = self.indicators.get_mut(&new.id) {
            if known.modified < new.modified {
                (known.modified, known.confirmed) = (new.modified, now);
                known.blank();
            }
        } else if let Some(known) = self.behind.get_mut(&new.id) {
            if known.object.modified() < new.modified {
                *known = Seen { confirmed: now, object: Backing::Gone(new.modified) };
            }
        } else if is_revoked && new.id.starts_with("indicator--") {
            // An older version may come late.
            self.indicators.insert(new.id, Kept::nothing(new.modified, now, turn));
        }
    }

    /// Takes a version of what is behind indicators, unless a newer one is known.
    fn back(&mut self, id: String, object: Backing, now: Time, applied: &mut Applied) {
        let known = self.behind.get(&id).map(|seen| seen.object.modified());
        if known.is_some_and(|known| known > object.modified()) {
            return applied.skip(OUTDATED);
        }
        self.behind.insert(id, Seen { confirmed: now, object });
    }
}

impl Kept {
    /// Until when it holds.
    fn until(&self, terms: &FeedTerms) -> Time {
        let until = after(self.confirmed, terms.ttl);
        self.own.valid_until.map_or(until, |it| it.min(until))
    }

    fn sureness(&self, terms: &FeedTerms) -> u8 {
        self.confidence.unwrap_or(terms.confidence_default)
    }

    /// Notes what it counts as: its values, or more where its texts are longer than any feed's are.
    pub(super) fn weigh(&mut self) {
        let own = &self.own;
        let phases = own.phases.iter().map(|(framework, phase)| framework.len() + phase.len());
        let texts = own.labels.iter().chain(&self.markings).chain(&own.name).map(String::len);
        let signs = self.signs.iter().map(|sign| sign.value.len());
        let bytes: usize = texts.chain(phases).chain(signs).sum();
        self.weight = self.signs.len().max(bytes / WEIGHT_BYTES).max(1);
    }

    /// Leaves nothing but what tells that older versions are outdated, as long as any other holds.
    fn blank(&mut self) {
        *self = Self::nothing(self.modified, self.confirmed, self.turn);
    }

    fn nothing(modified: Time, confirmed: Time, turn: u64) -> Self {
        Self {
            modified,
            confirmed,
            signs: Vec::new(),
            confidence: None,
            is_benign: false,
            markings: Vec::new(),
            valid_from: None,
            own: Arc::default(),
            linked: None,
            weight: 1,
            turn,
        }
    }
}

impl Backing {
    /// When this version was made; markings never change (STIX 2.1, 7.2).
    fn modified(&self) -> Time {
        match self {
            Self::Entity(it) => it.modified,
            Self::Link(it) => it.modified,
            Self::Marking(_) => Time::default(),
            Self::Gone(modified) => *modified,
        }
    }

    /// What it counts as of `max_size`: one, or more where its texts are longer than a feed's are.
    fn weight(&self) -> usize {
        let (texts, markings, phases) = match self {
            Self::Entity(it) => (it.id.len() + it.name.len(), &*it.markings, &*it.phases),
            Self::Link(it) => {
                (it.id.len() + it.source.len() + it.target.len(), &*it.markings, &[][..])
            }
            Self::Marking(_) | Self::Gone(_) => (0, &[][..], &[][..]),
        };
        let phases = phases.iter().map(|(framework, phase)| framework.len() + phase.len());
        let bytes: usize = texts + markings.iter().map(String::len).chain(phases).sum::<usize>();
        (bytes / WEIGHT_BYTES).max(1)
    }
}

/// A time and a while.
fn after(time: Time, wait: Duration) -> Time {
    let secs = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    Time { secs: time.secs.saturating_add(secs), nanos: time.nanos }
}

/// Bytes of texts that count as one of `max_size`; most indicators have some hundred.
const WEIGHT_BYTES: usize = 2 << 10;

/// Why an object is not used that could be read, as [`super::SKIP_REASONS`] names it.
pub(super) const OUTDATED: &str = "outdated";
pub(super) const UNSURE: &str = "confidence";
pub(super) const OVER: &str = "expired";
