//! shrike: security events off a host and into every SIEM, without losing one.

pub mod deliver;
pub mod event;
pub mod log;
pub mod metrics;
pub mod transform;
