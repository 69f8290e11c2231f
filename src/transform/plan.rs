//! A schema chain compiled to a flat list of operations.

use super::{Overrides, Schema};
use crate::event::Event;

/// A compiled chain of schemas.
#[derive(Debug)]
pub struct Plan {}

/// Why a chain does not compile.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The chain has no schema.
    #[error("a plan needs at least one schema")]
    Empty,
}

impl Plan {
    /// Compiles a chain, outermost schema first.
    ///
    /// # Errors
    /// When an override contradicts the schemas.
    pub fn compile(chain: &[&'static Schema], _overrides: &Overrides) -> Result<Self, PlanError> {
        if chain.is_empty() {
            return Err(PlanError::Empty);
        }
        Ok(Self {})
    }

    /// Appends the event's document.
    pub fn encode(&self, _event: &Event<'_>, _out: &mut Vec<u8>) {}
}
