//! shrike: security events off a host and into every SIEM, without losing one.

pub mod config;
pub mod control;
pub mod deliver;
pub mod event;
pub mod metrics;
pub mod transform;
