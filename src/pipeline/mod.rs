//! The engine at work: workers with their lanes, blocks of the log, checkpoints, dead letters.

mod block;
mod board;
mod dead_letters;
mod engine;
mod exporter;
mod feed;
mod health;
mod keeper;
mod lane;
mod meter;
mod network;
mod render;
mod status;
mod stop;
mod tide;
mod worker;

pub use block::BlockCounters;
pub use board::{Board, Claim};
pub(crate) use engine::Shared;
pub use engine::{Ended, Engine, EngineError, EngineOptions};
pub use exporter::{ExporterCounters, ExporterSpec, RouteSpec};
pub use health::{HealthStatus, connect};
pub use render::Render;
pub use status::{ExporterStatus, Status};
