//! Threat intelligence: what is kept of feeds, and how it is fetched.

mod cache;
mod feeds;
mod polls;
mod served;
