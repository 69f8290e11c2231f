//! From a batch to settled events: what a vendor is, what answers mean, when to try again, and the
//! network.

mod dial;
mod http;
mod options;
mod proxy;
mod settings;
mod tls;
mod transport;
mod vendor;
mod verdict;

pub use http::{Cookies, Destination, HttpTransport, TransportCounts, TransportLimits};
pub use options::{Kind, Opt, OptionValue, Options, Problem, Secret};
pub use settings::{
    BatchSettings, BreakerSettings, ConnectionSettings, From, Http2, OnLag, Proxy, RateSettings,
    RetrySettings, Settings, TlsSettings, TlsVersion,
};
pub use tls::{Tls, TransportSetupError};
pub use transport::{Answer, Applied, Request, Transport, TransportError, TransportErrorKind};
pub use vendor::{
    Call, CallBody, Credentials, Derived, Encoding, Framing, Limits, Need, Order, Prefix, Purpose,
    Resend, Response, Responses, Shape, Step, Vendor, When,
};
pub use verdict::{AckId, Cause, Fate, ItemFate, Level, Pace, Reason, Scope, Verdict};
