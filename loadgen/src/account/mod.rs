//! The account: how often each event was stored, in what order, how late.

mod book;
mod compare;
mod latency;
mod tally;

pub use book::{Book, Order, Problem, Report, Visit};
pub use compare::{Comparison, Totals, compare};
pub use latency::{Latency, Percentiles};
pub use tally::{Span, Tally};
