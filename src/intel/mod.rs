//! Threat intelligence: what feeds say of domains, addresses, URLs and files
//! (`threat-intel.md`).
//!
//! [`Signs`] are what a STIX pattern looks for, as far as it can be looked up; [`Page`] and
//! [`Object`] read what a feed sends, one bad object at a time; a [`Table`] finds values by their
//! [`Key`]. A [`Snapshot`] is what is known at one moment; [`Intel`] holds the one of now, which
//! any thread asks without a lock. [`Feeds`] polls servers by a [`Client`] each, keeps what they
//! tell in a [`Cache`], and swaps snapshots.

mod behind;
mod cache;
mod client;
mod current;
mod feeds;
mod few;
mod guard;
mod lookup;
mod marks;
mod page;
mod pattern;
mod probe;
mod saved;
mod snapshot;
mod spec;
mod stamp;
mod stix;
mod taxii;

pub use cache::{Applied, Cache, FeedTerms, Progress};
pub use client::{Client, PollError};
pub use current::{Intel, IntelCounts, Reading, SKIP_REASONS, Source};
pub use feeds::{Feeds, FeedsError};
pub use guard::{Guard, GuardVerdict, verdict};
pub use lookup::{Key, Prefix, Refused, Table};
pub use marks::{MATCHES_MAX, Marks};
pub use page::{Page, PageError, Told};
pub use pattern::{PATTERN_BYTES_MAX, Sign, SignKind, Signs, Unsupported, VALUE_BYTES_MAX};
pub use probe::probe;
pub use saved::{Loaded, SavedError};
pub use snapshot::{About, Allowed, Listed, Match, Rules, SOURCES_MAX, Snapshot, Technique};
pub use spec::{
    ActionSpec, CacheSpec, EscalateSpec, FeedSpec, IntelMode, IntelSpec, ServerSpec, TaxiiAuth,
    TaxiiVersion,
};
pub use stix::{
    Entity, EntityKind, Indicator, Link, Object, PHASES_MAX, Skip, TEXT_BYTES_MAX, Tlp, Unused,
    Verb, WORD_BYTES_MAX,
};
pub use taxii::Polled;
