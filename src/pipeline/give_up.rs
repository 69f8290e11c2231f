//! Giving events up: an exporter's side of its dead-letter store.

use std::time::Instant;

use super::dead_letters::{Effect, Letter, Replayed};
use super::exporter::Exporter;
use crate::deliver::{DeadLetter, Item};
use crate::event::Settled;
use crate::log::AppendError;

impl Exporter {
    /// Writes the letter of a lane's event; where that fails the event stays pending and the keeper
    /// tries again.
    pub(crate) fn bury(&self, lane: usize, dead: &DeadLetter, document: Option<Vec<u8>>) {
        let Item { span, received_ns, .. } = dead.item;
        let letter = self.letter(dead, document);
        self.counters.buried.add(1);
        let buried = {
            let _one_moment = self.watermark();
            self.lanes[lane].events.part_with(1);
            self.dead_letters.bury(&letter, received_ns, (span, dead.sent))
        };
        self.note_buried(buried);
    }

    /// Writes a dead letter again that was replayed in vain.
    pub(crate) fn bury_again(&self, dead: &DeadLetter, replayed: &Replayed, document: Vec<u8>) {
        let old = &replayed.letter;
        let letter = Letter {
            pass: old.pass,
            event_id: old.event_id.clone(),
            offset: old.offset,
            first_failed_at: old.first_failed_at.clone(),
            attempts: old.attempts.saturating_add(dead.attempts),
            replays: old.replays.saturating_add(1),
            run: old.run,
            replaces: Some(replayed.span.from.bytes()),
            ..self.letter(dead, Some(document))
        };
        let buried = self.dead_letters.bury_again(&letter, replayed.received_ns, replayed.span);
        self.note_buried(buried);
    }

    fn letter(&self, dead: &DeadLetter, document: Option<Vec<u8>>) -> Letter {
        self.dead_letters.letter(dead, self.pass(), &self.settings.options, document)
    }

    /// Notes in the account what the dead-letter store has made durable.
    pub(crate) fn apply_effects(&self) {
        let mut watermark = self.watermark();
        let (mut buried, mut moves) = (Vec::new(), Vec::new());
        for effect in self.dead_letters.take_effects() {
            match effect {
                Effect::Settle { pass, settled, sent } if pass == self.pass() => {
                    buried.push((sent, settled));
                }
                Effect::Move { moved, sent, number } => moves.push((sent, moved, number)),
                // A pass that was rewound reads its events again.
                Effect::Settle { .. } | Effect::Keep => {}
            }
        }
        // One line for each request that was refused. Letters come before whatever moves them.
        for run in buried.chunk_by(|a, b| a.0 == b.0) {
            let settled: Vec<Settled> = run.iter().map(|(_, settled)| *settled).collect();
            match run[0].0 {
                Some(sent) => watermark.settle_sent(sent, &settled),
                None => watermark.settle(&settled),
            }
        }
        for (sent, moved, number) in moves {
            watermark.take_moved(sent, moved, number);
        }
    }

    fn note_buried(&self, buried: Result<(), AppendError>) {
        if let Err(problem) = buried {
            let name = self.name();
            tracing::error!(exporter = name, %problem, "dead letter not written; tried again");
            self.note_error(format!("dead letter not written: {problem}"), Instant::now());
        }
    }
}
