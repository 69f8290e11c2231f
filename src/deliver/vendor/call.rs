//! The requests that a vendor understands, and what their answers mean.

use std::ops::RangeInclusive;

use http::HeaderMap;

use super::super::{AckId, Documents, Options, Verdict};
use super::{Derived, When};
use crate::event::Time;

/// One kind of request that a vendor understands.
#[derive(Debug)]
pub struct Call {
    /// What for.
    pub purpose: Purpose,
    /// When this row applies.
    pub when: When,
    /// The HTTP method.
    pub method: &'static str,
    /// The path below the endpoint; `{name}` is an option, a derived text, `channel`, `digest` of
    /// the body, or `suffix` of a file name for its encoding, percent-encoded.
    pub path: &'static str,
    /// Query parameters; one whose template names an absent text is left out.
    pub query: &'static [(&'static str, &'static str)],
    /// Further headers, as templates; `{ids}` is a digest of the ids of the events.
    pub headers: &'static [(&'static str, &'static str)],
    /// What is sent.
    pub body: CallBody,
    /// What the answers mean.
    pub responses: Responses,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Send a batch.
    Send,
    /// Ask which batches are confirmed.
    Poll,
    /// Ask whether the destination would take events, without sending one: ends holds.
    Probe,
    /// Ask how the destination is, for people.
    Health,
    /// Ask whether it is there at all: asked where the health call is not permitted or not offered.
    Hello,
    /// Prepare the destination.
    Setup,
    /// Send aggregated counts.
    Metrics,
    /// Send how long single events took.
    Latencies,
    /// Resolve an incident: `{incident}` in its path is the key, `"{incident}"` in its body too.
    Resolve,
    /// Say of an incident that somebody looks after it; named as by [`Purpose::Resolve`].
    Acknowledge,
    /// Ask what became of a request that was accepted: `{request}` in its path is its name.
    Verify,
    /// Tell that the configuration was changed.
    Change,
    /// Tell that this process does its work, every [`HEARTBEAT_INTERVAL`]; only while it does
    /// where [`HEARTBEAT_HEALTHY`] is on.
    ///
    /// [`HEARTBEAT_INTERVAL`]: super::HEARTBEAT_INTERVAL
    /// [`HEARTBEAT_HEALTHY`]: super::HEARTBEAT_HEALTHY
    Heartbeat,
}

/// What a call sends.
#[derive(Clone, Copy, Debug)]
pub enum CallBody {
    /// Nothing.
    Empty,
    /// The batch.
    Batch,
    /// Text made from the options, with its media type; `{time}` in it stands for when a probe is
    /// sent.
    Text(&'static str, fn(&Options, &Derived) -> String),
    /// The counts of a window, written by [`Vendor::meter`].
    ///
    /// [`Vendor::meter`]: super::Vendor::meter
    Counts,
    /// A change of the configuration, with the media type.
    Change(&'static str, WriteChange),
    /// The ids to ask for, with the media type.
    Acks(&'static str, fn(&[AckId], &mut Vec<u8>)),
}

/// A change of the configuration that is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// When it took effect.
    pub time: Time,
    /// The machine's name.
    pub host: String,
    /// Who asked for it.
    pub actor: String,
    /// The lines that changed, secrets masked.
    pub changes: Vec<String>,
}

/// Appends the body that tells of a change.
pub type WriteChange = fn(&ConfigChange, &Options, &Derived, &mut Vec<u8>);

/// What the answers to a call mean.
#[derive(Debug)]
pub struct Responses {
    /// Verdicts by status, before the usual rows.
    pub rows: &'static [(RangeInclusive<u16>, Verdict)],
    /// May overrule from headers and body.
    pub read: Option<fn(&Response<'_>) -> Option<Verdict>>,
}

impl Responses {
    /// Only the usual rows.
    pub const USUAL: Self = Self { rows: &[], read: None };
}

/// An answer, as [`Responses::read`] sees it.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body, capped.
    pub body: &'a [u8],
    /// Events in the request.
    pub events: usize,
    /// Bytes of the request's body before compression.
    pub body_bytes: usize,
    /// The documents of the request, for answers that name some.
    pub documents: Documents<'a>,
    /// The ids that a poll asked for.
    pub acks: &'a [AckId],
    /// The options of the exporter.
    pub options: &'a Options,
}

/// One step of preparing a destination: look, and act only where needed.
#[derive(Debug)]
pub struct Step {
    /// What it prepares, for people.
    pub name: &'static str,
    /// The option that names it: two exporters to one destination may not prepare different things
    /// under one name.
    pub key: &'static str,
    /// When the step applies.
    pub when: When,
    /// The look; without one the step always acts.
    pub look: Option<Call>,
    /// What the look's answer asks for.
    pub need: fn(&Response<'_>) -> Need,
    /// The act.
    pub act: Call,
    /// A smaller act, tried once where the act was rejected.
    pub instead: Option<Call>,
}

/// What a look at the destination asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Act.
    Act,
    /// Nothing: it is already there, or the destination has no such thing.
    Done,
    /// Leave it as it is, and say why.
    Leave(String),
    /// It cannot be prepared; export goes on, health says so.
    Fail(String),
}
