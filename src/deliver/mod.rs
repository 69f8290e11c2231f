//! From a batch to settled events: what a vendor is, what answers mean, when to try again, and the
//! network.

mod answer;
mod call;
mod dial;
mod http;
mod lines;
mod options;
mod proxy;
mod settings;
mod setup;
mod tls;
mod transport;
mod vendor;
mod verdict;

pub use answer::{
    DETAIL_BYTES_MAX, RETRY_AFTER_MAX, ambiguous, judge, judge_error, quote, retry_after, scrub,
};
pub use call::{Binding, Channel, CompiledCall, Via, percent_encoded};
pub use http::{Cookies, Destination, HttpTransport, TransportCounts, TransportLimits};
pub use lines::Lines;
pub use options::{HOSTNAME, Kind, Opt, OptionValue, Options, Problem, Secret};
pub use settings::{
    BatchSettings, BreakerSettings, ConnectionSettings, From, Http2, OnLag, Proxy, RateSettings,
    RetrySettings, Settings, TlsSettings, TlsVersion,
};
pub use setup::{Prepared, Setup};
pub use tls::{Tls, TransportSetupError};
pub use transport::{Answer, Applied, Request, Transport, TransportError, TransportErrorKind};
pub use vendor::{
    Call, CallBody, Credentials, Derived, Encoding, Framing, Limits, Meter, Need, Order, Prefix,
    Purpose, Resend, Response, Responses, Shape, Step, Tally, Vendor, When, Window,
};
pub use verdict::{AckId, Cause, Fate, ItemFate, Level, Pace, Reason, Scope, Verdict};
