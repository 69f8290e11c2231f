//! From a batch to settled events: what a vendor is, what answers mean, when to try again, and the
//! network.

mod acks;
mod act;
mod answer;
mod awaiting;
mod backoff;
mod batch;
mod budget;
mod buffers;
mod call;
mod compress;
mod confirm;
mod deflate;
mod delivery;
mod dial;
mod documents;
mod errand;
mod files;
mod fold;
mod gate;
mod held;
mod hold;
mod http;
mod huffman;
mod limiter;
mod lines;
mod names;
mod nodes;
mod options;
mod packed;
mod places;
mod proxy;
mod reach;
mod sender;
mod settings;
mod setup;
mod sign;
mod socket;
mod standstill;
mod tls;
mod transport;
mod vault;
mod vendor;
mod verdict;
mod verify;
mod watermark;

pub use answer::{DETAIL_BYTES_MAX, RETRY_AFTER_MAX, ambiguous, judge, quote, retry_after, scrub};
pub use backoff::Backoff;
pub use batch::{Batch, Heads, Item, Packing, Part, Pushed, TURN_BYTES};
pub use budget::{Allowance, Budget, Charge};
pub use buffers::Buffers;
pub use call::{Binding, Channel, CompiledCall, Parcel, Via, percent_decoded, percent_encoded};
use call::{hex, percent_bytes};
pub use delivery::{
    AckSettings, BatchId, DeadLetter, History, Outcomes, Remedy, Reshape, Settling,
    Tally as Incidents, judge_transport,
};
pub use documents::Documents;
pub use files::{FileSettings, Files};
pub use fold::{FLOOD, FLOOD_KEY, Fold, MAX_AGE, MAX_AGE_KEY};
pub use gate::{Gate, GateSettings, Health};
pub use held::Parked;
pub use http::{Cookies, Destination, HttpTransport, TransportCounts, TransportLimits};
pub use lines::Lines;
pub use options::{HOSTNAME, Kind, Opt, OptionValue, Options, Problem, Secret, opt, problem};
pub use packed::PackedItems;
pub use places::{RoutePlaces, RouteRate};
pub use sender::{Action, LANES_MAX, Sender, SenderSettings};
pub use settings::{
    BatchSettings, BreakerSettings, ConnectionSettings, DeadLetterSettings, From, Http2, OnLag,
    Proxy, RateSettings, Reach, RetrySettings, Settings, TlsSettings, TlsVersion,
};
pub use setup::{Prepared, Setup};
pub use socket::{SocketDestination, SocketTransport};
pub(crate) use standstill::STANDSTILL_MAX;
pub use tls::{Tls, TransportSetupError};
pub use transport::{Answer, Applied, Request, Transport, TransportError, TransportErrorKind};
pub use vault::{Vault, VaultError, VaultFields, VaultLogin, VaultSettings};
pub use vendor::{
    AUTO_RESOLVE, Age, AgeOf, Auth, Call, CallBody, Choice, ConfigChange, Conversation,
    Credentials, DEDUPLICATION, Derived, Effect, Encoding, Framing, HEARTBEAT_HEALTHY,
    HEARTBEAT_INTERVAL, Hidden, Limits, Meter, NamedHeaders, Need, Order, Prefix, Purpose, REPEATS,
    RESOLVE_AFTER, Resend, Response, Responses, RouteMap, Shape, Signature, Step, Tally, Vendor,
    When, Window, Wire, WriteChange, WriteWindow,
};
pub use verdict::{AckId, Cause, Fate, ItemFate, Level, Pace, Reason, Scope, Verdict};
pub use watermark::{Entry, Moved, Sent, Watermark};
