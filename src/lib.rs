//! shrike: security events off a host and into every SIEM, without losing one.
//!
//! Events are appended once to a log. Every exporter reads that log at its own pace, through a
//! table compiled for it, straight into the request body. Nothing is queued, copied per
//! destination, or rendered twice without need.
//!
//! # The way of an event
//! ```text
//! producers           intake           the log           one worker per core             vendor
//! library appender ------------------> append-only -> open -> lanes: filter, plan, batch -> HTTP
//! files, stdin, ---> check, repair --> framed,        (once   (per exporter: own cursor,
//! commands                             mapped          per     own limits)     |
//!                                      segments        block)                  |
//!                                         ^                                    |
//!                                         +--- checkpoint <- watermark <- verdict
//! ```
//! For each exporter and pass, at every instant and across restarts:
//! `in_range(start, head) = delivered + dead_lettered + filtered + skipped + invalid + pending`.
//!
//! # Rooms
//! A room is a folder; its `mod.rs` is the front door: purpose and public names. Imports point up
//! this table only; `tests/tidy.rs` checks it.
//!
//! | Room | Does |
//! |---|---|
//! | `metrics` | counters and gauges, fixed at start-up; all may import it |
//! | `protobuf` | the bytes of fields of Protocol Buffers; all may import it |
//! | `event` | field ids, values, opening a record, enrichment, privacy, offsets |
//! | `log` | segments, stripes, append, group commit, reading, cursors, index, retention |
//! | `intake` | doors into the log: files, stdin; checking, repairing, positions, quarantine |
//! | `transform` | schemas, syntaxes, writers, conditions, filters, the plan compiler |
//! | `deliver` | framing, batches, calls, verdicts, retry, acknowledgements, transports |
//! | `pipeline` | workers, lanes, blocks: cursor, filter, plan, batch, deliver, checkpoint |
//! | `intel` | threat intelligence: what feeds tell, kept and found |
//! | `dialects` | one file per producer of foreign records |
//! | `schemas` | native, ECS, CEF, OCSF |
//! | `vendors` | one file per destination |
//! | `config` | text, raw, resolved; errors with key path, line, column and hint |
//! | `control` | the socket through which commands talk to a running process |
//!
//! The first nine are the engine, `dialects`, `schemas` and `vendors` the catalogue, the rest the
//! shell. [`deliver::Vendor`] is the shape, [`vendors::ALL`] the instances: the engine never
//! imports the catalogue.
//!
//! # Embedding
//! A program that makes events appends them itself, without a copy or a wait for any destination
//! or disk; `shrike run` on the same directory, or an [`pipeline::Engine`] in the program, sends
//! them. [`event::SecurityEvent`] builds events, [`pipeline::Subscription`] reads them.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use shrike::event::{
//!     Category, EventType, FieldId, OpeningOptions, ResourceType, SecurityEvent, Severity,
//! };
//! use shrike::log::{Log, LogOptions, Mark};
//! use shrike::pipeline::{Next, Subscription};
//! use shrike::transform::FilterRules;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().to_owned();
//! let options = LogOptions { dir, segment_bytes: 8 << 20, ..LogOptions::default() };
//! let (log, _recovery) = Log::open(options)?;
//!
//! let event = SecurityEvent::build(EventType::EgressBlocked, Category::Network)
//!     .agent("coder-01", "0.1.0")
//!     .session("s-1")
//!     .action("egress")
//!     .denied("egress_allowlist", Severity::High, "not on the list")
//!     .resource(ResourceType::Network, "exfil.example")
//!     .finish()?;
//! let at = log.appender().append(&event.to_json(), Mark::default())?;
//!
//! let only_bad = FilterRules { min_severity: Severity::High, ..FilterRules::default() };
//! let mut events = Subscription::new(&log, at, only_bad, &OpeningOptions::default())?;
//! let Next::Event(seen) = events.next(Instant::now() + Duration::from_secs(30))? else {
//!     panic!("it was appended");
//! };
//! assert_eq!(seen.text(FieldId::Guard), b"egress_allowlist");
//! log.appender().wait_durable(at)?;
//! log.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Three abstractions
//! - **Schema to plan** ([`transform`]): rows of keys and sources, compiled at start-up to a flat
//!   list of operations. Encoding cannot fail and does not allocate.
//! - **Vendor** ([`deliver::Vendor`]): where events go and what answers mean, as one static.
//! - **Delivery** ([`deliver`]): one batch's life, a machine told the time by its caller.
//!
//! # Invariants
//! 1. Engine rooms name no vendor. Vendor files hold no IO, no clock, no state, and count nothing.
//! 2. Privacy is applied where an event is opened; nothing downstream can reach an original.
//! 3. `transform` and the deciding half of `deliver` do no IO; time and randomness are arguments.
//! 4. A checkpoint never passes an unsettled event, nor what is not durable. Every event settles
//!    once: delivered, dead-lettered, filtered, invalid or (by retention) skipped.
//! 5. A document is appended to a buffer once. No trees. A plain retry sends the same bytes.
//! 6. One function reads an answer, one place acts on it.
//! 7. Exporters share nothing mutable. Everything is bounded, and every bound is counted when
//!    reached.
//! 8. A secret has no Display. URLs that carry keys are secrets.
//!
//! # Who owns what
//! The writer thread owns the log's tail; readers map what it published. A worker thread owns its
//! runtime, connections, buffers and opened blocks. Lanes of one exporter share its board of
//! stripes, its gate and its watermark, and touch them per stripe, per request and per batch, never
//! per event. Only the keeper thread writes checkpoints and removes segments.

pub mod config;
pub mod control;
pub mod deliver;
pub mod dialects;
pub mod event;
pub mod intake;
pub mod intel;
pub mod log;
pub mod metrics;
pub mod pipeline;
pub mod protobuf;
pub mod schemas;
pub mod transform;
pub mod vendors;
