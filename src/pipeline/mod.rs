//! The engine at work: workers with their lanes, blocks of the log, checkpoints, dead letters.

mod block;
mod board;
mod check;
mod dead_letters;
mod engine;
mod exporter;
mod feed;
mod gap;
mod give_up;
mod health;
mod keeper;
mod lane;
mod measure;
mod meter;
mod network;
mod places;
mod receipts;
mod render;
mod replay;
mod status;
mod stop;
mod tide;
mod worker;

pub use block::BlockCounters;
pub use board::{Board, Claim};
pub use dead_letters::{Letter, LetterStore, Wanted};
pub(crate) use engine::Shared;
pub use engine::{Ended, Engine, EngineError, EngineOptions, Work};
pub use exporter::{ExporterCounters, ExporterSpec, RouteSpec};
pub use gap::gap_record;
pub use health::{HealthStatus, connect};
pub use receipts::{Flaw, Receipt, ReceiptOptions, read_receipts, spans};
pub use render::Render;
pub use replay::Progress;
pub use status::{ExporterStatus, Status};
