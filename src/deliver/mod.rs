//! From a batch to settled events: what a vendor is, what answers mean, when to try again, and the
//! network.

mod acks;
mod act;
mod backoff;
mod batch;
mod budget;
mod buffers;
mod compress;
mod delivery;
mod gate;
mod hold;
#[cfg(feature = "isal")]
mod igzip;
mod limiter;
mod nodes;
mod options;
mod sender;
mod settings;
mod transport;
mod vendor;
mod verdict;
mod watermark;

pub use backoff::Backoff;
pub use batch::{Batch, Item, Packing, Part, Pushed, TURN_BYTES};
pub use budget::{Allowance, Budget, Charge};
pub use buffers::Buffers;
pub use delivery::{
    AckSettings, BatchId, DeadLetter, History, Outcomes, Remedy, Reshape, Tally, judge_transport,
};
pub use gate::{Gate, GateSettings, Health};
pub use options::{Kind, Opt, OptionValue, Options, Problem, Secret};
pub use sender::{Action, LANES_MAX, Parked, Sender, SenderSettings};
pub use settings::{
    BatchSettings, BreakerSettings, ConnectionSettings, From, Http2, OnLag, Proxy, RateSettings,
    RetrySettings, Settings, TlsSettings, TlsVersion,
};
pub use transport::{Answer, Applied, Request, Transport, TransportError, TransportErrorKind};
pub use vendor::{
    Call, CallBody, Credentials, Derived, Encoding, Framing, Limits, Need, Order, Prefix, Purpose,
    Resend, Response, Responses, Shape, Step, Vendor, When,
};
pub use verdict::{AckId, Cause, Fate, ItemFate, Level, Pace, Reason, Scope, Verdict};
pub use watermark::Watermark;
