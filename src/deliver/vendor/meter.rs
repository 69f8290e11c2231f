//! Counts beside the events.

use std::time::Duration;

use super::super::Options;
use super::{Auth, Derived, When};
use crate::event::{Severity, Time};

/// Counts that are sent beside the events, one body per window of time.
///
/// The engine adds each event once, when it is settled as delivered, and sends a window with the
/// vendor's [`Purpose::Metrics`] call when it ends. A window that fails is sent once more, then
/// dropped: counts never stop events.
///
/// [`Purpose::Metrics`]: super::Purpose::Metrics
#[derive(Debug)]
pub struct Meter {
    /// When counts are sent.
    pub when: When,
    /// The option with the window's length in seconds.
    pub interval: &'static str,
    /// Credentials of the call; `None` takes [`Vendor::auth`].
    ///
    /// [`Vendor::auth`]: super::Vendor::auth
    pub auth: Option<Auth>,
    /// Tallies in one body at most; a window with more is sent in parts, cut between guards.
    pub tallies_max: usize,
    /// Whether windows are sent in which nothing was delivered, for what is known all the same.
    pub tells_idle: bool,
    /// Appends the body of one part of a window.
    pub write: WriteWindow,
    /// The body's media type.
    pub content_type: &'static str,
    /// A second body per window, sent with the [`Purpose::Latencies`] call where the vendor has one
    /// under its options; nothing is sent where it appends nothing.
    ///
    /// [`Purpose::Latencies`]: super::Purpose::Latencies
    pub latencies: Option<WriteWindow>,
}

/// Appends the body of a window.
pub type WriteWindow = fn(&Window<'_>, &Options, &Derived, &mut Vec<u8>);

/// What one window counted.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// When it ended.
    pub end: Time,
    /// How long it was.
    pub length: Duration,
    /// The machine's name.
    pub host: &'a str,
    /// The counts of this part, each key once, ascending by guard, severity and type.
    pub tallies: &'a [Tally<'a>],
    /// The counts of the whole window.
    pub whole: &'a [Tally<'a>],
    /// Which part it is, from 0.
    pub part: usize,
    /// Events that wait, at its end.
    pub lag_events: u64,
    /// Milliseconds from append to delivery, ascending: those of every delivered event, or an even
    /// choice of them where there were more than a thousand.
    pub latencies_ms: &'a [u32],
}

/// The events of one guard, severity and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally<'a> {
    /// The guard that decided, as plain text.
    pub guard: &'a str,
    /// How bad.
    pub severity: Severity,
    /// What happened: the wire word.
    pub event_type: &'a str,
    /// How many.
    pub total: u64,
    /// How many of them were denied.
    pub denied: u64,
}
