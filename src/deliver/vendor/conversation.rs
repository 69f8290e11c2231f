//! How documents answer to what the destination was sent before.

use super::{Response, When};
use crate::transform::Schema;

/// Documents that belong together: the first of them stands for itself, and the others answer to
/// it by what the destination called it.
///
/// The engine keeps that name, and the others wait for it; a row of the document writes it
/// ([`Event::thread`]). Of vendors whose requests carry one event each, and whose order is
/// [`Order::Loose`].
///
/// [`Event::thread`]: crate::event::Event::thread
/// [`Order::Loose`]: super::Order::Loose
#[derive(Debug)]
pub struct Conversation {
    /// When there are any.
    pub when: When,
    /// What joins events to one, as the row `key`; an event without one stands alone.
    pub key: &'static Schema,
    /// The option with how many minutes after the last document the next begins a new one.
    pub ttl_minutes: &'static str,
    /// What the destination calls a document that it took, from its answer.
    pub read: fn(&Response<'_>) -> Option<String>,
}
